"""The small run of the end-to-end tests, through the command line."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from scenegen import cli
from scenegen.reports.summary import VOLATILE_FILES

CONFIG = """
name: tiny
seed: 7
generator: {resolution: 48}     # coarse: the first bracket has walls too thin for it, and is replaced
objects:
  - {families: [hex_nut, angle_bracket], count: 2}
scenes:
  - {name: kitchen_table, layout: tabletop, objects: 3}
"""


@dataclass(frozen=True)
class TinyRun:
    """A run and how to do it again."""

    config: Path
    out: Path
    code: int
    """Exit code of the first run."""
    text: str
    """What it said."""

    def again(self) -> tuple[int, str]:
        """Run the same command; return its exit code and what it said."""
        done = invoke("run", str(self.config), "--out", str(self.out), "--executor", "serial")
        return done.exit_code, done.output


def invoke(*arguments: str):
    """Run the command line in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, list(arguments), catch_exceptions=False)


def make_run(folder: Path, text: str = CONFIG) -> TinyRun:
    """Run a configuration into `out/demo` of a folder."""
    config, out = folder / "run.yaml", folder / "out" / "demo"
    config.write_text(text)
    done = invoke("run", str(config), "--out", str(out), "--executor", "serial")
    return TinyRun(config, out, done.exit_code, done.output)


def tree_hashes(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every delivered file; the store and the files that may vary are left out."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in VOLATILE_FILES and not path.relative_to(out).parts[0].startswith(".")
    }
