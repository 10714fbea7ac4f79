"""A model: a tree of bodies joined by joints, each body made of parts with their own material."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float64

from physics.errors import ModelError
from physics.mass import MassProperties
from physics.materials import Material
from physics.mesh import Mesh
from physics.pose import Pose, frozen


@dataclass(frozen=True, eq=False)
class Part:
    """A closed solid of one material."""

    name: str
    """Unique within the body; `[a-z][a-z0-9_]*`."""
    surface: Mesh
    """Boundary of the solid in the body frame B [m]."""
    material: Material


@dataclass(frozen=True, eq=False)
class Hull:
    """One convex piece of the collision geometry."""

    mesh: Mesh
    """Closed convex surface in the body frame B [m]."""
    part: str
    """Name of the part that it covers, whose material it takes."""


@dataclass(frozen=True, eq=False)
class Body:
    """A rigid body. Hulls and mass properties are added by the stages that compute them."""

    name: str
    parts: tuple[Part, ...]
    hulls: tuple[Hull, ...] = ()
    mass_properties: MassProperties | None = None

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if not names:
            raise ModelError(f"body {self.name!r} has no parts")
        if len(set(names)) != len(names):
            raise ModelError(f"body {self.name!r} has parts of one name: {sorted(names)}")
        for hull in self.hulls:
            if hull.part not in names:
                raise ModelError(f"body {self.name!r}: a hull covers part {hull.part!r}; parts: {names}")

    def part(self, name: str) -> Part:
        """Return the part of that name."""
        for part in self.parts:
            if part.name == name:
                return part
        raise ModelError(f"body {self.name!r} has no part {name!r}; parts: {[p.name for p in self.parts]}")

    def hull_material(self, hull: Hull) -> Material:
        """Return the material of the part that a hull covers."""
        return self.part(hull.part).material

    @property
    def inertial(self) -> MassProperties:
        """Mass properties, known to be there; ModelError otherwise."""
        if self.mass_properties is None:
            raise ModelError(f"body {self.name!r} has no mass properties yet")
        return self.mass_properties

    @property
    def bounds(self) -> Float64[np.ndarray, "2 3"]:
        """Axis-aligned bounds of all surfaces in B [m]."""
        bounds = np.stack([part.surface.bounds for part in self.parts])
        return np.stack([bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)])

    @property
    def extents(self) -> Float64[np.ndarray, "3"]:
        """Edge lengths of the bounding box [m]."""
        return np.ptp(self.bounds, axis=0)

    @property
    def size(self) -> float:
        """L: the largest extent [m], by which limits scale."""
        return float(self.extents.max())


class JointKind(StrEnum):
    """How a child body moves on its parent."""

    FIXED = "fixed"
    REVOLUTE = "revolute"
    PRISMATIC = "prismatic"


@dataclass(frozen=True, eq=False)
class Joint:
    """A joint between two bodies."""

    name: str
    kind: JointKind
    parent: str
    child: str
    X_PC: Pose
    """Pose of the child body in its parent at coordinate 0; the joint frame is the child's frame."""
    axis: Float64[np.ndarray, "3"]
    """Unit axis in the child's frame [1]."""
    lower: float = 0.0
    """Smallest coordinate [rad] or [m]."""
    upper: float = 0.0
    """Largest coordinate [rad] or [m]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", frozen(self.axis))
        if not np.isclose(np.linalg.norm(self.axis), 1.0):
            raise ModelError(f"joint {self.name!r}: axis {self.axis} is not a unit vector")
        if self.lower > self.upper:
            raise ModelError(f"joint {self.name!r}: lower limit {self.lower} exceeds upper limit {self.upper}")


@dataclass(frozen=True, eq=False)
class Model:
    """A tree of bodies. The first body is the root; its frame is the model's frame.

    The root frame has its origin at the centre of the base of the upright pose, z up, front +x.
    """

    name: str
    bodies: tuple[Body, ...]
    joints: tuple[Joint, ...] = ()

    def __post_init__(self) -> None:
        names = [body.name for body in self.bodies]
        if not names:
            raise ModelError(f"model {self.name!r} has no bodies")
        if len(set(names)) != len(names):
            raise ModelError(f"model {self.name!r} has bodies of one name: {sorted(names)}")
        children = [joint.child for joint in self.joints]
        for joint in self.joints:
            if joint.parent not in names or joint.child not in names:
                raise ModelError(f"joint {joint.name!r} joins {joint.parent!r} to {joint.child!r}; bodies: {names}")
        if sorted(children) != sorted(names[1:]):
            raise ModelError(f"model {self.name!r}: every body but the root needs one parent joint; got {children}")
        reached = {names[0]}
        for _ in self.joints:
            reached |= {joint.child for joint in self.joints if joint.parent in reached}
        if reached != set(names):
            raise ModelError(f"model {self.name!r}: bodies {sorted(set(names) - reached)} hang in a loop")

    @property
    def root(self) -> Body:
        """The first body."""
        return self.bodies[0]
