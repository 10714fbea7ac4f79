"""The kinds of faults. Each is aimed at a call in flight, which is frozen first so that it cannot slip away."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from chaos_machine import Machine
from chaos_reference import KnownCall, record_files

from scenegen.pipeline.in_flight import read_call

AIM_SECONDS = 90.0
"""Longest search for a call that may be hit [s]."""
NOTICE_SECONDS = 120.0
"""Longest until the run notices a fault, on a busy machine [s]."""


class Missed(Exception):
    """The fault hit nothing, or nothing came of it; it is tried again."""


@dataclass(frozen=True)
class Hit:
    """A fault and the work in flight that it hit."""

    variant: str
    item: str
    stage: str
    evidence: str
    """What the run itself said of it."""


@dataclass(frozen=True)
class Aim:
    """A frozen call."""

    node: int
    pid: int
    """The isolated child that runs the stage's function."""
    call: KnownCall

    def release(self) -> None:
        """Let the call go on."""
        try:
            os.kill(self.pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # it is gone, as intended


class Faults:
    """Injects faults into a machine; no stage of an item is hit twice, and no item's files are damaged twice.

    Two failures of one call end in quarantine, by design; so do four damages of one item.
    """

    def __init__(self, machine: Machine, rng: random.Random, *, deadline_s: float):
        self.machine, self.rng, self.deadline_s = machine, rng, deadline_s
        self.used: set[tuple[str, str]] = set()
        self.damaged: set[str] = set()
        self.count = dict.fromkeys(self.kinds, 0)

    @property
    def kinds(self) -> dict[str, Callable[[int], Hit]]:
        """All kinds of faults; each takes how many of its kind came before."""
        return {
            "worker killed": self.kill_worker,
            "node killed": self.kill_node,
            "driver killed": self.kill_driver,
            "native code hangs": self.hang,
            "disk full": self.fill_disk,
            "file damaged": self.damage,
        }

    def inject(self, kind: str) -> Hit:
        """Inject one fault and wait until the run has noticed it.

        Raises:
            Missed: It hit nothing.
        """
        hit = self.kinds[kind](self.count[kind])
        self.count[kind] += 1
        return hit

    # ---- kinds ------------------------------------------------------------------------------------------------

    def kill_worker(self, number: int) -> Hit:
        """Kill the actor of a call, or crash the native code in its child, in turns."""
        aim, begin = self._aim(), self.machine.driver.position()
        call = aim.call
        if number % 2 == 0:
            os.kill(psutil.Process(aim.pid).ppid(), signal.SIGKILL)
            said = self._said(begin, rf"{call.item}: lost its worker", aim)
            return Hit("SIGKILL of the actor", call.item, call.stage, said)
        os.kill(aim.pid, signal.SIGSEGV)
        aim.release()
        said = self._said(begin, rf"{call.item}: {call.stage} failed: .*died of SIGSEGV", aim)
        return Hit("SIGSEGV in its native child", call.item, call.stage, said)

    def kill_node(self, number: int) -> Hit:
        """Kill the raylet of a node, or all its processes at once, in turns; another node takes its place."""
        aim, begin = self._aim(), self.machine.driver.position()
        call = aim.call
        nodes = self.machine.nodes
        if number % 2 == 0:
            os.kill(nodes.raylet(aim.node), signal.SIGKILL)
        else:
            nodes.remove(aim.node)
        try:
            said = self._said(begin, rf"{call.item}: lost its worker", aim)
        finally:
            if number % 2 == 0:
                nodes.remove(aim.node)  # what the raylet left
            nodes.replace(aim.node)
        return Hit("SIGKILL of the raylet" if number % 2 == 0 else "all its processes", call.item, call.stage, said)

    def kill_driver(self, number: int) -> Hit:
        """Kill the driver, and run the same command again."""
        del number
        aim = self._aim()
        self.machine.driver.kill()
        gone, lost = _gone(aim.pid, 60.0), not self.machine.stored(aim.call)
        aim.release()
        self.machine.start()
        if not gone or not lost:
            raise Missed("the call had ended" if gone else f"{aim.call.stage} of {aim.call.item} outlived its driver")
        return Hit("SIGKILL", aim.call.item, aim.call.stage, "died with its driver; its result was not stored")

    def hang(self, number: int) -> Hit:
        """Leave the native child stopped: only the deadline can end it."""
        del number
        aim, begin = self._aim(), self.machine.driver.position()
        call = aim.call
        pattern = rf"{call.item}: {call.stage} failed: .*no answer within {self.deadline_s:g} s; killed"
        said = self._said(begin, pattern, aim, self.deadline_s + NOTICE_SECONDS)
        return Hit("SIGSTOP of its native child", call.item, call.stage, said)

    def fill_disk(self, number: int) -> Hit:
        """Take the space away under a call; the run has to stop and say so. Then free some, and run the same again."""
        del number
        aim, begin = self._aim(), self.machine.driver.position()
        call, driver = aim.call, self.machine.driver
        full = self.machine.disk.fill()
        aim.release()
        code = driver.wait(NOTICE_SECONDS) if full else None
        lost = not self.machine.stored(call)
        self.machine.disk.free()
        if not full:
            raise Missed("the disk could not be filled")
        if code is None:
            driver.kill()
        self.machine.start()
        said = driver.said(begin, "the disk is full", 0.0)
        if code != 2 or not said:
            raise Missed(f"the driver left with {code} and did not say that the disk is full")
        if not lost:
            raise Missed("the call had ended")
        return Hit("ENOSPC", call.item, call.stage, said)

    def damage(self, number: int) -> Hit:
        """Damage the record that the next call of an item under way is going to read, with the driver paused."""
        driver, end = self.machine.driver, time.monotonic() + AIM_SECONDS
        while time.monotonic() < end and driver.running:
            begin = driver.position()
            os.kill(driver.pid, signal.SIGSTOP)
            try:
                target = self._next_input(patience_s=4.0)
                variant = self._spoil(target[0].output, number) if target is not None else ""
            finally:
                os.kill(driver.pid, signal.SIGCONT)
            if target is not None:
                call = target[1]
                self.damaged.add(call.item)
                self.used.add((call.item, call.stage))
                said = self._said(begin, rf"{call.item}: {call.stage} corrupt", None)
                return Hit(variant, call.item, call.stage, said)
            time.sleep(2.0)  # the run goes on to other calls
        raise Missed("no item was between two calls")

    # ---- aiming -----------------------------------------------------------------------------------------------

    def _aim(self) -> Aim:
        """Freeze a call in flight that was not hit before."""
        end = time.monotonic() + AIM_SECONDS
        while time.monotonic() < end and self.machine.driver.running:
            for node, process, call in self.machine.in_flight():
                if (call.item, call.stage) in self.used:
                    continue
                os.kill(process.pid, signal.SIGSTOP)
                if read_call(process.pid) == process and not self.machine.stored(call):
                    self.used.add((call.item, call.stage))
                    return Aim(node, process.pid, call)
                os.kill(process.pid, signal.SIGCONT)
            time.sleep(0.02)
        raise Missed("no call in flight")

    def _next_input(self, patience_s: float) -> tuple[KnownCall, KnownCall] | None:
        """Return the last call of an item under way, and its next one, which nobody has begun."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            time.sleep(0.3)  # a call that was handed out in this moment shows itself
            running = {(call.item, call.stage) for _, _, call in self.machine.in_flight()}
            by_input = {(call.item, call.input): call for call in self.machine.known.values()}
            for done in self.machine.known.values():
                call = by_input.get((done.item, done.output))
                if call is None or done.last or call.item not in self.machine.seen or call.item in self.damaged:
                    continue
                fresh = (call.item, call.stage) not in self.used | running
                if fresh and self.machine.stored(done) and not self.machine.stored(call):
                    return done, call
        return None

    def _spoil(self, digest: str, number: int) -> str:
        """Flip a byte of a file of a record, or cut it in half, in turns; return what was done."""
        path: Path = self.rng.choice(record_files(self.machine.out, digest))
        data = bytearray(path.read_bytes())
        if number % 2 == 0:
            data[self.rng.randrange(len(data))] ^= 0xFF
        else:
            del data[len(data) // 2 :]
        path.write_bytes(data)
        assert hashlib.sha256(data).hexdigest() != path.name, "it is damaged now"
        return "a byte flipped" if number % 2 == 0 else "cut in half"

    def _said(self, begin: int, pattern: str, aim: Aim | None, seconds: float = NOTICE_SECONDS) -> str:
        said = self.machine.driver.said(begin, pattern, seconds)
        if not said:
            if aim is not None:
                aim.release()
            raise Missed(f"the run did not say {pattern!r}")
        return re.sub(r"^note: ", "", said)[:160]


def _gone(pid: int, seconds: float) -> bool:
    """Return whether a process ends in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False
