"""Check S4 of a scene at rest: what a light push does to it. Information: no scene fails by it.

A robot that reaches into a scene touches more than it grasps. Objects that stand come to rest again within their own
size; a stack that was about to fall, and a round thing on a bare board, do not, and whoever plans with the scene should
know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from physics.check import Check
from physics.engine import Engine, Placement, State, World

FIX = "A light push moves it far: choose wider bases, lower stacks, or a board with a rim."
"""What to do about a scene that a push takes apart."""


@dataclass(frozen=True)
class PushConfig:
    """How a scene is pushed, and when it counts as at rest again."""

    speed: float = 0.05
    """Horizontal speed that a pushed object is given [m/s]."""
    share: float = 0.2
    """The same as a share of v* = sqrt(g L), where that is less [1]."""
    sample: int = 8
    """Objects that are pushed, all at once [1]."""
    longest: float = 4.0
    """Time to come to rest again [s]."""
    quiet_speed: float = 2e-3
    """Largest speed at rest [m/s]."""
    quiet_spin: float = 0.05
    """Largest angular velocity at rest [rad/s]."""
    look: float = 0.05
    """Time between two looks at the state [s]."""
    seed: int = 0
    """Draws the objects and the directions."""


def push_scene(world: World, engine: Engine, config: PushConfig) -> tuple[Check, ...]:
    """Push some objects of a scene at rest and report how far any object goes, and how many still move at the end.

    Args:
        world: The scene.
        engine: Holds it, at rest; it is left in the state after the push.
        config: How hard and how many.
    """
    free = [placement for placement in world.placements if not placement.fixed]
    rng = np.random.default_rng(config.seed)
    chosen = sorted(rng.permutation(len(free))[: config.sample])
    before = engine.state()
    engine.set_state(_pushed(before, [free[index] for index in chosen], world, rng, config))
    stride = max(round(config.look / engine.timestep), 1)
    after = before
    for _ in range(max(round(config.longest / (stride * engine.timestep)), 1)):
        engine.step(stride)
        after = engine.state()
        if not _moving(after, config).any():
            break
    shifts = {placement.name: _shift(placement, before, after) for placement in free}
    farthest = max(shifts, key=lambda name: np.nan_to_num(shifts[name], nan=np.inf), default="")
    restless = [name for name, moves in zip(after.names, _moving(after, config), strict=True) if moves]
    detail = f"{len(chosen)} of {len(free)} objects pushed at up to {config.speed:g} m/s"
    return (
        Check(
            "S4", "displacement over L after a push", shifts.get(farthest, np.nan), "1", None,
            body=farthest, engine=engine.name, fix=FIX, detail=detail,
        ),
        Check(
            "S4", f"objects that move {config.longest:g} s after a push", float(len(restless)), "1", None,
            body=" and ".join(restless), engine=engine.name, fix=FIX, detail=detail,
        ),
    )  # fmt: skip


def _pushed(
    state: State, chosen: Sequence[Placement], world: World, rng: np.random.Generator, config: PushConfig
) -> State:
    """Return the state with a horizontal velocity for each chosen object."""
    velocities = state.linear_velocities.copy()
    gravity = float(np.linalg.norm(world.gravity))
    for placement in chosen:
        angle = rng.uniform(0, 2 * np.pi)
        speed = min(config.speed, config.share * float(np.sqrt(gravity * placement.model.root.size)))
        velocities[state.names.index(placement.name)] += speed * np.array([np.cos(angle), np.sin(angle), 0.0])
    return replace(state, linear_velocities=velocities)


def _moving(state: State, config: PushConfig) -> np.ndarray:
    speed = np.linalg.norm(state.linear_velocities, axis=1)
    spin = np.linalg.norm(state.angular_velocities, axis=1)
    # Negated, so that a NaN counts as moving.
    return ~((speed <= config.quiet_speed) & (spin <= config.quiet_spin))


def _shift(placement: Placement, before: State, after: State) -> float:
    """Return the displacement of an object's centre of mass over its largest extent; NaN where it is no number."""
    row = after.names.index(placement.name)
    if not (np.isfinite(after.positions[row]).all() and np.isfinite(after.quaternions[row]).all()):
        return np.nan
    com = placement.model.root.inertial.com
    start, end = (state.pose(placement.name).apply(com) for state in (before, after))
    return float(np.linalg.norm(end - start)) / placement.model.root.size
