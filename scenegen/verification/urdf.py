"""URDF files of one rigid body: visual solids, collision hulls and declared mass, all in the frame of the link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from physics.errors import MassError
from physics.mass import MassProperties
from physics.mesh import Mesh
from physics.pose import Pose
from scenegen.errors import AssetError
from scenegen.verification.declared import DeclaredBody

ReadMesh = Callable[[Path], list[Mesh]]
"""Returns the named objects of a mesh file, each as a mesh."""
LARGEST_NUMBER = 1e12
"""Larger numbers are no quantity of an object in SI units [1]."""
MOST_GEOMETRIES = 1000
"""Visual and collision elements of a link; more are refused [1]."""
ROUND_SIDES = 32
"""Sides of the prism that stands for a cylinder or a sphere's equator [1]; a hull keeps 64 vertices."""


def read_urdf(path: Path, read: ReadMesh) -> DeclaredBody:
    """Return the link of a URDF.

    Raises:
        AssetError: not a URDF, several links, nothing to see or to touch, numbers that are none, or files that are
            missing or outside the folder of the URDF.
    """
    root = _parse(path)
    links = root.findall("link")
    if len(links) != 1:
        raise AssetError(f"{path}: {len(links)} links; objects of one rigid link are judged, mechanisms are not yet")
    link = links[0]
    place = _Place(path, read)
    count = len(link.findall("visual")) + len(link.findall("collision"))
    if count > MOST_GEOMETRIES:
        raise AssetError(f"{path}: {count} visual and collision elements, at most {MOST_GEOMETRIES} are judged")
    visuals = tuple(tuple(place.geometry(element)) for element in link.findall("visual"))
    hulls = tuple(mesh for element in link.findall("collision") for mesh in place.geometry(element))
    for what, found in (("visual", visuals), ("collision", hulls)):
        if not found:
            raise AssetError(f"{path}: link {link.get('name')!r} has no {what} geometry")
    return DeclaredBody(link.get("name") or "link", visuals, hulls, _mass(path, link))


def _parse(path: Path) -> ElementTree.Element:
    try:
        text = path.read_bytes()
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise AssetError(f"{path}: declares entities, which a URDF has no use for")
        root = ElementTree.fromstring(text)
    except OSError as error:
        raise AssetError(f"{path}: cannot be read: {error.strerror}") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # or an encoding that Python does not know
        raise AssetError(f"{path}: is no XML: {error}") from error
    if root.tag != "robot":
        raise AssetError(f"{path}: its root is <{root.tag}>, expected <robot>")
    return root


def _mass(path: Path, link: ElementTree.Element) -> MassProperties:
    inertial = link.find("inertial")
    if inertial is None:
        raise AssetError(f"{path}: link {link.get('name')!r} has no <inertial>, so engines would make one up")
    mass = _numbers(path, inertial.find("mass"), "value", 1)[0]
    entries = inertial.find("inertia")
    xx, yy, zz, xy, xz, yz = (
        _numbers(path, entries, name, 1)[0] for name in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
    )
    X_LC = _origin(path, inertial)
    turned = X_LC.rotation @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ X_LC.rotation.T
    try:
        return MassProperties(mass, X_LC.position, (turned + turned.T) / 2)
    except MassError as error:
        raise AssetError(f"{path}: link {link.get('name')!r}: {error}") from error


@dataclass(frozen=True)
class _Place:
    """Where a URDF lies, and how the meshes beside it are read."""

    path: Path
    read: ReadMesh

    def geometry(self, element: ElementTree.Element) -> list[Mesh]:
        """Return the objects of a visual or collision element, in the frame of the link."""
        geometry = element.find("geometry")
        shape = None if geometry is None else next(iter(geometry), None)
        if shape is None:
            raise AssetError(f"{self.path}: a <{element.tag}> has no geometry")
        X_LG = _origin(self.path, element)
        return [mesh.rotated(X_LG.rotation).translated(X_LG.position) for mesh in self._shape(shape)]

    def _shape(self, shape: ElementTree.Element) -> list[Mesh]:
        if shape.tag == "mesh":
            scale = _sizes(self.path, shape, "scale", 3) if shape.get("scale") else np.ones(3)
            meshes = self.read(self._file(shape.get("filename") or ""))
            return [Mesh(mesh.vertices * scale, mesh.faces) for mesh in meshes]
        made = _primitive(self.path, shape)
        return [Mesh(np.asarray(made.vertices), np.asarray(made.faces))]

    def _file(self, name: str) -> Path:
        """Return the file that a URDF names; it lies in the URDF's folder or below."""
        relative = name.removeprefix("file://")
        if relative.startswith("package://"):
            relative = relative.removeprefix("package://").partition("/")[2]
        folder = self.path.parent.resolve()
        file = (folder / relative).resolve()
        if not file.is_relative_to(folder):
            raise AssetError(f"{self.path}: names {name!r}, which is outside its folder; files beside it are read only")
        if not file.is_file():
            raise AssetError(f"{self.path}: names {name!r}, and there is no such file")
        return file


def _primitive(path: Path, shape: ElementTree.Element):
    import trimesh

    if shape.tag == "box":
        return trimesh.creation.box(_sizes(path, shape, "size", 3))
    if shape.tag == "sphere":
        return trimesh.creation.icosphere(subdivisions=2, radius=_sizes(path, shape, "radius", 1)[0])
    if shape.tag == "cylinder":
        radius, length = (_sizes(path, shape, name, 1)[0] for name in ("radius", "length"))
        return trimesh.creation.cylinder(radius, length, sections=ROUND_SIDES)
    raise AssetError(f"{path}: geometry <{shape.tag}> is not one of mesh, box, cylinder, sphere")


def _sizes(path: Path, shape: ElementTree.Element, name: str, count: int) -> np.ndarray:
    sizes = _numbers(path, shape, name, count)
    if not (sizes > 0).all():
        raise AssetError(f"{path}: <{shape.tag}> has {name} {shape.get(name)!r}, expected positive numbers")
    return sizes


def _origin(path: Path, element: ElementTree.Element) -> Pose:
    origin = element.find("origin")
    xyz = _numbers(path, origin, "xyz", 3) if origin is not None and origin.get("xyz") else np.zeros(3)
    rpy = _numbers(path, origin, "rpy", 3) if origin is not None and origin.get("rpy") else np.zeros(3)
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_euler("xyz", rpy).as_quat()
    return Pose(xyz, np.array([w, x, y, z]))


def _numbers(path: Path, element: ElementTree.Element | None, name: str, count: int) -> np.ndarray:
    text = None if element is None else element.get(name)
    try:
        numbers = np.array([float(word) for word in (text or "").split()])
    except ValueError:
        numbers = np.zeros(0)
    tag = "element" if element is None else f"<{element.tag}>"
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise AssetError(f"{path}: {tag} needs {name} with {count} finite numbers, got {text!r:.200}")
    if (np.abs(numbers) > LARGEST_NUMBER).any():
        raise AssetError(f"{path}: {tag} has {name} {text!r:.200}, which is no quantity of an object in SI units")
    return numbers
