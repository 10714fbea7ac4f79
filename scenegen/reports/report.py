"""`scenegen report`: a page that opens from disk, and the same results as JSON, parquet, JUnit XML and Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenegen import __version__
from scenegen.pipeline.store import explained, write_atomic
from scenegen.reports.distribution import SpreadCollector, describe_spread
from scenegen.reports.junit import junit_xml
from scenegen.reports.markdown import markdown_cell, markdown_table
from scenegen.reports.placed_asset import PlacedAsset, placed_asset
from scenegen.reports.report_entry import count_statuses, describe_row
from scenegen.reports.report_source import Source, open_source
from scenegen.reports.scene_row import scene_row
from scenegen.reports.scene_text import SCENE_HEAD, scene_cases, scene_line
from scenegen.reports.site import Site

SCHEMA_VERSION = 2
"""Version of report.json; its schema lies beside it and in the package. 2 tells of scenes what 1 told of assets."""
FOLDER = "report"
"""Folder of the report in the output folder."""
JSON, PARQUET, MARKDOWN, JUNIT = "report.json", "report.parquet", "report.md", "junit.xml"
SCHEMA = "report_schema.json"
LISTED = 50
"""Refused assets that the summary in Markdown lists [1]."""

Progress = Callable[[int, int], None]
"""Is told how many assets and scenes are done, of how many."""


@dataclass(frozen=True)
class Report:
    """A finished report."""

    page: Path
    """What to open."""
    written: tuple[Path, ...]
    """The machine-readable files."""
    totals: dict[str, int]
    """Assets by status [1]."""


def write_report(folder: Path, out: Path | None = None, *, progress: Progress = lambda done, of: None) -> Report:
    """Write the report of a run or a verification, which are left as they are.

    Args:
        folder: What `scenegen run` or `scenegen verify` was told to write to.
        out: Where the report goes; None puts it into a folder there.
        progress: Is told how far it is.

    Raises:
        ScenegenError: The folder holds no results, or they are damaged.
    """
    return write_source(open_source(folder), out or folder / FOLDER, progress=progress)


def write_source(source: Source, out: Path, *, progress: Progress = lambda done, of: None) -> Report:
    """Write the report of what was read."""
    with explained(out, "write"):
        out.mkdir(parents=True, exist_ok=True)
        site, spread = Site(out, source.folder), SpreadCollector()
        rows, scenes = [], []
        placed: dict[str, PlacedAsset] = {}
        count = source.count + source.scene_count
        for entry in source.entries():
            row = describe_row(entry)
            site.add(entry, row)
            spread.add(entry.checks)
            rows.append(row)
            if entry.asset_id not in placed and (found := placed_asset(entry)) is not None:
                placed[entry.asset_id] = found
            progress(len(rows), count)
        for scene in source.scenes():
            row = scene_row(scene, placed)
            site.scenes.add(scene, row, placed)
            scenes.append(row)
            progress(len(rows) + len(scenes), count)
        content = report_content(source, rows, scenes, spread)
        site.finish(content)
        written = _write_files(source, content, out)
    return Report(site.page, written, content["totals"])


def report_content(
    source: Source, rows: list[dict[str, Any]], scenes: list[dict[str, Any]], spread: SpreadCollector
) -> dict[str, Any]:
    """Return the content of report.json."""
    return {
        "schema_version": SCHEMA_VERSION,
        "scenegen": __version__,
        "kind": source.kind,
        "name": source.name,
        "totals": count_statuses(rows),
        "funnel": [{"step": step, "count": count} for step, count in source.funnel(rows)],
        "reasons": [{"reason": reason, "count": count} for reason, count in source.reasons(rows)],
        "scenes": scenes,
        "versions": source.versions,
        "distributions": [describe_spread(one) for one in spread.spreads()],
        "assets": rows,
    }


def schema() -> dict[str, Any]:
    """Return the JSON Schema of report.json."""
    return json.loads((Path(__file__).parent / SCHEMA).read_text("utf-8"))


def markdown_report(content: dict[str, Any]) -> str:
    """Return a summary for a pull request: totals, funnel, reasons, and the first refused assets."""
    refused = [row for row in content["assets"] if not row["accepted"]]
    listed = [(row["name"], row["status"], row["worst"]) for row in refused[:LISTED]]
    tables = (
        markdown_table(("verdict", "assets"), content["totals"].items()),
        markdown_table(("step", "assets"), [(step["step"], step["count"]) for step in content["funnel"]]),
        markdown_table(("refused for", "assets"), [(one["reason"], one["count"]) for one in content["reasons"]]),
        markdown_table(SCENE_HEAD, [scene_line(scene) for scene in content["scenes"]]),
        markdown_table(("asset", "verdict", "worst finding"), listed),
    )
    lines = [f"# Report of {content['kind']} {markdown_cell(content['name'])}"]
    lines += [line for table in tables if table for line in ("", *table)]
    if len(refused) > LISTED:
        lines += ["", f"and {len(refused) - LISTED} more"]
    return "\n".join(lines) + "\n"


def _write_files(source: Source, content: dict[str, Any], out: Path) -> tuple[Path, ...]:
    import io

    import pyarrow
    from pyarrow import parquet

    rows = content["assets"]
    flat = [
        {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in row.items()}
        for row in rows
    ]
    table = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(flat, schema=_columns()), table, compression="zstd")
    files = {
        JSON: (json.dumps(content, indent=1, allow_nan=False) + "\n").encode(),
        SCHEMA: (json.dumps(schema(), indent=1) + "\n").encode(),
        PARQUET: table.getvalue(),
        MARKDOWN: markdown_report(content).encode(),
        JUNIT: junit_xml(f"scenegen {source.kind}", source.cases(rows) + scene_cases(content["scenes"])),
    }
    for name, data in files.items():
        write_atomic(out / name, data)
    return tuple(out / name for name in files)


def _columns() -> Any:
    """Return the columns of report.parquet; lists and pairs are kept as JSON text."""
    import pyarrow as pa

    text, number, whole = pa.string(), pa.float64(), pa.int64()
    kinds = {
        "id": text, "name": text, "group": text, "status": text, "accepted": pa.bool_(), "worst": text,
        "asset_id": text, "mass_kg": number, "size_m": number, "faces": whole, "hulls": whole, "rest_poses": whole,
        "checks": whole, "engines": text, "rejection": text, "altered": text, "notes": text, "missing": text,
        "findings": text,
    }  # fmt: skip
    return pa.schema(list(kinds.items()))
