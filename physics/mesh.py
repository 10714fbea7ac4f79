"""A triangle mesh: vertices, faces and, where the field gave them, vertex normals."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32

from physics.errors import MeshError
from physics.pose import frozen


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in a body frame B, wound counter-clockwise seen from outside.

    Construction checks shapes, index range and finiteness only. Whether the mesh bounds a solid is
    the question of `physics.validity`; volumes and integrals mean something only when it does.
    """

    vertices: Float64[np.ndarray, "V 3"]
    """Positions in B [m]."""
    faces: Int32[np.ndarray, "F 3"]
    """Vertex indices of each triangle."""
    normals: Float64[np.ndarray, "V 3"] | None = None
    """Outward unit normals at the vertices, from the gradient of the signed distance; None when unknown."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "vertices", frozen(self.vertices, np.float64))
        object.__setattr__(self, "faces", frozen(self.faces, np.int32))
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3:
            raise MeshError(f"vertices need shape (V, 3), got {self.vertices.shape}")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3:
            raise MeshError(f"faces need shape (F, 3), got {self.faces.shape}")
        if not np.isfinite(self.vertices).all():
            bad = int(np.argmin(np.isfinite(self.vertices).all(axis=1)))
            raise MeshError(f"vertex {bad} is not finite: {self.vertices[bad]}")
        if self.faces.size and (self.faces.min() < 0 or self.faces.max() >= len(self.vertices)):
            raise MeshError(
                f"faces index {self.faces.min()}..{self.faces.max()}, mesh has {len(self.vertices)} vertices"
            )
        if self.normals is not None:
            object.__setattr__(self, "normals", frozen(self.normals, np.float64))
            if self.normals.shape != self.vertices.shape:
                raise MeshError(f"normals need shape {self.vertices.shape}, got {self.normals.shape}")

    @property
    def triangles(self) -> Float64[np.ndarray, "F 3 3"]:
        """Corner positions of each face [m]."""
        return self.vertices[self.faces]

    @property
    def face_cross(self) -> Float64[np.ndarray, "F 3"]:
        """Twice the area vector of each face [m^2]."""
        a, b, c = np.moveaxis(self.triangles, 1, 0)
        return np.cross(b - a, c - a)

    @property
    def area(self) -> float:
        """Surface area [m^2]."""
        return float(np.linalg.norm(self.face_cross, axis=1).sum() / 2)

    @property
    def volume(self) -> float:
        """Signed volume [m^3], by the divergence theorem; meaningful for a closed mesh only."""
        centred = self.triangles - self.bounds.mean(axis=0)
        return float(np.einsum("fi,fi->", centred[:, 0], np.cross(centred[:, 1], centred[:, 2])) / 6)

    @property
    def bounds(self) -> Float64[np.ndarray, "2 3"]:
        """Smallest and largest coordinate of the vertices [m]."""
        if not len(self.vertices):
            raise MeshError("an empty mesh has no bounds")
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    @property
    def extents(self) -> Float64[np.ndarray, "3"]:
        """Edge lengths of the axis-aligned bounding box [m]."""
        return np.ptp(self.bounds, axis=0)

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes of vertices and faces."""
        sha = hashlib.sha256(np.array([len(self.vertices), len(self.faces)], dtype="<i8").tobytes())
        sha.update(self.vertices.astype("<f8").tobytes())
        sha.update(self.faces.astype("<i4").tobytes())
        return sha.hexdigest()

    def translated(self, offset: np.ndarray) -> Mesh:
        """Return the mesh moved by `offset` (3,) [m]."""
        return Mesh(self.vertices + np.asarray(offset), self.faces, self.normals)

    def rotated(self, rotation: np.ndarray) -> Mesh:
        """Return the mesh turned about the origin by a rotation matrix (3, 3)."""
        normals = None if self.normals is None else self.normals @ rotation.T
        return Mesh(self.vertices @ rotation.T, self.faces, normals)
