"""A large scene as MJCF in tiles: each mesh once, memory set, sleep as an option; and the compiled model as a cache.

MuJoCo's reader visits everything that it has read so far for each further body. Bodies in tiles of their own, attached
by `scene.xml`, keep that within a tile: 2,000 objects of 37 hulls are parsed in 0.7 s instead of 12.5 s.
"""

# The bindings of MuJoCo are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from physics.engine import GRAVITY, GROUND, World
from physics.materials import Material, find_material
from physics.mesh_io import write_obj
from physics.model import Body, Model
from physics.mujoco_spec import COLLISION_GROUP, VISUAL_GROUP, MujocoConfig, contact_settings, verdict_timestep
from physics.pose import Pose
from scenegen.assets.layout import hull_paths, part_paths, spell
from scenegen.large.pool import read_asset
from scenegen.large.scene import LargeScene
from scenegen.scenes.scene import SceneAsset, SceneObject, make_world

SCENE_XML, SCENE_MJB, TILES, MESHES = "scene.xml", "scene.mjb", "tiles", "meshes"
"""Files and folders in the scene's folder."""
TILE_OBJECTS = 250
"""Objects in one tile [1]."""
BYTES_PER_CONTACT = 16 * 2**10
"""Arena for one contact with its constraints, several times what a scene at rest takes [byte]."""
BYTES_PER_PAIR = 5
"""Arena for a pair of bodies in the broad phase [byte]."""
BASE_MEMORY = 64 * 2**20
"""Arena beside these [byte]."""
EMPTY_PREFIX = "Attaching a spec with an empty prefix"
"""MuJoCo's warning that a model of tiles may not be saved as MJCF again; it is loaded all the same."""


@dataclass(frozen=True)
class ExportConfig:
    """How a large scene is written."""

    sleeping: bool = False
    """Whether `scene.xml` enables sleep; all objects then start asleep. They were verified with sleep off."""


def export_large(scene: LargeScene, root: str, folder: Path, config: ExportConfig) -> Path:
    """Write `scene.xml`, its tiles and the meshes of the furniture; return the path of `scene.xml`.

    Args:
        scene: A verified scene.
        root: Output folder of the run, which holds the assets.
        folder: The scene's folder, two levels below it.
        config: Options.
    """
    (folder / TILES).mkdir()
    assets = {name: read_asset(root, name) for name in dict.fromkeys(member.folder for member in scene.members)}
    meshes = _mesh_files(scene, assets, folder)
    names = {digest: f"mesh_{number:05d}" for number, digest in enumerate(meshes)}
    defaults = "".join(_defaults(scene, assets))
    tiles = []
    fixtures = [_fixture_xml(scene.models[one.kind], one.name, one.position, names) for one in scene.fixtures]
    objects = [_object_xml(assets[one.folder], one.name, one.X_WB, names) for one in scene.members]
    for number, bodies in enumerate(_batches([*fixtures, *objects])):
        tile = f"tile_{number:03d}"
        text = f'<mujoco model="{tile}">\n{defaults}<worldbody>\n{"".join(bodies)}</worldbody>\n</mujoco>\n'
        (folder / TILES / f"{tile}.xml").write_text(text)
        tiles.append(tile)
    path = folder / SCENE_XML
    path.write_text("".join(_scene_xml(scene, assets, meshes, names, defaults, tiles, config)))
    return path


def load_model(path: Path) -> Any:
    """Return the `mujoco.MjModel` of a written scene, as stock MuJoCo loads it."""
    import mujoco

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=EMPTY_PREFIX)
        return mujoco.MjModel.from_xml_path(os.fspath(path))


def save_binary(model: Any, path: Path) -> None:
    """Write a compiled model: it loads at once, in the same version of MuJoCo only."""
    import mujoco

    mujoco.mj_saveModel(model, os.fspath(path))


def arena_bytes(scene: LargeScene) -> int:
    """Return the memory that the scene is given for contacts and broad phase [byte]."""
    bodies = len(scene.members) + len(scene.fixtures)
    return BASE_MEMORY + BYTES_PER_CONTACT * scene.contacts + BYTES_PER_PAIR * bodies**2


def _scene_xml(
    scene: LargeScene,
    assets: Mapping[str, SceneAsset],
    meshes: Mapping[str, tuple[str, str]],
    names: Mapping[str, str],
    defaults: str,
    tiles: Sequence[str],
    config: ExportConfig,
) -> Iterator[str]:
    solver = MujocoConfig()
    step = verdict_timestep(_one_of_each(assets), solver)
    sleep = "enable" if config.sleeping else "disable"
    yield f"<mujoco model={quoteattr(scene.name)}>\n"
    yield f'<size memory="{-(-arena_bytes(scene) // 2**20)}M"/>\n'
    yield (
        f'<option timestep="{step!r}" gravity="{spell(GRAVITY)}" integrator="implicitfast" cone="elliptic" '
        f'solver="Newton" impratio="{solver.impratio!r}" tolerance="{solver.tolerance!r}" '
        f'iterations="{solver.iterations}"><flag autoreset="disable" sleep="{sleep}"/></option>\n'
    )
    yield defaults
    yield "<asset>\n"
    for digest, (file, kind) in meshes.items():
        inertia = "convex" if kind == "hull" else "shell"  # inertials are explicit; these must only not fail
        yield f'<mesh name="{names[digest]}" file={quoteattr(file)} inertia="{inertia}"/>\n'
    for tile in tiles:
        yield f'<model name="{tile}" file="{TILES}/{tile}.xml"/>\n'
    yield "</asset>\n<worldbody>\n"
    yield f'<geom name="{GROUND}" class="{find_material(scene.ground).name}" type="plane" size="0 0 1"/>\n'
    for tile in tiles:
        yield f'<attach model="{tile}" prefix=""/>\n'
    yield "</worldbody>\n</mujoco>\n"


def _defaults(scene: LargeScene, assets: Mapping[str, SceneAsset]) -> Iterator[str]:
    """Yield a class of collision geoms for each material, and one of surfaces that are only seen."""
    models = [*scene.models.values(), *(asset.model for asset in assets.values())]
    materials = {part.material.name: part.material for model in models for part in model.root.parts}
    materials |= {scene.ground: find_material(scene.ground)}
    yield "<default>\n"
    for name in sorted(materials):
        material = materials[name]
        settings = contact_settings(material, MujocoConfig())
        contact = " ".join(f'{key}="{spell(value)}"' for key, value in settings.items() if key != "condim")
        yield (
            f'<default class="{name}"><geom type="mesh" condim="{settings["condim"]}" {contact} '
            f'margin="0" rgba="{_rgba(material)}"/>'
            f'<default class="{name}_seen"><geom group="{VISUAL_GROUP}" contype="0" conaffinity="0"/></default>'
            "</default>\n"
        )
    yield "</default>\n"


def _rgba(material: Material) -> str:
    """Return the material's colour as sRGB, which MuJoCo's viewer expects."""
    srgb = [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in material.base_color]
    return " ".join(f"{value:.4g}" for value in [*srgb, 1.0])


def _fixture_xml(model: Model, name: str, position: np.ndarray, names: Mapping[str, str]) -> str:
    return f'<body name="{name}" pos="{spell(position)}">\n{_geoms(model.root, names, VISUAL_GROUP)}</body>\n'


def _object_xml(asset: SceneAsset, name: str, X_WB: Pose, names: Mapping[str, str]) -> str:
    body = asset.model.root
    inertial, i = body.inertial, body.inertial.inertia
    six = (i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2])
    return (
        f'<body name="{name}" pos="{spell(X_WB.position)}" quat="{spell(X_WB.quaternion)}" sleep="init">'
        f'<freejoint name="{name}"/><inertial mass="{inertial.mass!r}" pos="{spell(inertial.com)}" '
        f'fullinertia="{spell(six)}"/>\n{_geoms(body, names, COLLISION_GROUP)}</body>\n'
    )


def _geoms(body: Body, names: Mapping[str, str], group: int) -> str:
    """Return the geoms of a body: its surfaces where they have a file, and its hulls."""
    lines = [
        f'<geom class="{part.material.name}_seen" mesh="{names[part.surface.digest]}"/>\n'
        for part in body.parts
        if part.surface.digest in names and part.surface.digest not in {hull.mesh.digest for hull in body.hulls}
    ]
    contact = _small_contact(body)
    lines += [
        f'<geom class="{body.hull_material(hull).name}" group="{group}" mesh="{names[hull.mesh.digest]}"{contact}/>\n'
        for hull in body.hulls
    ]
    return "".join(lines)


def _small_contact(body: Body) -> str:
    """Return the contact fields of a body so small that those of its material are too soft for it."""
    material, config = body.parts[0].material, MujocoConfig()
    usual, own = (contact_settings(material, config, **size) for size in ({}, {"size": body.size}))
    return "".join(f' {key}="{spell(own[key])}"' for key in ("solref", "solmix") if own[key] != usual[key])


def _mesh_files(scene: LargeScene, assets: Mapping[str, SceneAsset], folder: Path) -> dict[str, tuple[str, str]]:
    """Return file and kind of each distinct mesh by its digest; write those of the furniture."""
    files: dict[str, tuple[str, str]] = {}
    for asset in assets.values():
        for _, hull, path in hull_paths(asset.model):
            files.setdefault(hull.mesh.digest, (f"../../{asset.folder}/{path}", "hull"))
        for _, part, path in part_paths(asset.model):
            files.setdefault(part.surface.digest, (f"../../{asset.folder}/{path}", "surface"))
    if scene.models:
        (folder / MESHES).mkdir()
    for kind, model in scene.models.items():
        for number, hull in enumerate(model.root.hulls):
            path = f"{MESHES}/{kind}_{number:03d}.obj"
            write_obj(hull.mesh, folder / path)
            files.setdefault(hull.mesh.digest, (path, "hull"))
    return files


def _one_of_each(assets: Mapping[str, SceneAsset]) -> World:
    """Return a world that holds each asset once: what settings are chosen by."""
    objects = [SceneObject(f"one_{n}", asset, Pose.identity()) for n, asset in enumerate(assets.values())]
    return make_world((), objects, find_material("concrete"))


def _batches(bodies: Sequence[str]) -> Iterator[tuple[str, ...]]:
    iterator = iter(bodies)
    while batch := tuple(itertools.islice(iterator, TILE_OBJECTS)):
        yield batch
