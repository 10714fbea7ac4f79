"""Report of `scenegen verify`: every file with its certificate and the drafts that the stages left in the store."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scenegen.assets.asset import RestPose, collect_rest_poses
from scenegen.assets.build import Draft
from scenegen.assets.certificate import Certificate
from scenegen.errors import CorruptRecordError, ReportError
from scenegen.pipeline.outcomes import ItemTrail, load_rejection, read_outcomes
from scenegen.pipeline.store import Store
from scenegen.provenance import library_versions
from scenegen.reports.junit import Case
from scenegen.reports.report_entry import QUARANTINED, UNREADABLE, Entry
from scenegen.reports.report_source import VERIFICATION, Source
from scenegen.run import STORE
from scenegen.verification.request import VerifyRequest
from scenegen.verification.verify import GROUND

JUDGED = "judge"
"""Stage that makes the certificate."""


def read_verification(folder: Path) -> Source:
    """Return what a verification found.

    Raises:
        ReportError: The store does not say how the files ended.
    """
    store = Store(folder / STORE, create=False)
    trails = read_outcomes(store)
    if trails is None:
        raise ReportError(
            f"{store.root} does not say how the files ended: an earlier version of scenegen wrote it; run the same "
            "'scenegen verify' again"
        )

    def entries() -> Iterator[Entry]:
        for trail in trails:
            with readable(store, "verify"):
                entry = _entry(store, trail)
            yield entry

    return Source(
        VERIFICATION, folder.resolve().name, entries, len(trails), _funnel, _reasons, _cases, library_versions()
    )


def _entry(store: Store, trail: ItemTrail) -> Entry:
    request: VerifyRequest = store.load(trail.request, VerifyRequest)
    path = Path(request.path)
    named: dict[str, Any] = {"id": trail.item, "name": path.name, "group": path.parent.name, "seed": request.seed}
    drafts = [digest for stage, digest in trail.records.items() if stage != JUDGED]
    draft: Draft | None = store.load(drafts[-1], Draft) if drafts else None
    if draft is not None:
        named |= {"model": draft.model, "drops": draft.drops, "rest_poses": rest_poses(draft)}
    if trail.ended == "rejected":
        rejection = load_rejection(store, trail)
        reason = rejection.message or rejection.reason
        return Entry(**named, status=UNREADABLE, reason=reason, rejection=rejection)
    if trail.ended == "quarantined":
        checks = draft.checks if draft is not None else ()
        reason = f"stage {trail.stage} broke twice: {trail.error.strip()[-400:]}"
        return Entry(**named, status=QUARANTINED, reason=reason, checks=checks)
    certificate: Certificate = store.load(trail.records[JUDGED], Certificate)
    return Entry(**named, **judged(certificate), symmetry_axis=draft.symmetry_axis if draft else None, ground=GROUND)


@contextlib.contextmanager
def readable(store: Store, command: str) -> Iterator[None]:
    """Say what to do about a store that cannot be read, which most often an earlier version wrote."""
    try:
        yield
    except CorruptRecordError as error:
        raise ReportError(
            f"{store.root} is damaged, or another version of scenegen wrote it; run the same 'scenegen {command}' "
            f"again ({error})"
        ) from error


def judged(certificate: Certificate) -> dict[str, Any]:
    """Return the fields of an entry that a certificate gives."""
    return {
        "status": certificate.verdict.value,
        "asset_id": certificate.asset_id,
        "checks": certificate.checks,
        "drop_rows": certificate.drops,
        "fallbacks": certificate.fallbacks,
        "notes": certificate.notes,
        "missing": certificate.missing,
        "engines": certificate.engines,
    }


def rest_poses(draft: Draft) -> tuple[RestPose, ...]:
    """Return the rest poses that the drops of a draft found."""
    return collect_rest_poses(draft.model.root, draft.drops) if draft.model is not None and draft.drops else ()


def _funnel(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return how many files came how far; each step counts those of the step before that it let through."""
    read = [row for row in rows if row["status"] != UNREADABLE]
    solid = [row for row in read if row["asset_id"]]
    steps = [("files", len(rows)), ("readable", len(read)), ("a solid with mass", len(solid))]
    for label, groups in (("geometry", "G"), ("mass", "GI"), ("hulls", "GIH")):
        steps.append((f"with sound {label}", sum(not _failed(row, groups) for row in solid)))
    return [*steps, ("accepted after drops in both engines", sum(row["accepted"] for row in rows))]


def _failed(row: dict[str, Any], groups: str) -> bool:
    return any(check["verdict"] in ("FAIL", "UNDECIDED") and check["id"][0] in groups for check in row["findings"])


def _reasons(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    found: Counter[str] = Counter()
    for row in rows:
        failed = {f"{check['id']} {check['name']}" for check in row["findings"] if check["verdict"] == "FAIL"}
        unclear = {f"{c['id']} {c['name']}: undecided" for c in row["findings"] if c["verdict"] == "UNDECIDED"}
        found.update(failed or unclear or ([row["status"]] if row["status"] in (UNREADABLE, QUARANTINED) else []))
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))


def _cases(rows: list[dict[str, Any]]) -> list[Case]:
    return [
        Case(
            row["group"],
            row["name"],
            "" if row["accepted"] else f"{row['status']}: {row['worst']}",
            tuple(f"{check['verdict']} {check['id']} {check['name']}: {check['detail']}" for check in row["findings"]),
        )
        for row in rows
    ]
