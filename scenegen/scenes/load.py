"""A written scene read back: as a record, and into a PyBullet client of the user's own."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from physics.drop_pybullet import (
    SCENE,
    PybulletConfig,
    choose_contacts,
    choose_timestep,
    free_sizes,
    set_parameters,
)
from physics.engine import Placement, World
from physics.errors import PhysicsError
from physics.materials import find_material
from physics.pose import Pose
from physics.pybullet_load import Loader
from scenegen.assets.package import load_asset
from scenegen.errors import SceneError
from scenegen.scenes.place import KeepOut
from scenegen.scenes.publish import SCENE_JSON, SCENE_SCHEMA, read_check, scene_asset, verify_scene_files
from scenegen.scenes.scene import Scene, SceneEvent, SceneObject
from scenegen.scenes.supports import box_model

DROP_GROUND = "oak"
"""Material of the ground on which assets are dropped for their certificate; its own coefficient is 1 in PyBullet."""


def load_scene(folder: Path | str) -> Scene:
    """Read a scene's folder and the folders of its assets, whose files are verified.

    Args:
        folder: Such as `out/demo/scenes/kitchen_table`; the assets lie where scene.json says, relative to it.

    Raises:
        SceneError: scene.json is missing, of another schema, or does not describe a scene; or another file of the
            folder is missing or was changed (names the file).
        AssetError: The folder of an asset is incomplete or was changed.
    """
    # Large scenes know of scenes, and not the other way round.
    from scenegen.large.load import restore_large
    from scenegen.large.publish import LARGE_SCHEMA

    folder = Path(folder)
    path = folder / SCENE_JSON
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SceneError(f"{path}: cannot be read: {error}; give the folder of a scene that a run wrote") from error
    restore = {SCENE_SCHEMA: _restore, LARGE_SCHEMA: restore_large}
    if not isinstance(record, dict) or record.get("schema") not in restore:
        raise SceneError(f"{path}: not a scene of schema {SCENE_SCHEMA!r} or {LARGE_SCHEMA!r}")
    try:
        verify_scene_files(folder, dict(record["files"]))
        scene = restore[record["schema"]](record, folder)
    except (KeyError, TypeError, ValueError, PhysicsError) as error:
        raise SceneError(f"{path}: {type(error).__name__}: {error}") from error
    if str(scene.verdict) != record["verdict"]:
        raise SceneError(f"{path}: states {record['verdict']}, but its checks give {scene.verdict}; make it anew")
    return scene


def load_scene_pybullet(folder: Path | str, pybullet: Any, client: int) -> dict[str, int]:
    """Load a scene into a connected PyBullet client, with the settings under which it was verified.

    Sets gravity, time step and contact parameters of the client. Bodies without joints are in maximal coordinates, for
    which `getDynamicsInfo` does not tell the inertial frame: it is that of `getBasePositionAndOrientation`. Loading
    the URDF files of the assets with `loadURDF` is not the same: PyBullet then puts a margin of 1 mm around every hull,
    so that objects push each other apart.

    Args:
        folder: The scene's folder.
        pybullet: The imported module.
        client: What `pybullet.connect` returned.

    Returns:
        PyBullet's body number of every object and piece of furniture by name.
    """
    world = load_scene(folder).world
    owner = _fill_client(world, world, SCENE, pybullet, client, str(folder))
    return {name: unique for (unique, link), name in owner.items() if link < 0}


def load_asset_pybullet(folder: Path | str, pybullet: Any, client: int) -> int:
    """Load an asset, its frame at the world's origin, into a connected PyBullet client, as it was verified.

    Args:
        folder: The asset's folder.
        pybullet: The imported module.
        client: What `pybullet.connect` returned.

    Returns:
        PyBullet's body number.
    """
    asset = load_asset(Path(folder))
    alone = World((Placement(asset.family, asset.model, Pose.identity()),), None)
    contacts = replace(alone, ground=find_material(DROP_GROUND))
    owner = _fill_client(alone, contacts, PybulletConfig(), pybullet, client, str(folder))
    return next(unique for unique, link in owner if link < 0)


def _fill_client(
    world: World, contacts: World, config: PybulletConfig, pybullet: Any, client: int, source: str
) -> dict[tuple[int, int], str]:
    """Load a world with the settings of verification; friction is fitted to the pairs of `contacts`.

    Returns:
        Name by PyBullet's body and link number.
    """
    settings = choose_contacts(world, config, pairs=contacts)
    timestep = choose_timestep(free_sizes(world), world.gravity, config)
    set_parameters(pybullet, client, config, settings, timestep)
    pybullet.setGravity(*world.gravity, physicsClientId=client)
    with tempfile.TemporaryDirectory(prefix="scenegen_pybullet_") as files:
        loader = Loader(pybullet, client, settings, Path(files), verify=True)
        loader.load(world)
    if loader.warnings:
        raise SceneError(f"{source}: PyBullet does not hold it as it is: {'; '.join(loader.warnings)}")
    return loader.owner


def _restore(record: dict[str, Any], folder: Path) -> Scene:
    furniture = []
    for row in record["furniture"]:
        boxes = {box["name"]: (tuple(box["lower"]), tuple(box["upper"])) for box in row["boxes"]}
        model = box_model(row["model"], boxes, find_material(row["material"]))
        furniture.append(Placement(row["name"], model, _pose(row), fixed=True))
    assets = {row["folder"]: load_asset(folder / ".." / ".." / row["folder"]) for row in record["objects"]}
    objects = []
    for row in record["objects"]:
        asset = assets[row["folder"]]
        if asset.asset_id != row["asset_id"]:
            where = folder.resolve().parents[1] / row["folder"]
            raise SceneError(f"{where}: holds asset {asset.asset_id}, expected {row['asset_id']}")
        objects.append(SceneObject(row["name"], scene_asset(asset, row["folder"]), _pose(row)))
    return Scene(
        record["name"],
        record["layout"],
        record["seed"],
        tuple(furniture),
        tuple(objects),
        find_material(record["ground"]),
        tuple(KeepOut(tuple(zone["lower"]), tuple(zone["upper"])) for zone in record["keep_outs"]),
        tuple(read_check(row) for row in record["checks"]),
        tuple(SceneEvent(**row) for row in record["events"]),
        tuple((row["name"], row["version"]) for row in record["engines"]),
        tuple(record["limits_of_engines"]),
        record["settings"],
    )


def _pose(row: dict[str, Any]) -> Pose:
    return Pose(np.array(row["position"]), np.array(row["quaternion"]))
