"""Pictures of a large scene: all of it from above and obliquely, and a few cells from near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from physics.materials import Material
from physics.mesh import Mesh
from physics.model import Model
from physics.pose import Pose
from scenegen.large.fill import Member
from scenegen.large.pool import read_asset
from scenegen.large.scene import LargeScene
from scenegen.reports.render import RenderConfig, RenderObject, frame_camera, render, save_png, world_bounds
from scenegen.scenes.scene import SceneAsset
from scenegen.scenes.supports import make_box

VIEWS: dict[str, tuple[float, float, float]] = {"top": (0.0, -0.05, 1.0), "oblique": (0.9, -1.2, 0.9)}
"""Directions from the scene towards the camera."""
NEAR_VIEWS: dict[str, tuple[float, float, float]] = {"near_front": (0.25, -1.3, 0.45), "near_above": (0.35, -0.7, 1.1)}
"""The same for what is seen from near."""
NEAR_SIZE = 3.2
"""Side of the square of floor that is seen from near [m]."""
TRIANGLES = 6_000_000
"""Most triangles of one picture with all surfaces; beyond, objects are drawn by their collision hulls, and where these
are too many, as in a view of ten thousand objects some pixels wide, by the boxes around them [1]."""


def write_large_pictures(scene: LargeScene, root: str, folder: Path) -> list[Path]:
    """Write the pictures into a folder and return their files."""
    written = []
    plain = RenderConfig(sun_samples=1, dome_samples=2)
    for title, direction in VIEWS.items():
        written.append(_draw(scene, root, scene.members, folder / f"{title}_color.png", direction, plain))
    near = _nearest(scene)
    for title, direction in NEAR_VIEWS.items():
        written.append(_draw(scene, root, near, folder / f"{title}_color.png", direction, RenderConfig()))
    return written


def _draw(
    scene: LargeScene,
    root: str,
    members: Sequence[Member],
    path: Path,
    direction: tuple[float, float, float],
    config: RenderConfig,
) -> Path:
    shown = np.array([member.X_WB.position for member in members])
    low, high = shown.min(axis=0) - 0.5, shown.max(axis=0) + 0.5
    objects = [
        RenderObject.of_material(part.surface, Pose.translation(*one.position), part.material, one.kind)
        for one in scene.fixtures
        if (one.bounds(scene.models)[0] < high).all() and (one.bounds(scene.models)[1] > low).all()
        for part in scene.models[one.kind].root.parts
    ]
    assets = {member.folder: read_asset(root, member.folder) for member in members}
    objects += _object_shapes(members, assets)
    camera = frame_camera(world_bounds(objects), direction=direction, width=1200, height=800)
    return save_png(render(objects, camera, config=config).color, path)


def _object_shapes(members: Sequence[Member], assets: Mapping[str, SceneAsset]) -> list[RenderObject]:
    """Return the objects in as much detail as one picture can take; equal objects share their meshes."""
    shapes: dict[str, list[tuple[Mesh, Material]]] = {}
    for shapes_of in (_surfaces, _hulls, _boxes):
        shapes = {folder: shapes_of(asset.model) for folder, asset in assets.items()}
        triangles = {folder: sum(len(mesh.faces) for mesh, _ in shown) for folder, shown in shapes.items()}
        if sum(triangles[member.folder] for member in members) <= TRIANGLES:
            break
    return [
        RenderObject.of_material(mesh, member.X_WB, material, assets[member.folder].model.name)
        for member in members
        for mesh, material in shapes[member.folder]
    ]


def _surfaces(model: Model) -> list[tuple[Mesh, Material]]:
    return [(part.surface, part.material) for part in model.root.parts]


def _hulls(model: Model) -> list[tuple[Mesh, Material]]:
    return _by_material([(hull.mesh, model.root.hull_material(hull)) for hull in model.root.hulls])


def _boxes(model: Model) -> list[tuple[Mesh, Material]]:
    return _by_material([(make_box(*hull.mesh.bounds), model.root.hull_material(hull)) for hull in model.root.hulls])


def _by_material(meshes: Sequence[tuple[Mesh, Material]]) -> list[tuple[Mesh, Material]]:
    """Return all meshes of one material as one: an object has dozens of hulls, and there may be 10,000 objects."""
    found: dict[Material, list[Mesh]] = {}
    for mesh, material in meshes:
        found.setdefault(material, []).append(mesh)
    return [(_joined(together), material) for material, together in found.items()]


def _joined(meshes: Sequence[Mesh]) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))


def _nearest(scene: LargeScene) -> list[Member]:
    """Return the objects of the square of floor that holds most of them."""
    places = np.array([member.X_WB.position[:2] for member in scene.members])
    squares = np.floor((places - places.min(axis=0)) / NEAR_SIZE).astype(int)
    _, inverse, counts = np.unique(squares, axis=0, return_inverse=True, return_counts=True)
    fullest = int(np.argmax(counts))
    return [member for member, square in zip(scene.members, np.ravel(inverse), strict=True) if square == fullest]
