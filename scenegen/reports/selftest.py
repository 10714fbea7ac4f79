"""What `scenegen selftest` prints and writes: the confusion matrix, and every answer that is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scenegen.provenance import library_versions
from scenegen.selftest import Answer, confusion

SELFTEST = "selftest.json"


def print_selftest(answers: Sequence[Answer], console: Console) -> None:
    """Print the matrix, a row for each case, and the wrong answers."""
    counts = confusion(answers)
    matrix = Table("", "accepted", "refused", "undecided")
    matrix.add_row("sound", str(counts.sound_accepted), str(counts.sound_refused), str(counts.sound_undecided))
    refused = counts.mutants_refused + counts.mutants_misnamed
    matrix.add_row("must fail", str(counts.mutants_accepted), str(refused), "")
    console.print(matrix)
    console.print(
        f"{counts.mutants_accepted} false passes, {counts.sound_refused} false fails, {counts.sound_undecided} "
        f"undecided, {counts.mutants_misnamed} refused by a check that does not name the defect, {counts.broken} broken"
    )
    wrong = Table("specimen", "size", "verdict", "by")
    for answer in answers:
        if not answer.right:
            request = answer.request
            wrong.add_row(request.case, f"{request.size * 1e3:g} mm", answer.verdict, answer.reason)
    if wrong.row_count:
        console.print(wrong)


def write_selftest(answers: Sequence[Answer], out: Path) -> Path:
    """Write the matrix and every answer."""
    record: dict[str, Any] = {
        "versions": library_versions(),
        "confusion": asdict(confusion(answers)),
        "answers": [
            {
                "case": answer.request.case,
                "size_m": answer.request.size,
                "seed": answer.request.seed,
                "must_fail": answer.mutant,
                "verdict": answer.verdict,
                "reason": answer.reason,
                "right": answer.right,
            }
            for answer in answers
        ],
    }
    path = out / SELFTEST
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path
