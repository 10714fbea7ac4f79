"""A scene: furniture, objects at rest, the evidence that they are, and what happened on the way there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from physics.check import Check, Verdict, overall_verdict
from physics.engine import Placement, World
from physics.materials import Material
from physics.model import Model
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.scenes.place import KeepOut

REQUIRED_SCENE_CHECKS = ("S1", "S2", "S3", "S5")
"""Checks that every scene needs, in every engine."""
SCENE_ENGINES = ("mujoco", "pybullet")
"""Engines that must both hold a scene."""
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, eq=False)
class SceneAsset:
    """What a scene needs to know of a certified asset."""

    asset_id: str
    folder: str
    """Folder of the asset, relative to the output folder."""
    model: Model
    rest_poses: tuple[Pose, ...]
    """Verified rest poses X_WB on the plane z = 0, most probable first."""
    rolls: bool = False
    """True when the asset is a body of revolution that may roll when it lies."""


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One object of a scene, at rest."""

    name: str
    """Unique in the scene; `[a-z][a-z0-9_]*`."""
    asset: SceneAsset
    X_WB: Pose
    """Pose at which it rests."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SceneError(f"object name {self.name!r} is not of the form [a-z][a-z0-9_]*")

    @property
    def half_size(self) -> float:
        """Half of its largest extent [m]."""
        return self.asset.model.root.size / 2

    def at(self, X_WB: Pose) -> SceneObject:
        """Return the object at another pose."""
        return SceneObject(self.name, self.asset, X_WB)


@dataclass(frozen=True)
class SceneEvent:
    """Something that happened while the scene was made: an object that fell, and what took its place."""

    round: int
    """Settling round [1]."""
    object: str
    """Name of the object."""
    asset_id: str
    reason: str
    """Why it was taken out, with the measured value."""
    replacement: str = ""
    """Asset that took its place; empty when none did."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A verified arrangement of assets."""

    name: str
    layout: str
    seed: int
    furniture: tuple[Placement, ...]
    objects: tuple[SceneObject, ...]
    ground: Material
    keep_outs: tuple[KeepOut, ...] = ()
    checks: tuple[Check, ...] = ()
    events: tuple[SceneEvent, ...] = ()
    engines: tuple[tuple[str, str], ...] = ()
    """Name and version of each engine that verified it."""
    limits: tuple[str, ...] = ()
    """What an engine could not represent, in its own words and numbers."""
    settings: dict[str, float] = field(default_factory=dict)
    """Solver settings of the verification, for the record."""

    @property
    def world(self) -> World:
        """The world as engines load it."""
        return make_world(self.furniture, self.objects, self.ground)

    @property
    def verdict(self) -> Verdict:
        """Worst verdict; UNDECIDED when a required check is missing in either engine."""
        return scene_verdict(self.checks)


def scene_verdict(checks: Sequence[Check]) -> Verdict:
    """Return the worst verdict of either engine; UNDECIDED when one lacks a required check."""
    verdicts = [
        overall_verdict((check for check in checks if check.engine == engine), REQUIRED_SCENE_CHECKS)
        for engine in SCENE_ENGINES
    ]
    return max(verdicts, key=list(Verdict).index)


def make_world(furniture: Sequence[Placement], objects: Sequence[SceneObject], ground: Material) -> World:
    """Return furniture and objects as one world."""
    free = tuple(Placement(one.name, one.asset.model, one.X_WB) for one in objects)
    return World((*furniture, *free), ground)
