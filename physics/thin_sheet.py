"""Walls too thin for a lattice, and what makes them thick enough: balls along their middles.

A lattice shows no wall of less than some two voxels. The union of a solid with balls about the middles of its thin
chords has there walls as thick as the balls, round at their rims, which lie up to half a wall further out; elsewhere it
is what it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import igl
import numpy as np
from jaxtyping import Float64
from scipy.spatial import KDTree

from physics.errors import MeshError
from physics.mesh import Mesh
from physics.wall import WallConfig, first_hits, spread_points

SPACING = 0.2
"""Distance of neighbouring balls over their diameter: their union is wavy by a hundredth of it [1]."""
MOST_POINTS = 2_000_000
"""Points of the surface that are asked; more would take minutes [1]."""
BEYOND = 0.4
"""How far beyond either side of a wall it is asked whether the solid goes on, over the thickness of walls: a narrower
gap, less than a voxel of 2.5, is not there on the lattice [1]."""
OFFSET = 1e-4
"""How far before a surface it is asked whether that bounds the solid, over the thickness of walls [1]."""


@dataclass(frozen=True, eq=False)
class ThinSheet:
    """The middle of all walls that are too thin."""

    middles: Float64[np.ndarray, "N 3"]
    """Middles of chords [m]."""
    radius: float
    """Half of the thickness that walls are given [m]."""
    share: float
    """Share of the outer area that bounds such walls [1]."""
    thinnest: float
    """Shortest of the chords [m]."""
    tree: KDTree = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", KDTree(self.middles))

    def distance(self, points: Float64[np.ndarray, "P 3"]) -> Float64[np.ndarray, "P"]:
        """Return the signed distance of the union of the balls [m]."""
        return np.asarray(self.tree.query(points)[0]) - self.radius

    @property
    def bounds(self) -> Float64[np.ndarray, "2 3"]:
        """Box of the balls [m]."""
        return np.stack([self.middles.min(axis=0) - self.radius, self.middles.max(axis=0) + self.radius])


def find_thin_sheet(mesh: Mesh, wall: float) -> ThinSheet | None:
    """Return the middle of all walls thinner than `wall` [m]; None where there is none.

    Thickness is the chord along the inward normal to where the solid is left, counted where both sides are parallel
    within `WallConfig.parallel_angle`: near an edge a chord is short and is no wall. Faces that lie within the solid,
    where parts overlap, are not asked.

    Where the solid goes on within `BEYOND` of either side, as where parts touch, there is no wall.

    Args:
        mesh: Triangles wound outwards [m].
        wall: Thickness that walls shall have [m].

    Raises:
        MeshError: So much area, or so many faces, that its balls would not close up.
    """
    faces, config = mesh.faces.astype(np.int64), WallConfig()
    twice = np.linalg.norm(mesh.face_cross, axis=1)
    normals = mesh.face_cross / np.where(twice > 0, twice, 1)[:, None]
    count = int(np.ceil(twice.sum() / 2 / (SPACING * wall) ** 2))
    if not count <= MOST_POINTS:
        raise MeshError(
            f"its area is {count * (SPACING * wall) ** 2:.3g} m^2, too much for walls of {wall:.2g} m: it would take "
            f"{count} points, at most {MOST_POINTS} are asked; leave it out, or set thicken to false"
        )
    points, owner = spread_points(mesh.triangles.astype(np.float64), twice, count)
    before = points + OFFSET * wall * normals[owner]
    outer = np.asarray(igl.fast_winding_number(mesh.vertices, faces, before)) < 0.5
    if not outer.any():
        return None
    points, owner = points[outer], owner[outer]
    directions, size = -normals[owner], float(mesh.extents.max())
    start = config.start_depth * size
    chord, hit = first_hits(mesh.vertices, faces, points + start * directions, directions, size)
    chord += start
    facing = np.where(hit >= 0, np.einsum("ni,ni->n", directions, normals[hit]), -1.0)
    thin = (chord < wall) & (facing >= np.cos(config.parallel_angle))
    for depth in (np.full(len(chord), -BEYOND * wall), chord + BEYOND * wall):  # before the entry, behind the exit
        beyond = points[thin] + depth[thin, None] * directions[thin]
        thin[thin] = np.asarray(igl.fast_winding_number(mesh.vertices, faces, beyond)) < 0.5
    if not thin.any():
        return None
    middles = points[thin] + chord[thin, None] / 2 * directions[thin]
    return ThinSheet(middles, wall / 2, float(thin.mean()), float(chord[thin].min()))
