"""What faults are injected into: a Ray of several nodes, a disk that can be filled, and the driver of a run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from chaos_reference import KnownCall, known, object_path

from scenegen.pipeline.in_flight import CallInFlight, find_calls

OBJECT_STORE_BYTES = 80 * 2**20
"""Shared memory of a node [byte]."""
DISK_BYTES = 2 * 2**30
"""Size of the disk; its memory is taken as it fills [byte]."""
QUICK_DEATH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""How soon Ray takes a silent node for dead."""


class Disk:
    """A file system in memory that can be made full at any moment, without anything being written."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(
                f"cannot mount a disk to fill: {done.stderr.strip()}; run as root, or under "
                "'unshare --user --map-root-user --mount'"
            )

    def fill(self) -> bool:
        """Shrink the disk to what it holds; return whether a write then fails for lack of space."""
        for _ in range(50):
            stat = os.statvfs(self.path)
            used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
            if not self._resize(used):
                continue  # something was written in between
            probe = self.path / "probe"
            try:
                probe.write_bytes(b"x" * 2 * stat.f_frsize)
                probe.unlink()
            except OSError as error:
                probe.unlink(missing_ok=True)
                return "No space left" in str(error)
        return False

    def free(self) -> None:
        """Give the disk its size back."""
        assert self._resize(DISK_BYTES), "a larger size is always possible"

    def close(self) -> None:
        """Take it away."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=False)

    def _resize(self, size: int) -> bool:
        command = ["mount", "-o", f"remount,size={size}", str(self.path)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Nodes:
    """A Ray with a head without CPUs, and nodes of one CPU that come and go."""

    def __init__(self, count: int):
        from ray.cluster_utils import Cluster

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        self.cluster = Cluster(initialize_head=True, head_node_args=head | {"_system_config": QUICK_DEATH})
        self.nodes = [self._new() for _ in range(count)]

    @property
    def address(self) -> str:
        """Address of the head."""
        return str(self.cluster.address)

    def raylet(self, number: int) -> int:
        """Return the process that a node consists of."""
        return self.nodes[number].all_processes["raylet"][0].process.pid

    def calls(self) -> list[tuple[int, CallInFlight]]:
        """Return the stage calls that run, with their nodes."""
        return [(number, call) for number in range(len(self.nodes)) for call in find_calls(self.raylet(number))]

    def remove(self, number: int) -> None:
        """End all processes of a node at once."""
        self.cluster.remove_node(self.nodes[number], allow_graceful=False)

    def replace(self, number: int) -> None:
        """Start another node where one was removed, as where a spot machine is replaced."""
        self.nodes[number] = self._new()

    def close(self) -> None:
        """End all nodes."""
        self.cluster.shutdown()

    def _new(self):
        for last in (False, False, True):
            try:
                return self.cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
            except Exception:  # a busy machine: Ray gives a node 30 s to answer
                if last:
                    raise
        raise AssertionError("returned or raised")


class Driver:
    """The process of the one command, started again whenever it was ended."""

    def __init__(self, command: list[str], log: Path):
        self.command, self.log = command, log
        self.starts = 0
        self.process: subprocess.Popen | None = None
        log.touch()

    def start(self) -> None:
        """Run the command; the same each time."""
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=os.environ | {"COLUMNS": "1000"}, start_new_session=True
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Process id."""
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """Take it away without a warning."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait(30.0)

    def wait(self, seconds: float) -> int | None:
        """Return its exit code once it ended, or None if it does not in that time."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def position(self) -> int:
        """Return where what it says next will begin."""
        return self.log.stat().st_size

    def said(self, position: int, pattern: str, seconds: float) -> str:
        """Return the first line since a position that matches, waiting for it; nothing if there is none in time."""
        end = time.monotonic() + seconds
        while True:
            with self.log.open("rb") as log:
                log.seek(position)
                text = log.read().decode(errors="replace")
            line = next((line for line in text.splitlines() if re.search(pattern, line)), "")
            if line or time.monotonic() > end:
                return line.strip()
            time.sleep(0.2)


class Machine:
    """All of it, and what of the run is done and under way."""

    def __init__(self, nodes: Nodes, disk: Disk, driver: Driver, out: Path, calls: dict[str, KnownCall]):
        self.nodes, self.disk, self.driver, self.out, self.known = nodes, disk, driver, out, calls
        self.seen: set[str] = set()
        """Items at which this life of the driver has worked."""

    def start(self) -> None:
        """Run the command."""
        self.seen.clear()
        self.driver.start()

    def stored(self, call: KnownCall) -> bool:
        """Whether the result of a call is there."""
        return object_path(self.out, call.output).exists()

    def progress(self) -> float:
        """Return the share of all calls whose results are there [1]."""
        return sum(self.stored(call) for call in self.known.values()) / len(self.known)

    def in_flight(self) -> list[tuple[int, CallInFlight, KnownCall]]:
        """Return the calls of objects that run: node, process, call."""
        found = []
        for number, call in self.nodes.calls():
            if (which := known(self.known, call)) is not None:
                self.seen.add(which.item)
                found.append((number, call, which))
        return found
