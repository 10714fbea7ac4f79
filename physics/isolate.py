"""Run native code in a child process, so that a crash, a hang or a memory blow-up costs one call and not the program.

Three ways a child can outlive its use are closed: it is killed with its process group at the deadline, it asks
the kernel to be killed when its parent dies, and it leaves by itself when the pipe to its parent closes.

Memory is limited twice. RLIMIT_DATA counts private writable memory; RLIMIT_AS would also count mapped libraries and
address space that is only reserved (gigabytes for torch, CUDA and thread arenas), so a limit low enough to be of use
would stop a healthy import. Because some kernels do not enforce RLIMIT_DATA and shared mappings escape it, the parent
also watches the resident set.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib
import json
import os
import pickle
import queue
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from physics.errors import IsolationError

START_DEADLINE_S = 120.0
"""Longest wait for a child to start, or to import the module of a function [s]; torch on a busy disk takes 20 s."""
POLL_INTERVAL_S = 0.1
"""How often a running child's memory and log size are looked at [s]."""
STDERR_TAIL_BYTES = 8192
"""How much of the end of the child's output goes into an error [byte]."""
LOG_LIMIT_BYTES = 64 * 2**20
"""A child's log is emptied when it grows beyond this, so that chatter cannot fill the disk [byte]."""
ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
}
"""Environment that keeps native libraries to one thread; `env` of a sandbox overrides it."""
MEMORY_WORDS = (b"bad_alloc", b"MemoryError", b"Cannot allocate memory", b"out of memory", b"Unable to allocate")
"""Last words of native code that ran out of memory before it died of a signal."""
PR_SET_PDEATHSIG = 1
"""Option of prctl(2): signal to receive when the parent dies."""
_HEADER = struct.Struct("<Q")
_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from physics.isolate import serve; serve(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))"
)


class ChildCrashed(IsolationError):
    """The child ended without an answer."""

    def __init__(self, signal_number: int | None, stderr: str, function: str = "", exit_code: int | None = None):
        super().__init__(signal_number, stderr, function, exit_code)
        self.signal = signal_number
        self.stderr = stderr
        self.function = function
        self.exit_code = exit_code

    def __str__(self) -> str:
        """Name the signal and show the end of the child's output."""
        how = f"left with exit code {self.exit_code}" if self.signal is None else f"died of {_signal_name(self.signal)}"
        hint = ""
        if self.signal == signal.SIGKILL:
            hint = "; nobody here sent that signal: see the kernel log for its out-of-memory killer"
        return f"{self.function or 'child'}: the child process {how}{hint}. {_quoted(self.stderr)}"


class ChildTimedOut(IsolationError):
    """The child was killed at its deadline."""

    def __init__(self, deadline: float, stderr: str, function: str = ""):
        super().__init__(deadline, stderr, function)
        self.deadline = deadline
        self.stderr = stderr
        self.function = function

    def __str__(self) -> str:
        """State the deadline and show the end of the child's output."""
        return f"{self.function or 'child'}: no answer within {self.deadline:g} s; killed. {_quoted(self.stderr)}"


class ChildOutOfMemory(IsolationError):
    """The child asked for more memory than it was allowed."""

    def __init__(self, limit: int | None, stderr: str, function: str = ""):
        super().__init__(limit, stderr, function)
        self.limit = limit
        self.stderr = stderr
        self.function = function

    def __str__(self) -> str:
        """State the limit and show the end of the child's output."""
        limit = "the machine's memory" if self.limit is None else f"its limit of {self.limit / 2**20:.0f} MiB"
        return f"{self.function or 'child'}: the child process went beyond {limit}. {_quoted(self.stderr)}"


class Sandbox:
    """A persistent child process that runs importable functions, one at a time.

    Example:
        with Sandbox(memory_bytes=2 * 2**30) as sandbox:
            hulls = sandbox.call("physics.coacd_run:run_coacd", vertices, faces, deadline_s=60.0)
    """

    def __init__(self, *, memory_bytes: int | None = None, env: dict[str, str] | None = None):
        if memory_bytes is not None and memory_bytes <= 0:
            raise IsolationError(f"memory_bytes must be positive or None, got {memory_bytes}")
        self.memory_bytes = memory_bytes
        self._env = dict(env or {})
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._socket: socket.socket | None = None
        self._log: Any = None
        self._owner = os.getpid()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        # At interpreter exit the modules used by close() may be gone already; the child then sees its pipe close.
        with contextlib.suppress(Exception):
            self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def call(self, function: Callable[..., Any] | str, *args: Any, deadline_s: float, **kwargs: Any) -> Any:
        """Run a function in the child and return its result.

        Args:
            function: A module-level function, or its address "module:name".
            *args: Picklable arguments.
            deadline_s: Wall time the function itself may take [s]; starting the child and importing the
                function's module have their own allowance, START_DEADLINE_S.
            **kwargs: Picklable keyword arguments.

        Raises:
            ChildCrashed: The child died of a signal or left.
            ChildTimedOut: No answer in time; the child and its process group were killed.
            ChildOutOfMemory: The memory limit was met.
            IsolationError: The function cannot be imported by address, or raised what cannot be passed on.
            Exception: Whatever the function raised, with the child's traceback as a note.
        """
        if not deadline_s > 0:
            raise IsolationError(f"deadline_s must be positive, got {deadline_s}")
        address = function_address(function)
        payload = pickle.dumps((address, pickle.dumps((args, kwargs), protocol=5)), protocol=5)
        with self._lock:
            self._start(address)
            try:
                return self._exchange(address, payload, deadline_s)
            except _Answer as answer:
                raise answer.error from None
            except BaseException:
                self._kill()
                raise

    def close(self) -> None:
        """End the child; a later call starts a new one."""
        with self._lock:
            self._kill()

    def _start(self, address: str) -> None:
        if self._owner != os.getpid():  # a forked copy must not talk to, or kill, the child of its parent
            self._process = self._socket = self._log = None
            self._owner = os.getpid()
        if self._process is not None and self._process.poll() is None:
            return
        self._kill()
        log = tempfile.TemporaryFile(buffering=0)
        fcntl.fcntl(log, fcntl.F_SETFL, fcntl.fcntl(log, fcntl.F_GETFL) | os.O_APPEND)
        mine, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-c", _BOOTSTRAP, json.dumps(sys.path)]
        command += [str(theirs.fileno()), str(os.getpid()), str(self.memory_bytes or 0)]
        self._log, self._socket = log, mine
        try:
            self._process = _spawn(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | ONE_THREAD | self._env,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # its own process group, to be killed whole; no Ctrl-C from the terminal
            )
        finally:
            theirs.close()
        try:
            self._receive(address, START_DEADLINE_S)
        except BaseException:
            self._kill()
            raise

    def _exchange(self, address: str, payload: bytes, deadline_s: float) -> Any:
        connection = self._connection()
        self._log.truncate(0)
        try:
            connection.settimeout(START_DEADLINE_S)
            connection.sendall(_HEADER.pack(len(payload)) + payload)
        except TimeoutError:
            raise ChildTimedOut(START_DEADLINE_S, self._tail(), address) from None
        except OSError:
            raise self._death(address) from None
        kind, value = self._receive(address, START_DEADLINE_S)
        if kind == "started":
            kind, value = self._receive(address, deadline_s)
        if kind == "result":
            return pickle.loads(value)
        if kind == "memory":
            raise ChildOutOfMemory(self.memory_bytes, value + self._tail(), address)
        raise _Answer(_revived(address, *value, stderr=self._tail()))

    def _receive(self, address: str, deadline_s: float) -> tuple[str, Any]:
        end = time.monotonic() + deadline_s
        size = _HEADER.unpack(self._read(_HEADER.size, address, end, deadline_s))[0]
        return pickle.loads(self._read(size, address, end, deadline_s))

    def _read(self, size: int, address: str, end: float, deadline_s: float) -> bytearray:
        connection = self._connection()
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        data, filled = bytearray(size), 0
        while filled < size:
            remaining = end - time.monotonic()
            if remaining <= 0:
                raise ChildTimedOut(deadline_s, self._tail(), address)
            if not poller.poll(1000 * min(remaining, POLL_INTERVAL_S)):
                self._watch(address)
                continue
            try:
                count = connection.recv_into(memoryview(data)[filled:])
            except OSError:
                count = 0
            if not count:
                raise self._death(address)
            filled += count
        return data

    def _watch(self, address: str) -> None:
        """Hold a running child to its memory and its log to its size."""
        if os.fstat(self._log.fileno()).st_size > LOG_LIMIT_BYTES:
            self._log.truncate(0)
        if self.memory_bytes is None or self._process is None:
            return
        try:
            with open(f"/proc/{self._process.pid}/statm") as statm:
                resident = int(statm.read().split()[1]) * resource.getpagesize()
        except (OSError, IndexError):  # gone in this moment: the pipe will say so
            return
        if resident > self.memory_bytes:
            raise ChildOutOfMemory(self.memory_bytes, self._tail(), address)

    def _death(self, address: str) -> IsolationError:
        """Say how the child died after its end of the pipe closed."""
        if self._process is None:
            return ChildCrashed(None, "", address)
        try:
            code = self._process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._kill_group()
            code = None
        tail = self._tail()
        if code not in (None, 0) and any(word.decode() in tail for word in MEMORY_WORDS):
            return ChildOutOfMemory(self.memory_bytes, tail, address)
        died = code is not None and code < 0
        return ChildCrashed(-code if died and code is not None else None, tail, address, None if died else code)

    def _connection(self) -> socket.socket:
        if self._socket is None:
            raise IsolationError("the sandbox has no child process")
        return self._socket

    def _tail(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        self._log.seek(max(0, size - STDERR_TAIL_BYTES))
        return self._log.read().decode(errors="replace")

    def _kill_group(self) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _kill(self) -> None:
        if self._owner == os.getpid():
            self._kill_group()
        for resource_ in (self._socket, self._log):
            if resource_ is not None:
                resource_.close()
        self._process = self._socket = self._log = None


class _Answer(Exception):
    """Carries what the function itself raised past the handlers for a broken child."""

    def __init__(self, error: BaseException):
        super().__init__()
        self.error = error


def function_address(function: Callable[..., Any] | str) -> str:
    """Return "module:name" of a module-level function.

    Raises:
        IsolationError: The function is local, a lambda, or lives in a script, where a child cannot import it.
    """
    if isinstance(function, str):
        module, _, name = function.partition(":")
    else:
        module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if not module or not name or "<" in name or module == "__main__":
        raise IsolationError(
            f"cannot run {function!r} in a child process: it needs a function at module level of an importable "
            "module, or its address 'module:name'; move it out of the script, function or lambda"
        )
    return f"{module}:{name}"


def _revived(address: str, pickled: bytes | None, description: str, trace: str, *, stderr: str) -> BaseException:
    """Return the exception of the child, or an IsolationError that describes it."""
    error: BaseException = IsolationError(f"{address} raised {description}")
    if pickled is not None:
        error = pickle.loads(pickled)
    error.add_note(f"raised in a child process by {address}:\n{trace}")
    if stderr.strip():
        error.add_note(f"output of the child process:\n{stderr}")
    return error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _quoted(stderr: str) -> str:
    return f"End of its output:\n{stderr.strip()}" if stderr.strip() else "It printed nothing."


# ---- starting children ----------------------------------------------------------------------------------------

# PR_SET_PDEATHSIG fires when the *thread* that started the child ends, not the process. A pool thread that comes
# and goes would take its sandboxes with it, so one thread per process, which never ends, starts them all.
_requests: queue.SimpleQueue | None = None
_requests_lock = threading.Lock()


def _spawn(command: list[str], **options: Any) -> subprocess.Popen:
    global _requests
    with _requests_lock:
        if _requests is None:
            _requests = queue.SimpleQueue()
            threading.Thread(target=_serve_spawns, args=(_requests,), name="sandbox-spawner", daemon=True).start()
        requests = _requests
    reply: queue.SimpleQueue = queue.SimpleQueue()
    requests.put((command, options, reply))
    outcome = reply.get()
    if isinstance(outcome, BaseException):
        raise IsolationError(f"cannot start a child process with {command[0]}: {outcome}") from outcome
    return outcome


def _serve_spawns(requests: queue.SimpleQueue) -> None:
    while True:
        command, options, reply = requests.get()
        try:
            reply.put(subprocess.Popen(command, **options))
        except Exception as error:  # handed to the caller, who raises it
            reply.put(error)


def _forget_spawner() -> None:
    global _requests, _requests_lock
    _requests, _requests_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_spawner)  # threads do not survive a fork


# ---- the child ------------------------------------------------------------------------------------------------


def serve(connection_fd: int, parent_pid: int, memory_bytes: int) -> None:
    """Answer calls until the parent closes the connection. This is the main loop of the child.

    Args:
        connection_fd: Inherited socket to the parent.
        parent_pid: Process id of the parent, to notice that it died before the kernel was asked to tell.
        memory_bytes: Limit of private writable memory [byte]; 0 for none.
    """
    import faulthandler

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if memory_bytes:
        # The soft limit only: it is inherited, and a sandbox inside this one may be given more.
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        soft = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    faulthandler.enable(file=2)
    os.set_inheritable(connection_fd, False)
    with socket.socket(fileno=connection_fd) as connection, connection.makefile("rb") as stream:
        _send(connection, ("ready", None))
        while header := stream.read(_HEADER.size):
            payload = stream.read(_HEADER.unpack(header)[0])
            _send(connection, _answer(connection, payload))
    os._exit(0)  # no exit handlers: native libraries crash in theirs


def _answer(connection: socket.socket, payload: bytes) -> tuple[str, Any]:
    try:
        address, arguments = pickle.loads(payload)
        module, _, name = address.partition(":")
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
        args, kwargs = pickle.loads(arguments)
        _send(connection, ("started", None))
        reply = ("result", pickle.dumps(function(*args, **kwargs), protocol=5))
    except MemoryError:
        reply = ("memory", traceback.format_exc())
    except BaseException as error:
        reply = ("error", (_pickled(error), f"{type(error).__name__}: {error}", traceback.format_exc()))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed by the function: its own business
            stream.flush()
    return reply


def _pickled(error: BaseException) -> bytes | None:
    """Return the exception as bytes if it survives a round trip; leaving the program is never passed on."""
    if not isinstance(error, Exception):
        return None
    try:
        data = pickle.dumps(error, protocol=5)
        return data if type(pickle.loads(data)) is type(error) else None
    except Exception:  # any exception of a foreign class may refuse; its text is passed on instead
        return None


def _send(connection: socket.socket, message: tuple[str, Any]) -> None:
    data = pickle.dumps(message, protocol=5)
    connection.sendall(_HEADER.pack(len(data)) + data)
