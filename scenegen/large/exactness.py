"""Proof by measurement: components simulated on their own end where one model of the whole scene ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physics.check import Verdict
from physics.drop_mujoco import open_mujoco
from physics.engine import State, World
from physics.materials import find_material
from physics.mujoco_spec import MujocoConfig
from scenegen.large.fill import Member
from scenegen.large.near import BoxIndex
from scenegen.large.pool import read_asset
from scenegen.large.reach import reach_at
from scenegen.large.scene import LargeScene
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.verify import SceneCheckConfig, failing_objects, verify_scene

CONVERGED = (1e-9, 1e-8)
"""Largest differences of an object's position [m] and orientation [rad] after the hold when the contact solver runs to
its end: rounding, grown by some seconds of contact. 5e-16 m and 3e-15 rad were measured."""
CONVERGED_STACKS = (1e-6, 3e-5)
"""The same of stacks that stand as their stance does, and creep by some 10 um at another heading: contacts that come
and go by a rounding part the two. 2.5e-7 m and 7e-6 rad were measured; S2 allows a thousand and 600 times as much."""
DELIVERED = (5e-5, 1e-3)
"""The same under the settings of the verdict: a twentieth of what S2 lets an object drift and turn. The solver stops by
a tolerance that it scales by the model, so that a component and the whole are not solved equally closely."""


@dataclass(frozen=True, eq=False)
class Exactness:
    """How far components and the whole are apart."""

    converged: bool
    """Whether the contact solver ran to its end."""
    objects: int
    components: int
    """Models of components, objects that stand alone included [1]."""
    position: float
    """Largest difference of an object's position at the end [m], of what was settled where it stands or is alone."""
    angle: float
    """Largest difference of its orientation [rad]."""
    stack_position: float
    """The same of stacks that stand as their stance does [m]."""
    stack_angle: float
    """The same [rad]."""
    drift: float
    """Largest distance of an object of the whole from where it was delivered [m]."""
    failing_in_whole: tuple[str, ...]
    """Objects that fail a check in the whole."""
    failing_in_parts: tuple[str, ...]
    """Objects that fail a check in their component."""

    @property
    def exact(self) -> bool:
        """Whether poses agree within tolerance and verdicts are the same."""
        found = ((self.position, self.angle), (self.stack_position, self.stack_angle))
        limits = (CONVERGED, CONVERGED_STACKS) if self.converged else (DELIVERED, DELIVERED)
        return bool((np.array(found) <= np.array(limits)).all()) and self.failing_in_whole == self.failing_in_parts


def measure_exactness(
    scene: LargeScene, root: str, checks: SceneCheckConfig, *, converged: bool, surround: float = 0.1
) -> Exactness:
    """Verify a scene as one model, and again by components, from the same poses; compare the ends.

    Args:
        scene: A composed scene, small enough for one model.
        root: Output folder of the run, which holds the assets.
        checks: The verification.
        converged: True to run the contact solver to its end at every step, False for the settings of the verdict.
        surround: How far around a component furniture is taken into its model [m].
    """
    solver = MujocoConfig(tolerance=0.0) if converged else MujocoConfig()
    everywhere = np.array([[-np.inf] * 3, [np.inf] * 3])
    whole, whole_failing = _verify(_world(scene, root, scene.members, everywhere), solver, checks)
    parts: dict[str, list[Member]] = {}
    for member, component in zip(scene.members, scene.components, strict=True):
        parts.setdefault(component or member.name, []).append(member)
    apart, drift = np.zeros((2, 2)), 0.0  # of what was settled here, of stacks: position, angle
    failing: set[str] = set()
    for name, members in parts.items():
        mine = apart[int(name in scene.by_stance)]
        boxes = np.array([reach_at(read_asset(root, one.folder), one.X_WB).box for one in members])
        box = np.stack([boxes[:, 0].min(axis=0) - surround, boxes[:, 1].max(axis=0) + surround])
        state, failed = _verify(_world(scene, root, members, box), solver, checks)
        failing |= failed
        for member in members:
            ours, theirs = state.pose(member.name), whole.pose(member.name)
            mine[0] = max(mine[0], float(np.linalg.norm(ours.position - theirs.position)))
            mine[1] = max(mine[1], ours.angle_to(theirs))
            drift = max(drift, float(np.linalg.norm(theirs.position - member.X_WB.position)))
    counts = len(scene.members), len(parts)
    (position, angle), (stack_position, stack_angle) = apart.tolist()
    failed = tuple(sorted(whole_failing)), tuple(sorted(failing))
    return Exactness(converged, *counts, position, angle, stack_position, stack_angle, drift, *failed)


def _verify(world: World, solver: MujocoConfig, checks: SceneCheckConfig) -> tuple[State, set[str]]:
    """Return the state after the verification of a world, and which of its objects fail."""
    engine = open_mujoco(world, config=solver)
    try:
        found = verify_scene(world, engine, checks)
        state = engine.state()
    finally:
        engine.close()
    bad = [check for check in found if check.verdict in (Verdict.FAIL, Verdict.UNDECIDED)]
    return state, {name for name in failing_objects(bad) if name in state.names}


def _world(scene: LargeScene, root: str, members: Sequence[Member], box: np.ndarray) -> World:
    boxes = np.array([one.bounds(scene.models) for one in scene.fixtures]).reshape(-1, 2, 3)
    near = BoxIndex(boxes).overlapping(box) if np.isfinite(box).all() else range(len(boxes))
    furniture = [scene.fixtures[number].placement(scene.models) for number in near]
    objects = [SceneObject(one.name, read_asset(root, one.folder), one.X_WB) for one in members]
    return make_world(furniture, objects, find_material(scene.ground))
