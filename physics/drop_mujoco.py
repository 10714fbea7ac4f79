"""MuJoCo behind the engine contract. This file owns `mujoco`; `mujoco_spec` builds the model that it runs."""

# The bindings of MuJoCo are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physics.engine import GROUND, Contacts, State, World
from physics.errors import EngineError
from physics.mass import MassProperties
from physics.model import Joint, JointKind
from physics.mujoco_spec import MujocoConfig, body_name, compile_world
from physics.pose import Pose


def open_mujoco(world: World, *, timestep_scale: float = 1.0, config: MujocoConfig | None = None) -> MujocoEngine:
    """Load a world into MuJoCo.

    Args:
        world: What to simulate.
        timestep_scale: Factor on the engine's own time step, for convergence tests.
        config: Solver and contact settings.

    Raises:
        EngineError: MuJoCo refuses the world (its own words are in the text).
    """
    return MujocoEngine(world, compile_world(world, timestep_scale=timestep_scale, config=config or MujocoConfig()))


def load_mujoco_file(path: Path, world: World) -> MujocoEngine:
    """Load an MJCF file as any user of stock MuJoCo would, as an engine on the world that it was written from.

    Raises:
        EngineError: MuJoCo cannot load the file, or it lacks a body of the world.
    """
    import mujoco

    try:
        model = mujoco.MjModel.from_xml_path(os.fspath(path))
        return MujocoEngine(world, model)
    except (ValueError, KeyError) as error:
        raise EngineError(f"mujoco cannot load {path}: {' '.join(str(error).split())}") from error


@dataclass(frozen=True)
class _FreeBody:
    """Where one free root body lives in MuJoCo's arrays."""

    name: str
    body: int
    qpos: int
    qvel: int


class MujocoEngine:
    """One world in MuJoCo: sleep off, autoreset off, explicit inertials, every warning counted."""

    name = "mujoco"
    limits = ("MuJoCo has no coefficient of restitution: impacts are inelastic, bounce height is not tested here",)
    """What this engine cannot represent."""

    def __init__(self, world: World, model: Any):
        import mujoco

        self.version = mujoco.__version__
        self._mujoco = mujoco
        self._model = model
        self._data = mujoco.MjData(model)
        self._free = tuple(self._free_body(p.name) for p in world.placements if not p.fixed)
        self._names = self._contact_names(world)
        self._children: tuple[tuple[str, Joint], ...] = tuple(
            (p.name, joint) for p in world.placements if not p.fixed for joint in p.model.joints
        )
        self._call(mujoco.mj_forward)
        self._wrenched = False
        self._past: dict[int, int] = {}

    @property
    def timestep(self) -> float:
        """Length of one step [s]."""
        return float(self._model.opt.timestep)

    def set_state(self, state: State) -> None:
        """Put bodies at the poses and velocities of `state` and forget warm starts and contacts.

        Bodies that `state` does not name keep theirs. A body that hangs on a joint takes the coordinate and speed that
        its row has along the joint's axis.
        """
        mujoco, model, data = self._mujoco, self._model, self._data
        known = {free.name: free for free in self._free}
        hung = {body_name(placement, joint.child): (placement, joint) for placement, joint in self._children}
        unknown = [name for name in state.names if name not in known and name not in hung]
        if unknown:
            raise EngineError(f"mujoco: no moving body {unknown[0]!r}; moving bodies: {[*known, *hung]}")
        kept = data.qpos.copy(), data.qvel.copy()
        self._past = self._warning_counts()  # mj_resetData forgets them; health() must not
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:] = kept
        data.time = state.time
        self._wrenched = False
        for row, name in enumerate(state.names):
            if name in known:
                self._put(known[name], state, row)
        self._call(mujoco.mj_forward)
        for name, (placement, joint) in hung.items():
            if name in state.names and joint.kind is not JointKind.FIXED:
                self._put_joint(placement, joint, state, state.names.index(name))
                self._call(mujoco.mj_forward)

    def step(self, count: int = 1) -> None:
        """Advance by `count` steps; a wrench acts during the first of them only."""
        if self._wrenched and count > 0:
            self._call(self._mujoco.mj_step)
            self._data.xfrc_applied[:] = 0.0
            self._wrenched = False
            count -= 1
        if count > 0:
            self._call(self._mujoco.mj_step, count)

    def state(self) -> State:
        """Return poses and velocities of the free root bodies and of the bodies that hang on them."""
        data = self._data
        rows = [self._row(free) for free in self._free]
        if self._children:  # mj_step leaves the poses of bodies behind by one step; contacts stay as they are
            for update in (self._mujoco.mj_kinematics, self._mujoco.mj_comPos, self._mujoco.mj_comVel):
                update(self._model, data)
        rows += [self._child_row(placement, joint) for placement, joint in self._children]
        names, positions, quaternions, linear, angular = zip(*rows, strict=True) if rows else ((), (), (), (), ())
        return State(
            float(data.time),
            tuple(names),
            np.reshape(positions, (-1, 3)),
            np.reshape(quaternions, (-1, 4)),
            np.reshape(linear, (-1, 3)),
            np.reshape(angular, (-1, 3)),
        )

    def contacts(self) -> Contacts:
        """Return the contact points of the last step, with the force that a exerts on b."""
        model, data = self._model, self._data
        count = data.ncon
        contact = data.contact
        frames = np.reshape(contact.frame, (count, 3, 3)) if count else np.zeros((0, 3, 3))
        wrench, local = np.zeros(6), np.zeros((count, 3))
        for i in range(count):
            self._mujoco.mj_contactForce(model, data, i, wrench)
            local[i] = wrench[:3]
        bodies = model.geom_bodyid[np.reshape(contact.geom, (count, 2))] if count else np.zeros((0, 2), int)
        return Contacts(
            tuple(self._names[b] for b in bodies[:, 0]),
            tuple(self._names[b] for b in bodies[:, 1]),
            np.array(contact.pos, dtype=np.float64).reshape(count, 3),
            frames[:, 0].copy(),
            np.array(contact.dist, dtype=np.float64).reshape(count),
            np.einsum("cij,ci->cj", frames, local),
        )

    def apply_wrench(self, name: str, force: np.ndarray, torque: np.ndarray) -> None:
        """Apply a force [N] at the centre of mass and a torque [N m], in W, during the next step only."""
        # xfrc_applied acts at the body's centre of mass (MuJoCo manual, Computation: Applied force).
        if name not in {*(free.name for free in self._free), *(body_name(p, j.child) for p, j in self._children)}:
            raise EngineError(f"mujoco: no moving body {name!r}; moving bodies: {[free.name for free in self._free]}")
        body = self._model.body(name).id
        self._data.xfrc_applied[body, :3] += force
        self._data.xfrc_applied[body, 3:] += torque
        self._wrenched = True

    def set_gravity(self, gravity: tuple[float, float, float]) -> None:
        """Set gravity in W [m/s^2] from the next step on."""
        self._model.opt.gravity[:] = gravity

    def inertials(self) -> dict[str, MassProperties]:
        """Return mass, centre of mass and inertia as MuJoCo compiled them, for every moving body."""
        names = [free.name for free in self._free]
        names += [body_name(placement, joint.child) for placement, joint in self._children]
        return {name: self._inertial(self._model.body(name).id) for name in names}

    def health(self) -> tuple[str, ...]:
        """Return every MuJoCo warning since loading, and any value that is no number."""
        data = self._data
        found = [
            f"{self._mujoco.mjtWarning(kind).name}: {count} times" for kind, count in self._warning_counts().items()
        ]
        if not (np.isfinite(data.qpos).all() and np.isfinite(data.qvel).all() and np.isfinite(data.qacc).all()):
            found.append("the state holds values that are no numbers")
        return tuple(found)

    def close(self) -> None:
        """Release MuJoCo's memory."""
        del self._data, self._model

    def _call(self, function: Any, *arguments: int) -> None:
        """Call a function of MuJoCo on the world.

        Raises:
            EngineError: MuJoCo gives up, for example because its stack is full.
        """
        try:
            function(self._model, self._data, *arguments)
        except self._mujoco.FatalError as error:
            raise EngineError(
                f"mujoco gave up at {self._data.time:.4g} s: {' '.join(str(error).split())}. "
                "When it is out of memory, raise memory_per_geom or put fewer bodies into one world."
            ) from error

    def _warning_counts(self) -> dict[int, int]:
        """Return how often each kind of warning was raised since loading."""
        counts = dict(self._past)
        for kind, warning in enumerate(self._data.warning):
            if warning.number > 0:
                counts[kind] = counts.get(kind, 0) + int(warning.number)
        return dict(sorted(counts.items()))

    def _free_body(self, name: str) -> _FreeBody:
        body = self._model.body(name)
        joint = self._model.joint(int(body.jntadr[0]))
        return _FreeBody(name, int(body.id), int(joint.qposadr[0]), int(joint.dofadr[0]))

    def _contact_names(self, world: World) -> list[str]:
        """Return the name under which each MuJoCo body appears in contacts."""
        names = [self._model.body(i).name for i in range(self._model.nbody)]
        names[0] = GROUND
        return names

    def _put(self, free: _FreeBody, state: State, row: int) -> None:
        """Write one pose and velocity. A free joint wants the origin's velocity in W, the spin in B."""
        data = self._data
        X_WB = Pose.from_quaternion(state.quaternions[row], state.positions[row])
        spin = state.angular_velocities[row]
        arm = X_WB.rotate(self._model.body_ipos[free.body])
        data.qpos[free.qpos : free.qpos + 3] = X_WB.position
        data.qpos[free.qpos + 3 : free.qpos + 7] = X_WB.quaternion
        data.qvel[free.qvel : free.qvel + 3] = state.linear_velocities[row] - np.cross(spin, arm)
        data.qvel[free.qvel + 3 : free.qvel + 6] = X_WB.inverse().rotate(spin)

    def _put_joint(self, placement: str, joint: Joint, state: State, row: int) -> None:
        """Write one joint's coordinate and speed from the pose and velocity of its child, whose parent is in place."""
        model, data = self._model, self._data
        address = model.joint(body_name(placement, joint.name))
        child = model.body(body_name(placement, joint.child)).id
        parent = int(model.body_parentid[child])
        X_WP = Pose.from_quaternion(data.xquat[parent], data.xpos[parent])
        X_WC = Pose.from_quaternion(state.quaternions[row], state.positions[row])
        X_CC = X_WP.compose(joint.X_PC).inverse().compose(X_WC)
        axis = X_WC.rotate(joint.axis)
        velocity = np.zeros(6)  # of the parent at its centre of mass, axes of W: rotation, translation
        self._mujoco.mj_objectVelocity(model, data, self._mujoco.mjtObj.mjOBJ_BODY, parent, velocity, 0)
        if joint.kind is JointKind.REVOLUTE:
            w, *v = X_CC.quaternion
            turn = 2 * float(np.arctan2(joint.axis @ v, w))
            coordinate = (turn + np.pi) % (2 * np.pi) - np.pi
            speed = float((state.angular_velocities[row] - velocity[:3]) @ axis)
        else:
            coordinate = float(joint.axis @ X_CC.position)
            arm = X_WC.apply(model.body_ipos[child]) - data.xipos[parent]
            carried = velocity[3:] + np.cross(velocity[:3], arm)
            speed = float((state.linear_velocities[row] - carried) @ axis)
        data.qpos[address.qposadr[0]] = coordinate
        data.qvel[address.dofadr[0]] = speed

    def _row(self, free: _FreeBody) -> tuple[str, Any, Any, Any, Any]:
        data = self._data
        position = data.qpos[free.qpos : free.qpos + 3].copy()
        quaternion = data.qpos[free.qpos + 3 : free.qpos + 7].copy()
        norm = np.linalg.norm(quaternion)
        if not (np.isfinite(norm) and norm > 0):
            quaternion = np.full(4, np.nan)
            return free.name, position, quaternion, np.full(3, np.nan), np.full(3, np.nan)
        X_WB = Pose.from_quaternion(quaternion)
        spin = X_WB.rotate(data.qvel[free.qvel + 3 : free.qvel + 6])
        arm = X_WB.rotate(self._model.body_ipos[free.body])
        linear = data.qvel[free.qvel : free.qvel + 3] + np.cross(spin, arm)
        return free.name, position, quaternion / norm, linear, spin

    def _child_row(self, placement: str, joint: Joint) -> tuple[str, Any, Any, Any, Any]:
        data, name = self._data, body_name(placement, joint.child)
        body = self._model.body(name).id
        velocity = np.zeros(6)  # rotation, translation at the centre of mass, axes of W
        self._mujoco.mj_objectVelocity(self._model, data, self._mujoco.mjtObj.mjOBJ_BODY, body, velocity, 0)
        return name, data.xpos[body].copy(), data.xquat[body].copy(), velocity[3:], velocity[:3]

    def _inertial(self, body: int) -> MassProperties:
        model = self._model
        axes = Pose.from_quaternion(model.body_iquat[body]).rotation
        inertia = axes @ np.diag(model.body_inertia[body]) @ axes.T
        return MassProperties(float(model.body_mass[body]), model.body_ipos[body], (inertia + inertia.T) / 2)
