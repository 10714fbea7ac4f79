"""Mesh files: reading any format that trimesh knows, writing OBJ with the same bytes for the same mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from physics.errors import MeshError
from physics.mesh import Mesh

MOST_OBJECTS = 2000
"""Files of more objects are scenes, not objects [1]."""


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


def read_objects(path: str | Path, *, most_faces: int | None = None) -> list[Mesh]:
    """Return the named objects of a file in the order of their names; a file without names is one object.

    Vertices at one place are made one, exactly and nothing else: OBJ repeats them at the seams of its textures, STL for
    every face. Units and placement are those of the file.

    Args:
        path: As for `read_mesh`.
        most_faces: Files of more faces are refused; None for no limit [1].

    Raises:
        MeshError: As `read_mesh`, or there are too many objects or faces.
    """
    import trimesh

    path = Path(path)
    if not path.is_file():
        raise MeshError(f"{path}: there is no such file")
    try:
        scene = trimesh.load(path, process=False, force="scene", split_objects=True, skip_materials=True)
        assert isinstance(scene, trimesh.Scene)
        if len(scene.graph.nodes_geometry) > MOST_OBJECTS:
            raise MeshError(f"{path} has more than {MOST_OBJECTS:,} objects; give one object a file")
        nodes = [scene.graph[node][1] for node in scene.graph.nodes_geometry]
        count = sum(len(getattr(scene.geometry[name], "faces", ())) for name in nodes)
        if most_faces is not None and count > most_faces:
            raise MeshError(f"{path} has more than {most_faces:,} faces; simplify it first")
        placed = []
        for node in sorted(scene.graph.nodes_geometry):  # a set: sorted, for equal bytes each time
            X, name = scene.graph[node]
            placed.append(scene.geometry[name].copy().apply_transform(X))
    except MeshError:
        raise
    except Exception as error:  # readers of two dozen formats raise whatever they like
        raise MeshError(f"{path}: trimesh cannot read it as a mesh: {type(error).__name__}: {error}") from error
    found = [mesh for mesh in placed if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)]
    if not found:
        raise MeshError(f"{path}: holds no triangles")
    try:
        return [weld(Mesh(np.asarray(mesh.vertices), np.asarray(mesh.faces))) for mesh in found]
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from error


def weld(mesh: Mesh) -> Mesh:
    """Return the mesh with vertices of equal coordinates made one, and without faces that lose a corner by that."""
    places, index = np.unique(mesh.vertices + 0.0, axis=0, return_inverse=True)
    corners = index.reshape(-1)[mesh.faces]
    distinct = (corners != np.roll(corners, 1, axis=1)).all(axis=1)
    return Mesh(places, corners[distinct].astype(np.int32))


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
