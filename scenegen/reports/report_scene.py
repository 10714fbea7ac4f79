"""Scenes of a run, small and large, read back from their folders as entries of a report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from physics.check import Check
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.large.publish import LARGE_SCHEMA, verdict_of
from scenegen.reports.folders import check_without_folders, without_folders
from scenegen.reports.report_entry import QUARANTINED, REJECTED, UNREADABLE
from scenegen.reports.scene_entry import PoseTable, SceneEntry
from scenegen.reports.summary import VERIFIED
from scenegen.scenes.publish import POSES, SCENE_JSON, SCENE_SCHEMA, read_check
from scenegen.scenes.scene import scene_verdict

SCENES = "scenes"
"""Folder of the scenes in an output folder."""
VIEWS = {
    "oblique": "obliquely from above",
    "top": "from above",
    "near_front": "near, from the front",
    "near_above": "near, from above",
    "first": "first view",
    "second": "second view",
}
"""Names of pictures, the most telling first, and what they show."""
FILES = {
    "scene.xml": "MJCF", "scene.mjb": "compiled model", POSES: "poses", SCENE_JSON: "scene.json",
    "camera.json": "cameras",
}  # fmt: skip
"""Files that a page links to, where they are, and what readers call them."""


def read_scenes(folder: Path, states: Mapping[str, str], asked: Mapping[str, dict[str, Any]]) -> Iterator[SceneEntry]:
    """Read the scenes of a run, one at a time.

    Args:
        folder: Output folder of the run.
        states: How each scene ended, by name.
        asked: What the configuration says of each scene, by name.
    """
    for name, state in states.items():
        wanted = asked.get(name, {})
        plan = {"layout": str(wanted.get("layout", "")), "asked": wanted.get("objects")}
        if state != VERIFIED:
            status = REJECTED if state.startswith(REJECTED) else QUARANTINED
            reason = state.removeprefix(f"{REJECTED}: ")
            yield _drop_folders(SceneEntry(name, status, state, reason=reason, **plan), folder)
            continue
        try:
            entry = read_scene(folder, name)
        except SceneError as error:
            entry = SceneEntry(name, UNREADABLE, state, reason=str(error), **plan)
        yield _drop_folders(replace(entry, **plan) if plan["layout"] else entry, folder)


def read_scene(out: Path, name: str) -> SceneEntry:
    """Read a scene that a run verified; the files that a report shows are compared with their hashes.

    Args:
        out: Output folder of the run.
        name: Name of the scene.

    Raises:
        SceneError: A file is missing or was changed, or the record contradicts itself (says where).
    """
    folder = out / SCENES / name
    path = folder / SCENE_JSON
    try:
        content = path.read_bytes()
        record = json.loads(content)
    except (OSError, ValueError) as error:
        raise SceneError(f"{path}: cannot be read: {error}; run again, which makes the scene anew") from error
    try:
        return _scene(out, name, record, hashlib.sha256(content).hexdigest())
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SceneError(f"{path}: {type(error).__name__}: {error}; run again, which makes the scene anew") from error


def _scene(out: Path, name: str, record: dict[str, Any], digest: str) -> SceneEntry:
    folder = out / SCENES / name
    large = record["schema"] == LARGE_SCHEMA
    if record["schema"] not in (SCENE_SCHEMA, LARGE_SCHEMA) or record["name"] != name:
        raise SceneError(f"{folder / SCENE_JSON}: not a scene named {name} of a schema that this version reads")
    hashes = record["files"]
    pictures = [view for view in VIEWS if f"{view}_color.png" in hashes]
    for file in (POSES, *(f"{view}_color.png" for view in pictures)):
        _compare(folder / file, hashes.get(file))
    checks = tuple(read_check(row) for row in record["checks"])
    verdict = str(verdict_of(checks) if large else scene_verdict(checks))
    if verdict != record["verdict"]:
        raise SceneError(f"{folder / SCENE_JSON}: states {record['verdict']}, but its checks give {verdict}")
    poses = read_poses(folder / POSES)
    _compare_counts(folder, record, poses, large)
    engines = record["verified_in"] if large else record["engines"]
    return SceneEntry(
        name=name,
        status=verdict,
        state=VERIFIED,
        layout=record["layout"],
        asked=len(poses.names),
        folder=f"{SCENES}/{name}",
        digest=digest,
        seed=record["seed"],
        ground=record["ground"],
        checks=checks,
        engines=tuple((row["name"], row["version"]) for row in engines),
        notes=() if large else tuple(record["limits_of_engines"]),
        poses=poses,
        counts={key: int(value) for key, value in record["counts"].items()} if large else None,
        geoms=record["geoms"] if large else None,
        replaced=tuple(record["replaced"]) if large else tuple(_tell(row) for row in record["events"]),
        merged=tuple(record["merged"]) if large else (),
        furniture=_fixtures(record) if large else _placements(record),
        pieces=len(record["fixtures"] if large else record["furniture"]),
        pictures=tuple((VIEWS[view], folder / f"{view}_color.png") for view in pictures),
        files=tuple(
            (label, f"{SCENES}/{name}/{file}") for file, label in FILES.items() if file in hashes or file == SCENE_JSON
        ),
    )


def read_poses(path: Path) -> PoseTable:
    """Return what poses.parquet says of every object; only large scenes name components there.

    Raises:
        SceneError: A column is missing.
    """
    from pyarrow import parquet

    table = parquet.read_table(path)
    wanted = ("object", "asset_id", "category", "x", "y", "z", "qw", "qx", "qy", "qz")
    lacking = [column for column in wanted if column not in table.column_names]
    if lacking:
        raise SceneError(f"{path}: has no column {', '.join(lacking)}")
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    components = columns.get("component") or [""] * table.num_rows
    return PoseTable(
        tuple(map(str, columns["object"])),
        tuple(map(str, columns["asset_id"])),
        tuple(map(str, columns["category"])),
        tuple(map(str, components)),
        np.array([columns[axis] for axis in "xyz"], dtype=np.float64).T.reshape(-1, 3),
        np.array([columns[axis] for axis in ("qw", "qx", "qy", "qz")], dtype=np.float64).T.reshape(-1, 4),
    )


def _compare(path: Path, expected: str | None) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SceneError(f"{path}: cannot be read: {error.strerror}; run again, which makes the scene anew") from error
    if found != expected:
        raise SceneError(f"{path}: was changed after it was written; restore it or run again, which makes it anew")


def _compare_counts(folder: Path, record: dict[str, Any], poses: PoseTable, large: bool) -> None:
    """Refuse a record whose numbers are not those of its table: a report must not choose between them."""
    if not large:
        pairs = [("objects", len(record["objects"]), len(poses.names))]
    else:
        counts, sizes = record["counts"], poses.component_sizes
        alone = sum(not name for name in poses.components)
        several = len({name for name in poses.components if name})
        pairs = [
            ("objects", record["objects"], len(poses.names)),
            ("assets", record["assets"], len(set(poses.asset_ids))),
            ("objects alone", counts["alone"], alone),
            ("components", counts["components"], several),
            ("objects in the largest component", counts["largest_component"], max(sizes) if several else 0),
        ]
    for what, stated, found in pairs:
        if stated != found:
            raise SceneError(f"{folder / SCENE_JSON}: states {stated} {what}, but {POSES} holds {found}")


def _tell(event: Mapping[str, Any]) -> str:
    """Return one line about an object of a small scene that was taken out."""
    then = f"asset {event['replacement']} took its place" if event["replacement"] else "nothing took its place"
    return f"{event['object']} (asset {event['asset_id']}, round {event['round']}): {event['reason']}; {then}"


def _fixtures(record: Mapping[str, Any]) -> np.ndarray:
    boxes = {
        kind: np.array([[part["lower"], part["upper"]] for part in parts], dtype=np.float64).reshape(-1, 2, 3)
        for kind, parts in record["furniture"].items()
    }
    placed = [boxes[row["kind"]] + np.array(row["position"], dtype=np.float64) for row in record["fixtures"]]
    return np.concatenate([np.zeros((0, 2, 3)), *placed])


def _placements(record: Mapping[str, Any]) -> np.ndarray:
    """Return the boxes around the boxes of furniture that may be turned."""
    found = []
    for row in record["furniture"]:
        pose = Pose.from_quaternion(np.array(row["quaternion"]), np.array(row["position"]))
        for box in row["boxes"]:
            pair = (box["lower"], box["upper"])
            corners = [[pair[i][0], pair[j][1], pair[k][2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
            placed = pose.apply(np.array(corners))
            found.append([placed.min(axis=0), placed.max(axis=0)])
    return np.array(found, dtype=np.float64).reshape(-1, 2, 3)


def _drop_folders(entry: SceneEntry, folder: Path) -> SceneEntry:
    """Return a scene whose texts hold no absolute paths."""

    def plain(text: str) -> str:
        return without_folders(text, folder)

    checks: list[Check] = [check_without_folders(check, folder) for check in entry.checks]
    return replace(
        entry,
        state=plain(entry.state),
        reason=plain(entry.reason),
        notes=tuple(plain(text) for text in entry.notes),
        replaced=tuple(plain(text) for text in entry.replaced),
        merged=tuple(plain(text) for text in entry.merged),
        checks=tuple(checks),
    )
