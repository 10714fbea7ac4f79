"""Start a local Ray or join a cluster, quietly; stop only what was started here. With `run_ray`, the owner of Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from physics.errors import IsolationError
from physics.isolate import Sandbox
from scenegen.errors import ExecutorError

CONNECT_SECONDS = 15.0
"""Longest wait for a cluster to answer [s]."""
MACHINE_WAIT_SECONDS = 300.0
"""Longest wait for a machine that can hold a stage; a cluster may have to start one [s]."""
OBJECT_STORE_BYTES = 100 * 2**20
"""Shared memory of a local Ray; only content hashes pass through it [byte]."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_TQDM": "0",
}
"""Environment of a Ray that minds its own business."""


@dataclass(frozen=True)
class RaySession:
    """A Ray that stages can run on."""

    local: bool
    """True when it runs on this machine only and was started for us."""
    workers: int | None
    """Stage calls at a time; None on a cluster means as many as fit."""
    machine_wait_s: float = MACHINE_WAIT_SECONDS
    """Longest wait for a machine that a cluster has not, or has no more; 0 where it starts none [s]."""


@contextlib.contextmanager
def ray_session(
    *, address: str | None = None, workers: int | None = None, machine_wait_s: float = MACHINE_WAIT_SECONDS
) -> Iterator[RaySession]:
    """Hold a Ray for one run, or use the one that this process has already.

    Args:
        address: "auto", "host:port" or "ray://host:port" of a cluster; None starts a local Ray.
        workers: Stage calls at a time; None means one for each core here, and as many as fit on a cluster.
        machine_wait_s: Longest wait for a machine that a cluster lacks; 0 where it starts none [s].

    Raises:
        ExecutorError: The cluster does not answer, or Ray cannot start.
    """
    os.environ |= {name: value for name, value in QUIET.items() if name not in os.environ}
    import ray

    if ray.is_initialized():
        local = address is None
        yield RaySession(local, (workers or _cores()) if local else workers, machine_wait_s)
        return
    if address is None:
        workers = workers or _cores()
    else:
        _probe(address)
    try:
        with _interrupts_deferred():
            if address is None:
                _start(workers or 1)
            else:
                _join(address)
        yield RaySession(address is None, workers, machine_wait_s)
    finally:
        with _interrupts_deferred():
            ray.shutdown()  # ends a local Ray, and only leaves a cluster


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Hold Ctrl-C back until Ray is up, or down: in between it crashes the process and leaves Ray's own behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if received:
        raise KeyboardInterrupt


def _start(workers: int) -> None:
    import ray

    try:
        ray.init(
            address="local",  # even if the environment names a cluster
            num_cpus=workers,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # Ray raises many classes here; whichever it is, the advice is the same
        raise ExecutorError(
            f"cannot start a local Ray: {_first_line(error)}. Try again, or run without Ray: --executor serial"
        ) from error


def _join(address: str) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise ExecutorError(_unreachable(address, _first_line(error))) from error


def _probe(address: str) -> None:
    """Connect from a child process first: Ray itself may wait for minutes, or end the process."""
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 2**16:
            raise ExecutorError(
                f"--address {address!r} is not an address; expected auto, host:port or ray://host:port (10001 is usual)"
            )
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            raise ExecutorError(_unreachable(address, error.strerror or str(error))) from None
    with Sandbox() as sandbox:
        try:
            sandbox.call(connect, address, deadline_s=CONNECT_SECONDS)
        except IsolationError as error:
            raise ExecutorError(_unreachable(address, _first_line(error))) from None


def connect(address: str) -> None:
    """Join a cluster and leave it again. Runs in a child process.

    Raises:
        ExecutorError: The cluster refused.
    """
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise ExecutorError(_unreachable(address, _first_line(error))) from None
    ray.shutdown()


def describe_ray() -> str:
    """Import Ray and say what it would start with."""
    import ray

    return f"Ray {ray.__version__} imports; a local one would have {_cores()} workers"


def _unreachable(address: str, reason: str) -> str:
    return (
        f"cannot reach a Ray cluster at {address}: {reason}. Check that it runs ('ray status' on its head node), that "
        "its Ray and Python versions are the same as here, and the port; or leave --address out to use this machine"
    )


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _cores() -> int:
    """Return the cores that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0))
