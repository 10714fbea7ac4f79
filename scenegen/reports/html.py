"""`scenegen report`: pages about a run or a verification that open from disk, without a network.

DIR/report/index.html       all objects: funnel, reasons, distributions, agreement, a table
DIR/report/asset.html?id=   one object: its shape in 3D, every check, a drop
DIR/report/data/*.js        what the pages show, as scripts that assign it: pages on disk may not fetch files
DIR/report/report.json      the same for programs, with its schema, as parquet, JUnit XML and Markdown
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from physics.mass import MassProperties
from physics.mesh import Mesh
from physics.model import Model
from scenegen.pipeline.store import explained
from scenegen.reports.exhibit import Exhibit, exhibits_of, kind_of
from scenegen.reports.meanings import MEANINGS
from scenegen.reports.picture import save_png
from scenegen.reports.render import render_model
from scenegen.reports.replay import replay_drop
from scenegen.reports.report_record import describe_object, describe_report, write_records
from scenegen.verification.verified import VerifiedFile

REPORT = "report"
"""Folder in the output folder."""
THUMB_SIDE = 112
"""Side of a thumbnail that is drawn here [pixels]."""
MOST_FACES = 40_000
"""Larger surfaces are left out of a page, which says so; the asset holds them [1]."""
STEPS = 2**16 - 1
"""Levels of a coordinate on a page: 1.5e-5 of the extent."""


@dataclass(frozen=True)
class WrittenReport:
    """What was written."""

    index: Path
    objects: int
    records: tuple[Path, ...]


def write_report(folder: Path, say: Callable[[str], None]) -> WrittenReport:
    """Write the pages and records about an output folder.

    Args:
        folder: Output of `scenegen run` or `scenegen verify`.
        say: Is told how far it is.

    Raises:
        ConfigError: The folder holds neither.
        AssetError: A file in it is damaged.
        StoreError: The report cannot be written.
    """
    kind, out = kind_of(folder), folder / REPORT
    rows: list[dict[str, Any]] = []
    files: list[VerifiedFile] = []
    with explained(out, "write"):
        shutil.rmtree(out / "data", ignore_errors=True)
        for place in ("data", "thumbs"):
            (out / place).mkdir(parents=True, exist_ok=True)
        for number, exhibit in enumerate(exhibits_of(folder)):
            row = describe_object(exhibit, f"{number:05d}")
            row["thumb"] = _write_thumb(exhibit, out / "thumbs" / f"{row['id']}.png")
            _write_script(out / "data" / f"{row['id']}.js", "OBJECT", {**row, "shape": _shape(exhibit)})
            rows.append(row)
            files.append(exhibit.file)
            if number % 50 == 49:
                say(f"{number + 1} objects")
        whole = describe_report(kind, folder, rows)
        brief = [{name: value for name, value in row.items() if name != "checks"} for row in rows]
        _write_script(out / "data" / "index.js", "REPORT", {**whole, "objects": brief})
        _write_script(out / "data" / "meanings.js", "MEANINGS", MEANINGS)
        _copy_web(out)
    return WrittenReport(out / "index.html", len(rows), write_records(whole, rows, files, out))


def _copy_web(out: Path) -> None:
    """Copy pages, styles and libraries as they are."""
    with resources.as_file(resources.files("scenegen.reports") / "web") as web:
        for page in ("index.html", "asset.html"):
            shutil.copyfile(web / page, out / page)
        shutil.copytree(web, out / "web", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.html", "*.py"))


def _write_script(path: Path, name: str, value: Any) -> None:
    """Write a value as a script; nothing in it can end the script or be taken for markup."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    path.write_text(f"window.{name}={text};\n", encoding="ascii")


def _write_thumb(exhibit: Exhibit, path: Path) -> str:
    """Write a thumbnail and return its place below the report; empty where there is nothing to be seen."""
    if exhibit.thumb is not None:
        shutil.copyfile(exhibit.thumb, path)
    elif exhibit.model is not None:
        save_png(render_model(exhibit.model, width=THUMB_SIDE, height=THUMB_SIDE).color, path)
    else:
        return ""
    return f"thumbs/{path.name}"


def _shape(exhibit: Exhibit) -> dict[str, Any] | None:
    """Return what the 3D view of a page shows."""
    model = exhibit.model
    if model is None:
        return None
    body, shown, fallen = model.root, _drawn(model), replay_drop(model)
    return {
        "surfaces": [_packed(mesh) for mesh in shown],
        "left_out": len(body.parts) - len(shown),
        "colors": [list(part.material.base_color) for part in body.parts],
        "hulls": [_packed(hull.mesh) for hull in body.hulls],
        "com": body.inertial.com.tolist(),
        "box": _inertia_box(body.inertial),
        "rest_poses": [
            {
                "pose": [*pose.X_WB.position.tolist(), *pose.X_WB.quaternion.tolist()],
                "probability": pose.probability,
                "upright": pose.upright,
                "engines": list(pose.engines),
            }
            for pose in exhibit.rest_poses
        ],
        "drop": None if fallen is None else {"poses": np.round(fallen[0], 6).tolist(), "seconds": fallen[1]},
    }


def _drawn(model: Model) -> list[Mesh]:
    return [part.surface for part in model.root.parts if len(part.surface.faces) <= MOST_FACES]


def _packed(mesh: Mesh) -> dict[str, Any]:
    """Return a mesh with coordinates in 16 bits: `low + step * value`, and indices as 32-bit integers."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    step = np.maximum(high - low, 1e-12) / STEPS
    places = np.round((mesh.vertices - low) / step).astype("<u2")
    return {
        "low": low.tolist(),
        "step": step.tolist(),
        "places": base64.b64encode(places.tobytes()).decode(),
        "faces": base64.b64encode(mesh.faces.astype("<u4").tobytes()).decode(),
    }


def _inertia_box(mass: MassProperties) -> dict[str, Any]:
    """Return the cuboid of even density with the same mass and inertia: sides with a^2 = 6 (J + K - I) / m."""
    moments = mass.principal_moments
    squares = 6.0 * (moments.sum() - 2.0 * moments) / mass.mass
    pose = mass.principal_pose
    return {
        "sides": np.sqrt(np.maximum(squares, 0.0)).tolist(),
        "pose": [*pose.position.tolist(), *pose.quaternion.tolist()],
    }
