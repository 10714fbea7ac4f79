"""Scenes in the plain formats of a report: a line of a Markdown table, and a test case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scenegen.reports.junit import Case

SCENE_HEAD = (
    "scene", "layout", "verdict", "objects", "assets", "touching", "components", "largest", "replaced", "merged",
    "closest to its limit",
)  # fmt: skip
"""Headings of the table of scenes."""
FACTS = (
    "layout", "status", "objects", "asked", "assets", "geoms", "mass_kg", "alone", "in_components", "touching_share",
    "components", "largest_component", "sampled", "stances",
)  # fmt: skip
"""Fields of a row that a test case keeps as properties, where they are known."""


def scene_line(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of a scene; what is not known is a dash, and one without a verdict says why."""
    share = row["touching_share"]
    return (
        row["name"],
        row["layout"] or "-",
        row["status"],
        _number(row["objects"]),
        _number(row["assets"]),
        "-" if share is None else f"{100 * share:.1f} %",
        _number(row["components"]),
        _number(row["largest_component"]),
        str(len(row["replaced"])),
        str(len(row["merged"])),
        closest_text(row["closest"]) if row["closest"] else row["worst"],
    )


def closest_text(closest: dict[str, Any]) -> str:
    """Return one line about the check that came closest to its limit."""
    where = f" in {closest['engine']}" if closest["engine"] else ""
    share = "beyond a limit of nothing" if closest["share"] is None else f"{100 * closest['share']:.3g} % of its limit"
    return f"{closest['id']} {closest['name']}{where}: {share}"


def scene_cases(rows: Sequence[dict[str, Any]]) -> list[Case]:
    """Return a test case for each scene, failed where it may not be used; by name."""
    cases = []
    for row in sorted(rows, key=lambda row: row["name"]):
        failure = "" if row["accepted"] else f"{row['status']}: {row['worst']}"
        bad = [check for check in row["checks"] if check["verdict"] != "PASS"]
        lines = [f"{one['verdict']} {one['id']} {one['name']} {one['engine']}: {one['detail']}" for one in bad]
        facts = [(name, str(row[name])) for name in FACTS if row[name] not in (None, "")]
        facts += [(name, str(len(row[name]))) for name in ("replaced", "merged")]
        if row["closest"]:
            facts.append(("closest", closest_text(row["closest"])))
        cases.append(Case("scene", row["name"], failure, tuple(lines or [row["worst"]]), tuple(facts)))
    return cases


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
