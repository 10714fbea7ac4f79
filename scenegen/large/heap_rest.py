"""Where both engines let a heap rest: half way between where it rests in the one and where it rests in the other.

PyBullet rests a heap some tenths of a millimetre from where MuJoCo does, and a verdict allows a millimetre in either.
What starts half way has half as far to go. Before that, what slips slowly has to arrive, such as a nut that rolls out
of a gap over seconds: in PyBullet, which lets heaps slip for longer, and at a step so long that many seconds are cheap.
What is found is a proposal; the verification judges it from its poses alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from physics.check import Check
from physics.drop_mujoco import open_mujoco
from physics.drop_pybullet import SCENE, PybulletConfig, open_pybullet
from physics.engine import Placement, World
from physics.errors import EngineError
from physics.materials import Material
from scenegen.scenes.engines import OPEN_ENGINE, Opener
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.verify import SceneCheckConfig, check_drift, check_overlap, watch_poses


@dataclass(frozen=True)
class HeapRestConfig:
    """How a heap is brought to rest in each engine."""

    coarse: PybulletConfig = field(default_factory=lambda: replace(SCENE, timestep_share=0.06))
    """What slips does so at this step: on a heap of nuts and bolts three to four times that of verdicts."""
    slipping: float = 4.0
    """Longest time for that [s]."""
    closing: float = 1.0
    """Longest time for that once the heap was judged: what lay around objects that were taken out closes up [s]."""
    resting: float = 1.0
    """Longest time in each engine, at the step at which the same objects would be judged [s]."""
    window: float = 0.5
    """Time from which each object's motion is reckoned on to the end of the verification [s]."""
    look: float = 0.05
    """Time between two looks within a window [s]."""


def rest_half_way(
    objects: Sequence[SceneObject],
    furniture: Sequence[Placement],
    ground: Material,
    config: HeapRestConfig,
    checks: SceneCheckConfig,
) -> list[SceneObject]:
    """Let a heap come to rest in each engine in turn, and return it half way between.

    Args:
        objects: The heap, nothing wedged in it.
        furniture: All that is near it.
        ground: Material of the floor.
        config: Steps and times.
        checks: Limits of S2, which say when an object rests.

    Raises:
        EngineError: The state is no longer a number.
    """

    def rest(open_engine: Opener, of: Sequence[SceneObject], longest: float) -> list[SceneObject]:
        return _rest(open_engine, make_world(furniture, of, ground), of, longest, config, checks)

    slipped = rest(partial(open_pybullet, config=config.coarse), objects, config.slipping)
    first = rest(OPEN_ENGINE["pybullet"], slipped, config.resting)
    second = rest(OPEN_ENGINE["mujoco"], first, config.resting)
    return [a.at(a.X_WB.half_way(b.X_WB)) for a, b in zip(first, second, strict=True)]


def find_wedged(world: World, checks: SceneCheckConfig) -> list[Check]:
    """Return S1 in MuJoCo of what overlaps too deeply. PyBullet would throw it out, and what lies on it."""
    engine = open_mujoco(world)
    try:
        engine.step(1)  # contacts belong to a step
        found = check_overlap(engine.contacts(), world, engine.name, checks)
    finally:
        engine.close()
    return [check for check in found if check.verdict != "PASS"]


def _rest(
    open_engine: Opener,
    world: World,
    objects: Sequence[SceneObject],
    longest: float,
    config: HeapRestConfig,
    checks: SceneCheckConfig,
) -> list[SceneObject]:
    """Advance a world until none of its objects is about to pass a limit of S2, or for the longest time."""
    engine, resting = open_engine(world), list(objects)
    try:
        for _ in range(max(round(longest / config.window), 1)):
            start = {one.name: one.X_WB for one in resting}
            seen = watch_poses(engine, config.window, config.look)
            if not seen[-1]:
                raise EngineError(f"{engine.name}: the heap burst while it came to rest")
            resting = [one.at(seen[-1][one.name]) for one in resting]
            drift = check_drift(start, seen, world, engine.name, config.window, checks)
            if all(check.verdict == "PASS" for check in drift):
                break
    finally:
        engine.close()
    return resting
