"""PyBullet as an engine. Quaternions (x, y, z, w) live in this file only.

PyBullet has many defaults that make a sound object fail or a bad one pass; each is set here to what was measured to
be right: scale-aware time steps, hulls through one multi-group OBJ file (arrays of shapes keep 16), file names that
are the content (shapes are cached by name), explicit inertia in its principal frame, small hull margins, no damping,
no sleep, no cap on velocities, and a new client for every restart (cached contact impulses outlive a reset of poses).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.spatial import cKDTree

from physics.engine import GROUND, Contacts, Placement, State, World
from physics.errors import EngineError
from physics.friction_fit import FrictionFit, Surface, fit_friction
from physics.mass import MassProperties
from physics.materials import Material
from physics.model import Body, Joint, JointKind
from physics.pose import Pose
from physics.pybullet_files import write_hulls


@dataclass(frozen=True)
class PybulletConfig:
    """Settings of the engine."""

    max_timestep: float = 1 / 240
    """Longest step [s]; PyBullet's default."""
    timestep_share: float = 0.03
    """Step over sqrt(L/g), L the largest extent of the smallest body [1]; at PyBullet's default step a cube of
    20 mm rocks for ever, at this share none of 168 drops of 2 to 300 mm did."""
    margin_share: float = 1e-4
    """Collision margin over L of the body [1]; PyBullet's default is 1 mm, on which small bodies hover."""
    solver_iterations: int = 100
    """Iterations of the contact solver per step [1]."""
    restitution: bool = False
    """True to let contacts rebound by the pair's restitution; verdicts are made without rebound."""
    rebound_speed: float = 0.01
    """Approach speed below which contacts do not rebound [m/s], where restitution is on."""
    max_speed: float = 1e6
    """Cap on every velocity coordinate [m/s, rad/s]; PyBullet's default of 100 rad/s is less than small bodies reach."""
    hull_tolerance: float = 1e-5
    """How far, over L, a hull's vertex may lie from where PyBullet has it [1]; its OBJ reader works in float32."""

    def __post_init__(self) -> None:
        if not 0 < self.max_timestep <= 1 / 60 or not 0 < self.timestep_share <= 0.1:
            raise EngineError(
                f"time step up to {self.max_timestep} s and share {self.timestep_share}: expected 0..1/60 s and 0..0.1"
            )
        if not 0 <= self.margin_share <= 0.005:
            raise EngineError(f"margin_share is {self.margin_share}, expected 0..0.005 of L")


@dataclass(frozen=True, eq=False)
class _Loaded:
    """One body as the engine holds it."""

    name: str
    body: Body
    unique: int
    """PyBullet's body number."""
    link: int
    """PyBullet's link number; -1 is the base."""
    margin: float
    """Collision margin [m]."""
    X_BP: Pose
    """Inertial frame P in the body frame B, as read back."""
    joint: Joint | None = None
    parent: str = ""


def open_pybullet(world: World, *, timestep_scale: float = 1.0, config: PybulletConfig | None = None) -> PybulletEngine:
    """Load a world into a new PyBullet client.

    Args:
        world: Bodies with hulls and mass properties.
        timestep_scale: Factor on the time step, such as 0.5 for check D11 [1].
        config: Settings; the defaults are those of verdicts.

    Raises:
        EngineError: The world has a body without hulls, or PyBullet refused it.
    """
    return PybulletEngine(world, timestep_scale=timestep_scale, config=config or PybulletConfig())


class PybulletEngine:
    """A world in a private DIRECT client; close it, or use it as a context manager."""

    name = "pybullet"

    def __init__(self, world: World, *, timestep_scale: float, config: PybulletConfig) -> None:
        import pybullet

        self._p: Any = pybullet
        self._world = world
        self._config = config
        self.version = version("pybullet")
        free = [body for item in world.placements if not item.fixed for body in item.model.bodies]
        self._timestep = choose_timestep([body.size for body in free], world.gravity, config) * timestep_scale
        if not self._timestep > 0:
            raise EngineError(f"timestep_scale is {timestep_scale}, expected > 0")
        self._fit, self._rebounds = fit_surfaces(world, config)
        self._gravity = world.gravity
        self._warnings: dict[str, None] = {}
        self._steps = 0
        self._client = -1
        self._folder = tempfile.TemporaryDirectory(prefix="scenegen_pybullet_")
        self._build()

    def __enter__(self) -> PybulletEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def timestep(self) -> float:
        """Length of one step [s]."""
        return self._timestep

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """What friction of the pairs this engine cannot represent, one line with numbers each."""
        return self._fit.shortfalls

    @property
    def largest_shortfall(self) -> float:
        """Largest share by which a pair's sliding friction lies below its value [1]."""
        return self._fit.largest_shortfall

    def set_state(self, state: State) -> None:
        """Rebuild the world in a new client with the bodies of `state` at its poses and velocities.

        Moving bodies in place would keep the impulses of their old contacts (bullet3 issue #2442).
        """
        names = [item.name for item in self._free]
        if sorted(state.names) != sorted(names):
            raise EngineError(f"state has bodies {sorted(state.names)}, the world has {sorted(names)}")
        self._build()
        self._steps = round(state.time / self._timestep)
        self._time_offset = state.time - self._steps * self._timestep
        rows = {name: row for row, name in enumerate(state.names)}
        for item in self._free:
            row = rows[item.name]
            if item.link < 0:
                self._set_base(item, state.pose(item.name), state.linear_velocities[row], state.angular_velocities[row])
            else:
                self._set_joint(item, state, rows)

    def step(self, count: int = 1) -> None:
        """Advance by `count` steps; not a number in any pose ends in `health`."""
        for _ in range(count):
            self._p.stepSimulation(physicsClientId=self._client)
        self._steps += count

    def state(self) -> State:
        """Return the poses of the body frames and the velocities of the centres of mass."""
        poses, linear, angular = [], [], []
        for item in self._free:
            pose, v, w = self._read(item)
            poses.append(pose.compose(item.X_BP.inverse()))
            linear.append(v)
            angular.append(w)
        count = len(self._free)
        return State(
            self._steps * self._timestep + self._time_offset,
            tuple(item.name for item in self._free),
            np.array([pose.position for pose in poses]).reshape(count, 3),
            np.array([pose.quaternion for pose in poses]).reshape(count, 4),
            np.array(linear).reshape(count, 3),
            np.array(angular).reshape(count, 3),
        )

    def contacts(self) -> Contacts:
        """Return the contact points of the last step; distances are between bare surfaces, margins removed."""
        rows = self._p.getContactPoints(physicsClientId=self._client)
        if rows is None:
            self._warnings["contact points could not be read"] = None
            rows = ()
        a = [self._owner[row[1], row[3]] for row in rows]
        b = [self._owner[row[2], row[4]] for row in rows]
        margins = np.array([self._margin[row[1], row[3]] + self._margin[row[2], row[4]] for row in rows])
        normal_on_b = _vectors(row[7] for row in rows)
        push = np.array([row[9] for row in rows]).reshape(-1, 1)
        lateral = [np.array([row[k] for row in rows]).reshape(-1, 1) for k in (10, 12)]
        force_on_a = (
            push * normal_on_b
            + lateral[0] * _vectors(row[11] for row in rows)
            + lateral[1] * _vectors(row[13] for row in rows)
        )
        return Contacts(
            tuple(a),
            tuple(b),
            (_vectors(row[5] for row in rows) + _vectors(row[6] for row in rows)) / 2,
            -normal_on_b,
            np.array([row[8] for row in rows]).reshape(-1) + margins.reshape(-1),
            -force_on_a,
        )

    def apply_wrench(self, name: str, force: np.ndarray, torque: np.ndarray) -> None:
        """Apply a force [N] at the centre of mass and a torque [N m], in W, during the next step only."""
        item = self._find(name)
        pose, _, _ = self._read(item)
        p, world = self._p, self._p.WORLD_FRAME
        p.applyExternalForce(
            item.unique, item.link, list(force), list(pose.position), world, physicsClientId=self._client
        )
        p.applyExternalTorque(item.unique, item.link, list(torque), world, physicsClientId=self._client)

    def set_gravity(self, gravity: tuple[float, float, float]) -> None:
        """Set gravity in W [m/s^2] from the next step on; it outlives `set_state`."""
        self._gravity = gravity
        self._p.setGravity(*gravity, physicsClientId=self._client)

    def inertials(self) -> dict[str, MassProperties]:
        """Return mass, centre of mass and inertia of each free body, in B, as PyBullet holds them."""
        result = {}
        for item in self._free:
            info = self._p.getDynamicsInfo(item.unique, item.link, physicsClientId=self._client)
            turned = MassProperties(info[0], np.zeros(3), np.diag(info[2]))
            result[item.name] = turned.moved(_pose(info[3], info[4]))
        return result

    def health(self) -> tuple[str, ...]:
        """Return every warning since loading; empty when healthy."""
        for item in self._free:
            base = self._p.getBasePositionAndOrientation(item.unique, physicsClientId=self._client)
            speed = self._p.getBaseVelocity(item.unique, physicsClientId=self._client)
            if not np.isfinite(np.concatenate([*base, *speed])).all():
                self._warnings[f"state of {item.name!r} is not finite"] = None
        return tuple(self._warnings)

    def close(self) -> None:
        """Disconnect the client and remove its files."""
        if self._client >= 0:
            self._p.disconnect(physicsClientId=self._client)
            self._client = -1
        self._folder.cleanup()

    # Building

    def _build(self) -> None:
        """Load everything into a new client, in the same order every time."""
        if self._client >= 0:
            self._p.disconnect(physicsClientId=self._client)
        self._client = self._p.connect(self._p.DIRECT)
        if self._client < 0:
            raise EngineError("PyBullet gave no client; close engines that are no longer used")
        self._p.setPhysicsEngineParameter(
            fixedTimeStep=self._timestep,
            numSolverIterations=self._config.solver_iterations,
            enableFileCaching=0,
            deterministicOverlappingPairs=1,
            restitutionVelocityThreshold=self._config.rebound_speed,
            physicsClientId=self._client,
        )
        self._p.setGravity(*self._gravity, physicsClientId=self._client)
        self._free: list[_Loaded] = []
        self._owner: dict[tuple[int, int], str] = {}
        self._margin: dict[tuple[int, int], float] = {}
        self._steps, self._time_offset = 0, 0.0
        if self._world.ground is not None:
            shape = self._p.createCollisionShape(
                self._p.GEOM_PLANE, planeNormal=[0, 0, 1], physicsClientId=self._client
            )
            self._register(self._create(0.0, shape, Pose.identity(), Pose.identity()), -1, GROUND, 0.0)
        for placement in self._world.placements:
            if placement.fixed:
                self._load_fixed(placement)
            else:
                self._load_free(placement)

    def _create(self, mass: float, shape: int, X_WP: Pose, X_BP: Pose, **links: Any) -> int:
        unique = self._p.createMultiBody(
            baseMass=mass,
            baseCollisionShapeIndex=shape,
            basePosition=X_WP.position.tolist(),
            baseOrientation=_xyzw(X_WP),
            baseInertialFramePosition=X_BP.position.tolist(),
            baseInertialFrameOrientation=_xyzw(X_BP),
            physicsClientId=self._client,
            **links,
        )
        if unique < 0:
            raise EngineError(f"PyBullet refused a body of {mass:g} kg")
        return unique

    def _shape(self, body: Body) -> int:
        if not body.hulls:
            raise EngineError(f"body {body.name!r} has no hulls; decompose it before loading")
        path = write_hulls([hull.mesh for hull in body.hulls], Path(self._folder.name))
        shape = self._p.createCollisionShape(
            self._p.GEOM_MESH, fileName=str(path), meshScale=[1, 1, 1], physicsClientId=self._client
        )
        if shape < 0:
            raise EngineError(f"PyBullet refused the {len(body.hulls)} hulls of body {body.name!r}")
        return shape

    def _register(self, unique: int, link: int, name: str, margin: float) -> None:
        """Set everything about contact that PyBullet defaults otherwise, for one body."""
        self._owner[unique, link] = name
        self._margin[unique, link] = margin
        friction = self._fit.coefficients[name]
        self._p.changeDynamics(
            unique,
            link,
            lateralFriction=friction.sliding,
            spinningFriction=friction.torsional,
            rollingFriction=friction.rolling,
            restitution=self._rebounds[name],
            linearDamping=0.0,
            angularDamping=0.0,
            jointDamping=0.0,
            maxJointVelocity=self._config.max_speed,
            activationState=self._p.ACTIVATION_STATE_DISABLE_SLEEPING,
            physicsClientId=self._client,
        )
        if name != GROUND:
            self._p.changeDynamics(unique, link, collisionMargin=margin, physicsClientId=self._client)

    def _load_fixed(self, placement: Placement) -> None:
        poses = {placement.model.root.name: placement.X_WB}
        for joint in _ordered(placement.model.joints, placement.model.root.name):
            poses[joint.child] = poses[joint.parent].compose(joint.X_PC)
        for body in placement.model.bodies:
            unique = self._create(0.0, self._shape(body), poses[body.name], Pose.identity())
            self._register(unique, -1, placement.name, self._config.margin_share * body.size)
            self._verify_hulls(placement.name, body, unique, -1, Pose.identity())

    def _load_free(self, placement: Placement) -> None:
        model = placement.model
        bodies = {body.name: body for body in model.bodies}
        joints = _ordered(model.joints, model.root.name)
        frames = {name: body.inertial.principal_pose for name, body in bodies.items()}
        order = {model.root.name: -1} | {joint.child: number for number, joint in enumerate(joints)}
        root = frames[model.root.name]
        kinds = {
            JointKind.FIXED: self._p.JOINT_FIXED,
            JointKind.REVOLUTE: self._p.JOINT_REVOLUTE,
            JointKind.PRISMATIC: self._p.JOINT_PRISMATIC,
        }
        links = {
            "linkMasses": [bodies[joint.child].inertial.mass for joint in joints],
            "linkCollisionShapeIndices": [self._shape(bodies[joint.child]) for joint in joints],
            "linkVisualShapeIndices": [-1] * len(joints),
            "linkPositions": [joint.X_PC.position.tolist() for joint in joints],
            "linkOrientations": [_xyzw(joint.X_PC) for joint in joints],
            "linkInertialFramePositions": [frames[joint.child].position.tolist() for joint in joints],
            "linkInertialFrameOrientations": [_xyzw(frames[joint.child]) for joint in joints],
            "linkParentIndices": [order[joint.parent] + 1 for joint in joints],
            "linkJointTypes": [kinds[joint.kind] for joint in joints],
            "linkJointAxis": [joint.axis.tolist() for joint in joints],
        }
        unique = self._create(
            bodies[model.root.name].inertial.mass,
            self._shape(model.root),
            placement.X_WB.compose(root),
            root,
            **(links if joints else {}),
        )
        by_child = {joint.child: joint for joint in joints}
        for name, link in order.items():
            self._finish(placement, bodies[name], unique, link, by_child.get(name))
        self._set_base(self._find(placement.name), placement.X_WB, np.zeros(3), np.zeros(3))

    def _finish(self, placement: Placement, body: Body, unique: int, link: int, joint: Joint | None) -> None:
        """Set inertia and contact of one body of a model, and read its inertial frame back."""
        name = placement.name if link < 0 else f"{placement.name}/{body.name}"
        margin = self._config.margin_share * body.size
        self._register(unique, link, name, margin)
        frame = body.inertial.principal_pose
        moments = np.diag(frame.rotation.T @ body.inertial.inertia @ frame.rotation)
        self._p.changeDynamics(
            unique,
            link,
            mass=body.inertial.mass,
            localInertiaDiagonal=moments.tolist(),
            physicsClientId=self._client,
        )
        info = self._p.getDynamicsInfo(unique, link, physicsClientId=self._client)
        parent = ""
        if joint is not None:
            parent = placement.name if joint.parent == placement.model.root.name else f"{placement.name}/{joint.parent}"
            self._free_joint(unique, link, joint)
        X_BP = _pose(info[3], info[4])
        self._free.append(_Loaded(name, body, unique, link, margin, X_BP, joint, parent))
        self._verify_hulls(name, body, unique, link, X_BP)

    def _free_joint(self, unique: int, link: int, joint: Joint) -> None:
        """Set a joint's limits and switch off the motor that PyBullet puts into every joint."""
        if joint.kind is JointKind.FIXED:
            return
        self._p.changeDynamics(
            unique,
            link,
            jointLowerLimit=joint.lower,
            jointUpperLimit=joint.upper,
            physicsClientId=self._client,
        )
        self._p.setJointMotorControl2(unique, link, self._p.VELOCITY_CONTROL, force=0.0, physicsClientId=self._client)

    def _verify_hulls(self, name: str, body: Body, unique: int, link: int, X_BP: Pose) -> None:
        """Compare the vertices that PyBullet collides with against those of the hulls, in the inertial frame; a difference is a warning."""
        count, held = self._p.getMeshData(
            unique, link, flags=self._p.MESH_DATA_SIMULATION_MESH, physicsClientId=self._client
        )
        given = X_BP.inverse().apply(np.vstack([hull.mesh.vertices for hull in body.hulls]))
        if count == 0:
            self._warnings[f"{name}: PyBullet holds no hull vertices, expected {len(given)}"] = None
            return
        held = np.asarray(held, dtype=np.float64).reshape(-1, 3)
        off = cKDTree(held).query(given)[0].max() / body.size
        if off > self._config.hull_tolerance or count != len(given):
            self._warnings[
                f"{name}: PyBullet collides with {count} hull vertices, expected {len(given)}; "
                f"one is {off:.2g} L from its place"
            ] = None

    # Reading and writing single bodies

    def _find(self, name: str) -> _Loaded:
        for item in self._free:
            if item.name == name:
                return item
        raise EngineError(f"no free body {name!r}; bodies: {[item.name for item in self._free]}")

    def _read(self, item: _Loaded) -> tuple[Pose, Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """Return X_WP of the inertial frame, velocity of the centre of mass and angular velocity."""
        p, client = self._p, self._client
        if item.link < 0:
            position, orientation = p.getBasePositionAndOrientation(item.unique, physicsClientId=client)
            linear, angular = p.getBaseVelocity(item.unique, physicsClientId=client)
        else:
            row = p.getLinkState(
                item.unique, item.link, computeLinkVelocity=1, computeForwardKinematics=1, physicsClientId=client
            )
            position, orientation, linear, angular = row[0], row[1], row[6], row[7]
        if not np.isfinite([*position, *orientation, *linear, *angular]).all():
            self._warnings[f"state of {item.name!r} is not finite"] = None
            raise EngineError(f"PyBullet: state of {item.name!r} is not finite at t = {self._steps * self._timestep} s")
        return _pose(position, orientation), np.array(linear), np.array(angular)

    def _set_base(self, item: _Loaded, X_WB: Pose, linear: np.ndarray, angular: np.ndarray) -> None:
        X_WP = X_WB.compose(item.X_BP)
        self._p.resetBasePositionAndOrientation(
            item.unique, X_WP.position.tolist(), _xyzw(X_WP), physicsClientId=self._client
        )
        self._p.resetBaseVelocity(item.unique, list(linear), list(angular), physicsClientId=self._client)

    def _set_joint(self, item: _Loaded, state: State, rows: dict[str, int]) -> None:
        """Set a joint's coordinate and rate from the poses and velocities of its two bodies."""
        joint = item.joint
        if joint is None or joint.kind is JointKind.FIXED:
            return
        X_WC, X_WP = state.pose(item.name), state.pose(item.parent)
        moved = joint.X_PC.inverse().compose(X_WP.inverse().compose(X_WC))
        axis = X_WC.rotate(joint.axis)
        row, parent = rows[item.name], rows[item.parent]
        spin = state.angular_velocities[row] - state.angular_velocities[parent]
        if joint.kind is JointKind.REVOLUTE:
            coordinate = 2 * np.arctan2(moved.quaternion[1:] @ joint.axis, moved.quaternion[0])
            coordinate = (coordinate + np.pi) % (2 * np.pi) - np.pi
            rate = float(axis @ spin)
        else:
            coordinate = float(moved.position @ joint.axis)
            arm = X_WC.apply(item.X_BP.position) - X_WP.apply(self._find(item.parent).X_BP.position)
            drag = np.cross(state.angular_velocities[parent], arm)
            rate = float(axis @ (state.linear_velocities[row] - state.linear_velocities[parent] - drag))
        self._p.resetJointState(item.unique, item.link, float(coordinate), rate, physicsClientId=self._client)


def choose_timestep(sizes: Sequence[float], gravity: Sequence[float], config: PybulletConfig) -> float:
    """Return the step for bodies of these largest extents [m]: a share of sqrt(L/g), capped [s]."""
    g = float(np.linalg.norm(gravity))
    if not sizes or g == 0:
        return config.max_timestep
    return min(config.max_timestep, config.timestep_share * float(np.sqrt(min(sizes) / g)))


def fit_surfaces(world: World, config: PybulletConfig) -> tuple[FrictionFit, dict[str, float]]:
    """Return friction coefficients, and coefficients of restitution, of every body in the world by name.

    PyBullet multiplies restitutions; the square root on each side gives the geometric mean that the pair is defined
    to have. A body of several materials takes the smallest.
    """
    surfaces: dict[str, Surface] = {}
    if world.ground is not None:
        surfaces[GROUND] = Surface((world.ground,), static=True)
    for placement in world.placements:
        for body in placement.model.bodies:
            name = placement.name
            if not placement.fixed and body is not placement.model.root:
                name = f"{placement.name}/{body.name}"
            known: tuple[Material, ...] = surfaces[name].materials if name in surfaces else ()
            own = tuple(body.hull_material(hull) for hull in body.hulls)
            surfaces[name] = Surface(tuple(dict.fromkeys(known + own)), static=placement.fixed)
    rebounds = {
        name: float(np.sqrt(min(m.restitution for m in surface.materials))) if config.restitution else 0.0
        for name, surface in surfaces.items()
    }
    return fit_friction(surfaces), rebounds


def _ordered(joints: Sequence[Joint], root: str) -> list[Joint]:
    """Return joints with every parent before its children."""
    known, result, left = {root}, [], list(joints)
    while left:
        ready = [joint for joint in left if joint.parent in known]
        result += ready
        known |= {joint.child for joint in ready}
        left = [joint for joint in left if joint not in ready]
    return result


def _pose(position: Sequence[float], xyzw: Sequence[float]) -> Pose:
    x, y, z, w = xyzw
    return Pose.from_quaternion(np.array([w, x, y, z]), np.array(position))


def _xyzw(pose: Pose) -> list[float]:
    w, x, y, z = pose.quaternion.tolist()
    return [x, y, z, w]


def _vectors(rows: Any) -> Float64[np.ndarray, "C 3"]:
    return np.array(list(rows), dtype=np.float64).reshape(-1, 3)
