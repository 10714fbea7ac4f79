"""The pages of scenes in the folder of a report: their data as scripts, their pictures and thumbnails."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scenegen.errors import ReportError
from scenegen.pipeline.store import write_atomic
from scenegen.reports.meanings import meaning_of
from scenegen.reports.page_data import ID, script
from scenegen.reports.placed_asset import PlacedAsset
from scenegen.reports.scene_entry import SceneEntry
from scenegen.reports.scene_plan import scene_plan

FOLDER = "scenes"
"""Folder of scenes, in that of the data and in that of the pictures."""
THUMB = (144, 96)
"""Columns and rows of a picture in the table, twice what it takes on the screen [pixels]."""
WIDEST = 1200
"""Most columns of a picture on the page [pixels]."""
FORMAT = 1
"""Version of the data of a page: those of another version are made anew."""
LEAN = (
    "name", "layout", "status", "accepted", "worst", "objects", "asked", "assets", "touching_share", "components",
    "largest_component",
)  # fmt: skip
"""Fields of a row that the first page needs."""


class ScenePages:
    """The pages of all scenes of one report; each is kept while nothing on it changes."""

    def __init__(self, data: Path, pictures: Path, base: str):
        """Lay out the folders.

        Args:
            data: Folder of the data of all pages.
            pictures: Folder of their pictures.
            base: Leads from the report to the output folder that it tells of.
        """
        self._data, self._pictures, self._base = data / FOLDER, pictures / FOLDER, base
        for folder in (self._data, self._pictures):
            folder.mkdir(parents=True, exist_ok=True)
        self._kept: set[Path] = set()

    def add(self, entry: SceneEntry, row: dict[str, Any], placed: Mapping[str, PlacedAsset]) -> None:
        """Write the page data and the pictures of one scene.

        Raises:
            ReportError: Its name cannot name a file, or two scenes share it.
        """
        path = self._data / f"{entry.name}.js"
        if not ID.fullmatch(entry.name) or path in self._kept:
            raise ReportError(f"scene name {entry.name!r} is not unique letters, digits and '_'")
        pictures = {self._pictures / f"{entry.name}-{file.stem}.webp": file for _, file in entry.pictures}
        thumb = self._thumb(entry.name)
        needed = {*pictures, thumb} if pictures else set()
        self._kept |= {path, *needed}
        head = f"// {self._key(entry, row, placed)}\n".encode()
        if path.exists() and path.read_bytes()[: len(head)] == head and all(one.exists() for one in needed):
            return
        for target, source in pictures.items():
            write_atomic(target, shrunk(source))
        if pictures:
            write_atomic(thumb, shrunk(next(iter(pictures.values())), THUMB))
        shown = [
            {
                "label": label,
                "path": f"pictures/{FOLDER}/{target.name}",
                "full": f"{self._base}/{entry.folder}/{file.name}",
            }
            for (label, file), target in zip(entry.pictures, pictures, strict=True)
        ]
        content = {
            **row,
            "meanings": {check.id: meaning_of(check.id) for check in entry.checks},
            "pictures": shown,
            "files": [{"label": label, "path": f"{self._base}/{file}"} for label, file in entry.files],
            "loading": loading(entry),
            "plan": scene_plan(entry, placed),
        }
        write_atomic(path, head + script("scenegenScene", content))

    def lean(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return what the first page needs of a scene."""
        closest = row["closest"] and {key: row["closest"][key] for key in ("id", "name", "engine", "share")}
        counts = {"replaced": len(row["replaced"]), "merged": len(row["merged"])}
        shown = self._thumb(row["name"]) in self._kept
        return {**{key: row[key] for key in LEAN}, **counts, "closest": closest, "picture": shown}

    def finish(self) -> None:
        """Take away what belongs to scenes that are no longer there."""
        for folder in (self._data, self._pictures):
            for path in folder.iterdir():
                if path not in self._kept:
                    path.unlink()

    def _thumb(self, name: str) -> Path:
        return self._pictures / f"{name}.webp"

    def _key(self, entry: SceneEntry, row: dict[str, Any], placed: Mapping[str, PlacedAsset]) -> str:
        """Return a hash of everything that the page shows; scene.json holds the hashes of poses and pictures."""
        sha = hashlib.sha256(json.dumps([FORMAT, row, self._base, entry.digest, entry.files]).encode())
        for asset in sorted(set(entry.poses.asset_ids) if entry.poses is not None else ()):
            if asset in placed:
                sha.update(placed[asset].page.encode() + placed[asset].points.tobytes())
        return sha.hexdigest()


def loading(entry: SceneEntry) -> list[dict[str, str]]:
    """Return the line that loads the scene in each engine, as seen from the output folder."""
    if not entry.folder:
        return []
    names = {Path(file).name for _, file in entry.files}
    lines = [("MuJoCo", f'mujoco.MjModel.from_xml_path("{entry.folder}/scene.xml")')]
    if "scene.mjb" in names:
        lines.append(("MuJoCo, at once", f'mujoco.MjModel.from_binary_path("{entry.folder}/scene.mjb")'))
    lines.append(("PyBullet", f'scenegen.load_scene_pybullet("{entry.folder}", client)'))
    lines.append(("as a record", f'scenegen.load_scene("{entry.folder}")'))
    return [{"label": label, "code": code} for label, code in lines]


def shrunk(source: Path, size: tuple[int, int] | None = None) -> bytes:
    """Return a picture as WebP: of a size, its middle cut out where the shape differs; or of at most WIDEST columns."""
    from PIL import Image, ImageOps

    image = Image.open(source).convert("RGB")
    if size is not None:
        image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    elif image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82, method=4)
    return buffer.getvalue()
