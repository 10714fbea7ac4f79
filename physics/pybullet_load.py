"""Loading of a world into a PyBullet client: shapes, inertia, contact coefficients, joints, and what it kept of them.

Bodies are made by `createMultiBody` from one multi-group OBJ file each: arrays of shapes keep 16, and hulls of URDF
files keep a margin that cannot be changed later (measured: rays meet 1 mm of it whatever is set). Quaternions
(x, y, z, w) live here and in `physics.drop_pybullet` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from physics.engine import GROUND, Placement, World
from physics.errors import EngineError
from physics.friction_fit import FrictionFit, Surface, fit_friction
from physics.materials import Material
from physics.model import Body, Hull, Joint, JointKind
from physics.pose import Pose
from physics.pybullet_files import write_hulls

FAINT = 1e-12
"""Rolling friction that brakes nothing [m]: in maximal coordinates spin is braked only where rolling is."""
NO_TIME = 1e-15
"""A step in which nothing moves [s]."""
APART = 1000.0
"""Distance at which bodies do not touch [m]."""


@dataclass(frozen=True, eq=False)
class LoadedBody:
    """One free body as PyBullet holds it."""

    name: str
    unique: int
    """PyBullet's body number."""
    link: int
    """PyBullet's link number; -1 is the base."""
    X_BP: Pose
    """Inertial frame P in the body frame B."""
    joint: Joint | None = None
    """Joint to the parent, None for a root."""
    parent: str = ""
    """Name of the parent body, empty for a root."""


@dataclass(frozen=True)
class ContactSettings:
    """What every body of a world gets."""

    margin: float
    """Collision margin of hulls [m]."""
    maximal: bool
    """True to give what has no joints maximal coordinates."""
    max_speed: float
    """Cap on velocity coordinates [m/s, rad/s]."""
    hull_tolerance: float
    """How far a hull may differ from what was given, over L of its body [1]."""
    fit: FrictionFit
    """Friction coefficients by body."""
    rebounds: dict[str, float]
    """Coefficients of restitution by body."""


@dataclass
class Loader:
    """Puts bodies into one client, always in the same order, and records what it made."""

    p: Any
    """The pybullet module."""
    client: int
    settings: ContactSettings
    folder: Path
    """Where OBJ files are written."""
    verify: bool
    """True to compare the hulls that PyBullet holds with those given."""
    free: list[LoadedBody] = field(default_factory=list)
    owner: dict[tuple[int, int], str] = field(default_factory=dict)
    """Name by PyBullet's body and link number."""
    margin: dict[tuple[int, int], float] = field(default_factory=dict)
    """Collision margin by PyBullet's body and link number [m]."""
    warnings: list[str] = field(default_factory=list)

    def load(self, world: World) -> None:
        """Load the ground and every placement."""
        if world.ground is not None:
            shape = self.p.createCollisionShape(self.p.GEOM_PLANE, planeNormal=[0, 0, 1], physicsClientId=self.client)
            self._register(self._create(0.0, shape, Pose.identity(), Pose.identity()), -1, GROUND)
        for placement in world.placements:
            if placement.fixed:
                self._load_fixed(placement)
            else:
                self._load_free(placement)
        if self.settings.maximal:
            take_up_inertia(self.p, self.client, self.free)

    def _create(self, mass: float, shape: int, X_WP: Pose, X_BP: Pose, **links: Any) -> int:
        unique = self.p.createMultiBody(
            useMaximalCoordinates=self.settings.maximal and not links,
            baseMass=mass,
            baseCollisionShapeIndex=shape,
            basePosition=X_WP.position.tolist(),
            baseOrientation=xyzw(X_WP),
            baseInertialFramePosition=X_BP.position.tolist(),
            baseInertialFrameOrientation=xyzw(X_BP),
            physicsClientId=self.client,
            **links,
        )
        if unique < 0:
            raise EngineError(f"PyBullet refused a body of {mass:g} kg")
        return unique

    def _shape(self, body: Body) -> int:
        if not body.hulls:
            raise EngineError(f"body {body.name!r} has no hulls; decompose it before loading")
        path = write_hulls([hull.mesh for hull in body.hulls], self.folder)
        shape = self.p.createCollisionShape(
            self.p.GEOM_MESH, fileName=str(path), meshScale=[1, 1, 1], physicsClientId=self.client
        )
        if shape < 0:
            raise EngineError(f"PyBullet refused the {len(body.hulls)} hulls of body {body.name!r}")
        if self.settings.maximal:
            self._thin(shape)
        return shape

    def _thin(self, shape: int) -> None:
        """Set the margin of a shape's hulls.

        `changeDynamics` reaches the hulls of bodies in reduced coordinates only; all bodies made of one shape share
        them, and they stay when a body goes.
        """
        lender = self.p.createMultiBody(baseCollisionShapeIndex=shape, physicsClientId=self.client)
        self.p.changeDynamics(lender, -1, collisionMargin=self.settings.margin, physicsClientId=self.client)
        self.p.removeBody(lender, physicsClientId=self.client)

    def _register(self, unique: int, link: int, name: str) -> None:
        """Set everything about contact that PyBullet defaults otherwise, for one body."""
        self.owner[unique, link] = name
        self.margin[unique, link] = 0.0 if name == GROUND else self.settings.margin
        friction = self.settings.fit.coefficients[name]
        faint = FAINT if self.settings.maximal and friction.torsional > 0 else 0.0
        self.p.changeDynamics(
            unique,
            link,
            lateralFriction=friction.sliding,
            spinningFriction=friction.torsional,
            rollingFriction=max(friction.rolling, faint),
            restitution=self.settings.rebounds[name],
            linearDamping=0.0,
            angularDamping=0.0,
            jointDamping=0.0,
            maxJointVelocity=self.settings.max_speed,
            activationState=self.p.ACTIVATION_STATE_DISABLE_SLEEPING,
            physicsClientId=self.client,
        )
        if self.settings.rebounds[name] > 0:
            # Bullet stops a body at a contact that it only foresees, and then has no speed left to rebound with.
            self.p.changeDynamics(unique, link, contactProcessingThreshold=0.0, physicsClientId=self.client)
        if name != GROUND:
            self.p.changeDynamics(unique, link, collisionMargin=self.settings.margin, physicsClientId=self.client)

    def _load_fixed(self, placement: Placement) -> None:
        poses = {placement.model.root.name: placement.X_WB}
        for joint in _ordered(placement.model.joints, placement.model.root.name):
            poses[joint.child] = poses[joint.parent].compose(joint.X_PC)
        for body in placement.model.bodies:
            unique = self._create(0.0, self._shape(body), poses[body.name], Pose.identity())
            self._register(unique, -1, placement.name)
            self._verify_hulls(placement.name, body, unique, -1, Pose.identity())

    def _load_free(self, placement: Placement) -> None:
        model = placement.model
        bodies = {body.name: body for body in model.bodies}
        joints = _ordered(model.joints, model.root.name)
        frames = {name: body.inertial.principal_pose for name, body in bodies.items()}
        first = len(self.free)
        order = {model.root.name: -1} | {joint.child: number for number, joint in enumerate(joints)}
        root = frames[model.root.name]
        kinds = {
            JointKind.FIXED: self.p.JOINT_FIXED,
            JointKind.REVOLUTE: self.p.JOINT_REVOLUTE,
            JointKind.PRISMATIC: self.p.JOINT_PRISMATIC,
        }
        links = {
            "linkMasses": [bodies[joint.child].inertial.mass for joint in joints],
            "linkCollisionShapeIndices": [self._shape(bodies[joint.child]) for joint in joints],
            "linkVisualShapeIndices": [-1] * len(joints),
            "linkPositions": [joint.X_PC.position.tolist() for joint in joints],
            "linkOrientations": [xyzw(joint.X_PC) for joint in joints],
            "linkInertialFramePositions": [frames[joint.child].position.tolist() for joint in joints],
            "linkInertialFrameOrientations": [xyzw(frames[joint.child]) for joint in joints],
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
        X_WP = placement.X_WB.compose(self.free[first].X_BP)
        self.p.resetBasePositionAndOrientation(unique, X_WP.position.tolist(), xyzw(X_WP), physicsClientId=self.client)

    def _finish(self, placement: Placement, body: Body, unique: int, link: int, joint: Joint | None) -> None:
        """Set inertia and contact of one body of a model, and read its inertial frame back."""
        name = placement.name if link < 0 else f"{placement.name}/{body.name}"
        self._register(unique, link, name)
        frame = body.inertial.principal_pose
        moments = np.diag(frame.rotation.T @ body.inertial.inertia @ frame.rotation)
        self.p.changeDynamics(
            unique,
            link,
            mass=body.inertial.mass,
            localInertiaDiagonal=moments.tolist(),
            physicsClientId=self.client,
        )
        parent = ""
        if joint is not None:
            parent = placement.name if joint.parent == placement.model.root.name else f"{placement.name}/{joint.parent}"
            self._free_joint(unique, link, joint)
        X_BP = self._inertial_frame(unique, link, frame)
        self.free.append(LoadedBody(name, unique, link, X_BP, joint, parent))
        self._verify_hulls(name, body, unique, link, X_BP)

    def _inertial_frame(self, unique: int, link: int, given: Pose) -> Pose:
        """Return the inertial frame in the body frame, read back where PyBullet tells it (not in maximal coordinates).

        That shapes lie in it as they should is seen by their vertices.
        """
        if self.settings.maximal and self.p.getNumJoints(unique, physicsClientId=self.client) == 0:
            return given
        info = self.p.getDynamicsInfo(unique, link, physicsClientId=self.client)
        return pose_from_xyzw(info[3], info[4])

    def _free_joint(self, unique: int, link: int, joint: Joint) -> None:
        """Set a joint's limits and switch off the motor that PyBullet puts into every joint."""
        if joint.kind is JointKind.FIXED:
            return
        self.p.changeDynamics(
            unique,
            link,
            jointLowerLimit=joint.lower,
            jointUpperLimit=joint.upper,
            physicsClientId=self.client,
        )
        self.p.setJointMotorControl2(unique, link, self.p.VELOCITY_CONTROL, force=0.0, physicsClientId=self.client)

    def _verify_hulls(self, name: str, body: Body, unique: int, link: int, X_BP: Pose) -> None:
        """Compare the vertices that PyBullet collides with, kept in the inertial frame, with the hulls: else a warning.

        PyBullet drops vertices inside faces and rounds the others to about 1e-4 of a hull's size.
        """
        if not self.verify:
            return
        count, rows = self.p.getMeshData(
            unique, link, flags=self.p.MESH_DATA_SIMULATION_MESH, physicsClientId=self.client
        )
        held = X_BP.apply(np.asarray(rows, dtype=np.float64).reshape(-1, 3))
        off = hull_deviation(body.hulls, held) / body.size
        if not off <= self.settings.hull_tolerance:
            self.warnings.append(
                f"{name}: the {count} vertices that PyBullet collides with miss {len(body.hulls)} hulls by {off:.2g} L"
            )


def take_up_inertia(p: Any, client: int, bodies: Sequence[LoadedBody]) -> None:
    """Let bodies in maximal coordinates take up their inertia and orientation, by a step of no length.

    Else their first step is made with the inertia of the box around them, as they were created. They are far from each
    other meanwhile: contacts found where bodies have not moved yet may have the normals of edges, and stay.
    """
    bases = [body.unique for body in bodies if body.link < 0]
    poses = [p.getBasePositionAndOrientation(base, physicsClientId=client) for base in bases]
    velocities = [p.getBaseVelocity(base, physicsClientId=client) for base in bases]
    held = p.getPhysicsEngineParameters(physicsClientId=client)
    kept = {name: held[name] for name in ("fixedTimeStep", "numSolverIterations")}
    for number, (base, (_, orientation)) in enumerate(zip(bases, poses, strict=True), start=1):
        p.resetBasePositionAndOrientation(base, [0, 0, number * APART], orientation, physicsClientId=client)
    p.setPhysicsEngineParameter(fixedTimeStep=NO_TIME, numSolverIterations=0, physicsClientId=client)
    p.stepSimulation(physicsClientId=client)
    p.setPhysicsEngineParameter(**kept, physicsClientId=client)
    for base, pose, velocity in zip(bases, poses, velocities, strict=True):
        p.resetBasePositionAndOrientation(base, *pose, physicsClientId=client)
        p.resetBaseVelocity(base, *velocity, physicsClientId=client)


def hull_deviation(hulls: Sequence[Hull], held: np.ndarray) -> float:
    """Return how far the points that an engine holds (N, 3) differ from hulls: of every hull, all sides [m].

    Held points too far from every given vertex count by that distance; a hull counts by how far the points near its
    vertices fail to reach it in the directions from its centre to its vertices. No points at all are infinitely far.
    """
    if not len(held):
        return np.inf
    given = np.vstack([hull.mesh.vertices for hull in hulls])
    worst = float(KDTree(given).query(held)[0].max())
    tree = KDTree(held)
    for hull in hulls:
        vertices = hull.mesh.vertices
        reach = 1e-2 * float(hull.mesh.extents.max())
        near = sorted({row for rows in tree.query_ball_point(vertices, reach) for row in rows})
        if not near:
            return np.inf
        centre = vertices.mean(axis=0)
        directions = vertices - centre
        directions = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
        missing = (directions @ (vertices - centre).T).max(axis=1) - (directions @ (held[near] - centre).T).max(axis=1)
        worst = max(worst, float(missing.max()))
    return worst


def fit_surfaces(world: World, *, restitution: bool) -> tuple[FrictionFit, dict[str, float]]:
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
        name: float(np.sqrt(min(m.restitution for m in surface.materials))) if restitution else 0.0
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


def pose_from_xyzw(position: Sequence[float], quaternion: Sequence[float]) -> Pose:
    """Return a pose from PyBullet's position and (x, y, z, w)."""
    x, y, z, w = quaternion
    return Pose.from_quaternion(np.array([w, x, y, z]), np.array(position))


def xyzw(pose: Pose) -> list[float]:
    """Return the orientation of a pose as PyBullet wants it: (x, y, z, w)."""
    w, x, y, z = pose.quaternion.tolist()
    return [x, y, z, w]
