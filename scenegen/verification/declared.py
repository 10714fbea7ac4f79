"""What a model file declares of its one rigid body, in one frame: what is seen, what is touched, and the mass."""

from __future__ import annotations

from dataclasses import dataclass

from physics.mass import MassProperties
from physics.mesh import Mesh


@dataclass(frozen=True, eq=False)
class DeclaredBody:
    """The one body of a URDF or MJCF file, in its own frame."""

    name: str
    visuals: tuple[tuple[Mesh, ...], ...]
    """Objects of every visual element [m]."""
    hulls: tuple[Mesh, ...]
    """Objects of the collision elements, of which engines take the convex hull each [m]."""
    mass: MassProperties
