"""The Python of the README runs as it stands there, beside a run in out/demo."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import TinyRun

README = Path(__file__).resolve().parents[1] / "README.md"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks_of(text: str) -> list[tuple[str, str]]:
    """Return language and content of every fenced block."""
    return [(language.lower(), content) for language, content in FENCE.findall(text)]


BLOCKS = [content for language, content in blocks_of(README.read_text()) if language in ("python", "py", "python3")]


def test_the_readme_shows_the_whole_api():
    import scenegen

    text = "\n".join(BLOCKS) + README.read_text()
    assert len(BLOCKS) >= 2
    assert [name for name in scenegen.__all__ if f"scenegen.{name}(" not in text] == []
    assert README.read_text().count("```") % 2 == 0, "a block is not closed"
    assert not re.search(r"^\s*>>> ", README.read_text(), re.MULTILINE), "blocks are plain code, so that they are run"


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_python_of_the_readme_runs(number, tiny_run: TinyRun):
    """Each block alone in a new process, in the folder that holds out/demo."""
    folder = tiny_run.config.parent
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKS[number]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{BLOCKS[number]}\n{done.stderr}"


def test_calls_in_the_text_name_families_that_exist():
    from generators.families import FAMILIES

    calls = re.findall(r'scenegen\.generate\("(\w+)"', README.read_text())
    assert calls and set(calls) <= set(FAMILIES)
