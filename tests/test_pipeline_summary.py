"""Summary and progress: numbers that add up, volatile fields kept apart, bars and plain lines."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

from pipeline_stages import chain, items
from rich.console import Console

from scenegen.config import read_config
from scenegen.pipeline.run_serial import run_serial
from scenegen.pipeline.stage import Finished, Item, Quarantined, Rejected, Rejection, StageTime
from scenegen.pipeline.store import Store
from scenegen.reports.progress import RunProgress
from scenegen.reports.summary import VOLATILE_FIELDS, print_summary, stable_fields, summarize, write_summary


class Request:
    family = "mug"


def outcomes():
    times = (StageTime("draw", 1.0, 0.5, False), StageTime("drop", 3.0, 2.0, False))
    limit = Rejection("drop", "D4 rest penetration", 2.0, 1.0, "mm")
    made = [
        Finished(Item("a", Request()), "0", times, lambda: None),
        Finished(
            Item("b", Request()), "0", (replace(times[0], stored=True), replace(times[1], stored=True)), lambda: None
        ),
        Rejected(Item("c", Request()), limit, times),
        Quarantined(Item("d", Request()), "drop", "f" * 64, 2, "ChildCrashed: died of SIGSEGV", times[:1]),
    ]
    return {one.item.id: one for one in made}


def summary(**changes):
    config = read_config("name: demo\nobjects: [{family: mug, count: 3}]")
    values = {"verdicts": {"a": "PASS", "b": "WARN"}, "placed": 7, "seconds": 30.0} | changes
    return summarize(config, outcomes(), {"table": outcomes()["a"]}, **values)


def test_the_numbers_add_up():
    made = summary()
    assert (made.requested, made.generated, made.certified, made.placed) == (3, 4, 2, 7)
    assert made.verdicts == {"PASS": 1, "WARN": 1} and made.families == {"mug": 2}
    assert made.rejected == {"drop: D4 rest penetration": 1}
    assert made.quarantined[0]["item"] == "d" and made.quarantined[0]["input_key"] == "f" * 64
    assert made.scenes == {"table": "verified"}
    draw, drop = made.stages[:2]
    assert (draw.stage, draw.calls, draw.stored, draw.seconds) == ("draw", 4, 1, 4.0)
    assert (drop.stage, drop.calls, drop.cpu_seconds, drop.median_seconds) == ("drop", 3, 6.0, 3.0)
    assert made.objects_per_minute == 2.0  # one of the two was there before
    assert not made.complete


def test_the_same_object_again_is_a_duplicate_and_not_certified():
    made = summary(verdicts={"a": "PASS"})
    assert (made.certified, made.duplicates, made.complete) == (1, 1, False)
    assert summary().duplicates == 0


def test_an_undecided_object_is_not_certified():
    assert summary(verdicts={"a": "UNDECIDED", "b": "FAIL"}).certified == 0


def test_what_varies_is_kept_apart(tmp_path):
    first = json.loads(write_summary(summary(), tmp_path).read_text())
    second = json.loads(write_summary(summary(seconds=math.nan), tmp_path).read_text())
    assert second["seconds"] is None
    assert stable_fields(first) == stable_fields(second)
    assert set(VOLATILE_FIELDS) <= set(first)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_the_closing_table_names_what_matters(tmp_path):
    console = Console(file=io.StringIO(), width=120)
    print_summary(summary(), console, written=[tmp_path / "picture.png"])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("2 (1 PASS, 1 WARN)", "1 x drop: D4 rest penetration", "d at drop: ChildCrashed", "table: verified"):
        assert words in text
    assert f"wrote {tmp_path / 'picture.png'}" in text


def follow(tmp_path, **options) -> tuple[RunProgress, str]:
    console = Console(file=io.StringIO(), width=160, **options)
    with RunProgress(console) as progress:
        run_serial(chain(tmp_path), items(4, item1="reject", item2="raise"), Store(tmp_path / "s"), observer=progress)
    return progress, console.file.getvalue()  # type: ignore[attr-defined]


def test_plain_lines_where_there_is_no_terminal(tmp_path):
    progress, text = follow(tmp_path)
    count = progress.counts["square"]
    assert (count.passed, count.rejected, count.quarantined) == (2, 1, 1)
    assert progress.counts["add"].done == 2
    lines = text.splitlines()
    assert lines[0] == "4 items, stages: draw, square, add"
    assert lines[-1].startswith("4 of 4 done in") and "2 finished, 1 rejected, 1 quarantined" in lines[-1]
    assert sum("note: item2: square failed: ValueError" in line for line in lines) == 2
    assert "\x1b" not in text


def test_bars_in_a_terminal(tmp_path):
    _, text = follow(tmp_path, force_terminal=True)
    assert "2 passed, 1 rejected, 1 quarantined" in text
