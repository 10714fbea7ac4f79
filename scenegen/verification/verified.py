"""One foreign file and what was found about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from physics.check import SEVERITY, Check, Verdict
from scenegen.assets.certificate import Certificate
from scenegen.pipeline.stage import Outcome, Quarantined, Rejected
from scenegen.verification.request import VerifyRequest

UNREADABLE = "unreadable"
"""Verdict in reports of a file that could not be judged at all."""


@dataclass(frozen=True, eq=False)
class VerifiedFile:
    """One file and what was found."""

    path: Path
    certificate: Certificate | None
    """None where the file could not be judged."""
    reason: str = ""
    """Why it could not."""
    request: VerifyRequest | None = None
    """What was asked."""
    folder: Path | None = None
    """Folder of the asset that it became; None where it was not imported."""
    not_kept: str = ""
    """Why a file that is accepted could not be imported."""
    draft: str = ""
    """Content hash of what was judged, in the store of the output folder."""
    rejected: str = ""
    """In a few words, why an object of a run was rejected."""

    @property
    def verdict(self) -> str:
        """PASS, WARN, UNDECIDED or FAIL; a file that could not be judged counts as FAIL and says `unreadable`."""
        return UNREADABLE if self.certificate is None else self.certificate.verdict.value

    @property
    def accepted(self) -> bool:
        """Whether the verdict is PASS or WARN."""
        return self.verdict in (Verdict.PASS.value, Verdict.WARN.value)

    @property
    def findings(self) -> tuple[Check, ...]:
        """Checks that do not pass, the worst first."""
        checks = () if self.certificate is None else self.certificate.checks
        bad = [check for check in checks if check.verdict is not Verdict.PASS]
        return tuple(sorted(bad, key=lambda check: -SEVERITY.index(check.verdict)))


def why_not(outcome: Outcome) -> str:
    """Return why an item did not go through all stages."""
    if isinstance(outcome, Rejected):
        return outcome.rejection.message or outcome.rejection.reason
    assert isinstance(outcome, Quarantined)
    return f"stage {outcome.stage} broke twice: {outcome.stderr.strip()[-400:]}"
