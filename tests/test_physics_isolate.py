"""The sandbox: every way native code can die, and that nothing outlives its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from physics.errors import HullError, IsolationError
from physics.isolate import ChildCrashed, ChildOutOfMemory, ChildTimedOut, Sandbox, function_address

GIB = 2**30


def double(array: np.ndarray, *, plus: float = 0.0) -> np.ndarray:
    return 2 * array + plus


def segfault() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.write(2, b"assertion p1 < costSize failed\n")
    os.abort()


def leave() -> None:
    os._exit(7)


def hang_holding_the_interpreter() -> None:
    ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the interpreter lock: no Python thread of the child can run


def hang_with_grandchild(pid_file: str) -> None:
    child = subprocess.Popen(["sleep", "600"])
    Path(pid_file).write_text(str(child.pid))
    time.sleep(600)


def allocate_array(n_bytes: int) -> int:
    return int(np.ones(n_bytes, dtype=np.uint8).sum())


def touch_shared(n_bytes: int) -> None:
    import mmap

    block = mmap.mmap(-1, n_bytes)  # shared anonymous: not counted by RLIMIT_DATA
    for start in range(0, n_bytes, mmap.PAGESIZE):
        block[start] = 1
    time.sleep(30)


def refuse() -> None:
    print("on the way", file=sys.stderr)
    raise HullError("threshold 2 is above 1")


class Unpicklable(Exception):
    def __init__(self, a: int, b: int):
        super().__init__("only one")


def raise_unpicklable() -> None:
    raise Unpicklable(1, 2)


def leave_by_exception() -> None:
    sys.exit(3)


def chatter(count: int) -> int:
    for _ in range(count):
        print("x" * 1000)
        sys.stdout.flush()
        os.write(1, b"raw noise\n" * 100)
        os.write(2, b"raw noise\n" * 100)
    return count


def nested(kind: str) -> object:
    with Sandbox(memory_bytes=2 * GIB) as inner:
        if kind == "crash":
            return inner.call(segfault, deadline_s=20)
        if kind == "hang":
            return inner.call(hang_holding_the_interpreter, deadline_s=0.3)
        return inner.call(double, np.arange(3.0), deadline_s=20)


def nested_hang(pid_file: str) -> None:
    with Sandbox() as inner:
        inner.call(os.getpid, deadline_s=20)
        Path(pid_file).write_text(str(inner.pid))
        inner.call(hang_holding_the_interpreter, deadline_s=600)


def environment(name: str) -> str | None:
    return os.environ.get(name)


def gone(pid: int, within: float = 10.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def shared():
    with Sandbox(memory_bytes=GIB) as sandbox:
        yield sandbox


def test_result_and_keywords_pass_through_one_child(shared):
    first = shared.call(double, np.arange(4.0), deadline_s=20, plus=1.0)
    np.testing.assert_array_equal(first, [1, 3, 5, 7])
    pid = shared.pid
    assert shared.call("test_physics_isolate:double", 21, deadline_s=20) == 42
    assert shared.pid == pid
    assert pid != os.getpid()


def test_large_arguments_and_results_pass(shared):
    array = np.arange(4_000_000.0)
    np.testing.assert_array_equal(shared.call(double, array, deadline_s=30), 2 * array)


@pytest.mark.parametrize(("function", "number"), [(segfault, signal.SIGSEGV), (abort, signal.SIGABRT)])
def test_crash_names_the_signal_and_the_next_call_works(shared, function, number):
    with pytest.raises(ChildCrashed) as caught:
        shared.call(function, deadline_s=20)
    assert caught.value.signal == number
    assert number.name in str(caught.value)
    assert function.__name__ in caught.value.stderr  # faulthandler's Python stack
    assert shared.call(double, 1, deadline_s=20) == 2


def test_native_stderr_is_kept(shared):
    with pytest.raises(ChildCrashed, match="p1 < costSize"):
        shared.call(abort, deadline_s=20)


def test_leaving_is_a_crash_with_its_code(shared):
    with pytest.raises(ChildCrashed, match="exit code 7"):
        shared.call(leave, deadline_s=20)


def test_hang_in_native_code_is_killed_at_the_deadline(shared):
    shared.call(double, 1, deadline_s=20)
    pid = shared.pid
    start = time.monotonic()
    with pytest.raises(ChildTimedOut, match=r"within 0\.4 s"):
        shared.call(hang_holding_the_interpreter, deadline_s=0.4)
    assert time.monotonic() - start < 10
    assert gone(pid)


def test_deadline_kills_the_process_group(shared, tmp_path):
    pid_file = tmp_path / "pid"
    with pytest.raises(ChildTimedOut):
        shared.call(hang_with_grandchild, str(pid_file), deadline_s=1.5)
    assert gone(int(pid_file.read_text()))


def test_memory_limit_stops_allocation(shared):
    assert shared.call(allocate_array, 2**20, deadline_s=20) == 2**20
    with pytest.raises(ChildOutOfMemory, match="1024 MiB"):
        shared.call(allocate_array, 3 * GIB, deadline_s=30)
    assert shared.call(double, 1, deadline_s=20) == 2


def test_memory_outside_rlimit_data_is_watched():
    with Sandbox(memory_bytes=200 * 2**20) as sandbox, pytest.raises(ChildOutOfMemory):
        sandbox.call(touch_shared, 400 * 2**20, deadline_s=30)


def test_exception_of_the_function_keeps_type_text_and_traceback(shared):
    shared.call(double, 1, deadline_s=20)
    pid = shared.pid
    with pytest.raises(HullError, match="threshold 2") as caught:
        shared.call(refuse, deadline_s=20)
    notes = "\n".join(caught.value.__notes__)
    assert "in refuse" in notes
    assert "on the way" in notes
    assert shared.pid == pid, "an exception is no reason to restart the child"


@pytest.mark.parametrize(("function", "text"), [(raise_unpicklable, "Unpicklable"), (leave_by_exception, "SystemExit")])
def test_exceptions_that_cannot_be_passed_on_are_described(shared, function, text):
    with pytest.raises(IsolationError, match=text):
        shared.call(function, deadline_s=20)


def test_output_does_not_corrupt_the_protocol(shared, capfd):
    assert shared.call(chatter, 300, deadline_s=20) == 300
    assert capfd.readouterr() == ("", "")


def test_nested_sandboxes(shared):
    np.testing.assert_array_equal(shared.call(nested, "work", deadline_s=60), [0, 2, 4])
    with pytest.raises(ChildCrashed, match="SIGSEGV"):
        shared.call(nested, "crash", deadline_s=60)
    with pytest.raises(ChildTimedOut, match=r"0\.3 s"):
        shared.call(nested, "hang", deadline_s=60)


def test_inner_child_dies_with_the_outer(shared, tmp_path):
    pid_file = tmp_path / "pid"
    with pytest.raises(ChildTimedOut):
        shared.call(nested_hang, str(pid_file), deadline_s=5)
    assert gone(int(pid_file.read_text()))


def test_child_dies_with_its_parent(tmp_path):
    pid_file = tmp_path / "pid"
    code = "import sys, test_physics_isolate as t; t.nested_hang(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", code, str(pid_file)], cwd=Path(__file__).parent) as parent:
        end = time.monotonic() + 60
        while (not pid_file.exists() or not pid_file.read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
    assert gone(int(pid_file.read_text()))


def test_child_outlives_the_thread_that_started_it():
    with Sandbox() as sandbox:
        pids = []
        thread = threading.Thread(target=lambda: pids.append(sandbox.call(os.getpid, deadline_s=20)))
        thread.start()
        thread.join()
        time.sleep(0.2)
        assert sandbox.call(os.getpid, deadline_s=20) == pids[0]


def test_one_thread_unless_told_otherwise(shared):
    assert shared.call(environment, "OMP_NUM_THREADS", deadline_s=20) == "1"
    with Sandbox(env={"OMP_NUM_THREADS": "2"}) as sandbox:
        assert sandbox.call(environment, "OMP_NUM_THREADS", deadline_s=20) == "2"


def test_what_a_child_cannot_import_is_refused(shared):
    with pytest.raises(IsolationError, match="module level"):
        shared.call(lambda: 1, deadline_s=1)
    with pytest.raises(IsolationError, match="module:name"):
        function_address("no_colon")
    with pytest.raises(AttributeError, match="absent"):
        shared.call("physics.mesh:absent", deadline_s=20)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan")])
def test_meaningless_options_are_refused(shared, bad):
    with pytest.raises(IsolationError, match="deadline_s"):
        shared.call(double, 1, deadline_s=bad)
    with pytest.raises(IsolationError, match="memory_bytes"):
        Sandbox(memory_bytes=0)
