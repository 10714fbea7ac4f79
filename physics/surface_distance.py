"""Distances from points to one triangle surface, whose search tree is built once.

The same surface is asked many times: a solid by its checks, a piece by every hull that might stand for it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64


class Surface:
    """A triangle surface that points are measured to."""

    def __init__(self, vertices: Float64[np.ndarray, "V 3"], faces: Int64[np.ndarray, "F 3"]):
        self.vertices = np.ascontiguousarray(vertices, dtype=np.float64)
        self.faces = np.ascontiguousarray(faces, dtype=np.int64)

    @cached_property
    def _tree(self) -> Any:
        import igl

        tree = igl.AABB()
        tree.init(self.vertices, self.faces)
        return tree

    @cached_property
    def normals(self) -> Float64[np.ndarray, "F 3"]:
        """Unit normals of the faces; zero where a face has none."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        cross = np.cross(b - a, c - a)
        return cross / np.linalg.norm(cross, axis=1, keepdims=True).clip(min=1e-300)

    @cached_property
    def corner_normals(self) -> Float64[np.ndarray, "V 3"]:
        """Unit vectors at the vertices: sums of the face normals weighted by their angles there."""
        sums = np.zeros_like(self.vertices)
        for k in range(3):
            corner, first, second = (self.vertices[self.faces[:, (k + shift) % 3]] for shift in range(3))
            u, v = first - corner, second - corner
            angle = np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), np.einsum("fi,fi->f", u, v))
            np.add.at(sums, self.faces[:, k], angle[:, None] * self.normals)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(min=1e-300)

    def nearest_corner(self, face: Int64[np.ndarray, "P"], place: Float64[np.ndarray, "P 3"]) -> Int64[np.ndarray, "P"]:
        """Return the corner of each face that is nearest to a place on it."""
        corners = self.faces[face]
        apart = np.linalg.norm(self.vertices[corners] - place[:, None], axis=2)
        return corners[np.arange(len(face)), apart.argmin(axis=1)]

    def nearest(
        self, points: Float64[np.ndarray, "P 3"]
    ) -> tuple[Float64[np.ndarray, "P"], Int64[np.ndarray, "P"], Float64[np.ndarray, "P 3"]]:
        """Return squared distances, and the face and the place on it that are nearest to each point."""
        if not len(points):
            return np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros((0, 3))
        squared, face, place = self._tree.squared_distance(
            self.vertices, self.faces, np.ascontiguousarray(points, dtype=np.float64)
        )
        return np.asarray(squared).reshape(-1), np.asarray(face).reshape(-1), np.asarray(place).reshape(-1, 3)

    def box_distance(self, points: Float64[np.ndarray, "P 3"]) -> Float64[np.ndarray, "P"]:
        """Return the distance of each point from the box about the surface: it is no nearer than that."""
        low, high = self._box
        return np.linalg.norm(np.maximum(np.maximum(low - points, points - high), 0.0), axis=1)

    @cached_property
    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    def distance(self, points: Float64[np.ndarray, "P 3"]) -> Float64[np.ndarray, "P"]:
        """Return the distance of each point from the surface."""
        return np.sqrt(self.nearest(points)[0])

    def signed_distance(self, points: Float64[np.ndarray, "P 3"]) -> Float64[np.ndarray, "P"]:
        """Return the distance of each point, negative inside a closed surface (Baerentzen and Aanaes 2005)."""
        import igl

        if not len(points):
            return np.zeros(0)
        kind = igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
        points = np.ascontiguousarray(points, dtype=np.float64)
        return np.asarray(igl.signed_distance(points, self.vertices, self.faces, sign_type=kind)[0]).reshape(-1)
