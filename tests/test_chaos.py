"""The chaos benchmark at a small size, and that what it compares would find what is lost, doubled or changed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import TinyRun

from scenegen.run import STORE

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
KINDS = ("worker killed", "node killed", "driver killed", "native code hangs", "disk full", "file damaged")


def load_reference():
    spec = importlib.util.spec_from_file_location("chaos_reference", BENCHMARKS / "chaos_reference.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["chaos_reference"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def first(root: Path, pattern: str) -> Path:
    return next(path for path in sorted(root.rglob(pattern)) if path.is_file())


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"#")


def repeat_ledger(out: Path) -> None:
    ledger = out / STORE / "ledger.jsonl"
    stages = [line for line in ledger.read_text().splitlines() if '"hulls"' in line]
    ledger.write_text(ledger.read_text() + stages[0] + "\n")


def forget_item(out: Path) -> None:
    path = out / STORE / "outcomes.json"
    content = json.loads(path.read_text())
    del content["items"][0]
    path.write_text(json.dumps(content))


def copy_run(run: TinyRun, folder: Path) -> Path:
    """Copy the run; what other tests had it compute again is forgotten."""
    out = shutil.copytree(run.out, folder / "out")
    ledger = out / STORE / "ledger.jsonl"
    ledger.write_text("".join(dict.fromkeys(ledger.read_text().splitlines(keepends=True))))
    return out


@pytest.mark.parametrize(
    ("spoil", "counts"),
    [
        (lambda out: None, (0, 0, 0)),
        (lambda out: first(out, "model.urdf").unlink(), (1, 0, 0)),
        (forget_item, (1, 0, 0)),
        (lambda out: (out / "assets" / "extra").touch(), (0, 1, 0)),
        (repeat_ledger, (0, 1, 0)),
        (lambda out: damage(first(out, "scene.xml")), (0, 0, 1)),
        (lambda out: damage(first(out / STORE / "objects", "*")), (0, 0, 1)),
    ],
    ids=["as it is", "a file lost", "an item lost", "a file too many", "computed twice", "a file", "a stored object"],
)
def test_the_comparison_finds_what_is_wrong(tmp_path, tiny_run: TinyRun, spoil, counts):
    out = copy_run(tiny_run, tmp_path)
    spoil(out)
    compare = load_reference().compare
    found = compare(tiny_run.out, out, tiny_run.config, [], set())
    assert (found.lost, found.doubled, found.changed) == counts
    assert found.clean == (counts == (0, 0, 0)) and found.files > 20 and found.objects == 3
    assert not replace(found, files=0).clean, "an empty comparison is none"


def test_recomputing_what_was_damaged_is_no_doubling(tmp_path, tiny_run: TinyRun):
    out = copy_run(tiny_run, tmp_path)
    repeat_ledger(out)
    compare = load_reference().compare
    items = {trail.item for trail in load_reference().read_trails(out)}
    found = compare(tiny_run.out, out, tiny_run.config, [], items)
    assert (found.doubled, found.recomputed) == (0, 1)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(2400)
def test_one_fault_of_each_kind_leaves_no_trace(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "chaos.py"), "--config", str(BENCHMARKS.parent / "configs/chaos.yaml")]
    command += ["--faults", "6", "--set", "objects.0.count=8", "--deadline", "30", "--out", str(tmp_path)]
    if os.geteuid():
        command = ["unshare", "--user", "--map-root-user", "--mount", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot mount a disk to fill" in done.stderr or "unshare failed" in done.stderr:
        pytest.skip("no disk of its own can be mounted here")
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "chaos.json").read_text())
    assert Counter(fault["kind"] for fault in content["faults"]) == dict.fromkeys(KINDS, 1)
    assert all(fault["hit"]["item"] and fault["hit"]["evidence"] for fault in content["faults"])
    assert [content["comparison"][what] for what in ("lost", "doubled", "changed")] == [0, 0, 0]
    assert content["starts"] >= 3, "after the driver was killed, and after the disk was full"
