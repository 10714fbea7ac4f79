"""An engine that is watched: the boxes that its bodies need while they are verified, and how many contacts it has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from physics.engine import Contacts, Engine, State
from physics.mass import MassProperties


class TrackedEngine:
    """An engine that notes, whenever its state is looked at, the box that each free body needs until the next look."""

    def __init__(self, engine: Engine, corners: Mapping[str, np.ndarray], interval: float):
        self._engine = engine
        self._interval = interval
        self._points = dict(corners)
        self.swept = np.tile(np.array([[np.inf], [-np.inf]]), (len(self._points), 1, 3))
        self.most_contacts = 0
        self.name, self.version = engine.name, engine.version

    def contacts(self) -> Contacts:
        """Return the engine's contacts, and note how many there are."""
        contacts = self._engine.contacts()
        self.most_contacts = max(self.most_contacts, len(contacts.names_a))
        return contacts

    def state(self) -> State:
        """Return the engine's state, and enlarge the boxes by it."""
        state = self._engine.state()
        for row, (name, points) in enumerate(self._points.items()):
            at = state.names.index(name)
            if not np.isfinite(state.positions[at]).all() or not np.isfinite(state.quaternions[at]).all():
                self.swept[row] = [[-np.inf] * 3, [np.inf] * 3]
                continue
            placed = state.pose(name).apply(points)
            radius = float(np.linalg.norm(np.ptp(placed, axis=0)))
            speed = float(np.linalg.norm(state.linear_velocities[at]))
            reach = self._interval * (speed + radius * float(np.linalg.norm(state.angular_velocities[at])))
            self.swept[row, 0] = np.minimum(self.swept[row, 0], placed.min(axis=0) - reach)
            self.swept[row, 1] = np.maximum(self.swept[row, 1], placed.max(axis=0) + reach)
        return state

    @property
    def timestep(self) -> float:
        """Length of one step [s]."""
        return self._engine.timestep

    def set_state(self, state: State) -> None:
        """Pass on."""
        self._engine.set_state(state)

    def step(self, count: int = 1) -> None:
        """Pass on."""
        self._engine.step(count)

    def apply_wrench(self, name: str, force: np.ndarray, torque: np.ndarray) -> None:
        """Pass on."""
        self._engine.apply_wrench(name, force, torque)

    def set_gravity(self, gravity: tuple[float, float, float]) -> None:
        """Pass on."""
        self._engine.set_gravity(gravity)

    def inertials(self) -> dict[str, MassProperties]:
        """Pass on."""
        return self._engine.inertials()

    def health(self) -> tuple[str, ...]:
        """Pass on."""
        return self._engine.health()

    def close(self) -> None:
        """Pass on."""
        self._engine.close()
