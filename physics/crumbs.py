"""Crumbs and bubbles: shells too small to be part of an object, which sampling leaves of surfaces that cross.

Where the surfaces of a foreign mesh cross or touch, the zero set of its field holds closed shells of a fraction of a
voxel, off the solid or inside it. They are noise of the grid. A bubble deep inside a solid fails every set of hulls on
H4, and a crumb under it is a foot, so they are taken off where the grid is known.
"""

from __future__ import annotations

import numpy as np

from physics.mesh import Mesh
from physics.topology import trace_topology


def drop_crumbs(mesh: Mesh, *, volume: float) -> tuple[Mesh, int]:
    """Return the mesh without its shells that enclose less than a volume [m^3], and how many they were.

    The largest shell always stays. A mesh without such shells is returned as it is.
    """
    topology = trace_topology(mesh.faces, len(mesh.vertices))
    corners = mesh.triangles - mesh.bounds.mean(axis=0)
    of_face = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    enclosed = np.abs(np.bincount(topology.shells, weights=of_face, minlength=topology.shell_count))
    small = enclosed < volume
    small[enclosed.argmax()] = False
    if not small.any():
        return mesh, 0
    faces = mesh.faces[~small[topology.shells]]
    used, renumbered = np.unique(faces, return_inverse=True)
    normals = None if mesh.normals is None else mesh.normals[used]
    return Mesh(mesh.vertices[used], renumbered.reshape(-1, 3).astype(np.int32), normals), int(small.sum())
