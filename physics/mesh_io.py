"""Mesh files: reading any format that trimesh knows, writing OBJ with the same bytes for the same mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from physics.errors import MeshError
from physics.mesh import Mesh


def read_mesh(path: str | Path) -> Mesh:
    """Return the triangles of a file, every part in one mesh, vertices neither merged nor moved.

    Args:
        path: OBJ, PLY, STL, OFF, GLB and others; lengths are taken as metres. STL holds three vertices per face, all
            separate: such a mesh is open until it is voxelized or welded.

    Raises:
        MeshError: The file is missing, of an unknown format, or holds no triangles or bad numbers (names the file).
    """
    import trimesh

    path = Path(path)
    if not path.is_file():
        raise MeshError(f"{path}: there is no such file")
    try:
        loaded = trimesh.load(path, process=False, force="mesh")
    except Exception as error:  # readers of two dozen formats raise whatever they like
        raise MeshError(f"{path}: trimesh cannot read it as a mesh: {type(error).__name__}: {error}") from error
    if not isinstance(loaded, trimesh.Trimesh) or not len(loaded.faces):
        raise MeshError(f"{path}: holds no triangles")
    try:
        return Mesh(np.asarray(loaded.vertices), np.asarray(loaded.faces))
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from error


def write_obj(mesh: Mesh, path: str | Path) -> None:
    """Write vertices, normals where there are any, and faces as OBJ.

    Seventeen significant digits, so that reading gives the same doubles; no names, dates or comments, so that equal
    meshes give equal bytes.

    Args:
        mesh: What to write [m].
        path: Where; an existing file is replaced.
    """
    lines = [f"v {x:.17g} {y:.17g} {z:.17g}" for x, y, z in mesh.vertices.tolist()]
    faces = (mesh.faces.astype(np.int64) + 1).tolist()
    if mesh.normals is None:
        lines += [f"f {a} {b} {c}" for a, b, c in faces]
    else:
        lines += [f"vn {x:.17g} {y:.17g} {z:.17g}" for x, y, z in mesh.normals.tolist()]
        lines += [f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in faces]
    Path(path).write_bytes(("\n".join(lines) + "\n").encode("ascii"))
