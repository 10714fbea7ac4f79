"""Mass, centre of mass and inertia of a solid, from the exact integral over its surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.errors import MassError
from physics.mesh import Mesh
from physics.pose import Pose, frozen

TRIANGLE_INEQUALITY_TOLERANCE = 1e-6
"""Share of the largest principal moment by which the other two may miss it (check I2) [1]."""


@dataclass(frozen=True, eq=False)
class MassProperties:
    """Mass, centre of mass and inertia of one body in its frame B."""

    mass: float
    """Mass [kg]."""
    com: Float64[np.ndarray, "3"]
    """Centre of mass in B [m]."""
    inertia: Float64[np.ndarray, "3 3"]
    """Inertia about the centre of mass, axes of B [kg m^2]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mass", float(self.mass))
        object.__setattr__(self, "com", frozen(self.com))
        object.__setattr__(self, "inertia", frozen(self.inertia))
        if self.com.shape != (3,) or self.inertia.shape != (3, 3):
            raise MassError(f"com and inertia need shapes (3,) and (3, 3), got {self.com.shape}, {self.inertia.shape}")
        if not (np.isfinite(self.mass) and np.isfinite(self.com).all() and np.isfinite(self.inertia).all()):
            raise MassError(f"mass properties are not finite: {self.mass}, {self.com}, {self.inertia}")
        if self.mass <= 0:
            raise MassError(f"mass is {self.mass:g} kg, expected > 0")
        scale = float(np.abs(self.inertia).max())
        if np.abs(self.inertia - self.inertia.T).max() > 1e-12 * scale:
            raise MassError(f"inertia is not symmetric: {self.inertia}")

    @property
    def principal_moments(self) -> Float64[np.ndarray, "3"]:
        """Principal moments of inertia, ascending [kg m^2]."""
        return np.linalg.eigvalsh(self.inertia)

    @property
    def principal_pose(self) -> Pose:
        """Pose in B of the frame at the centre of mass whose axes diagonalise the inertia (right-handed)."""
        _, axes = np.linalg.eigh(self.inertia)
        if np.linalg.det(axes) < 0:
            axes = axes * np.array([1.0, 1.0, -1.0])
        return Pose.from_matrix(axes, self.com)

    def moved(self, X_AB: Pose) -> MassProperties:
        """Return the same body expressed in frame A."""
        rotation = X_AB.rotation
        inertia = rotation @ self.inertia @ rotation.T
        return MassProperties(self.mass, X_AB.apply(self.com), (inertia + inertia.T) / 2)


def integrate_mesh(mesh: Mesh, *, density: float) -> MassProperties:
    """Return mass, centre of mass and inertia of a homogeneous solid.

    Sums signed tetrahedra between the centre of the bounding box and every face. Exact for a closed,
    outward-wound mesh; for any other the result may look plausible and mean nothing, so run
    `physics.validity` first. A mesh whose signed volume is not positive is refused.

    Args:
        mesh: Closed solid in B, vertices [m].
        density: Uniform density [kg/m^3], > 0.

    Raises:
        MassError: The density or the enclosed volume is not positive.

    References:
        Tonon, "Explicit exact formulas for the 3-D tetrahedron inertia tensor", J. Math. Stat. 1(1), 2005.
    """
    if not (np.isfinite(density) and density > 0):
        raise MassError(f"density is {density:g} kg/m^3, expected > 0")
    centre = mesh.bounds.mean(axis=0)
    a, b, c = np.moveaxis(mesh.triangles - centre, 1, 0)
    six_volumes = np.einsum("fi,fi->f", a, np.cross(b, c))
    volume = float(six_volumes.sum() / 6)
    if volume <= 0:
        raise MassError(f"mesh encloses {volume:g} m^3, expected > 0: it is open or wound inward")
    com = (six_volumes @ (a + b + c)) / (24 * volume)
    # Second moments of each tetrahedron (0, a, b, c): V/20 (s s^T + sum p p^T), s = a + b + c.
    s = a + b + c
    moments = sum(np.einsum("f,fi,fj->ij", six_volumes, p, p) for p in (a, b, c, s)) / 120
    central = moments - volume * np.outer(com, com)
    inertia = density * (np.trace(central) * np.eye(3) - central)
    return MassProperties(density * volume, com + centre, (inertia + inertia.T) / 2)


def combine_masses(parts: Sequence[MassProperties]) -> MassProperties:
    """Return the mass properties of rigidly joined parts (parallel-axis theorem), all in one frame."""
    if not parts:
        raise MassError("no parts to combine")
    mass = sum(part.mass for part in parts)
    com = sum((part.mass * part.com for part in parts), start=np.zeros(3)) / mass
    inertia = np.zeros((3, 3))
    for part in parts:
        d = part.com - com
        inertia += part.inertia + part.mass * (d @ d * np.eye(3) - np.outer(d, d))
    return MassProperties(mass, com, inertia)
