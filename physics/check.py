"""One measured claim about a body, its limit, and the verdict that follows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a check, or a set of checks, says."""

    PASS = "PASS"
    WARN = "WARN"
    UNDECIDED = "UNDECIDED"
    FAIL = "FAIL"


SEVERITY = (Verdict.PASS, Verdict.WARN, Verdict.UNDECIDED, Verdict.FAIL)
"""Verdicts from best to worst."""


@dataclass(frozen=True)
class Check:
    """A value held against its limit; the verdict is computed, never stored.

    A value that is not a number fails. A check without a limit is information and always passes.
    """

    id: str
    """Identifier of the check, such as "G1" or "D4"."""
    name: str
    """What is measured, in a few words."""
    value: float
    """The measured value, in `unit`."""
    unit: str
    """Unit of value, limit and warn; "1" for a share."""
    limit: float | None
    """Beyond this the check fails; None makes it information."""
    warn: float | None = None
    """Beyond this the check warns; None when there is no warning level."""
    sense: str = "<="
    """"<=" when small values are good, ">=" when large ones are."""
    body: str = ""
    """Name of the body that was measured."""
    engine: str = ""
    """Engine that was used, empty for geometry."""
    floor_value: float | None = None
    """The same quantity in SI units, where an engine floor applies."""
    floor_limit: float | None = None
    """What a perfect solid shows in that engine: `floor_value` at or below it passes whatever `value` says."""
    floor_unit: str = ""
    """Unit of floor_value and floor_limit."""
    undecided: bool = False
    """True when engines or time steps disagree: the check can then be neither passed nor failed."""
    fix: str = ""
    """What to do about a failure."""
    detail: str = ""
    """Where or when it happened, for the reader."""

    def __post_init__(self) -> None:
        if self.sense not in ("<=", ">="):
            raise ValueError(f"check {self.id}: sense must be '<=' or '>=', got {self.sense!r}")

    def _within(self, limit: float) -> bool:
        return self.value <= limit if self.sense == "<=" else self.value >= limit

    @property
    def verdict(self) -> Verdict:
        """PASS, WARN, UNDECIDED or FAIL."""
        if self.undecided:
            return Verdict.UNDECIDED
        if math.isnan(self.value):
            return Verdict.FAIL
        if self.limit is None:
            return Verdict.PASS
        if self.floor_value is not None and self.floor_limit is not None and self.floor_value <= self.floor_limit:
            return Verdict.PASS
        if not self._within(self.limit):
            return Verdict.FAIL
        return Verdict.PASS if self.warn is None or self._within(self.warn) else Verdict.WARN

    def describe(self) -> str:
        """Return one line: what was found, against what, and the fix where it did not pass."""
        place = " ".join(part for part in (self.body, self.engine) if part)
        bound = "" if self.limit is None else f" ({self.sense} {self.limit:.4g})"
        line = (
            f"{self.verdict} {self.id} {self.name}{f' [{place}]' if place else ''}: {self.value:.4g} {self.unit}{bound}"
        )
        if self.detail:
            line += f"; {self.detail}"
        return f"{line}. {self.fix}" if self.fix and self.verdict is not Verdict.PASS else line


def overall_verdict(checks: Iterable[Check], required: Iterable[str] = ()) -> Verdict:
    """Return the worst verdict; a required check that is absent makes it at best UNDECIDED.

    Args:
        checks: All evidence about one asset or scene.
        required: Identifiers that must appear, so that a skipped check can never read as a PASS.
    """
    checks = tuple(checks)
    worst = max((check.verdict for check in checks), key=SEVERITY.index, default=Verdict.UNDECIDED)
    missing = set(required) - {check.id for check in checks}
    return max(worst, Verdict.UNDECIDED, key=SEVERITY.index) if missing else worst
