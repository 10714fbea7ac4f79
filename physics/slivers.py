"""Removal of flat triangles from a closed mesh by turning their longest edge."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int32

MOST_PASSES = 8
"""A turned edge can leave another sliver beside it; after this many passes what is left stays."""

MOST_TIP = 0.5
"""Least cosine between the normal of a new face and that of the neighbour it is taken from."""


def flip_slivers(
    vertices: Float64[np.ndarray, "V 3"], faces: Int32[np.ndarray, "F 3"], *, face_height: float
) -> Int32[np.ndarray, "F 3"]:
    """Return the faces with the longest edge of each sliver turned where that makes both triangles better.

    Edge collapse leaves nearly collinear triples on plane or ruled parts. The two triangles at the long edge cover a
    quadrilateral; its other diagonal covers the same within the height of the sliver. An edge is turned only when
    the worse of the two triangles improves, neither tips over against the neighbour, and the new edge does not exist.

    Args:
        vertices: Positions [m].
        faces: A closed manifold.
        face_height: A face whose height over its longest edge is less is a sliver.
    """
    faces = np.array(faces)
    for _ in range(MOST_PASSES):
        slivers = np.flatnonzero(_heights(vertices[faces]) < face_height)
        if not len(slivers):
            break
        owner = {(int(face[k]), int(face[k - 2])): f for f, face in enumerate(faces) for k in range(3)}
        if not any([_flip(vertices, faces, owner, int(sliver), face_height) for sliver in slivers]):
            break
    return faces


def _flip(vertices: np.ndarray, faces: np.ndarray, owner: dict, sliver: int, face_height: float) -> bool:
    corners = vertices[faces[sliver]]
    if _heights(corners[None])[0] >= face_height:
        return False
    k = int(np.argmax(np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)))
    u, v, tip = (int(faces[sliver][(k + side) % 3]) for side in range(3))
    other = owner[v, u]
    far = int(next(vertex for vertex in faces[other] if vertex not in (u, v)))
    if (tip, far) in owner or (far, tip) in owner:
        return False
    pair = np.array([[tip, u, far], [far, v, tip]])
    before, after = _heights(vertices[faces[[sliver, other]]]), _heights(vertices[pair])
    normals = _normals(vertices[np.vstack([faces[other], pair])])
    length = np.linalg.norm(normals, axis=1)
    tipped = normals[1:] @ normals[0] <= MOST_TIP * length[1:] * length[0]
    if after.min() <= before.min() or tipped.any():
        return False
    faces[sliver], faces[other] = pair
    del owner[u, v], owner[v, u]
    for face in (sliver, other):
        owner.update({(int(faces[face][side]), int(faces[face][side - 2])): face for side in range(3)})
    return True


def _normals(corners: np.ndarray) -> np.ndarray:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _heights(corners: np.ndarray) -> np.ndarray:
    longest = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).max(axis=1)
    return np.linalg.norm(_normals(corners), axis=1) / np.where(longest > 0, longest, 1) ** 2
