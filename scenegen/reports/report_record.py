"""A report for programs: report.json with a published schema, parquet, JUnit XML, and Markdown for pull requests."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from physics.check import Check, Verdict
from scenegen.assets.certificate import Certificate
from scenegen.provenance import library_versions
from scenegen.reports.exhibit import RUN, Exhibit
from scenegen.reports.summary import SUMMARY
from scenegen.reports.verification import check_row, junit, markdown_summary
from scenegen.verification.verified import VerifiedFile

SCHEMA_VERSION = 1
"""Version of report.json."""
SCHEMA = "report_schema.json"
"""JSON Schema of report.json, beside it and in the package."""
GROUPS = (
    ("readable", ()),
    ("sound geometry", ("G",)),
    ("true mass", ("I",)),
    ("faithful hulls", ("H",)),
    ("sound drops", ("D",)),
    ("engines agree", ("D12",)),
)
"""Steps of the funnel, each with the checks that end it."""
JUDGES = ("scenegen", "mujoco", "pybullet", "coacd", "trimesh")
"""Libraries whose versions decide about verdicts."""
NESTED = ("ratios", "engines", "checks")
"""Fields of a row that are JSON in report.parquet."""
VERDICTS = ("PASS", "WARN", "UNDECIDED", "FAIL", "unreadable", "rejected")
"""Order of verdicts."""


def describe_object(exhibit: Exhibit, identifier: str) -> dict[str, Any]:
    """Return the row of one object: verdict, numbers, checks; nothing in it is NaN."""
    file, model = exhibit.file, exhibit.model
    certificate = file.certificate
    body = None if model is None else model.root
    return {
        "id": identifier,
        "name": exhibit.name,
        "path": str(file.path),
        "category": exhibit.category,
        "verdict": "rejected" if file.rejected else file.verdict,
        "reason": file.reason,
        "worst": _worst(file),
        "failed": _failed(file),
        "altered": [] if certificate is None else list(certificate.fallbacks),
        "notes": [] if certificate is None else list(certificate.notes),
        "missing": [] if certificate is None else list(certificate.missing),
        "size_m": None if body is None else float(np.ptp(body.bounds, axis=0).max()),
        "mass_kg": None if body is None else float(body.inertial.mass),
        "volume_m3": None if body is None else float(sum(part.surface.volume for part in body.parts)),
        "faces": None if body is None else sum(len(part.surface.faces) for part in body.parts),
        "hulls": None if body is None else len(body.hulls),
        "ratios": {} if certificate is None else _ratios(certificate.checks),
        "engines": {} if certificate is None else _engines(certificate),
        "thumb": "",
        "checks": [] if certificate is None else [check_row(check) for check in certificate.checks],
    }


def _worst(file: VerifiedFile) -> str:
    """Return the worst finding in a sentence, or what else there is to say."""
    if file.findings:
        return file.findings[0].describe()
    return file.reason or "; ".join(file.certificate.fallbacks if file.certificate else ())


def _failed(file: VerifiedFile) -> list[str]:
    """Return the identifiers of checks that refuse the object."""
    if file.rejected:
        return [file.rejected.partition(" ")[0]]
    bad = (check.id for check in file.findings if check.verdict in (Verdict.FAIL, Verdict.UNDECIDED))
    return list(dict.fromkeys(bad))


def _ratios(checks: Sequence[Check]) -> dict[str, float]:
    """Return the worst value of each check over its limit, where that means something: 1 is the limit."""
    worst: dict[str, float] = {}
    for check in checks:
        limit = check.limit
        if limit is None or limit <= 0 or check.sense != "<=" or not math.isfinite(check.value):
            continue
        worst[check.id] = max(worst.get(check.id, 0.0), float(check.value) / limit)
    return worst


def _engines(certificate: Certificate) -> dict[str, dict[str, float]]:
    """Return the medians over all drops in each engine: time to rest [s] and rest depth [m]."""
    found: dict[str, dict[str, float]] = {}
    for engine, _ in certificate.engines:
        drops = [drop for drop in certificate.drops if drop.engine == engine]
        values = {
            "settle_s": [drop.settle_seconds for drop in drops],
            "depth_m": [drop.penetration for drop in drops],
        }
        known = {name: [v for v in held if math.isfinite(v)] for name, held in values.items()}
        found[engine] = {name: float(np.median(held)) for name, held in known.items() if held}
    return found


def describe_report(kind: str, folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a report says of all objects together."""
    counts = Counter(row["verdict"] for row in rows)
    reasons = Counter(_reason(row) for row in rows if row["verdict"] not in ("PASS", "WARN"))
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "title": _title(kind, folder),
        "versions": {name: version for name, version in library_versions().items() if name in JUDGES},
        "verdicts": {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        "funnel": _funnel(kind, folder, rows),
        "reasons": [{"reason": reason, "count": count} for reason, count in _ranked(reasons)],
    }


def _title(kind: str, folder: Path) -> str:
    return f"{'Run' if kind == RUN else 'Verification'} {folder.resolve().name}"


def _funnel(kind: str, folder: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how many objects are left after each group of checks, whatever the others say of them."""
    left = list(rows)
    steps = [{"step": "judged", "count": len(left)}]
    summary = folder / SUMMARY
    if kind == RUN and summary.is_file():
        steps.insert(0, {"step": "requested", "count": int(json.loads(summary.read_bytes())["requested"])})
    for name, prefixes in GROUPS:
        if prefixes == ():
            left = [row for row in left if row["verdict"] != "unreadable"]
        else:
            left = [row for row in left if not any(_ends(failed, prefixes) for failed in row["failed"])]
        steps.append({"step": name, "count": len(left)})
    accepted = sum(row["verdict"] in ("PASS", "WARN") for row in left)
    return [*steps, {"step": "certified", "count": accepted}]


def _ends(failed: str, prefixes: tuple[str, ...]) -> bool:
    """Return whether a check belongs to a group; D12 is one of its own."""
    return failed in prefixes if failed == "D12" or prefixes == ("D12",) else failed.startswith(prefixes)


def _reason(row: dict[str, Any]) -> str:
    bad = [check for check in row["checks"] if check["verdict"] in ("FAIL", "UNDECIDED")]
    if bad:
        return f"{bad[0]['id']} {bad[0]['name']}"
    said = row["reason"].rpartition(f"{row['name']}: ")[2]  # without the path of the file
    return said.split(";")[0].split("[")[0].strip()[:80] or f"{row['verdict']}: evidence is missing"


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def write_records(
    whole: dict[str, Any], rows: Sequence[dict[str, Any]], files: Sequence[VerifiedFile], out: Path
) -> tuple[Path, ...]:
    """Write report.json, its schema, report.parquet, junit.xml and report.md; return their paths."""
    import pyarrow
    from pyarrow import parquet

    schema = Path(__file__).with_name(SCHEMA).read_text(encoding="utf-8")
    (out / SCHEMA).write_text(schema, encoding="utf-8")
    content = {"$schema": SCHEMA, **whole, "objects": list(rows)}
    (out / "report.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    flat = [{**row, **{name: json.dumps(row[name]) for name in NESTED}} for row in rows]
    parquet.write_table(pyarrow.Table.from_pylist(flat), out / "report.parquet")
    (out / "junit.xml").write_bytes(junit(files))
    (out / "report.md").write_text(markdown_summary(files), encoding="utf-8")
    return tuple(out / name for name in ("report.json", SCHEMA, "report.parquet", "junit.xml", "report.md"))
