"""Stage: objects that may touch each other, settled in a small model of their own and verified in both engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from physics.check import Check
from physics.drop_mujoco import open_mujoco
from physics.errors import EngineError
from physics.materials import find_material
from physics.model import Model
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.large.fill import Member
from scenegen.large.floor import Fixture, Job
from scenegen.large.pool import read_asset, shell_points, shell_volume
from scenegen.large.witness import Witness, verify_in_both
from scenegen.pipeline.stage import Rejection
from scenegen.provenance import item_rng
from scenegen.scenes.place import PlaceConfig, place_above
from scenegen.scenes.scene import SceneAsset, SceneObject, make_world
from scenegen.scenes.settle import SettleConfig, Settled, settle
from scenegen.scenes.supports import Region
from scenegen.scenes.verify import SceneCheckConfig, failing_objects


@dataclass(frozen=True, eq=False)
class HoldConfig:
    """How components are settled and judged."""

    root: str
    """Output folder of the run."""
    models: dict[str, Model]
    """Furniture by kind."""
    poured: tuple[str, ...] = ()
    """Folders of the assets that are poured."""
    poured_weights: Float64[np.ndarray, "P"] = field(default_factory=lambda: np.zeros(0))
    """Probability of each [1]."""
    ground: str = "concrete"
    """Material of the floor."""
    rounds: int = 8
    """Times that failing objects are replaced before the component is given up [1]."""
    relaxations: int = 4
    """Times that a component that creeps is judged again from where it has come [1]."""
    coarse_step: float = 2.0
    """Time step while objects are poured, over that of the verdict [1]."""
    place: PlaceConfig = field(default_factory=PlaceConfig)
    pour: SettleConfig = field(default_factory=lambda: SettleConfig(longest=6.0))
    relax: SettleConfig = field(default_factory=lambda: SettleConfig(longest=4.0, quiet_time=0.3, quiet_speed=1e-3))
    """The rest of the way, with all furniture and at the step of the verdict."""
    checks: SceneCheckConfig = field(default_factory=SceneCheckConfig)


@dataclass(frozen=True, eq=False)
class ComponentRequest:
    """What is to be settled and verified on its own."""

    name: str
    seed: int
    members: tuple[Member, ...]
    """Objects that have a place; empty for a bin that is to be filled."""
    fixtures: tuple[Fixture, ...]
    """All furniture that reaches into `box`."""
    box: Float64[np.ndarray, "2 3"]
    """Where the component may be: outside of it nothing is known of the furniture [m]."""
    pour: Job | None = None
    """The bin that is to be filled."""
    relax: bool = True
    """False to judge the members as they are."""


@dataclass(frozen=True, eq=False)
class HeldComponent:
    """Objects at rest, with the evidence."""

    name: str
    members: tuple[Member, ...]
    swept: Float64[np.ndarray, "N 2 3"]
    """Box that holds each object at all times of the verification [m]."""
    contacts: int
    """Most contacts seen at once [1]."""
    checks: tuple[Check, ...]
    replaced: tuple[str, ...]
    """What was taken out and why."""
    escaped: bool
    """True when an object left the request's box: the component must be judged again in a larger one."""


def hold_component(request: ComponentRequest, config: HoldConfig) -> HeldComponent | Rejection:
    """Settle and verify one component; what fails in a bin is replaced, up to `rounds` times."""
    rng = item_rng(request.seed, request.name, "component")
    replaced: list[str] = []
    objects = [_object(member, config) for member in request.members]
    if request.pour is not None:
        objects = _draw_poured(request.pour, config, rng)
    reasons: dict[str, str] = {}
    for number in range(config.rounds):
        if request.pour is not None:
            objects, reasons = _pour(request, objects, config, rng, lost=reasons, first=number == 0)
        if not reasons:
            objects, reasons, evidence = _hold_still(request, objects, config)
            if evidence is not None:
                return _held(request, objects, evidence, replaced)
        replaced += [f"{name}: {reason}" for name, reason in sorted(reasons.items())]
        if request.pour is None:
            break
    worst = "; ".join(replaced[-3:])
    return Rejection(
        "component", "objects never held", float(len(reasons)), 0.0, "1",
        f"{request.name}: {len(reasons)} of {len(objects)} objects did not hold still: {worst}",
    )  # fmt: skip


def _held(
    request: ComponentRequest,
    objects: Sequence[SceneObject],
    evidence: Witness,
    replaced: list[str],
) -> HeldComponent:
    members = tuple(Member(one.name, one.asset.folder, one.X_WB) for one in objects)
    swept = evidence.swept
    escaped = bool((swept[:, 0] < request.box[0]).any() or (swept[:, 1] > request.box[1]).any())
    return HeldComponent(request.name, members, swept, evidence.contacts, evidence.checks, tuple(replaced), escaped)


def _object(member: Member, config: HoldConfig) -> SceneObject:
    return SceneObject(member.name, read_asset(config.root, member.folder), member.X_WB)


def _draw_asset(config: HoldConfig, rng: np.random.Generator, room: float = np.inf) -> SceneAsset | None:
    """Return an asset to be poured whose convex hull takes at most `room` [m^3]; None where there is none."""
    weights = config.poured_weights * [
        shell_volume(read_asset(config.root, folder)) <= room for folder in config.poured
    ]
    if not weights.sum() > 0:
        return None
    return read_asset(config.root, config.poured[int(rng.choice(len(weights), p=weights / weights.sum()))])


def _draw_poured(job: Job, config: HoldConfig, rng: np.random.Generator) -> list[SceneObject]:
    """Return what is poured into a bin, as much as it has room for; places come later."""
    room = job.pour_room
    smallest = min(shell_volume(read_asset(config.root, folder)) for folder in config.poured)
    drawn: list[SceneObject] = []
    for number in range(job.poured):
        # What is left must hold the smallest of those that still come.
        asset = _draw_asset(config, rng, room - smallest * (job.poured - number - 1))
        if asset is None:
            raise SceneError(f"{job.name}: {job.poured} objects do not fit into the bin, {number} do")
        room -= shell_volume(asset)
        drawn.append(SceneObject(f"{job.name}_{number:03d}", asset, Pose.identity()))
    return drawn


def _pour(
    request: ComponentRequest,
    objects: list[SceneObject],
    config: HoldConfig,
    rng: np.random.Generator,
    *,
    lost: dict[str, str],
    first: bool,
) -> tuple[list[SceneObject], dict[str, str]]:
    """Let objects fall into a bin, nothing but the bin there; return them at rest, and those that cannot stay.

    What was lost before is replaced by another draw, on top of the others.
    """
    job = request.pour
    assert job is not None
    falling = {one.name for one in objects} if first else set(lost)
    kept = [one for one in objects if one.name not in falling]
    fresh = objects if first else [_redrawn(one, config, rng) for one in objects if one.name in falling]
    tops = [float(one.X_WB.apply(shell_points(one.asset))[:, 2].max()) for one in kept]
    height = max([float(job.region.centre[2]), *tops]) + config.place.pour_clearance
    poses = place_above([one.asset.model for one in fresh], job.region, rng=rng, config=config.place, height=height)
    objects = sorted([*kept, *(one.at(pose) for one, pose in zip(fresh, poses, strict=True))], key=lambda one: one.name)
    container = [one.placement(config.models) for one in request.fixtures if one.name == job.container]
    world = make_world(container, objects, find_material(config.ground))
    engine = open_mujoco(world, timestep_scale=config.coarse_step)
    try:
        end = settle(engine, objects, (job.region,), config.pour)
    except EngineError as error:
        return objects, {one.name: str(error) for one in fresh}
    finally:
        engine.close()
    return _after(objects, end, job)


def _redrawn(one: SceneObject, config: HoldConfig, rng: np.random.Generator) -> SceneObject:
    """Return another object of the same name, no bulkier than the one that failed."""
    asset = _draw_asset(config, rng, shell_volume(one.asset))
    return SceneObject(one.name, asset or one.asset, one.X_WB)


def _after(objects: list[SceneObject], end: Settled, job: Job | None) -> tuple[list[SceneObject], dict[str, str]]:
    """Return objects where they came to rest, and those that are lost: what sticks out too far of a bin is."""
    rested = [one.at(end.poses.get(one.name, one.X_WB)) for one in objects]
    lost = dict(end.lost)
    if job is not None:
        limit = float(job.region.centre[2]) + job.pour_height
        for one in rested:
            top = float(one.X_WB.apply(shell_points(one.asset))[:, 2].max())
            if top > limit and one.name not in lost:
                lost[one.name] = f"sticks out of the bin: {top - limit:.3g} m too high"
    return rested, lost


def _hold_still(
    request: ComponentRequest, objects: list[SceneObject], config: HoldConfig
) -> tuple[list[SceneObject], dict[str, str], Witness | None]:
    """Judge a component; where it creeps, let it, and judge it again from there.

    Returns:
        The objects at rest, those that fail and why, and the evidence where none fails.
    """
    reasons: dict[str, str] = {}
    for _ in range(1 + config.relaxations if request.relax else 1):
        rested, later, reasons, evidence = _judge(request, objects, config)
        if evidence is not None and not reasons:
            return rested, {}, evidence
        if evidence is None:
            return rested, reasons, None
        objects = later
    return objects, reasons, None


def _judge(
    request: ComponentRequest, objects: list[SceneObject], config: HoldConfig
) -> tuple[list[SceneObject], list[SceneObject], dict[str, str], Witness | None]:
    """Let a component relax among all its furniture, then verify it from rest in both engines.

    Returns:
        The objects at rest, and after the verification; those that fail and why; and the evidence (none where it did
        not come to that).
    """
    furniture = [one.placement(config.models) for one in request.fixtures]
    ground = find_material(config.ground)
    try:
        if request.relax:
            engine = open_mujoco(make_world(furniture, objects, ground))
            try:
                end = settle(engine, objects, (_whole(request.box),), config.relax)
            finally:
                engine.close()
            objects, lost = _after(objects, end, request.pour)
            if lost:
                return objects, objects, lost, None
        world = make_world(furniture, objects, ground)
        witness = verify_in_both(world, objects, config.checks)
    except EngineError as error:  # the state is no longer a number
        return objects, objects, {one.name: str(error) for one in objects}, None
    bad, state = witness.refused, witness.state
    failing = failing_objects(bad) & {one.name for one in objects}
    if bad and not failing:  # a check of the whole: nobody can be named, so that all are
        failing = {one.name for one in objects}
    reasons = {
        name: "; ".join(check.describe() for check in bad if name in check.body.split(" and ") or not check.body)
        for name in sorted(failing)
    }
    later = [one.at(state.pose(one.name)) for one in objects] if np.isfinite(state.positions).all() else objects
    return objects, later, reasons, witness


def _whole(box: np.ndarray) -> Region:
    """Return the region that is a box."""
    centre = box.mean(axis=0)
    return Region(np.array([*centre[:2], box[0, 2]]), np.ptp(box, axis=0)[:2] / 2, float(np.ptp(box[:, 2])))
