"""Every kind of bad input through the command line: exit code 2, one message on stderr, nothing written.

Details of single messages are tested beside the loader in test_config.py, addresses that do not answer in test_cli.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import CONFIG as TINY
from tiny_run import TinyRun, invoke

from scenegen.cli import NOT_CERTIFIED, USER_ERROR
from scenegen.errors import AssetError
from scenegen.run import STORE

BASE = "name: demo\nobjects:\n  - {family: mug, count: 1}\n"


def scene(layout: str, **options) -> str:
    entry = {"name": "s", "layout": layout, "objects": 1} | options
    return BASE + f"scenes: [{json.dumps(entry)}]\n"


CASES = {
    "misspelt key": (BASE + "seeed: 1\n", "seeed is not a field of RunConfig. Did you mean 'seed'?"),
    "unknown key": (BASE + "drop: {zzz: 1}\n", "drop.zzz is not a field of DropConfig. Fields: "),
    "wrong type": (BASE + "seed: many\n", "seed is 'many' (text), expected a whole number"),
    "out of range": (
        BASE + "generator: {resolution: 9999}\n",
        "generator.resolution is 9999, expected a value <= 1024",
    ),
    "negative length": (
        scene("tabletop", options={"table": {"width": -0.8}}),
        "scenes.0.options.table.width is -0.8, expected a value >= 0",
    ),
    "no length": (
        scene("bin", options={"bin": {"length": 0.0}}),
        "scenes.0.options: wall_front of the bin would measure (0, 0.02, 0.42) m, expected > 0",
    ),
    "share above one": (
        scene("tabletop", options={"poured_share": 30.0}),
        "scenes.0.options: poured_share is 30.0, expected a share from 0 to 1",
    ),
    "boards without room": (
        scene("shelf", options={"rack": {"spacing": 0.02}}),
        "scenes.0.options: boards 0.02 m apart and 0.025 m thick leave no room between them",
    ),
    "unknown material": (scene("bin", options={"material": "oakk"}), "'oakk' is not a material. Did you mean 'oak'?"),
    "not a number": (BASE + "drop: {quiet_speed: .nan}\n", "drop.quiet_speed is nan, expected a finite number"),
    "parameter not a number": (
        "name: a\nobjects: [{family: mug, count: 1, parameters: {wall: .nan}}]\n",
        "objects.0.parameters.wall is nan, expected a finite number",
    ),
    "unknown family": (
        "name: a\nobjects: [{family: mugg, count: 1}]\n",
        "'mugg' is not a family. Did you mean 'mug'? Families: mug, bowl, plate",
    ),
    "empty object list": ("name: a\nobjects: []\n", "objects has 0 entries; say what to draw"),
    "impossible wall": (
        "name: a\nobjects: [{family: mug, count: 1, parameters: {wall: 0.5}}]\n",
        "objects.0.parameters: Mug: wall is 0.5 m, possible here is",
    ),
    "wall without thickness": (
        "name: a\nobjects: [{family: mug, count: 1, parameters: {wall: 0.0}}]\n",
        "objects.0.parameters: Mug: wall is 0 m, possible here is",
    ),
    "more than a table holds": (
        scene("tabletop", objects=20000),
        "scenes.0.objects is 20000, which no tabletop of ",
    ),
    "more than a bin holds": (scene("bin", objects=10**6), "scenes.0.objects is 1000000, which no bin of 202 litres"),
    "a list": ("- name: a\n", "expected a mapping of keys to values, got a list"),
    "a word": ("demo\n", "expected a mapping of keys to values, got text"),
    "Python objects": ("name: !!python/object/apply:os.system ['touch hacked']\n", "objects are never constructed"),
    "name with separators": ("name: ../up\nobjects: [{family: mug, count: 1}]\n", "so no separators"),
    "scene name with separators": (scene("bin", name="a/../../b"), "scenes.0.name is 'a/../../b', expected a name"),
    "family with separators": (
        "name: a\nobjects: [{family: ../mug, count: 1}]\n",
        "'../mug' is not a family. Did you mean 'mug'?",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_files_get_one_message_before_anything_is_written(case, tmp_path, monkeypatch):
    text, message = CASES[case]
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(text)
    done = invoke("run", "run.yaml", "--out", "out", "--executor", "serial")
    assert done.exit_code == USER_ERROR
    assert message in done.stderr and done.stdout == ""
    assert done.stderr.startswith("error: run.yaml") and done.stderr.count("\n") == 1, "one mistake, one line"
    assert "Traceback" not in done.stderr and "pydantic" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_a_path_that_no_one_may_write_to(tmp_path):
    """Below /proc not even root makes folders."""
    (tmp_path / "run.yaml").write_text(BASE)
    done = invoke("run", str(tmp_path / "run.yaml"), "--out", "/proc/scenegen/out", "--executor", "serial")
    assert done.exit_code == USER_ERROR
    assert done.stderr.startswith("error: cannot write at /proc/scenegen/out") and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_address_that_is_none(tmp_path):
    (tmp_path / "run.yaml").write_text(BASE)
    command = [sys.executable, "-m", "scenegen", "run", "run.yaml", "--out", "out", "--address", "nowhere.invalid:1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == USER_ERROR and "Traceback" not in done.stderr
    assert "error: cannot reach a Ray cluster at nowhere.invalid:1" in done.stderr


def test_more_objects_than_the_table_has_room_for_is_said_in_the_closing_table(tiny_run: TinyRun, tmp_path):
    path, out = tmp_path / "run.yaml", tmp_path / "out"
    small = "objects: 60, options: {poured_share: 0.0, table: {length: 0.5, width: 0.4}}}"
    path.write_text(TINY.replace("objects: 3}", small))
    shutil.copytree(tiny_run.out / STORE, out / STORE)  # the objects are there already
    done = invoke("run", str(path), "--out", str(out), "--executor", "serial")
    assert done.exit_code == NOT_CERTIFIED, done.output
    state = json.loads((out / "summary.json").read_text())["scenes"]["kitchen_table"]
    assert state.startswith("rejected: does not fit: ") and " room for " in state
    assert "kitchen_table: rejected: does not fit" in done.stdout
    assert not (out / "scenes").exists()


@pytest.mark.parametrize("name", ["../mug", "a/b", "a\\b", "Mug", "", "mug\n", "é"])
def test_an_asset_name_with_path_separators(name, tiny_out: Path):
    from dataclasses import replace

    import mujoco

    import scenegen

    asset = scenegen.load_asset(next(tiny_out.rglob("asset.json")).parent)
    with pytest.raises(AssetError, match="is no name: expected a lower-case letter, then letters, digits and '_'"):
        replace(asset, family=name)
    with pytest.raises(AssetError, match="is no name"):
        scenegen.attach(mujoco.MjSpec(), asset, name)
