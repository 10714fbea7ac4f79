"""The command line as a user meets it: help with examples, one message for a mistake, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scenegen import cli

CONFIG = "name: demo\nobjects:\n  - {family: mug, count: 1}\n"


def scenegen(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200"}
    environment.pop("DISPLAY", None)
    environment.pop("WAYLAND_DISPLAY", None)
    return subprocess.run(
        [sys.executable, "-m", "scenegen", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        **options,
    )


def invoke(*arguments: str):
    return CliRunner().invoke(cli.app, list(arguments))


@pytest.mark.parametrize("command", [[], ["run"], ["show"], ["doctor"]])
def test_every_help_has_an_example(command):
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert "Example: scenegen " in result.output


def test_version():
    assert invoke("--version").output.startswith("scenegen ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["run"], "Missing argument"),
        (["run", "x.yaml"], "Missing option '--out'"),
        (["run", "x.yaml", "--out", "o", "--executor", "slurm"], "Invalid value for '--executor'"),
        (["run", "x.yaml", "--out", "o", "--workers", "0"], "Invalid value for '--workers'"),
        (["run", "x.yaml", "--out", "o"], "error: cannot read x.yaml: No such file or directory"),
        (["show", "nowhere"], "error: nowhere is not there; give the folder of an asset or a scene"),
    ],
)
def test_mistakes_get_one_message_and_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == cli.USER_ERROR
    assert message in result.output and "Traceback" not in result.output


def test_a_real_process_says_no_more_than_that(tmp_path):
    done = scenegen("run", "x.yaml", "--out", "o", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: cannot read x.yaml: No such file or directory\n"


def test_options_override_the_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    result = invoke("run", str(path), "--out", str(tmp_path / "o"), "--set", "seeed=3")
    assert result.exit_code == 2
    assert (
        f"error: {path} (with --set seeed=3): seeed is not a field of RunConfig. Did you mean 'seed'?" in result.output
    )


def test_an_output_that_cannot_be_written(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    (tmp_path / "file").touch()
    result = invoke("run", str(path), "--out", str(tmp_path / "file" / "out"), "--executor", "serial")
    assert result.exit_code == 2
    assert "choose another output folder" in result.output and "Traceback" not in result.output


def test_an_address_that_does_not_answer(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    result = invoke("run", str(path), "--out", str(tmp_path / "o"), "--address", "127.0.0.1:1")
    assert result.exit_code == 2
    assert "cannot reach a Ray cluster at 127.0.0.1:1" in result.output and "Traceback" not in result.output


def test_interruption_is_resumable_and_code_130(monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupt)
    result = invoke("run", "x.yaml", "--out", str(tmp_path))
    assert result.exit_code == cli.INTERRUPTED
    assert "the same command resumes" in result.output


def test_bugs_keep_their_traceback(monkeypatch, tmp_path):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_run", fail)
    assert isinstance(invoke("run", "x.yaml", "--out", str(tmp_path)).exception, ZeroDivisionError)


MJCF = """<mujoco><worldbody><geom type="plane" size="1 1 1"/><body name="brick" pos="0 0 .2"><freejoint/>
<geom type="box" size=".1 .2 .05" rgba=".7 .2 .1 1"/></body></worldbody></mujoco>"""


def test_show_writes_a_picture_where_there_is_no_display(tmp_path):
    (tmp_path / "brick").mkdir()
    (tmp_path / "brick" / "model.xml").write_text(MJCF)
    done = scenegen("show", "brick", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    from PIL import Image

    with Image.open(Path(done.stdout.strip())) as picture:
        assert picture.size == (640, 480)
        red, green, blue = picture.convert("RGB").getpixel((320, 240))
    assert red > 1.5 * green and red > 1.5 * blue


def test_show_of_what_is_no_model(tmp_path):
    (tmp_path / "bad.xml").write_text("<mujoco><nonsense/></mujoco>")
    (tmp_path / "text.txt").touch()
    for name, message in [("bad.xml", "does not load in MuJoCo"), ("text.txt", "is not an MJCF file"), (".", None)]:
        result = invoke("show", "--picture", str(tmp_path / name))
        assert result.exit_code == 2
        assert (message or "does not load") in result.output
