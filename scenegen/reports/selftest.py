"""What `scenegen selftest` prints and writes: the laws, the confusion matrix, and every answer that is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from physics.laws import LAWS
from scenegen.law_selftest import LawAnswer
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


def print_laws(answers: Sequence[LawAnswer], console: Console) -> None:
    """Print a row for each law and engine: at how many sizes it holds, and where it comes nearest to failing."""
    table = Table("law", "closed form", "engine", "holds", "worst", "measured", "expected")
    formulas = {law.name: law.formula for law in LAWS}
    for law, engine in dict.fromkeys((answer.request.law, answer.request.engine) for answer in answers):
        rows = [one for one in answers if (one.request.law, one.request.engine) == (law, engine)]
        worst = max(rows, key=_share_of_tolerance)
        shown = worst.measurement
        table.add_row(
            law, formulas[law], engine, f"{sum(row.right for row in rows)} of {len(rows)}",
            f"{worst.request.size * 1e3:g} mm", worst.error or f"{shown.value:.4g} {shown.unit}",
            f"{shown.expected:.4g} +- {shown.tolerance:.2g}",
        )  # fmt: skip
    console.print(table)


def _share_of_tolerance(answer: LawAnswer) -> float:
    measured = answer.measurement
    share = abs(measured.value - measured.expected) / measured.tolerance
    return math.inf if math.isnan(share) else share


def write_selftest(answers: Sequence[Answer], laws: Sequence[LawAnswer], out: Path) -> Path:
    """Write the laws, the matrix and every answer."""
    record: dict[str, Any] = {
        "versions": library_versions(),
        "laws": [
            {
                "law": answer.request.law,
                "engine": answer.request.engine,
                "size_m": answer.request.size,
                "measured": _number(answer.measurement.value),
                "expected": _number(answer.measurement.expected),
                "tolerance": _number(answer.measurement.tolerance),
                "unit": answer.measurement.unit,
                "error": answer.error,
                "right": answer.right,
            }
            for answer in laws
        ],
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


def _number(value: float) -> float | None:
    """Return a number that JSON can hold."""
    return value if math.isfinite(value) else None
