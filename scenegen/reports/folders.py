"""Where files lie on the machine that judged them is nobody else's business: texts of a report name files only."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from physics.check import Check
from scenegen.reports.report_entry import Entry

FOLDERS = re.compile(r"""(?<![^\s"'`(\[<=,:])(?:[A-Za-z]:)?[/\\](?:[^\s/\\"':]+[/\\])+""")
"""Folders of an absolute path, up to the name of the file."""


def drop_folders(entry: Entry, folder: Path) -> Entry:
    """Return an asset whose texts hold no absolute paths.

    Args:
        entry: An asset of a report.
        folder: Where it comes from; what lies below it keeps the folders from there on.
    """

    def plain(text: str) -> str:
        return without_folders(text, folder)

    rejection = entry.rejection
    return replace(
        entry,
        reason=plain(entry.reason),
        fallbacks=tuple(plain(text) for text in entry.fallbacks),
        notes=tuple(plain(text) for text in entry.notes),
        missing=tuple(plain(text) for text in entry.missing),
        rejection=None if rejection is None else replace(rejection, message=plain(rejection.message)),
        checks=tuple(check_without_folders(check, folder) for check in entry.checks),
    )


def check_without_folders(check: Check, folder: Path) -> Check:
    """Return a check whose texts hold no absolute paths."""
    if not any(mark in check.detail + check.fix for mark in "/\\"):
        return check
    detail, fix = without_folders(check.detail, folder), without_folders(check.fix, folder)
    return replace(check, detail=detail, fix=fix)


def without_folders(text: str, folder: Path) -> str:
    """Return a text in which absolute paths are names of files, or relative to a folder."""
    place = str(folder.absolute())
    if len(place) > 1:
        text = text.replace(place + "/", "").replace(place, folder.name)
    return FOLDERS.sub("", text)
