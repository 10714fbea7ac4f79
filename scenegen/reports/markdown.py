"""Tables in Markdown, for comments on pull requests; texts from files never become markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scenegen.reports.junit import printable


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table; empty where there are no rows."""
    body = [f"| {' | '.join(markdown_cell(str(value)) for value in row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *body] if body else []


def markdown_cell(text: str) -> str:
    """Return text for a cell of a table: one line, nothing taken for markup."""
    plain = " ".join(printable(text).split()).replace("\\", "\\\\")
    for mark in "|<>*_`[]":
        plain = plain.replace(mark, f"\\{mark}")
    return plain
