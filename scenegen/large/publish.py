"""Stage: a verified large scene is written, loaded with stock MuJoCo, judged as a whole, and published or refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from physics.check import Check, Verdict, overall_verdict
from physics.engine import GRAVITY
from scenegen.assets.package import STAGED
from scenegen.large.delivered import check_delivered, count_touching, find_contacts
from scenegen.large.export import SCENE_MJB, ExportConfig, export_large, load_model, save_binary
from scenegen.large.pictures import write_large_pictures
from scenegen.large.pool import read_asset
from scenegen.large.scene import LargeScene
from scenegen.pipeline.stage import Rejection
from scenegen.provenance import library_versions
from scenegen.scenes.publish import POSES, SCENE_JSON, PublishedScene, hash_files
from scenegen.scenes.scene import REQUIRED_SCENE_CHECKS, SCENE_ENGINES
from scenegen.scenes.verify import SceneCheckConfig

LARGE_SCHEMA = "scenegen large scene 1"
"""Version of the layout of scene.json."""
DELIVERY_CHECKS = ("S6", "X5", "X6")
"""Checks that every large scene needs of its file, beside those that it needs in each engine."""


@dataclass(frozen=True)
class PublishLargeConfig:
    """How a large scene is written, and where."""

    root: str
    """Output folder of the run."""
    export: ExportConfig = field(default_factory=ExportConfig)
    checks: SceneCheckConfig = field(default_factory=SceneCheckConfig)
    pictures: bool = True
    """Whether pictures are drawn."""


def publish_large(scene: LargeScene, config: PublishLargeConfig) -> PublishedScene | Rejection:
    """Write a large scene's folder; publish it only when the loaded model is what was verified."""
    parent = Path(config.root) / "scenes"
    parent.mkdir(parents=True, exist_ok=True)
    # One level deep like the final folder, so that relative paths to the assets stay true.
    staged = Path(tempfile.mkdtemp(prefix=STAGED, dir=parent))
    staged.chmod(0o755)
    try:
        path = export_large(scene, config.root, staged, config.export)
        model = load_model(path)
        assets = {name: read_asset(config.root, name) for name in {member.folder for member in scene.members}}
        data = find_contacts(model)
        checks = (*scene.checks, *check_delivered(model, data, scene, assets, config.checks))
        failed = [check for check in checks if check.verdict in (Verdict.FAIL, Verdict.UNDECIDED)]
        if not failed and verdict_of(checks) is Verdict.UNDECIDED:
            missing = "a required check is missing in one of the engines"
            return Rejection("scene", "unverified", float("nan"), None, "", f"{scene.name}: {missing}")
        if failed:
            worst = failed[0]
            reason = f"{worst.id} {worst.name} in {path.name}"
            return Rejection("scene", reason, worst.value, worst.limit, worst.unit, worst.describe())
        save_binary(model, staged / SCENE_MJB)
        geoms, touching = int(model.ngeom), count_touching(model, data)
        del model, data
        write_pose_table(scene, config.root, staged / POSES)
        pictures = write_large_pictures(scene, config.root, staged) if config.pictures else []
        record = {**describe_large(scene, checks, geoms, touching), "files": hash_files(staged)}
        content = (json.dumps(record, indent=1, allow_nan=False) + "\n").encode()
        (staged / SCENE_JSON).write_bytes(content)
        folder = parent / scene.name
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    shown = tuple(f"scenes/{scene.name}/{picture.name}" for picture in pictures)
    digest = hashlib.sha256(content).hexdigest()
    return PublishedScene(scene.name, f"scenes/{scene.name}", len(scene.members), len(scene.replaced), shown, digest)


def write_pose_table(scene: LargeScene, root: str, path: Path) -> Path:
    """Write `poses.parquet`: name, asset, component, position [m] and quaternion (w, x, y, z) of every object."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for member, component in zip(scene.members, scene.components, strict=True):
        asset = read_asset(root, member.folder)
        rows.append(
            {
                "scene": scene.name,
                "object": member.name,
                "asset_id": asset.asset_id,
                "category": asset.model.name,
                "folder": member.folder,
                "component": component,
                **dict(zip("xyz", member.X_WB.position.tolist(), strict=True)),
                **dict(zip(("qw", "qx", "qy", "qz"), member.X_WB.quaternion.tolist(), strict=True)),
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """Return the worst verdict of either engine and of the file; UNDECIDED where one lacks a required check."""
    required = {**dict.fromkeys(SCENE_ENGINES, REQUIRED_SCENE_CHECKS), "": DELIVERY_CHECKS}
    verdicts = [
        overall_verdict((check for check in checks if not engine or check.engine == engine), needed)
        for engine, needed in required.items()
    ]
    return max(verdicts, key=list(Verdict).index)


def describe_large(scene: LargeScene, checks: tuple[Check, ...], geoms: int, touching: int) -> dict[str, Any]:
    """Return the content of scene.json but the hashes of the other files."""
    return {
        "schema": LARGE_SCHEMA,
        "name": scene.name,
        "layout": scene.layout,
        "seed": scene.seed,
        "verdict": str(verdict_of(checks)),
        "verified_in": [{"name": name, "version": library_versions()[name]} for name in SCENE_ENGINES],
        "units": "SI: metres, kilograms, seconds, radians; z up; quaternions (w, x, y, z)",
        "gravity": list(GRAVITY),
        "ground": scene.ground,
        "objects": len(scene.members),
        "assets": len({member.folder for member in scene.members}),
        "geoms": geoms,
        "counts": {**scene.counts, "touching": touching},
        "fixtures": [{"name": one.name, "kind": one.kind, "position": one.position.tolist()} for one in scene.fixtures],
        "furniture": {
            kind: [
                {
                    "name": part.name,
                    "material": part.material.name,
                    "lower": part.surface.bounds[0].tolist(),
                    "upper": part.surface.bounds[1].tolist(),
                }
                for part in model.root.parts
            ]
            for kind, model in scene.models.items()
        },
        "replaced": list(scene.replaced),
        "merged": list(scene.merged),
        "by_stance": list(scene.by_stance),
        "unsound": list(scene.unsound),
        "checks": [{"verdict": str(check.verdict), **_plain(check)} for check in checks],
    }


def _plain(check: Check) -> dict[str, Any]:
    # Compared by identity: zero equals False, and a value of zero must stay.
    return {
        key: value for key, value in asdict(check).items() if not any(value is empty for empty in (None, "", False))
    }
