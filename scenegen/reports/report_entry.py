"""One asset of a report: what it is called, how it was judged, and the evidence that the stages left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physics.check import SEVERITY, Check, Verdict
from physics.drop_record import Drop, DropConfig, DropRecord, Outcome
from physics.model import Body, Model
from scenegen.assets.asset import RestPose
from scenegen.assets.certificate import DropSummary
from scenegen.pipeline.stage import Rejection

UNREADABLE, REJECTED, QUARANTINED = "unreadable", "rejected", "quarantined"
"""What an asset without a certificate counts as: a file that could not be judged, a draw that missed a limit, and an
item at which a stage broke twice."""

STATUSES = ("PASS", "WARN", "UNDECIDED", "FAIL", UNREADABLE, REJECTED, QUARANTINED)
"""Verdicts of certificates, then what counts as one; the order of summaries."""

ACCEPTED = (Verdict.PASS.value, Verdict.WARN.value)
"""Statuses of assets that may be used."""

ENGINES = ("mujoco", "pybullet")
"""Order of engines in pairs of values."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One asset of a report."""

    id: str
    """Names its page and its files: letters, digits and "_"."""
    name: str
    """What readers call it; may come from a file's name, hence anything."""
    group: str
    """Family, or folder of the file."""
    status: str
    """One of STATUSES."""
    reason: str = ""
    """Why there is no certificate; empty where there is one."""
    asset_id: str = ""
    """Content hash of the model; empty where there is none."""
    model: Model | None = None
    checks: tuple[Check, ...] = ()
    drops: tuple[DropRecord, ...] = ()
    """Records of the drops, one an engine; empty where they were not kept."""
    drop_rows: tuple[DropSummary, ...] = ()
    """The same in a few numbers."""
    rest_poses: tuple[RestPose, ...] = ()
    rejection: Rejection | None = None
    fallbacks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    engines: tuple[tuple[str, str], ...] = ()
    """Name and version of each engine."""
    item: str = ""
    """Name under which its drops were drawn; empty where it is `id`."""
    seed: int = 0
    symmetry_axis: tuple[float, float, float] | None = None
    ground: str = "oak"
    """Material of the ground of the drops."""
    drop_config: DropConfig = field(default_factory=DropConfig)
    picture: Path | None = None
    """A picture that is there already; None to have one drawn."""
    files: tuple[tuple[str, str], ...] = ()
    """Label and path, relative to the output folder, of files to look at."""

    @property
    def accepted(self) -> bool:
        """Whether the asset may be used: PASS or WARN."""
        return self.status in ACCEPTED

    @property
    def findings(self) -> tuple[Check, ...]:
        """Checks that do not pass, the worst first."""
        bad = [check for check in self.checks if check.verdict is not Verdict.PASS]
        return tuple(sorted(bad, key=lambda check: -SEVERITY.index(check.verdict)))

    @property
    def worst(self) -> str:
        """One line: the worst finding, or the reason why there is no certificate."""
        if self.reason:
            return self.reason
        if self.findings:
            return self.findings[0].describe()
        if self.missing:
            return f"evidence missing: {', '.join(self.missing)}"
        return "; ".join(self.fallbacks)


def describe_row(entry: Entry) -> dict[str, Any]:
    """Return the numbers of an asset for report.json and the table."""
    body = entry.model.root if entry.model is not None else None
    mass = body.mass_properties if body is not None else None
    return {
        "id": entry.id,
        "name": entry.name,
        "group": entry.group,
        "status": entry.status,
        "accepted": entry.accepted,
        "worst": entry.worst,
        "asset_id": entry.asset_id,
        "mass_kg": None if mass is None else finite(mass.mass),
        "size_m": None if body is None else finite(body.size),
        "faces": None if body is None else sum(len(part.surface.faces) for part in body.parts),
        "hulls": None if body is None else len(body.hulls),
        "rest_poses": len(entry.rest_poses),
        "checks": len(entry.checks),
        "engines": _engine_pairs(entry, body),
        "rejection": None if entry.rejection is None else describe_rejection(entry.rejection),
        "altered": list(entry.fallbacks),
        "notes": list(entry.notes),
        "missing": list(entry.missing),
        "findings": [describe_check(check) for check in entry.findings],
    }


def describe_check(check: Check) -> dict[str, Any]:
    """Return a check for JSON, which has no NaN."""
    return {
        "id": check.id,
        "verdict": check.verdict.value,
        "name": check.name,
        "value": finite(check.value),
        "limit": finite(check.limit),
        "warn": finite(check.warn),
        "sense": check.sense,
        "unit": check.unit,
        "body": check.body,
        "engine": check.engine,
        "detail": check.detail,
        "fix": check.fix,
    }


def describe_rejection(rejection: Rejection) -> dict[str, Any]:
    """Return a rejection for JSON."""
    return {
        "stage": rejection.stage,
        "reason": rejection.reason,
        "value": finite(rejection.value),
        "limit": finite(rejection.limit),
        "unit": rejection.unit,
        "message": rejection.message,
    }


def finite(value: float | None) -> float | None:
    """Return a number for JSON: None for what is no finite number."""
    return float(value) if value is not None and math.isfinite(value) else None


def _engine_pairs(entry: Entry, body: Body | None) -> dict[str, list[float | None]]:
    """Return what both engines say of the same starts, MuJoCo first; a start counts when it settled in both.

    The time is the longest of all starts, depth and height are those of the first, from the most probable stable pose:
    from a random orientation two engines may rightly come to rest on different faces.
    """
    found: dict[str, list[float | None]] = {"settle_s": [None, None], "depth_m": [None, None], "height_m": [None, None]}
    records = {record.engine: _settled(record.drops) for record in entry.drops}
    if not records:  # no records were kept, but the certificate has a summary of them
        # Its repeats at half the time step come last and must not take the place of the drops.
        rows = [row for row in reversed(entry.drop_rows) if Outcome(row.outcome).settled]
        records = {row.engine: {} for row in rows}
        for row in rows:
            records[row.engine] = {row.name: row} | {k: v for k, v in records[row.engine].items() if k != row.name}
    if any(engine not in records for engine in ENGINES):
        return found
    first, second = (records[engine] for engine in ENGINES)
    shared = [name for name in first if name in second]
    if not shared:
        return found
    for number, drops in enumerate((first, second)):
        found["settle_s"][number] = finite(max(drops[name].settle_seconds for name in shared))
        if not shared[0].startswith("random"):
            found["depth_m"][number] = finite(drops[shared[0]].penetration)
            found["height_m"][number] = finite(getattr(drops[shared[0]], "com_height", math.nan))
    return found


def _settled(drops: Iterable[Drop]) -> dict[str, Drop]:
    return {drop.name: drop for drop in drops if drop.outcome.settled}


def count_statuses(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return how many assets have each status, in the order of STATUSES; those without any are left out."""
    found = [row["status"] for row in rows]
    return {status: found.count(status) for status in STATUSES if status in found}
