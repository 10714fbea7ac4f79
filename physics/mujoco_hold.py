"""One MuJoCo model in which bodies are let go, held fast or left out, without compiling it again.

A heap is poured by letting some bodies fall while those below are held. MuJoCo fixes what moves when it compiles, which
takes longer than the fall of a layer. Here a held body keeps its joint and gets an inertia that nothing moves, and its
contacts with other held bodies are not looked for: what is still costs next to nothing. This engine generates states.
It judges none.
"""

# The bindings of MuJoCo are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float64

from physics.drop_mujoco import MujocoEngine
from physics.engine import World
from physics.mujoco_spec import MujocoConfig, compile_world

HEAVY = 1e4
"""Armature of what is held [kg, kg m^2]: what falls on it moves it by micrometres, and it is put back after each call
of `step`. At 1e9 the solver loses what is light beside it, and bodies burst apart."""
FREE, HELD, ABSENT = (1, 3), (2, 0), (0, 0)
"""Contact type and affinity (bits): what is free meets what is free or held and all furniture, which is (1, 1)."""

HEAP = MujocoConfig(timestep=0.002, timestep_per_tau=0.06)
"""Twice the step of verdicts, and their contacts: what rests on softer ones starts to move on harder ones.

The solver stays Newton's: on heaps of 120 objects conjugate gradients did not converge within 100 iterations (nor
within 400), and let the heaps burst."""


def open_held(world: World, config: MujocoConfig = HEAP) -> HeldMujoco:
    """Load a world into MuJoCo, all of its bodies free at first.

    Raises:
        EngineError: MuJoCo refuses the world.
    """
    return HeldMujoco(world, compile_world(world, timestep_scale=1.0, config=config))


class HeldMujoco(MujocoEngine):
    """A MuJoCo world whose free bodies can be held or left out."""

    def __init__(self, world: World, model: object):
        super().__init__(world, model)
        self.names = tuple(free.name for free in self._free)
        self._row_of = {name: row for row, name in enumerate(self.names)}
        self._bodies = np.array([free.body for free in self._free], dtype=int)
        self._dofs = np.array([free.qvel for free in self._free], dtype=int)[:, None] + np.arange(6)
        self._owner = np.full(self._model.nbody, -1)
        self._owner[self._bodies] = np.arange(len(self._free))
        self._geom_row = self._owner[self._model.geom_bodyid]
        self._weights = self._model.body_invweight0[self._bodies].copy()
        self._inertias = self._model.dof_M0[self._dofs].copy()
        places = np.array([free.qpos for free in self._free], dtype=int)[:, None] + np.arange(7)
        self._places, self._held_places = places, places[:0]
        self._held_dofs, self._kept = self._dofs[:0], np.zeros((0, 7))

    @property
    def time(self) -> float:
        """Simulated time [s]."""
        return float(self._data.time)

    def arrange(self, *, free: Collection[str], held: Collection[str]) -> None:
        """Let some bodies go, hold some where they are, and leave out all others."""
        model, data = self._model, self._data
        role = np.zeros(len(self._free), dtype=int)  # 0: absent
        role[self._rows(free)], role[self._rows(held)] = 2, 1
        bits = np.array([ABSENT, HELD, FREE])[role]
        mine = self._geom_row >= 0
        model.geom_contype[mine], model.geom_conaffinity[mine] = bits[self._geom_row[mine]].T
        model.body_contype[self._bodies], model.body_conaffinity[self._bodies] = bits.T
        still = role < 2
        model.dof_armature[self._dofs] = np.where(still, HEAVY, 0.0)[:, None]
        # Where a body's frame is its principal one, its inertia is taken from here, armature and all.
        model.dof_M0[self._dofs] = self._inertias + np.where(still, HEAVY, 0.0)[:, None]
        # The contact spring of a pair is tuned by how easily both move.
        model.body_invweight0[self._bodies] = np.where(still[:, None], 0.0, self._weights)
        self._held_places, self._held_dofs = self._places[still], self._dofs[still]
        self._kept = data.qpos[self._held_places]
        data.qvel[self._held_dofs] = 0.0
        data.qacc_warmstart[self._held_dofs] = 0.0

    def step(self, count: int = 1) -> None:
        """Advance by `count` steps, then put back what is held."""
        super().step(count)
        self._data.qpos[self._held_places] = self._kept
        self._data.qvel[self._held_dofs] = 0.0

    def speeds(self, names: Sequence[str]) -> Float64[np.ndarray, "N 2"]:
        """Return the speed of each body's centre of mass [m/s] and its angular velocity [rad/s]."""
        data, rows = self._data, self._rows(names)
        moved = data.qvel[self._dofs[rows]]
        bodies = self._bodies[rows]
        turned = data.xmat[bodies].reshape(-1, 3, 3)
        spin = np.einsum("nij,nj->ni", turned, moved[:, 3:])
        linear = moved[:, :3] + np.cross(spin, data.xipos[bodies] - data.xpos[bodies])
        return np.stack([np.linalg.norm(linear, axis=1), np.linalg.norm(spin, axis=1)], axis=1)

    def touching(self, names: Collection[str]) -> set[str]:
        """Return the bodies that touch one of these, as far as contacts were looked for in the last step."""
        contacts = self._data.contact
        near = np.reshape(contacts.geom, (-1, 2))[contacts.dist <= 0]
        rows = self._owner[self._model.geom_bodyid[near]]
        asked = np.zeros(len(self._free) + 1, dtype=bool)  # the last one stands for furniture, whose row is -1
        asked[self._rows(names)] = True
        found = rows[asked[rows].any(axis=1)]
        return {self.names[row] for row in np.unique(found[found >= 0]).tolist()} - set(names)

    def _rows(self, names: Collection[str]) -> np.ndarray:
        return np.array([self._row_of[name] for name in names], dtype=int)
