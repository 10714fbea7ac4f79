"""The record of a large scene read back: furniture, objects and evidence, as of any other scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from physics.engine import Placement
from physics.materials import find_material
from physics.model import Model
from physics.pose import Pose
from scenegen.assets.package import load_asset
from scenegen.errors import SceneError
from scenegen.large.publish import verdict_of
from scenegen.scenes.publish import POSES, read_check, scene_asset
from scenegen.scenes.scene import Scene, SceneObject
from scenegen.scenes.supports import box_model

POSE_COLUMNS = ("x", "y", "z", "qw", "qx", "qy", "qz")
"""Position [m] and quaternion (w, x, y, z) in poses.parquet."""


def restore_large(record: dict[str, Any], folder: Path) -> Scene:
    """Return the scene that scene.json and poses.parquet describe; each asset is read and verified once.

    Args:
        record: Content of scene.json, of the schema of large scenes.
        folder: The scene's folder, whose files were verified.

    Raises:
        SceneError: The verdict is not the one that its checks give, or objects are missing in poses.parquet.
        AssetError: The folder of an asset is incomplete or was changed.
    """
    checks = tuple(read_check(row) for row in record["checks"])
    if str(verdict_of(checks)) != record["verdict"]:
        raise SceneError(f"{folder}: states {record['verdict']}, but its checks give {verdict_of(checks)}")
    models = {kind: _furniture(kind, parts) for kind, parts in record["furniture"].items()}
    furniture = tuple(
        Placement(row["name"], models[row["kind"]], Pose.translation(*row["position"]), fixed=True)
        for row in record["fixtures"]
    )
    objects = _objects(folder)
    if len(objects) != record["objects"]:
        raise SceneError(f"{folder / POSES}: holds {len(objects)} objects, expected {record['objects']}")
    return Scene(
        record["name"],
        record["layout"],
        record["seed"],
        furniture,
        objects,
        find_material(record["ground"]),
        checks=checks,
        engines=tuple((row["name"], row["version"]) for row in record["verified_in"]),
    )


def _furniture(kind: str, parts: list[dict[str, Any]]) -> Model:
    materials = {part["material"] for part in parts}
    if len(materials) != 1:
        raise SceneError(f"furniture {kind!r} is of {len(materials)} materials, expected 1")
    boxes = {part["name"]: (tuple(part["lower"]), tuple(part["upper"])) for part in parts}
    return box_model(kind, boxes, find_material(materials.pop()))


def _objects(folder: Path) -> tuple[SceneObject, ...]:
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / POSES).to_pylist()
    assets = {row["folder"]: load_asset(folder / ".." / ".." / row["folder"]) for row in rows}
    placed = []
    for row in rows:
        asset = assets[row["folder"]]
        if asset.asset_id != row["asset_id"]:
            where = folder.resolve().parents[1] / row["folder"]
            raise SceneError(f"{where}: holds asset {asset.asset_id}, expected {row['asset_id']}")
        numbers = np.array([row[column] for column in POSE_COLUMNS])
        X_WB = Pose.from_quaternion(numbers[3:], numbers[:3])
        placed.append(SceneObject(row["object"], scene_asset(asset, row["folder"]), X_WB))
    return tuple(placed)
