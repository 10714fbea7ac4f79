"""What a second verdict says that the first did not: verdicts, checks, versions of the engines."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from physics.check import SEVERITY, Check
from scenegen.assets.certificate import Certificate
from scenegen.pipeline.store import explained, write_atomic
from scenegen.verification.verified import UNREADABLE

REVERIFICATION = "reverification.json"
"""File in the folder that was judged again."""
SCHEMA = 1
"""Version of its layout."""
ORDER = (*(str(verdict) for verdict in SEVERITY), UNREADABLE)
"""Verdicts from best to worst."""
SHOWN = 3
"""Changed checks that the table shows of each asset [1]."""


@dataclass(frozen=True)
class CheckChange:
    """One check before and after; None where it was not made."""

    old: Check | None
    new: Check | None

    @property
    def verdict_changed(self) -> bool:
        """Whether more than numbers changed."""
        return _verdict(self.old) != _verdict(self.new)

    def describe(self) -> str:
        """Return one line: which check, from what to what."""
        known = self.new or self.old
        assert known is not None  # one of the two is there
        place = " ".join(part for part in (known.body, known.engine) if part)
        name = f"{known.id} {known.name}{f' [{place}]' if place else ''}"
        return f"{name}: {_spelt(self.old)} -> {_spelt(self.new)}"


@dataclass(frozen=True)
class Change:
    """One asset or file before and after."""

    subject: str
    """Folder of the asset relative to the folder that was judged, or path of the file."""
    name: str
    """What tables call it."""
    old: Certificate | None
    """None where the file could not be judged."""
    new: Certificate | None
    reason: str = ""
    """Why it cannot be judged now, or why nothing is known of how it was judged before."""

    @property
    def verdicts(self) -> tuple[str, str]:
        """Verdict before and after."""
        return tuple(UNREADABLE if one is None else one.verdict.value for one in (self.old, self.new))  # type: ignore[return-value]

    @property
    def worse(self) -> bool:
        """Whether the new verdict is worse than the old."""
        old, new = self.verdicts
        return ORDER.index(new) > ORDER.index(old)

    @property
    def engines(self) -> tuple[dict[str, str], dict[str, str]]:
        """Versions of the engines before and after."""
        old, new = (dict(one.engines) if one is not None else {} for one in (self.old, self.new))
        return old, new

    @property
    def checks(self) -> tuple[CheckChange, ...]:
        """Checks of which the value, the limit or the verdict changed, those of another verdict first."""
        if self.old is None or self.new is None:
            return ()
        old, new = _by_name(self.old.checks), _by_name(self.new.checks)
        changes = [CheckChange(old.get(key), new.get(key)) for key in (*old, *(key for key in new if key not in old))]
        changed = [change for change in changes if not _same(change.old, change.new)]
        return tuple(sorted(changed, key=lambda change: not change.verdict_changed))


def write_changes(changes: Sequence[Change], folder: Path) -> Path:
    """Write reverification.json.

    Raises:
        StoreError: It cannot be written.
    """
    path = folder / REVERIFICATION
    content = {"schema": SCHEMA, "worse": sum(change.worse for change in changes), "subjects": [*map(_row, changes)]}
    with explained(path, "write"):
        write_atomic(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return path


def print_changes(changes: Sequence[Change], console: Console) -> None:
    """Print a line for each asset, its first changed checks, and the totals."""
    table = Table("asset", "verdict", "engines", "changed checks")
    for change in changes:
        old, new = change.verdicts
        checks = change.checks
        lines = [one.describe() for one in checks[:SHOWN]]
        lines += [f"and {len(checks) - SHOWN} more"] if len(checks) > SHOWN else []
        lines += [change.reason] if change.reason else []
        table.add_row(
            Text(change.name),
            new if old == new else f"{old} -> {new}",
            Text(_spelt_engines(change)),
            Text("\n".join(lines) or "none"),
        )
    console.print(table)
    counts = Counter("worse" if one.worse else "same" if len({*one.verdicts}) == 1 else "better" for one in changes)
    console.print(", ".join(f"{counts[name]} {name}" for name in ("worse", "same", "better") if counts[name]))


def _by_name(checks: Sequence[Check]) -> Mapping[tuple[Any, ...], Check]:
    """Return checks by what they measure; several of one name are told apart by their number."""
    seen: Counter[tuple[str, ...]] = Counter()
    named = {}
    for check in checks:
        key = (check.id, check.name, check.body, check.engine)
        named[(*key, seen[key])] = check
        seen[key] += 1
    return named


def _same(old: Check | None, new: Check | None) -> bool:
    if old is None or new is None:
        return old is new
    numbers = [(check.value, check.limit, check.warn, check.floor_value, check.floor_limit) for check in (old, new)]
    equal = all(a == b or (_is_nan(a) and _is_nan(b)) for a, b in zip(*numbers, strict=True))
    return equal and old.verdict == new.verdict


def _is_nan(value: float | None) -> bool:
    return value is not None and math.isnan(value)


def _verdict(check: Check | None) -> str:
    return "not made" if check is None else check.verdict.value


def _spelt(check: Check | None) -> str:
    return "not made" if check is None else f"{check.verdict} {check.value:.4g} {check.unit}"


def _spelt_engines(change: Change) -> str:
    old, new = change.engines
    names = dict.fromkeys((*old, *new))
    pairs = [(name, old.get(name, "none"), new.get(name, "none")) for name in names]
    return ", ".join(f"{name} {a}" if a == b else f"{name} {a} -> {b}" for name, a, b in pairs)


def _row(change: Change) -> dict[str, Any]:
    old, new = change.verdicts
    return {
        "subject": change.subject,
        "name": change.name,
        "old_verdict": old,
        "new_verdict": new,
        "worse": change.worse,
        "reason": change.reason,
        "old_engines": change.engines[0],
        "new_engines": change.engines[1],
        "old_checks_version": change.old.checks_version if change.old else None,
        "new_checks_version": change.new.checks_version if change.new else None,
        "old_altered": list(change.old.fallbacks) if change.old else [],
        "new_altered": list(change.new.fallbacks) if change.new else [],
        "checks": [_check_row(one) for one in change.checks],
    }


def _check_row(change: CheckChange) -> dict[str, Any]:
    known = change.new or change.old
    assert known is not None  # one of the two is there
    row: dict[str, Any] = {"id": known.id, "name": known.name, "body": known.body, "engine": known.engine}
    for when, check in (("old", change.old), ("new", change.new)):
        row[f"{when}_verdict"] = None if check is None else check.verdict.value
        row[f"{when}_value"] = None if check is None else _finite(check.value)
        row[f"{when}_limit"] = None if check is None else _finite(check.limit)
    if change.old is not None and change.new is not None:
        row["difference"] = _finite(change.new.value - change.old.value)
    return {**row, "unit": known.unit}


def _finite(value: float | None) -> float | None:
    """Return a number for json, which has no NaN."""
    return value if value is not None and math.isfinite(value) else None
