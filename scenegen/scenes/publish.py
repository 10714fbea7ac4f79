"""Stage: a scene is made of certified assets on disk, verified, written whole or not at all, and loaded back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from physics.check import Check, Verdict
from scenegen.assets.asset import Asset
from scenegen.assets.layout import hull_paths, part_paths
from scenegen.assets.package import STAGED, load_asset
from scenegen.errors import SceneError
from scenegen.pipeline.stage import Rejection
from scenegen.provenance import item_rng
from scenegen.reports.figures import write_scene_pictures
from scenegen.scenes.build import ComposeConfig, ScenePlan, build_scene
from scenegen.scenes.export_mjcf import export_mjcf, read_back_mjcf
from scenegen.scenes.poses import write_poses
from scenegen.scenes.scene import Scene, SceneAsset

SCENE_JSON = "scene.json"
"""File in the scene's folder: the one numeric source."""
SCENE_SCHEMA = "scenegen scene 1"
"""Version of the layout of scene.json."""
POSES = "poses.parquet"
"""File in the scene's folder."""


@dataclass(frozen=True)
class SceneRequest:
    """One scene to be made."""

    plan: ScenePlan
    folders: tuple[str, ...]
    """Folders of the certified assets to draw from, relative to the output folder."""


@dataclass(frozen=True)
class SceneStageConfig:
    """How scenes are made, and where they go."""

    root: str
    """Output folder of the run."""
    compose: ComposeConfig = field(default_factory=ComposeConfig)


@dataclass(frozen=True)
class PublishedScene:
    """A verified scene on disk."""

    name: str
    folder: str
    """Relative to the output folder."""
    objects: int
    """Objects placed [1]."""
    replaced: int
    """Objects that failed and were replaced [1]."""
    pictures: tuple[str, ...]
    """Colour pictures, relative to the output folder."""
    digest: str
    """SHA-256 of scene.json, which holds the hashes of the other files."""


def publish_scene(request: SceneRequest, config: SceneStageConfig) -> PublishedScene | Rejection:
    """Make, verify and write one scene."""
    root, plan = Path(config.root), request.plan
    assets = {load_asset(root / folder): folder for folder in request.folders}
    usable = [scene_asset(asset, folder) for asset, folder in assets.items()]
    try:
        scene = build_scene(plan, usable, item_rng(plan.seed, plan.name, "scene"), config.compose)
    except SceneError as error:
        return Rejection("scene", "does not fit", np.nan, None, "", str(error))
    if isinstance(scene, Rejection):
        return scene
    return write_scene(scene, root, config.compose)


def write_scene(scene: Scene, root: Path, config: ComposeConfig) -> PublishedScene | Rejection:
    """Write a scene's folder, load its MJCF with stock MuJoCo, and publish it only when it still holds."""
    parent = root / "scenes"
    parent.mkdir(parents=True, exist_ok=True)
    # One level deep like the final folder, so that relative paths to the assets stay true.
    staged = Path(tempfile.mkdtemp(prefix=STAGED, dir=parent))
    staged.chmod(0o755)
    try:
        path = export_mjcf(scene, staged, _mesh_files(scene))
        checks = read_back_mjcf(scene, path, config.checks)
        for check in checks:
            if check.verdict in (Verdict.FAIL, Verdict.UNDECIDED):
                reason = f"{check.id} {check.name} in {path.name}"
                return Rejection("scene", reason, check.value, check.limit, check.unit, check.describe())
        scene = replace(scene, checks=(*scene.checks, *checks))
        write_poses(scene, staged / POSES)
        pictures = write_scene_pictures(scene.world, staged)
        record = {**describe_scene(scene), "files": hash_files(staged)}
        content = (json.dumps(record, indent=1, allow_nan=False) + "\n").encode()
        (staged / SCENE_JSON).write_bytes(content)
        folder = parent / scene.name
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    shown = tuple((Path("scenes") / scene.name / p.name).as_posix() for p in pictures if p.name.endswith("color.png"))
    digest = hashlib.sha256(content).hexdigest()
    return PublishedScene(scene.name, f"scenes/{scene.name}", len(scene.objects), len(scene.events), shown, digest)


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a scene's folder but scene.json, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SCENE_JSON)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def verify_scene_files(folder: Path, files: Mapping[str, str]) -> None:
    """Compare the files of a scene's folder with the hashes that scene.json states; further files do not matter.

    Raises:
        SceneError: A file is missing or was changed (names it).
    """
    held = hash_files(folder)
    for name, expected in files.items():
        if held.get(name) != expected:
            what = "was changed after it was written" if name in held else "is missing"
            raise SceneError(f"{folder / name}: {what}; restore it or run again, which makes the scene anew")


def find_scene_damage(published: PublishedScene, root: Path) -> str:
    """Return what is wrong with a published scene's folder, or nothing: it holds what was written."""
    folder = root / published.folder
    path = folder / SCENE_JSON
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != published.digest:
            return f"{path}: is not what was written"
        verify_scene_files(folder, json.loads(content)["files"])
    except (OSError, SceneError) as error:
        return str(error)
    return ""


def describe_scene(scene: Scene) -> dict[str, Any]:
    """Return the content of scene.json but the hashes of the other files."""
    return {
        "schema": SCENE_SCHEMA,
        "name": scene.name,
        "layout": scene.layout,
        "seed": scene.seed,
        "verdict": str(scene.verdict),
        "units": "SI: metres, kilograms, seconds, radians; z up; quaternions (w, x, y, z)",
        "frame": "pose of each model's root frame: origin at the centre of the base of the upright pose",
        "gravity": list(scene.world.gravity),
        "ground": scene.ground.name,
        "engines": [{"name": name, "version": version} for name, version in scene.engines],
        "limits_of_engines": list(scene.limits),
        "furniture": [
            {
                "name": placement.name,
                "model": placement.model.name,
                "position": placement.X_WB.position.tolist(),
                "quaternion": placement.X_WB.quaternion.tolist(),
                "material": placement.model.root.parts[0].material.name,
                "friction": placement.model.root.parts[0].material.sliding_friction,
                "boxes": [
                    {
                        "name": part.name,
                        "lower": part.surface.bounds[0].tolist(),
                        "upper": part.surface.bounds[1].tolist(),
                    }
                    for part in placement.model.root.parts
                ],
            }
            for placement in scene.furniture
        ],
        "objects": [
            {
                "name": one.name,
                "asset_id": one.asset.asset_id,
                "category": one.asset.model.name,
                "folder": one.asset.folder,
                "urdf": f"../../{one.asset.folder}/model.urdf",
                "mjcf": f"../../{one.asset.folder}/model.xml",
                "position": one.X_WB.position.tolist(),
                "quaternion": one.X_WB.quaternion.tolist(),
            }
            for one in scene.objects
        ],
        "settings": dict(scene.settings),
        "keep_outs": [asdict(zone) for zone in scene.keep_outs],
        "events": [asdict(event) for event in scene.events],
        "checks": [_check_row(check) for check in scene.checks],
    }


def _check_row(check: Check) -> dict[str, Any]:
    # Compared by identity: zero equals False, and a value of zero must stay.
    row = {key: value for key, value in asdict(check).items() if not any(value is empty for empty in (None, "", False))}
    return {"verdict": str(check.verdict), **row}


def scene_asset(asset: Asset, folder: str) -> SceneAsset:
    """Return what a scene needs of an asset."""
    # A pose in which a body of revolution may roll is no place to leave it.
    poses = tuple(pose.X_WB for pose in asset.rest_poses if not pose.rolls)
    return SceneAsset(asset.asset_id, folder, asset.model, poses)


def _mesh_files(scene: Scene) -> dict[str, str]:
    """Return the files of all hulls and surfaces by the digest of their mesh, relative to the scene's folder."""
    files: dict[str, str] = {}
    for one in scene.objects:
        meshes = [(hull.mesh, path) for _, hull, path in hull_paths(one.asset.model)]
        meshes += [(part.surface, path) for _, part, path in part_paths(one.asset.model)]
        files |= {mesh.digest: f"../../{one.asset.folder}/{path}" for mesh, path in meshes}
    return files


def read_check(row: Mapping[str, Any]) -> Check:
    """Return a check from its record, which leaves out what is not set; its verdict follows from the rest."""
    fields: dict[str, Any] = {"limit": None, **row}
    fields.pop("verdict", None)
    return Check(**fields)
