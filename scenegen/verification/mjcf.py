"""MJCF files of one rigid body, read by MuJoCo's own compiler: what it holds is what is judged.

Geoms that touch nothing (contype and conaffinity 0) are what is seen; a file without such geoms shows what it touches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from physics.errors import MassError, MeshError
from physics.mass import MassProperties
from physics.mesh import Mesh
from physics.mesh_io import weld
from physics.pose import Pose
from scenegen.errors import AssetError
from scenegen.verification.declared import DeclaredBody

ROUND = 32
"""Sides of the prism that stands for a round geom [1]."""
GEOMS = {2: "sphere", 3: "capsule", 5: "cylinder", 6: "box", 7: "mesh"}
"""Geoms that are judged, by MuJoCo's mjtGeom."""
ATTACHED = ("include", "model")
"""Elements that name another MJCF file."""
NOT_RIGID = ("composite", "flexcomp", "flex", "hfield", "skin")
"""Elements of what is no rigid object; some stand for millions of others."""
MOST_FILES = 100
"""Files that an MJCF may include, each as often as it does [1]."""
MOST_COPIES = 10_000
"""Copies of one element by `replicate` [1]."""
MOST_ELEMENTS = 100_000
"""Elements in all, those of `replicate` counted one by one [1]."""


def read_mjcf(path: Path) -> DeclaredBody:
    """Return the body of an MJCF file.

    Raises:
        AssetError: no MJCF, one that MuJoCo refuses, several bodies, nothing to touch, or files that are missing or
            outside the folder of the file.
    """
    import mujoco

    _check_files(path)
    try:
        spec: Any = mujoco.MjSpec  # pyright: ignore[reportAttributeAccessIssue]
        model: Any = spec.from_file(str(path)).compile()
    except (ValueError, RuntimeError) as error:  # a RuntimeError where it runs out of memory
        raise AssetError(f"{path}: MuJoCo refuses it: {' '.join(str(error).split())}") from error
    if model.nbody != 2:
        raise AssetError(
            f"{path}: {model.nbody - 1} bodies; objects of one rigid body are judged, mechanisms are not yet"
        )
    geoms = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] == 1]
    touched = [geom for geom in geoms if model.geom_contype[geom] or model.geom_conaffinity[geom]]
    seen = [geom for geom in geoms if geom not in touched] or touched
    if not touched:
        raise AssetError(f"{path}: no geom of body {model.body(1).name!r} can touch anything")
    return DeclaredBody(
        model.body(1).name or "body",
        (tuple(_mesh_of(path, model, geom) for geom in seen),),
        tuple(_mesh_of(path, model, geom) for geom in touched),
        _mass(path, model),
    )


def _check_files(path: Path) -> None:
    """Refuse what MuJoCo must not open or make: loops, files outside the folder, and elements by the million."""
    folder = path.parent.resolve()
    files = _read_tree(path, folder, ())
    # A compiler element of any file speaks for all of them.
    below = {
        element.get(name, "")
        for _, root in files
        for element in root.iter("compiler")
        for name in ("meshdir", "assetdir", "texturedir")
    }
    for file, root in files:
        for element in root.iter():
            places = {""} if element.tag in ATTACHED else {"", *below}
            for name in [text for key, text in element.attrib.items() if key.startswith("file")]:
                if not all(_within(folder, place, name) for place in places):
                    raise AssetError(
                        f"{file}: names {name!r}, which is outside its folder; files beside it are read only"
                    )
        _check_count(file, root)


def _within(folder: Path, place: str, name: str) -> bool:
    """Return whether a name below a place of the folder stays in the folder."""
    try:
        return (folder / place / name).resolve().is_relative_to(folder)
    except (OSError, ValueError):  # no name that a file can have
        return False


def _read_tree(path: Path, folder: Path, within: tuple[Path, ...]) -> list[tuple[Path, ElementTree.Element]]:
    """Return a file and all that it includes or attaches, inside the folder, before MuJoCo opens any."""
    if path in within:
        raise AssetError(f"{within[0]}: includes {path.name}, which includes itself")
    try:
        text = path.read_bytes()
        root = ElementTree.fromstring(text)
    except OSError as error:
        raise AssetError(f"{path}: cannot be read: {error.strerror}") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise AssetError(f"{path}: is no XML: {error}") from error
    if b"<!ENTITY" in text:
        raise AssetError(f"{path}: declares entities, which an MJCF has no use for")
    if not within and root.tag != "mujoco":
        raise AssetError(f"{path}: its root is <{root.tag}>, expected <mujoco>")
    files = [(path, root)]
    for element in root.iter():
        name = element.get("file")
        if element.tag in ATTACHED and name and _within(folder, "", name) and (folder / name).is_file():
            files += _read_tree(folder / name, folder, (*within, path))
            if len(files) > MOST_FILES:
                raise AssetError(f"{path}: includes more than {MOST_FILES} files")
    return files


def _check_count(path: Path, root: ElementTree.Element) -> None:
    """Refuse elements that stand for more than a rigid body has; MuJoCo would make them all."""
    for element in root.iter():
        if element.tag in NOT_RIGID:
            raise AssetError(f"{path}: has a <{element.tag}>; objects of one rigid body are judged")
    waiting, made = [(root, 1)], 0
    while waiting:
        element, copies = waiting.pop()
        if element.tag == "replicate":
            copies *= max(int(element.get("count", "1")), 1) if element.get("count", "1").isdecimal() else 1
        made += copies
        if copies > MOST_COPIES or made > MOST_ELEMENTS:
            raise AssetError(f"{path}: stands for more than {MOST_ELEMENTS:,} elements; too many for one rigid body")
        waiting += [(child, copies) for child in element]


def _mass(path: Path, model: Any) -> MassProperties:
    """Return the inertial that MuJoCo holds: declared, or, where the file declares none, derived from the geoms."""
    axes = Pose.from_quaternion(model.body_iquat[1]).rotation
    inertia = axes @ np.diag(model.body_inertia[1]) @ axes.T
    try:
        return MassProperties(float(model.body_mass[1]), model.body_ipos[1].copy(), (inertia + inertia.T) / 2)
    except MassError as error:
        raise AssetError(f"{path}: {error}") from error


def _mesh_of(path: Path, model: Any, geom: int) -> Mesh:
    """Return a geom as a mesh in the frame of the body."""
    X_BG = Pose.from_quaternion(model.geom_quat[geom], model.geom_pos[geom])
    try:
        local = _local_mesh(path, model, geom)
        return weld(Mesh(X_BG.apply(local.vertices), local.faces))
    except MeshError as error:
        raise AssetError(f"{path}: geom {geom}: {error}") from error


def _local_mesh(path: Path, model: Any, geom: int) -> Mesh:
    import trimesh

    kind, size = GEOMS.get(int(model.geom_type[geom]), "other"), model.geom_size[geom]
    if kind == "mesh":
        mesh = model.geom_dataid[geom]
        first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        faces = model.mesh_face[model.mesh_faceadr[mesh] :][: model.mesh_facenum[mesh]]
        return Mesh(model.mesh_vert[first : first + count].astype(np.float64), faces)
    if kind == "box":
        made = trimesh.creation.box(2 * size)
    elif kind == "sphere":
        made = trimesh.creation.icosphere(subdivisions=2, radius=size[0])
    elif kind == "cylinder":
        made = trimesh.creation.cylinder(size[0], 2 * size[1], sections=ROUND)
    elif kind == "capsule":
        made = trimesh.creation.capsule(2 * size[1], size[0], count=[ROUND, ROUND // 2])
    else:
        raise AssetError(f"{path}: geom {geom} is not one of {', '.join(GEOMS.values())}, which are judged")
    return Mesh(np.asarray(made.vertices), np.asarray(made.faces))
