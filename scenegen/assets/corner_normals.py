"""Normals for shading: one per corner of a triangle, smooth over soft edges and split at sharp ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from physics.mesh import Mesh

CREASE_ANGLE = np.radians(35.0)
"""Edges sharper than this stay sharp [rad]."""

FIELD_ANGLE = np.radians(22.0)
"""A vertex normal of the field farther than this from the face's normal is a smeared edge, and not used [rad]."""

PAIR_LIMIT = 2**22
"""Most pairs of corners that are compared at once: bounds memory [1]."""


def corner_normals(mesh: Mesh, *, crease: float = CREASE_ANGLE) -> Float64[np.ndarray, "F 3 3"]:
    """Return a unit normal for each corner of each face.

    A corner takes the field's normal where the field is smooth there. Next to a sharp edge, where the gradient of the
    sampled distance points between the faces, it takes the mean of the faces about the vertex that lie within the
    crease angle, weighted by their angle at the vertex.

    Args:
        mesh: Surface, with or without vertex normals.
        crease: Largest angle between faces that are shaded as one [rad].

    References:
        Max, "Weights for computing vertex normals from facet normals", J. Graphics Tools 4(2), 1999 (angle weights).
    """
    cross = mesh.face_cross
    face_normals = cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), np.finfo(float).tiny)
    normals = _mean_normals(mesh, face_normals, np.cos(crease))
    if mesh.normals is not None:
        field = mesh.normals[mesh.faces]
        smooth = np.einsum("fci,fi->fc", field, face_normals) > np.cos(FIELD_ANGLE)
        normals = np.where(smooth[:, :, None], field, normals)
    return normals


def split_vertices(mesh: Mesh) -> Mesh:
    """Return the mesh with a vertex for every different normal at a point, for formats with one normal per vertex."""
    normals = corner_normals(mesh).reshape(-1, 3)
    # A millionth of a radian cannot be seen; without rounding hardly two corners would share a vertex.
    keys = np.concatenate([mesh.faces.reshape(-1, 1), np.round(normals * 1e6)], axis=1).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    source = mesh.faces.reshape(-1)[first]
    return Mesh(mesh.vertices[source], inverse.reshape(-1, 3), normals[first])


def _mean_normals(mesh: Mesh, face_normals: np.ndarray, cos_crease: float) -> Float64[np.ndarray, "F 3 3"]:
    weights = _corner_angles(mesh).reshape(-1)
    vertex = mesh.faces.reshape(-1).astype(np.int64)
    order = np.argsort(vertex, kind="stable")
    counts = np.bincount(vertex, minlength=len(mesh.vertices))
    starts = np.concatenate([[0], np.cumsum(counts)])
    total = np.zeros((len(vertex), 3))
    valence = counts[vertex[order]]
    begin = 0
    bounds = np.concatenate([[0], np.cumsum(valence)])
    while begin < len(order):
        end = max(int(np.searchsorted(bounds, bounds[begin] + PAIR_LIMIT, side="right")) - 1, begin + 1)
        mine, other = _corner_pairs(order, starts, vertex, begin, end)
        n_other = face_normals[other // 3]
        near = np.einsum("pi,pi->p", face_normals[mine // 3], n_other) > cos_crease
        for axis in range(3):
            share = np.where(near, weights[other] * n_other[:, axis], 0.0)
            total[:, axis] += np.bincount(mine, weights=share, minlength=len(vertex))
        begin = end
    length = np.linalg.norm(total, axis=1, keepdims=True)
    flat = np.repeat(face_normals, 3, axis=0)
    return np.where(length > 1e-12, total / np.maximum(length, 1e-12), flat).reshape(-1, 3, 3)


def _corner_pairs(
    order: np.ndarray, starts: np.ndarray, vertex: np.ndarray, begin: int, end: int
) -> tuple[Int64[np.ndarray, "P"], Int64[np.ndarray, "P"]]:
    """Return every pair (corner, corner at the same vertex) for a stretch of the sorted corners."""
    corners = order[begin:end]
    low = starts[vertex[corners]]
    count = starts[vertex[corners] + 1] - low
    mine = np.repeat(corners, count)
    offset = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count, count)
    return mine, order[np.repeat(low, count) + offset]


def _corner_angles(mesh: Mesh) -> Float64[np.ndarray, "F 3"]:
    corners = mesh.triangles
    angles = np.empty(corners.shape[:2])
    for k in range(3):
        u = corners[:, (k + 1) % 3] - corners[:, k]
        v = corners[:, (k + 2) % 3] - corners[:, k]
        angles[:, k] = np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), np.einsum("fi,fi->f", u, v))
    return angles
