"""What `scenegen selftest --assets` prints and writes: answers by kind and dose, and every one that is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from physics.graded_mutants import DOSES, KINDS
from scenegen.graded_selftest import SOUND, AssetAnswers, GradedAnswer, Reply, count_replies
from scenegen.provenance import library_versions

GRADED_JSON = "graded_selftest.json"
GRADED_TABLE = "graded_selftest.md"
WRONG = (Reply.FALSE_PASS, Reply.FALSE_FAIL, Reply.MISNAMED)


def print_graded(assets: Sequence[AssetAnswers], console: Console) -> None:
    """Print a row for each kind, the wrong answers, and the totals."""
    table = Table("defect", "check", *(f"{dose:g} x limit" for dose in DOSES))
    for row in graded_rows(assets):
        table.add_row(*row)
    console.print(table)
    for asset, answer in wrong_answers(assets):
        console.print(f"{answer.reply}: {answer.kind} at {answer.dose:g} on {_name(asset)}: {_failed(answer)}")
    console.print(totals(assets))


def graded_rows(assets: Sequence[AssetAnswers]) -> list[list[str]]:
    """Return name, check and the counted replies at each dose, for each kind."""
    counts = count_replies(assets)
    rows = []
    for kind in KINDS:
        cells = []
        for dose in DOSES:
            found = counts.get((kind.name, dose), {})
            cells.append(", ".join(f"{found[reply]} {reply}" for reply in Reply if found.get(reply)) or "none")
        rows.append([kind.name, kind.check, *cells])
    return rows


def wrong_answers(assets: Sequence[AssetAnswers]) -> list[tuple[AssetAnswers, GradedAnswer]]:
    """Return every wrong answer with its asset."""
    return [(asset, answer) for asset in assets for answer in asset.answers if answer.reply in WRONG]


def totals(assets: Sequence[AssetAnswers]) -> str:
    """Return one line with the number of specimens and of wrong answers."""
    answers = [answer for asset in assets for answer in asset.answers if answer.kind != SOUND]
    counts = {reply: sum(answer.reply is reply for answer in answers) for reply in Reply}
    made = len(answers) - counts[Reply.NONE]
    sound = sum(
        answer.kind == SOUND and answer.reply is not Reply.RIGHT for asset in assets for answer in asset.answers
    )
    return (
        f"{len(assets)} assets, {len(KINDS)} kinds, {made} specimens: {counts[Reply.RIGHT]} right, "
        f"{counts[Reply.FALSE_PASS]} false passes, {counts[Reply.FALSE_FAIL]} false fails, "
        f"{counts[Reply.MISNAMED]} caught by another check; {counts[Reply.NONE]} not to be made; "
        f"{sound} of the assets themselves refused"
    )


def write_graded(assets: Sequence[AssetAnswers], out: Path) -> tuple[Path, Path]:
    """Write every answer as json, and the table as Markdown."""
    record: dict[str, Any] = {
        "versions": library_versions(),
        "totals": totals(assets),
        "assets": [
            {
                "asset_id": asset.asset_id,
                "family": asset.family,
                "size_m": asset.size,
                "answers": [_describe(answer) for answer in asset.answers],
            }
            for asset in assets
        ],
    }
    numbers, table = out / GRADED_JSON, out / GRADED_TABLE
    numbers.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    head = ["defect", "check", *(f"{dose:g} x limit" for dose in DOSES)]
    lines = [_line(head), _line(["---"] * len(head)), *map(_line, graded_rows(assets)), "", totals(assets), ""]
    lines += [
        f"- {answer.reply}: {answer.kind} at {answer.dose:g} on {_name(asset)}: {_failed(answer)}"
        for asset, answer in wrong_answers(assets)
    ]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return numbers, table


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _name(asset: AssetAnswers) -> str:
    return f"{asset.family} {asset.asset_id[:8]}"


def _failed(answer: GradedAnswer) -> str:
    return ", ".join(answer.failed) or "nothing failed"


def _describe(answer: GradedAnswer) -> dict[str, Any]:
    return {
        "kind": answer.kind,
        "dose": answer.dose,
        "reply": answer.reply.value,
        "value": answer.value if math.isfinite(answer.value) else None,
        "limit": answer.limit if math.isfinite(answer.limit) else None,
        "failed": list(answer.failed),
        "warned": list(answer.warned),
    }
