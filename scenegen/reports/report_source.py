"""What a report is made from: the output folder of a run or of a verification, read back as entries and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenegen.errors import ReportError
from scenegen.reports.junit import Case
from scenegen.reports.report_entry import Entry
from scenegen.reports.scene_entry import SceneEntry

RUN, VERIFICATION = "run", "verification"
"""Kinds of report."""


@dataclass(frozen=True, eq=False)
class Source:
    """The results of one command."""

    kind: str
    name: str
    """Name of the run, or of the folder."""
    folder: Path
    """Output folder of the command."""
    entries: Callable[[], Iterator[Entry]]
    """Reads every asset, one at a time, so that a large folder does not fill the memory."""
    count: int
    """Number of entries [1]."""
    funnel: Callable[[list[dict[str, Any]]], list[tuple[str, int]]]
    """From all rows: how many were left after each step, the request first."""
    reasons: Callable[[list[dict[str, Any]]], list[tuple[str, int]]]
    """From all rows: what refused assets, and how many, the commonest first."""
    cases: Callable[[list[dict[str, Any]]], list[Case]]
    """From the rows of all assets: the test cases for a CI system."""
    versions: dict[str, str] = field(default_factory=dict)
    scenes: Callable[[], Iterator[SceneEntry]] = lambda: iter(())
    """Reads every scene, one at a time."""
    scene_count: int = 0
    """Number of scenes [1]."""


def open_source(folder: Path) -> Source:
    """Return what an output folder holds.

    Raises:
        ReportError: It is neither that of a run nor that of a verification.
    """
    from scenegen.reports.report_run import read_run
    from scenegen.reports.report_verification import read_verification
    from scenegen.reports.summary import SUMMARY
    from scenegen.reports.verification import JSON
    from scenegen.verification.evidence import EVIDENCE

    if (folder / SUMMARY).is_file():
        return read_run(folder)
    if (folder / EVIDENCE).is_file() or (folder / JSON).is_file():
        return read_verification(folder)
    raise ReportError(
        f"{folder} holds neither {SUMMARY} (of 'scenegen run') nor {EVIDENCE} (of 'scenegen verify'); give the folder "
        "that one of them was told to write to"
    )
