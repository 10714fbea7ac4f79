"""Report of `scenegen run`: certified assets from their folders, refused draws from the store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from physics.drop_record import DropConfig
from scenegen.assets.asset import content_id
from scenegen.assets.build import Draft
from scenegen.assets.layout import ASSET_JSON, MODEL_URDF, MODEL_XML, THUMB_PNG, VISUAL_GLB
from scenegen.assets.library import deciding_certificate
from scenegen.assets.package import load_asset
from scenegen.config_records import read_record
from scenegen.config_text import parse_text
from scenegen.errors import ConfigError, ReportError
from scenegen.pipeline.outcomes import ItemTrail, read_outcomes
from scenegen.pipeline.stage import Rejection
from scenegen.pipeline.store import Store
from scenegen.reports.folders import drop_folders
from scenegen.reports.junit import Case
from scenegen.reports.kept_draft import load_draft
from scenegen.reports.report_entry import QUARANTINED, REJECTED, Entry
from scenegen.reports.report_scene import read_scenes
from scenegen.reports.report_source import RUN, Source
from scenegen.reports.report_verification import judged, rest_poses
from scenegen.reports.summary import RESOLVED_CONFIG, SUMMARY
from scenegen.run import MANIFEST, REJECTIONS, STORE

DRAFTING = {
    "generate": "drawn as a volume",
    "surface": "with sound geometry and mass",
    "hulls": "with sound hulls",
    "drop_mujoco": "dropped in MuJoCo",
    "drop_pybullet": "dropped in PyBullet",
    "agreement": "with engines that agree",
}
"""Stages that return a draft, in their order, and what an object that they let through is."""


def read_run(folder: Path) -> Source:
    """Return what a run made.

    Raises:
        ReportError: A table of the run is missing.
    """
    for name in (MANIFEST, REJECTIONS, RESOLVED_CONFIG):
        if not (folder / name).is_file():
            raise ReportError(f"{folder / name} is not there; run the same 'scenegen run' again, it resumes")
    summary = json.loads((folder / SUMMARY).read_text("utf-8"))
    config = _config(folder / RESOLVED_CONFIG)
    rules = _drop_rules(config, str(folder / RESOLVED_CONFIG))
    made, refused = _table(folder / MANIFEST), _table(folder / REJECTIONS)
    store = Store(folder / STORE, create=False) if (folder / STORE).is_dir() else None
    trails = {trail.item: trail for trail in (read_outcomes(store) if store else None) or ()}

    def entries() -> Iterator[Entry]:
        for row, identifier in zip(made, _identifiers(made, refused), strict=True):
            entry = _certified(folder, row, rules, store, trails.get(row["item_id"]))
            yield drop_folders(replace(entry, id=identifier, item=row["item_id"]), folder)
        for row in refused:
            yield drop_folders(_rejected(row, rules, store, trails.get(row["item_id"])), folder)
        for row in summary["quarantined"]:
            broken = Entry(
                id=row["item"],
                name=row["item"],
                group="",
                status=QUARANTINED,
                reason=f"stage {row['stage']} broke twice: {row['error'].strip()[-400:]}",
            )
            yield drop_folders(broken, folder)

    def funnel(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
        left = summary["generated"]
        steps = [("requested", summary["requested"]), ("drawn, replacements included", left)]
        broken = [row["stage"] for row in summary["quarantined"]]
        for stage, label in DRAFTING.items():
            left -= sum(row["stage"] == stage for row in refused) + broken.count(stage)
            steps.append((label, left))
        return [*steps, ("certified", summary["certified"])]

    return Source(
        kind=RUN,
        name=summary["name"],
        folder=folder,
        entries=entries,
        count=len(made) + len(refused) + len(summary["quarantined"]),
        funnel=funnel,
        reasons=lambda rows: list(summary["rejected"].items()) + _broken(summary),
        cases=_cases,
        versions=summary["versions"],
        scenes=lambda: read_scenes(folder, summary["scenes"], _asked_scenes(config)),
        scene_count=len(summary["scenes"]),
    )


def _config(path: Path) -> dict[str, Any]:
    """Return the configuration of a run as it was written, or nothing where it cannot be read.

    What this version would make of it does not matter: a report needs neither its checkpoint nor its library.
    """
    try:
        content = parse_text(path.read_text("utf-8"), str(path))
    except ConfigError:
        return {}
    return content if isinstance(content, dict) else {}


def _drop_rules(config: dict[str, Any], source: str) -> DropConfig:
    """Return the rules of the drops of a run, or the published ones where another version wrote them."""
    try:
        return read_record(config["drop"], DropConfig, source=source)
    except (ConfigError, KeyError, TypeError):
        return DropConfig()


def _asked_scenes(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = config.get("scenes")
    return {row["name"]: row for row in (rows if isinstance(rows, list) else ()) if isinstance(row, dict)}


def _table(path: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    return parquet.read_table(path).to_pylist()


def _certified(
    folder: Path, row: dict[str, Any], rules: DropConfig, store: Store | None, trail: ItemTrail | None
) -> Entry:
    place = folder / row["folder"]
    asset = load_asset(place)
    certificate = deciding_certificate(place)
    named = {"asset.json": ASSET_JSON, "MJCF": MODEL_XML, "URDF": MODEL_URDF, "GLB": VISUAL_GLB}
    files = [*named.items(), ("certificate", certificate.file_name)]
    draft = _draft(store, trail)
    kept = draft is not None and draft.model is not None and content_id(draft.model) == asset.asset_id
    return Entry(
        id=row["item_id"],
        name=f"{row['category']} {row['item_id']}",
        group=row["category"],
        **judged(certificate),
        model=asset.model,
        drops=draft.drops if kept and draft is not None else (),
        rest_poses=asset.rest_poses,
        seed=row["seed"],
        symmetry_axis=asset.symmetry_axis,
        drop_config=rules,
        picture=place / THUMB_PNG,
        files=tuple((label, f"{row['folder']}/{name}") for label, name in files),
    )


def _rejected(row: dict[str, Any], rules: DropConfig, store: Store | None, trail: ItemTrail | None) -> Entry:
    words = {key: row[key] for key in ("stage", "reason", "value", "limit", "unit", "message")}
    words["value"] = float("nan") if words["value"] is None else words["value"]
    draft = _draft(store, trail)
    blueprint = draft.blueprint if draft is not None else None
    return Entry(
        id=row["item_id"],
        name=f"{row['category']} {row['item_id']}",
        group=row["category"],
        status=REJECTED,
        reason=row["message"] or row["reason"],
        rejection=Rejection(**words),
        model=draft.model if draft is not None else None,
        checks=draft.checks if draft is not None else (),
        drops=draft.drops if draft is not None else (),
        rest_poses=rest_poses(draft) if draft is not None else (),
        seed=row["seed"],
        symmetry_axis=blueprint.bodies[0].symmetry_axis if blueprint is not None else None,
        drop_config=rules,
    )


def _draft(store: Store | None, trail: ItemTrail | None) -> Draft | None:
    """Return the last draft of an item, or None where the store does not hold one."""
    if store is None or trail is None:
        return None
    kept = [trail.records[stage] for stage in DRAFTING if stage in trail.records]
    return load_draft(store, kept[-1]) if kept else None


def _identifiers(made: Sequence[dict[str, Any]], refused: Sequence[dict[str, Any]]) -> list[str]:
    """Return the name of each asset in the report: its item, or its content where another library had that item too."""
    count = Counter(row["item_id"] for row in (*made, *refused))
    return [row["item_id"] if count[row["item_id"]] == 1 else f"asset_{row['asset_id']}" for row in made]


def _broken(summary: dict[str, Any]) -> list[tuple[str, int]]:
    count = len(summary["quarantined"])
    return [("a stage broke twice", count)] if count else []


def _cases(rows: Sequence[dict[str, Any]]) -> list[Case]:
    """Return a case for each object that was asked for, failed where every draw of it was refused."""
    places: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        places.setdefault(row["id"].partition("_draw_")[0], []).append(row)
    cases = []
    for place, draws in sorted(places.items()):
        certified = any(row["accepted"] for row in draws)
        failure = "" if certified else f"{draws[-1]['status']}: {draws[-1]['worst']}"
        cases.append(Case(draws[-1]["group"], place, failure, tuple(f"{row['id']}: {row['worst']}" for row in draws)))
    return cases
