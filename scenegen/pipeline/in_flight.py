"""Which stage calls run on this machine: each shows its stage and its input as the name of its process."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"([a-z][a-z0-9_]{0,7}):([0-9a-f]{6})")
"""Name of a process that runs a stage call."""


@dataclass(frozen=True)
class CallInFlight:
    """A stage call that is running."""

    pid: int
    """Process that runs the stage's function, a child of the worker or of the serial driver."""
    stage: str
    """First 8 characters of the stage's name."""
    digest: str
    """First 6 characters of the content hash of its input."""


def process_name(stage: str, input_digest: str) -> str:
    """Return what `ps` and `top` call the process of a stage call: the kernel keeps 15 characters."""
    return f"{stage[:8]}:{input_digest[:6]}"


@contextlib.contextmanager
def shown_as(name: str) -> Iterator[None]:
    """Rename this process for a while."""
    comm = Path("/proc/self/comm")
    try:
        before = comm.read_text().strip()
        comm.write_text(name)
    except OSError:  # not Linux: nothing depends on it
        yield
        return
    try:
        yield
    finally:
        comm.write_text(before)


def read_call(pid: int) -> CallInFlight | None:
    """Return the stage call that a process is running, or None."""
    try:
        found = NAME.fullmatch(Path(f"/proc/{pid}/comm").read_text().strip())
    except OSError:  # it is gone
        return None
    return CallInFlight(pid, found[1], found[2]) if found else None


def find_calls(ancestor: int) -> list[CallInFlight]:
    """Return the stage calls that run below a process, such as a driver or a Ray node."""
    import psutil

    try:
        family = psutil.Process(ancestor).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [call for process in family if (call := read_call(process.pid)) is not None]
