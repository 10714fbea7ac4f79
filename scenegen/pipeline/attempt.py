"""One attempt at one stage call, in a child process. Only content hashes travel; records go through the store."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from generators.errors import BackendError
from physics.errors import IsolationError
from physics.isolate import Sandbox
from scenegen.errors import CorruptRecordError, ExecutorError, StageError, StoreError
from scenegen.pipeline.in_flight import process_name, shown_as
from scenegen.pipeline.stage import Rejection, Stage, wants_scratch
from scenegen.pipeline.store import Store

CLAIM_SECONDS = 60.0
"""Longest wait for a result that a worker of an earlier run, whose driver was killed, may still bring [s]."""


class AttemptKind(StrEnum):
    """How an attempt ended."""

    STORED = "stored"
    """The result, a record or a rejection, is in the store."""
    FAILED = "failed"
    """Crash, hang, too much memory, or an exception: it costs the item one attempt."""
    CORRUPT = "corrupt"
    """The input was damaged on disk, and has to be computed again."""
    STORE_BROKEN = "store broken"
    """The store cannot be read or written: nothing can go on."""
    DEVICE_LACKS = "device lacks"
    """The device is not there, or has no memory for what it was asked: nothing can go on with these settings."""


@dataclass(frozen=True)
class Attempt:
    """How one attempt ended, and what it left."""

    kind: AttemptKind
    message: str = ""
    """The error with its traceback and the end of the child's output."""

    def check(self) -> None:
        """Refuse to go on where no other item could fare better.

        Raises:
            StoreError: The store cannot be read or written.
            ExecutorError: The device lacks what the settings ask for.
        """
        if self.kind is AttemptKind.STORE_BROKEN:
            raise StoreError(self.message)
        if self.kind is AttemptKind.DEVICE_LACKS:
            raise ExecutorError(self.message)


def run_call(root: str, stage: Stage, input_digest: str, scratch: str | None) -> None:
    """Load the input, call the stage's function and keep its result, unless another process has just done so.

    Runs inside the child process.

    Raises:
        StageError: The function returned something other than it declares.
        StoreError: The store is damaged, full or not writable.
    """
    store = Store(root, create=False)
    with store.claimed(stage, input_digest, patience_s=0.0):
        known = store.find(stage, input_digest)
        if known is None or not store.intact(known.digest):
            _compute(store, stage, input_digest, scratch)


def _compute(store: Store, stage: Stage, input_digest: str, scratch: str | None) -> None:
    function = stage.resolve()
    record = store.load(input_digest, stage.input_type)
    extra = {} if scratch is None else {"scratch": Path(scratch)}
    wall, cpu = time.perf_counter(), time.process_time()
    with shown_as(process_name(stage.name, input_digest)):
        result = function(record, stage.config, **extra)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if type(result) not in (Rejection, stage.output_type):
        raise StageError(
            f"stage {stage.name}: {stage.function} returned {type(result).__qualname__}, expected "
            f"{stage.output_type.__qualname__} or Rejection"
        )
    store.keep(stage, input_digest, result, seconds=wall, cpu_seconds=cpu)


class Attempter:
    """Makes attempts in persistent child processes, one child for each memory limit."""

    def __init__(self, store: Store):
        self.store = store
        self._sandboxes: dict[int | None, Sandbox] = {}

    def attempt(self, stage: Stage, input_digest: str, *, fresh: bool = False) -> Attempt:
        """Run one stage call to its end, whatever that is.

        Args:
            stage: What to run.
            input_digest: Content hash of the input record in the store.
            fresh: Start a new child first, as after a failure: what the last call left behind must not matter.
        """
        sandbox = self._sandboxes.setdefault(stage.memory_bytes, Sandbox(memory_bytes=stage.memory_bytes))
        if fresh:
            sandbox.close()
        try:
            if not wants_scratch(stage.resolve()):
                self._call(sandbox, stage, input_digest, None)
            else:
                with self.store.scratch() as scratch:
                    self._call(sandbox, stage, input_digest, str(scratch))
        except CorruptRecordError as error:
            return Attempt(AttemptKind.CORRUPT, str(error))
        except StoreError as error:
            return Attempt(AttemptKind.STORE_BROKEN, str(error))
        except BackendError as error:
            return Attempt(AttemptKind.DEVICE_LACKS, str(error))
        except IsolationError as error:
            return Attempt(AttemptKind.FAILED, f"{type(error).__name__}: {error}")
        except Exception as error:  # a bug of the stage costs this item, not the run
            return Attempt(AttemptKind.FAILED, "".join(traceback.format_exception_only(error)))
        return Attempt(AttemptKind.STORED)

    def close(self) -> None:
        """End all child processes."""
        for sandbox in self._sandboxes.values():
            sandbox.close()

    def _call(self, sandbox: Sandbox, stage: Stage, input_digest: str, scratch: str | None) -> None:
        with self.store.claimed(stage, input_digest, patience_s=CLAIM_SECONDS):
            pass  # waited for here, where it costs the call nothing of its deadline
        sandbox.call(run_call, str(self.store.root), stage, input_digest, scratch, deadline_s=stage.deadline_s)
