"""Letting the objects of a scene come to rest, and finding those that did not or that left their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physics.engine import Engine, State
from physics.pose import Pose
from scenegen.scenes.place import KeepOut, hull_points
from scenegen.scenes.scene import SceneObject
from scenegen.scenes.supports import Region


@dataclass(frozen=True)
class SettleConfig:
    """When a scene counts as settled."""

    longest: float = 8.0
    """Time after which what still moves is taken out [s]."""
    quiet_speed: float = 2e-3
    """Largest speed at rest [m/s]."""
    quiet_spin: float = 0.05
    """Largest angular velocity at rest [rad/s]."""
    rim: bool = False
    """Whether what turns faster is at rest too where half its largest extent from its axis it is no faster than
    `quiet_speed`: a nut of 2 cm that turns at 0.1 rad/s moves by 1 mm/s there."""
    quiet_time: float = 0.5
    """How long all must stay quiet [s]."""
    sample_time: float = 0.05
    """Time between two looks at the state [s]."""
    sink: float = 0.02
    """How far below its region's surface an object's centre may lie before it counts as fallen off [m]."""

    def moving(self, speed: np.ndarray, spin: np.ndarray, half_sizes: np.ndarray) -> np.ndarray:
        """Return which bodies are not at rest, those among them whose speed is no number.

        Args:
            speed: Of each centre of mass [m/s].
            spin: Angular velocity of each [rad/s].
            half_sizes: Half of the largest extent of each [m].
        """
        limit = np.maximum(self.quiet_spin, self.quiet_speed / half_sizes) if self.rim else self.quiet_spin
        return ~((speed <= self.quiet_speed) & (spin <= limit))


@dataclass(frozen=True, eq=False)
class Settled:
    """The end of one settling."""

    poses: dict[str, Pose]
    """Pose of every object that is still finite."""
    lost: dict[str, str]
    """Objects that cannot stay, and why."""
    seconds: float
    """Simulated time [s]."""
    warnings: tuple[str, ...]
    """What the engine complained of."""
    restless: frozenset[str] = frozenset()
    """Objects that are lost for nothing but that they moved within the last quiet time."""


def settle(
    engine: Engine,
    objects: Sequence[SceneObject],
    regions: Sequence[Region],
    config: SettleConfig,
    *,
    keep_outs: Sequence[KeepOut] = (),
) -> Settled:
    """Advance an engine until all objects are quiet, and say which of them cannot stay.

    Args:
        engine: Holds the scene's world, in its initial state.
        objects: Its free objects.
        regions: Where objects belong; one that ends outside of all is lost.
        config: When things count as settled.
        keep_outs: Boxes that must stay free; an object that reaches into one is lost.
    """
    stride = max(round(config.sample_time / engine.timestep), 1)
    needed = max(round(config.quiet_time / (stride * engine.timestep)), 1)
    begin = engine.state().time
    state = engine.state()
    known = {one.name: one.half_size for one in objects}
    half_sizes = np.array([known[name.partition("/")[0]] for name in state.names])  # a lid moves with its box
    quiet = np.zeros(len(state.names), dtype=int)  # looks since each object moved
    while state.time - begin < config.longest and (quiet < needed).any():
        engine.step(stride)
        state = engine.state()
        quiet = np.where(_moving(state, half_sizes, config), 0, quiet + 1)
    lost: dict[str, str] = {}
    restless: set[str] = set()
    poses = {}
    for one in objects:
        row = state.names.index(one.name)
        if not np.isfinite(state.positions[row]).all() or not np.isfinite(state.quaternions[row]).all():
            lost[one.name] = "its state is no number"
            continue
        poses[one.name] = state.pose(one.name)
        com = poses[one.name].apply(one.asset.model.root.inertial.com)
        if not any(_inside(com, region, config) for region in regions):
            lost[one.name] = f"left its support: centre of mass at {np.round(com, 3).tolist()} m"
        elif any(zone.holds(poses[one.name].apply(hull_points(one.asset.model))) for zone in keep_outs):
            lost[one.name] = "reaches into a keep-out zone"
        elif quiet[row] < needed:
            speed = float(np.linalg.norm(state.linear_velocities[row]))
            restless.add(one.name)
            lost[one.name] = f"still moves at {speed:.3g} m/s after {config.longest:g} s"
    return Settled(poses, lost, float(state.time - begin), engine.health(), frozenset(restless))


def _moving(state: State, half_sizes: np.ndarray, config: SettleConfig) -> np.ndarray:
    speed = np.linalg.norm(state.linear_velocities, axis=1)
    spin = np.linalg.norm(state.angular_velocities, axis=1)
    return config.moving(speed, spin, half_sizes)


def _inside(com: np.ndarray, region: Region, config: SettleConfig) -> bool:
    within = (np.abs(com[:2] - region.centre[:2]) <= region.half).all()
    above = -config.sink <= com[2] - region.centre[2] <= region.clear_height
    return bool(within and above)
