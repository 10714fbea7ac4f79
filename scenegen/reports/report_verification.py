"""Report of `scenegen verify`: every file with its certificate, and the draft that was judged, from the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scenegen.assets.asset import RestPose, collect_rest_poses
from scenegen.assets.build import Draft
from scenegen.assets.certificate import Certificate
from scenegen.errors import ReportError
from scenegen.pipeline.store import Store
from scenegen.provenance import library_versions
from scenegen.reports.folders import drop_folders
from scenegen.reports.junit import Case
from scenegen.reports.kept_draft import load_draft
from scenegen.reports.report_entry import UNREADABLE, Entry
from scenegen.reports.report_source import VERIFICATION, Source
from scenegen.run import STORE
from scenegen.verification.evidence import EVIDENCE, read_evidence
from scenegen.verification.verified import VerifiedFile
from scenegen.verification.verify import GROUND

LOST = "what was judged is not in the store, or another version of scenegen wrote it: verify again to see its shape"
PARTLY_LOST = "another version of scenegen wrote the records of its drops: verify again to see its rest poses"


def read_verification(folder: Path) -> Source:
    """Return what a verification found.

    Raises:
        ReportError: There is no evidence of it.
        AssetError: The evidence is damaged.
    """
    if not (folder / EVIDENCE).is_file():
        raise ReportError(
            f"{folder / EVIDENCE} is not there: an earlier version of scenegen verified; run the same 'scenegen "
            "verify' again"
        )
    found, _ = read_evidence(folder)
    store = Store(folder / STORE, create=False) if (folder / STORE).is_dir() else None

    def entries() -> Iterator[Entry]:
        for number, file in enumerate(found):
            yield drop_folders(_entry(file, f"file_{number:05d}", _draft(file, store)), file.path.parent)

    return Source(
        kind=VERIFICATION,
        name=folder.resolve().name,
        folder=folder,
        entries=entries,
        count=len(found),
        funnel=_funnel,
        reasons=_reasons,
        cases=_cases,
        versions=library_versions(),
    )


def _entry(file: VerifiedFile, identifier: str, draft: Draft | None) -> Entry:
    named: dict[str, Any] = {"id": identifier, "name": file.path.name, "group": file.path.parent.name}
    if file.certificate is None:
        return Entry(**named, status=UNREADABLE, reason=file.reason)
    named |= judged(file.certificate)
    if draft is None:
        return Entry(**{**named, "notes": (*named["notes"], LOST)})
    if file.certificate.drops and not draft.drops:
        named["notes"] += (PARTLY_LOST,)
    return Entry(
        **named,
        item=draft.request.item_id,
        seed=draft.request.seed,
        model=draft.model,
        drops=draft.drops,
        rest_poses=rest_poses(draft),
        symmetry_axis=draft.symmetry_axis,
        ground=GROUND,
    )


def _draft(file: VerifiedFile, store: Store | None) -> Draft | None:
    return load_draft(store, file.draft) if store is not None and file.draft else None


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
        found.update(failed or unclear or ([row["status"]] if row["status"] == UNREADABLE else []))
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
