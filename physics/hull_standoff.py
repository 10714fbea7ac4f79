"""How far the faces of a hull stand off the pieces of a solid that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from physics.convex import solid_arrays
from physics.surface_distance import Surface


def _grid(rows: int) -> Float64[np.ndarray, "S 3"]:
    """Barycentric weights of points spread evenly over a triangle, its edges included and its corners not."""
    weights = np.array([(i, j, rows - i - j) for i in range(rows + 1) for j in range(rows + 1 - i)], dtype=float) / rows
    return weights[weights.max(axis=1) < 1.0]


def _strip(rows: int) -> Float64[np.ndarray, "S 3"]:
    """Barycentric weights of points along the first edge of a triangle and halfway to its third corner."""
    along = np.arange(1, rows) / rows
    edge = np.stack([along, 1 - along, 0 * along], axis=1)
    return np.concatenate([edge, 0.5 * edge + [0.0, 0.0, 0.5]])


SAMPLE_EDGES = (0.08, 0.25)
"""Faces with a longer longest edge are sampled more densely [L]."""
SAMPLE_HEIGHT = 0.04
"""Middling and large faces of less height, such as those of a fan over a disc, are sampled along two lines [L]."""
SAMPLE_GRIDS = (_grid(3), _grid(8), _grid(16), _strip(8), _strip(16))
"""Samples of small, middling and large faces, and of narrow ones that are middling and large: about 0.03 L apart."""

NARROWEST = 1e-9
"""Height of a face at least, against division by zero [L]."""
BLOCKS = (64, 4)
"""Faces that are looked at first where only the farthest is asked for, and how much larger each next lot is."""


def face_standoff(hull: Any, surfaces: Sequence[Surface], *, least: float = 0.0) -> Float64[np.ndarray, "F"]:
    """Largest distance found from each face of a hull to the surfaces of its pieces [L].

    Args:
        hull: A convex manifold3d solid.
        surfaces: Those of its pieces.
        least: Faces that surely stand off by less may be given as 0 [L].
    """
    shape = _Faces(hull, surfaces)
    found = np.zeros(len(shape.faces))
    asked = np.flatnonzero(shape.bound > least)
    found[asked] = shape.standoff(asked)
    return found


def farthest_standoff(hull: Any, surfaces: Sequence[Surface], *, least: float = 0.0) -> float:
    """Largest distance found from any face of a hull to the surfaces of its pieces; any number below `least` [L]."""
    shape = _Faces(hull, surfaces)
    order = np.argsort(-shape.bound, kind="stable")
    farthest, at, size = 0.0, 0, BLOCKS[0]
    while at < len(order) and shape.bound[order[at]] > max(farthest, least):
        farthest = max(farthest, float(shape.standoff(order[at : at + size]).max()))
        at, size = at + size, size * BLOCKS[1]
    return farthest


class _Faces:
    """Faces of a hull, where they are looked at, and what bounds their stand-off."""

    def __init__(self, hull: Any, surfaces: Sequence[Surface]):
        self.vertices, faces = solid_arrays(hull)
        self.surfaces = surfaces
        edges = self.vertices[np.roll(faces, -1, axis=1)] - self.vertices[faces]
        lengths = np.linalg.norm(edges, axis=2)
        first = lengths.argmax(axis=1)
        self.faces = np.take_along_axis(faces, (first[:, None] + np.arange(3)) % 3, axis=1)  # the longest edge first
        longest = lengths.max(axis=1)
        height = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / longest.clip(min=NARROWEST)
        # Large faces get more samples, or a hole that a hull closes would lie between them.
        self.tier = np.searchsorted(SAMPLE_EDGES, longest)
        self.tier += np.where((self.tier > 0) & (height < SAMPLE_HEIGHT), 2, 0)
        # No point of a triangle is farther from its nearest corner than its longest edge over the root of 3.
        self.bound = self._distance(self.vertices)[self.faces].max(axis=1) + longest / np.sqrt(3)

    def standoff(self, index: np.ndarray) -> Float64[np.ndarray, "K"]:
        """Largest distance found from each of the faces to the surfaces [L]."""
        points, owners = [], []
        for level, weights in enumerate(SAMPLE_GRIDS):
            place = np.flatnonzero(self.tier[index] == level)
            points.append(np.einsum("sk,fkx->fsx", weights, self.vertices[self.faces[index[place]]]).reshape(-1, 3))
            owners.append(np.repeat(place, len(weights)))
        largest = np.zeros(len(index))
        np.maximum.at(largest, np.concatenate(owners), self._distance(np.concatenate(points)))
        return largest

    def _distance(self, points: Float64[np.ndarray, "P 3"]) -> Float64[np.ndarray, "P"]:
        """Distance of points from the nearest surface; one whose box is farther away is not asked."""
        if len(self.surfaces) == 1:
            return self.surfaces[0].distance(points)
        boxes = np.array([surface.box_distance(points) for surface in self.surfaces])
        order = boxes.argsort(axis=0, kind="stable")
        distance = np.full(len(points), np.inf)
        for rank in range(len(self.surfaces)):
            for k, surface in enumerate(self.surfaces):
                near = np.flatnonzero((order[rank] == k) & (boxes[k] < distance))
                distance[near] = np.minimum(distance[near], surface.distance(points[near]))
        return distance
