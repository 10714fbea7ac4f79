"""Stage: how an asset stands on a flat support, alone and as a stack of its like; held by both engines.

On a flat, level support mechanics is the same at every place and heading. What was verified once holds for every
object that stands alone, and is its pose there to the last digit of the contact depth.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from physics.check import Check
from physics.drop_mujoco import open_mujoco
from physics.engine import Placement, World
from physics.errors import EngineError
from physics.materials import find_material
from physics.pose import Pose
from scenegen.large.options import BARE_FLOOR
from scenegen.large.pool import read_asset, shell_points
from scenegen.large.reach import reach_at
from scenegen.large.witness import verify_in_both
from scenegen.scenes.place import footprint
from scenegen.scenes.scene import SceneAsset, SceneObject, make_world
from scenegen.scenes.settle import SettleConfig, settle
from scenegen.scenes.supports import Region, box_model
from scenegen.scenes.verify import SceneCheckConfig

UPRIGHT = 1 - 1e-4
"""Least cosine between the vertical and the z axis of an asset that stands upright [1]."""


@dataclass(frozen=True)
class StanceConfig:
    """How stances are found."""

    root: str
    """Output folder of the run."""
    ground: str = "concrete"
    """Material of the floor."""
    poses: int = 2
    """Rest poses of an asset that are used, the most probable first [1]."""
    tallest_stack: int = 3
    """Most copies in a stack [1]."""
    lean: float = float(np.deg2rad(5.0))
    """Largest angle between copies of a stack [rad]."""
    shift: float = 0.1
    """Largest sideways distance between copies of a stack, over the size [1]."""
    clearance: float = 5e-4
    """Height from which a copy is let go above the box of the one below [m]."""
    plate_thickness: float = 0.05
    """Thickness of the plate that stands for a board [m]."""
    settle: SettleConfig = field(default_factory=lambda: SettleConfig(longest=3.0, quiet_time=0.2))
    checks: SceneCheckConfig = field(
        default_factory=lambda: SceneCheckConfig(drift_share=0.005, drift_floor=5e-4, tilt=float(np.deg2rad(0.5)))
    )
    """Half of what a scene may drift and turn: a stance is used many times, at any heading."""


@dataclass(frozen=True, eq=False)
class StanceRequest:
    """The asset whose stances are wanted."""

    folder: str
    """Folder of the asset, relative to the output folder."""
    support: str
    """Material of the board, or `BARE_FLOOR`."""
    stacks: bool
    """Whether stacks are wanted."""
    upright: bool = False
    """Whether only poses in which the asset's own z axis is the vertical are wanted, as of furniture."""


@dataclass(frozen=True, eq=False)
class Stance:
    """Copies of an asset at rest on the plane z = 0."""

    folder: str
    poses: tuple[Pose, ...]
    """Pose of each copy, from the lowest up, over the origin."""
    outline: Float64[np.ndarray, "K 2"]
    """Convex outline from above [m]."""
    height: float
    """Height of the highest point [m]."""
    growths: tuple[float, ...]
    """How far each copy went from its pose while it was verified [m]."""
    contacts: int
    """Most contacts seen at once [1]."""
    checks: tuple[Check, ...]
    """The verification, whose objects are named copy_0, copy_1, ..."""


@dataclass(frozen=True, eq=False)
class AssetStances:
    """All stances of an asset."""

    stances: tuple[Stance, ...]
    refused: tuple[str, ...]
    """What did not hold, and why."""


@dataclass(frozen=True, eq=False)
class _Held:
    poses: list[Pose]
    growths: tuple[float, ...]
    checks: tuple[Check, ...]
    contacts: int


def find_stances(request: StanceRequest, config: StanceConfig) -> AssetStances:
    """Settle and verify an asset at its rest poses, and stacks of it in the first of them."""
    asset = read_asset(config.root, request.folder)
    found: list[Stance] = []
    refused: list[str] = []
    upright = [pose for pose in asset.rest_poses if pose.rotation[2, 2] > UPRIGHT]
    for number, rest in enumerate(upright if request.upright else asset.rest_poses[: config.poses]):
        held = _hold(asset, [rest], request.support, config)
        if isinstance(held, str):
            refused.append(f"rest pose {number}: {held}")
            continue
        if request.upright and held.poses[0].rotation[2, 2] <= UPRIGHT:
            refused.append(f"rest pose {number}: it leans")
            continue
        found.append(_stance(asset, held))
        if request.stacks and not any(len(one.poses) > 1 for one in found):
            stacks = _find_stacks(asset, held, request.support, config)
            found += [_stance(asset, one) for one in stacks]
    return AssetStances(tuple(found), tuple(refused))


def _find_stacks(asset: SceneAsset, held: _Held, support: str, config: StanceConfig) -> list[_Held]:
    """Return stacks of two, three, ... copies, as long as they hold."""
    stacks: list[_Held] = []
    stack = held.poses
    while len(stack) < config.tallest_stack:
        if len(stack) == 1:
            points = stack[0].apply(shell_points(asset))
            rise = float(np.ptp(points[:, 2])) + config.clearance
        else:
            rise = float(stack[-1].position[2] - stack[-2].position[2])
        top = Pose(stack[-1].position + np.array([0.0, 0.0, rise]), stack[-1].quaternion)
        grown = _hold(asset, [*stack, top], support, config)
        if isinstance(grown, str) or not _neat(grown.poses, asset, config):
            break
        stacks.append(grown)
        stack = grown.poses
    return stacks


def _neat(stack: list[Pose], asset: SceneAsset, config: StanceConfig) -> bool:
    """Return whether every copy lies squarely on the lowest."""
    foot = stack[0]
    offsets = [np.linalg.norm((one.position - foot.position)[:2]) / asset.model.root.size for one in stack]
    return bool(max(offsets) <= config.shift and max(foot.angle_to(one) for one in stack) <= config.lean)


def _hold(asset: SceneAsset, poses: list[Pose], support: str, config: StanceConfig) -> _Held | str:
    """Return where copies come to rest, the lowest over the origin; or why they do not stay."""
    world, objects, region = _trial(asset, poses, support, config)
    try:
        engine = open_mujoco(world)
        try:
            end = settle(engine, objects, (region,), config.settle)
        finally:
            engine.close()
        if end.lost:
            return "; ".join(end.lost.values())
        rested = [end.poses[one.name] for one in objects]
        world, objects, region = _trial(asset, rested, support, config)
        witness = verify_in_both(world, objects, config.checks)
    except EngineError as error:
        return str(error)
    if witness.refused:
        return witness.refused[0].describe()
    growths = tuple(reach_at(asset, pose, box).growth for pose, box in zip(rested, witness.swept, strict=True))
    shift = np.array([*rested[0].position[:2], 0.0])
    poses = [Pose(pose.position - shift, pose.quaternion) for pose in rested]
    return _Held(poses, growths, witness.checks, witness.contacts)


def _trial(
    asset: SceneAsset, poses: list[Pose], support: str, config: StanceConfig
) -> tuple[World, list[SceneObject], Region]:
    """Return a world of a flat support and copies of an asset on it."""
    objects = [SceneObject(f"copy_{number}", asset, pose) for number, pose in enumerate(poses)]
    half = 2 * asset.model.root.size
    region = Region(np.zeros(3), np.full(2, half), np.inf)
    if support == BARE_FLOOR:
        return make_world((), objects, find_material(config.ground)), objects, region
    plate = box_model(
        "plate", {"plate": ((-half, -half, -config.plate_thickness), (half, half, 0.0))}, find_material(support)
    )
    free = tuple(Placement(one.name, asset.model, one.X_WB) for one in objects)
    return World((Placement("plate", plate, Pose.identity(), fixed=True), *free), None), objects, region


def _stance(asset: SceneAsset, held: _Held) -> Stance:
    points = np.concatenate([pose.apply(shell_points(asset)) for pose in held.poses])
    outline, height = footprint(points), float(points[:, 2].max())
    return Stance(asset.folder, tuple(held.poses), outline, height, held.growths, held.contacts, held.checks)
