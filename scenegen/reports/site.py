"""The files that a browser opens from disk: pages, data as scripts, pictures, and the libraries beside them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from physics.drop_record import Drop
from physics.model import Model
from physics.pose import Pose
from scenegen.assets.certificate import DropSummary
from scenegen.errors import ReportError
from scenegen.pipeline.store import write_atomic
from scenegen.reports.meanings import meaning_of
from scenegen.reports.page_data import ID, script
from scenegen.reports.render import RenderConfig, render_model
from scenegen.reports.replay import replay_drops
from scenegen.reports.report_entry import Entry, describe_check, finite
from scenegen.reports.scene_pages import ScenePages
from scenegen.reports.web_scene import web_scene

WEB = Path(__file__).parent / "web"
"""Pages, scripts and libraries in the package."""
PAGES = ("index.html", "asset.html", "scene.html")
SCRIPTS = (
    "style.css", "page.js", "table.js", "checks.js", "index.js", "asset_table.js", "scene_table.js", "charts.js",
    "asset.js", "view.js", "scene.js", "outlines.js", "plan.js", "plan_controls.js",
    "object_table.js",
)  # fmt: skip
LIBRARIES = ("three.min.js", "plot.min.js", "table.min.js", "LICENSES.txt")
DATA, PICTURES = "data", "pictures"
"""Folders beside the pages."""
SIDE = 112
"""Side of a picture in the table, twice what it takes on the screen [pixels]."""
FORMAT = 1
"""Version of the data of a page: those of another version are made anew."""
Drawn = tuple[dict[str, Any] | None, bytes | None]
"""Content of the 3D view, and the picture as WebP; None where there is nothing to see."""


class Site:
    """The folder of one report. Costly parts are made once for each distinct asset, and kept while nothing changes."""

    def __init__(self, out: Path, folder: Path):
        """Lay out the folder of a report.

        Args:
            out: Where the report goes.
            folder: Output folder that it tells of, whose files the pages of assets link to.
        """
        self.page = out / PAGES[0]
        self._out = out
        self._base = Path(os.path.relpath(folder.resolve(), out.resolve())).as_posix()
        self._last: tuple[str, Drawn] = ("", (None, None))
        for name in (DATA, PICTURES, "vendor"):
            (out / name).mkdir(parents=True, exist_ok=True)
        for name in (*PAGES, *SCRIPTS):
            shutil.copyfile(WEB / name, out / name)
        for name in LIBRARIES:
            shutil.copyfile(WEB / "vendor" / name, out / "vendor" / name)
        self._seen: set[str] = set()
        self.scenes = ScenePages(out / DATA, out / PICTURES, self._base)

    def add(self, entry: Entry, row: dict[str, Any]) -> None:
        """Write the page data and the picture of one asset.

        Raises:
            ReportError: Its identifier cannot name a file, or two assets share it.
        """
        if not ID.fullmatch(entry.id) or entry.id in self._seen:
            raise ReportError(f"asset id {entry.id!r} is not unique letters, digits and '_'")
        self._seen.add(entry.id)
        key = entry_key(entry, {**row, "base": self._base})
        path = self._out / DATA / f"{entry.id}.js"
        picture = self._out / PICTURES / f"{entry.id}.webp"
        head = f"// {key}\n".encode()
        if path.exists() and path.read_bytes()[: len(head)] == head and (picture.exists() or entry.model is None):
            return
        scene, image = self._drawn(entry)
        if image is None:
            picture.unlink(missing_ok=True)
        else:
            write_atomic(picture, image)
        content = {**asset_content(entry, row, self._base), "scene": scene, "picture": image is not None}
        write_atomic(path, head + script("scenegenAsset", content))

    def finish(self, content: dict[str, Any]) -> None:
        """Write the data of the first page, and take away what belongs to assets or scenes that are gone."""
        rows = [{key: row[key] for key in LEAN} for row in content["assets"]]
        for row in rows:
            row["picture"] = (self._out / PICTURES / f"{row['id']}.webp").exists()
        lean = {
            **content,
            "assets": [list(row.values()) for row in rows],
            "columns": [*LEAN, "picture"],
            "scenes": [self.scenes.lean(row) for row in content["scenes"]],
        }
        write_atomic(self._out / DATA / "index.js", script("scenegenReport", lean))
        for folder in (DATA, PICTURES):
            for path in (self._out / folder).iterdir():
                if path.is_file() and path.stem not in self._seen and path.name != "index.js":
                    path.unlink()
        self.scenes.finish()

    def _drawn(self, entry: Entry) -> Drawn:
        """Return the 3D view and the picture of an asset; equal assets come in a row, if at all."""
        key = entry_key(entry, {})
        if key != self._last[0]:
            self._last = key, (web_scene(entry, replay_drops(entry)), draw_picture(entry))
        return self._last[1]


LEAN = ("id", "name", "group", "status", "accepted", "worst", "mass_kg", "size_m", "faces", "hulls", "engines")
"""Fields of a row that the first page needs."""


def entry_key(entry: Entry, row: dict[str, Any]) -> str:
    """Return a hash of everything that the page of an asset shows."""
    sha = hashlib.sha256(json.dumps([FORMAT, row, entry.symmetry_axis, entry.ground, entry.item, entry.seed]).encode())
    for body in entry.model.bodies if entry.model is not None else ():
        for mesh in [part.surface for part in body.parts] + [hull.mesh for hull in body.hulls]:
            sha.update(mesh.digest.encode())
    if row:
        sha.update(json.dumps([describe_check(check) for check in entry.checks]).encode())
        sha.update(repr((entry.files, entry.engines)).encode())
    for record in entry.drops:
        for drop in record.drops:
            sha.update(drop.start.X_WB.position.tobytes() + drop.start.X_WB.quaternion.tobytes())
    return sha.hexdigest()


def asset_content(entry: Entry, row: dict[str, Any], base: str) -> dict[str, Any]:
    """Return what the page of an asset shows beside its 3D view; `base` leads from the report to the output folder."""
    return {
        **{key: row[key] for key in row if key != "findings"},
        "checks": [describe_check(check) for check in entry.checks],
        "meanings": {check.id: meaning_of(check.id) for check in entry.checks},
        "versions": [f"{name} {version}" for name, version in entry.engines],
        "files": [{"label": label, "path": f"{base}/{path}"} for label, path in entry.files],
        "drops": describe_drops(entry),
    }


def describe_drops(entry: Entry) -> list[dict[str, Any]]:
    """Return a line for each drop in each engine."""
    kept: list[tuple[str, Drop | DropSummary, bool]] = []
    for record in entry.drops:
        kept += [(record.engine, drop, False) for drop in record.drops]
        kept += [(record.engine, drop, True) for drop in record.repeats]
    if not kept:  # a certificate lists the repeats of an engine after its other drops
        names = [(row.engine, row.name) for row in entry.drop_rows]
        kept = [(row.engine, row, names[i] in names[:i]) for i, row in enumerate(entry.drop_rows)]
    return [
        {
            "engine": engine,
            "start": f"{drop.name}, half the time step" if halved else drop.name,
            "outcome": str(drop.outcome),
            "settle_s": finite(drop.settle_seconds),
            "depth_m": finite(drop.penetration),
            "height_m": finite(getattr(drop, "com_height", None)),
            "creep_m": finite(drop.creep_position),
            "steps": drop.steps,
        }
        for engine, drop, halved in kept
    ]


def draw_picture(entry: Entry) -> bytes | None:
    """Return the picture of an asset for the table, as WebP; None where there is nothing to see."""
    from PIL import Image

    if entry.picture is not None and entry.picture.exists():
        image = Image.open(entry.picture).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    elif entry.model is not None:
        image = Image.fromarray(np.asarray(_portrait(entry.model, entry)))
    else:
        return None
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82, method=4)
    return buffer.getvalue()


def _portrait(model: Model, entry: Entry) -> np.ndarray:
    upright = next((pose.X_WB for pose in entry.rest_poses if pose.upright), None)
    pose: Pose | None = upright or (entry.rest_poses[0].X_WB if entry.rest_poses else None)
    return render_model(model, X_WB=pose, width=SIDE, height=SIDE, config=RenderConfig()).color
