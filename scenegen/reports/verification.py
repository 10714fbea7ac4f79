"""What `scenegen verify` writes: verdicts as JSON and parquet, a summary in Markdown, and JUnit XML for CI systems."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scenegen.reports.junit import Case, junit_xml
from scenegen.reports.markdown import markdown_table
from scenegen.reports.report_entry import describe_check
from scenegen.verification.verified import VerifiedFile

SCHEMA_VERSION = 1
"""Version of the rows."""
JSON, PARQUET, MARKDOWN, JUNIT = "verification.json", "verification.parquet", "verification.md", "junit.xml"
VERDICTS = ("PASS", "WARN", "UNDECIDED", "FAIL", "unreadable")
"""Order of verdicts in summaries."""
COMMONEST = 10
"""Defects that a summary lists [1]."""


def verification_rows(found: Sequence[VerifiedFile]) -> list[dict[str, Any]]:
    """Return one row for each file."""
    return [
        {
            "schema_version": SCHEMA_VERSION,
            "path": str(file.path),
            "verdict": file.verdict,
            "reason": file.reason,
            "asset_id": file.certificate.asset_id if file.certificate else "",
            "altered": list(file.certificate.fallbacks) if file.certificate else [],
            "notes": list(file.certificate.notes) if file.certificate else [],
            "missing": list(file.certificate.missing) if file.certificate else [],
            "findings": [describe_check(check) for check in file.findings],
            "checks": len(file.certificate.checks) if file.certificate else 0,
        }
        for file in found
    ]


def commonest_defects(found: Sequence[VerifiedFile]) -> list[tuple[str, int]]:
    """Return the checks that fail, each with the number of files in which it does, the commonest first."""
    counts = Counter(
        name
        for file in found
        for name in {f"{check.id} {check.name}" for check in file.findings if check.verdict == "FAIL"}
    )
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def write_verification(found: Sequence[VerifiedFile], out: Path) -> list[Path]:
    """Write all four files; return their paths."""
    import pyarrow
    from pyarrow import parquet

    out.mkdir(parents=True, exist_ok=True)
    rows = verification_rows(found)
    (out / JSON).write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    flat = [{**row, "findings": [json.dumps(check) for check in row["findings"]]} for row in rows]
    parquet.write_table(pyarrow.Table.from_pylist(flat), out / PARQUET)
    (out / MARKDOWN).write_text(markdown_summary(found), encoding="utf-8")
    (out / JUNIT).write_bytes(junit(found))
    return [out / name for name in (JSON, PARQUET, MARKDOWN, JUNIT)]


def print_verification(found: Sequence[VerifiedFile], console: Console) -> None:
    """Print a line for each file with its worst finding, and the totals."""
    table = Table("file", "verdict", "worst finding")
    for file in found:
        table.add_row(Text(file.path.name), file.verdict, Text(_worst(file)))
    console.print(table)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in _totals(found)))


def markdown_summary(found: Sequence[VerifiedFile]) -> str:
    """Return totals, the commonest defects and every file that is not accepted, for a pull request."""
    refused = [(file.path.name, file.verdict, _worst(file)) for file in found if not file.accepted]
    tables = (
        markdown_table(("verdict", "files"), _totals(found)),
        markdown_table(("failed check", "files"), commonest_defects(found)[:COMMONEST]),
        markdown_table(("file", "verdict", "worst finding"), refused),
    )
    return "\n".join(["# Verification", *(line for table in tables if table for line in ("", *table))]) + "\n"


def junit(found: Sequence[VerifiedFile]) -> bytes:
    """Return JUnit XML: a test case for each file, failed where it is not accepted."""
    cases = [
        Case(
            str(file.path.parent),
            file.path.name,
            "" if file.accepted else f"{file.verdict}: {_worst(file)}",
            tuple(check.describe() for check in file.findings),
        )
        for file in found
    ]
    return junit_xml("scenegen verify", cases)


def _totals(found: Sequence[VerifiedFile]) -> list[tuple[str, int]]:
    counts = Counter(file.verdict for file in found)
    return [(verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]]


def _worst(file: VerifiedFile) -> str:
    if file.certificate is None:
        return file.reason
    return file.findings[0].describe() if file.findings else "; ".join(file.certificate.fallbacks)
