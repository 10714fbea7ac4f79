"""The contract of a physics engine: a world goes in, states and contacts come out.

A third engine is one more file that satisfies `Engine`. All quantities are in SI units, world frame W,
z up, quaternions (w, x, y, z).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float64

from physics.errors import EngineError
from physics.mass import MassProperties
from physics.materials import Material
from physics.model import Model
from physics.pose import Pose, frozen

GRAVITY = (0.0, 0.0, -9.81)
"""Standard gravity in W [m/s^2]."""

GROUND = "ground"
"""Name of the half-space z <= 0 in contacts."""


@dataclass(frozen=True, eq=False)
class Placement:
    """A model put into a world."""

    name: str
    """Unique in the world; bodies are addressed as "name" (root) or "name/body"."""
    model: Model
    X_WB: Pose
    """Initial pose of the model's root frame."""
    fixed: bool = False
    """True for furniture that is part of the static world."""


@dataclass(frozen=True, eq=False)
class World:
    """Everything an engine needs: placements, an optional ground half-space, gravity."""

    placements: tuple[Placement, ...]
    ground: Material | None
    """Material of the half-space z <= 0, or None for no ground."""
    gravity: tuple[float, float, float] = GRAVITY

    def __post_init__(self) -> None:
        names = [placement.name for placement in self.placements]
        if len(set(names)) != len(names) or GROUND in names:
            raise EngineError(f"placements need unique names other than {GROUND!r}, got {sorted(names)}")


@dataclass(frozen=True, eq=False)
class State:
    """Poses and velocities of the free bodies, one row each."""

    time: float
    """Simulated time [s]."""
    names: tuple[str, ...]
    """Stable name of each row's body."""
    positions: Float64[np.ndarray, "B 3"]
    """Origin of each body frame in W [m]."""
    quaternions: Float64[np.ndarray, "B 4"]
    """Orientation of each body frame in W, (w, x, y, z) [1]."""
    linear_velocities: Float64[np.ndarray, "B 3"]
    """Velocity of each centre of mass in W [m/s]."""
    angular_velocities: Float64[np.ndarray, "B 3"]
    """Angular velocity in W [rad/s]."""

    def __post_init__(self) -> None:
        count = len(self.names)
        shapes = {"positions": 3, "quaternions": 4, "linear_velocities": 3, "angular_velocities": 3}
        for field, width in shapes.items():
            array = frozen(getattr(self, field))
            object.__setattr__(self, field, array)
            if array.shape != (count, width):
                raise EngineError(f"state {field} needs shape {(count, width)}, got {array.shape}")

    def pose(self, name: str) -> Pose:
        """Return X_WB of one body."""
        row = self.names.index(name)
        return Pose.from_quaternion(self.quaternions[row], self.positions[row])


@dataclass(frozen=True, eq=False)
class Contacts:
    """Contact points of the current state, one row each."""

    names_a: tuple[str, ...]
    """First body of each contact (a body's name, a fixed placement's name, or GROUND)."""
    names_b: tuple[str, ...]
    """Second body of each contact."""
    positions: Float64[np.ndarray, "C 3"]
    """Contact points in W [m]."""
    normals: Float64[np.ndarray, "C 3"]
    """Unit normals in W, from a to b."""
    distances: Float64[np.ndarray, "C"]
    """Signed distance between the bare surfaces, engine margins removed; negative is penetration [m]."""
    forces: Float64[np.ndarray, "C 3"]
    """Force that a exerts on b, in W [N]."""


class Engine(Protocol):
    """A rigid-body engine that holds one world. One instance serves one world and is then closed."""

    name: str
    version: str

    @property
    def timestep(self) -> float:
        """Length of one step [s]."""
        ...

    def set_state(self, state: State) -> None:
        """Put the bodies of `state` at its poses and velocities and forget all contact history."""
        ...

    def step(self, count: int = 1) -> None:
        """Advance by `count` steps."""
        ...

    def state(self) -> State:
        """Return the poses and velocities of all free bodies."""
        ...

    def contacts(self) -> Contacts:
        """Return the contact points of the last step."""
        ...

    def apply_wrench(self, name: str, force: np.ndarray, torque: np.ndarray) -> None:
        """Apply a force [N] at the centre of mass and a torque [N m], in W, during the next step only."""
        ...

    def set_gravity(self, gravity: tuple[float, float, float]) -> None:
        """Set gravity in W [m/s^2] from the next step on."""
        ...

    def inertials(self) -> dict[str, MassProperties]:
        """Return what the engine holds as mass, centre of mass and inertia of each free body."""
        ...

    def health(self) -> tuple[str, ...]:
        """Return every warning since loading (NaN, overflow, dropped contacts); empty when healthy."""
        ...

    def close(self) -> None:
        """Release the engine's memory."""
        ...
