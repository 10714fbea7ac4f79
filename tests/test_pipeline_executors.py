"""One contract, two executors: equal bytes, isolated failures, resume after SIGKILL, replacement of rejected items."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from pipeline_stages import Grid, Seed, Total, chain, items

from scenegen.errors import ExecutorError, StageError, StoreError
from scenegen.pipeline.observer import SilentObserver
from scenegen.pipeline.ray_session import ray_session
from scenegen.pipeline.run_ray import run_ray
from scenegen.pipeline.run_serial import run_serial
from scenegen.pipeline.stage import Finished, Item, Quarantined, Rejected, Resources, Stage, check_chain
from scenegen.pipeline.store import LEDGER, VOLATILE_FOLDERS, Store

MIB = 2**20


@pytest.fixture(scope="module")
def local_ray():
    with ray_session(workers=2) as session:
        yield session


@pytest.fixture(params=["serial", pytest.param("ray", marks=pytest.mark.ray)])
def run(request):
    if request.param == "serial":
        return run_serial
    request.getfixturevalue("local_ray")
    return run_ray


class Notes(SilentObserver):
    def __init__(self):
        self.notes: list[str] = []
        self.passed: list[tuple[str, str, bool]] = []

    def noted(self, message):
        self.notes.append(message)

    def stage_passed(self, item_id, time):
        self.passed.append((item_id, time.stage, time.stored))


def calls(log: Path) -> Counter[str]:
    path = log / "calls.log"
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def tree(root: Path) -> dict[str, str]:
    """Return the hash of every file of a store that must be equal between runs."""
    volatile = (*VOLATILE_FOLDERS, LEDGER, "store.json", "lock")
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] not in volatile
    }


def test_items_go_through_all_stages(tmp_path, run):
    notes = Notes()
    outcomes = run(chain(tmp_path), items(3), Store(tmp_path / "s"), observer=notes)
    assert list(outcomes) == ["item0", "item1", "item2"]
    assert outcomes["item1"].record == Total(Seed("item1", 2), 4.0 * 332833500.0)
    assert [time.stage for time in outcomes["item2"].timings] == ["draw", "square", "add"]
    assert all(not time.stored and time.seconds >= 0 for time in outcomes["item2"].timings)
    assert len(notes.passed) == 9 and notes.notes == []


def test_a_second_run_computes_nothing(tmp_path, run):
    store = Store(tmp_path / "s")
    first = run(chain(tmp_path), items(2), store, observer=SilentObserver())
    before, notes = calls(tmp_path), Notes()
    second = run(chain(tmp_path), items(2), store, observer=notes)
    assert calls(tmp_path) == before
    assert second["item0"].digest == first["item0"].digest
    assert all(stored for _, _, stored in notes.passed)
    assert second["item0"].timings[0].seconds == first["item0"].timings[0].seconds


def test_native_death_costs_only_that_item(tmp_path, run):
    """Crash, hang, memory blow-up, exception, broken contract: two attempts each, then quarantine; the rest is made."""
    poison = {"item1": "crash", "item2": "hang", "item3": "hog", "item4": "raise", "item5": "lie"}
    stages = chain(tmp_path, deadline_s=1.0, memory_bytes=1024 * MIB)
    store = Store(tmp_path / "s")
    outcomes = run(stages, items(7, **poison), store, observer=SilentObserver())
    assert list(outcomes) == [f"item{n}" for n in range(7)]
    assert isinstance(outcomes["item0"], Finished) and isinstance(outcomes["item6"], Finished)
    expected = {
        "item1": "died of SIGSEGV",
        "item2": "no answer within 1 s",
        "item3": "beyond its limit of 1024 MiB",
        "item4": "ValueError: three is not two",
        "item5": "returned Total, expected Grid or Rejection",
    }
    for name, text in expected.items():
        outcome = outcomes[name]
        assert isinstance(outcome, Quarantined) and outcome.stage == "square" and outcome.attempts == 2
        assert text in outcome.stderr
        assert store.load(outcome.input_key, Grid).seed.name == name
        assert calls(tmp_path)[f"square {name}"] == 2 and calls(tmp_path)[f"draw {name}"] == 1
    assert "native code is about to die" in outcomes["item1"].stderr
    assert "pipeline_stages.py" in outcomes["item4"].stderr  # the traceback
    assert not any((tmp_path / "s" / "scratch").iterdir())


def test_a_crash_that_does_not_repeat_is_forgiven(tmp_path, run):
    notes = Notes()
    outcomes = run(chain(tmp_path), items(2, item0="crash_once"), Store(tmp_path / "s"), observer=notes)
    assert isinstance(outcomes["item0"], Finished)
    assert len(notes.notes) == 1 and "item0: square failed: ChildCrashed" in notes.notes[0]


def test_rejected_items_are_replaced_in_place(tmp_path, run):
    def replace(outcome):
        if isinstance(outcome, Finished):
            return None
        seed = outcome.item.record
        again = Seed(f"{seed.name}+", seed.number - 3, "work" if seed.number <= 8 else "reject")
        return Item(again.name, again)

    store = Store(tmp_path / "s")
    requested = items(7, item2="reject", item6="reject")[::-1]  # numbers 7, 6, .. 1
    requested[0] = Item("item6", Seed("item6", 11, "reject"))
    outcomes = run(chain(tmp_path), requested, store, observer=SilentObserver(), replace=replace)
    assert list(outcomes) == [
        "item6",
        "item6+",
        "item6++",
        "item5",
        "item4",
        "item3",
        "item2",
        "item2+",
        "item1",
        "item0",
    ]
    rejected = outcomes["item6+"]
    assert isinstance(rejected, Rejected) and (rejected.rejection.value, rejected.rejection.unit) == (8.0, "1")
    assert outcomes["item6++"].record.seed.number == 5
    before = calls(tmp_path)
    run(chain(tmp_path), requested, store, observer=SilentObserver(), replace=replace)
    assert calls(tmp_path) == before  # rejections are results, too


@pytest.mark.parametrize("what", ["shared array", "last record", "pointer", "all records"])
def test_a_damaged_store_is_repaired_and_reported(tmp_path, run, what):
    store = Store(tmp_path / "s")
    first = run(chain(tmp_path), items(2), store, observer=SilentObserver())
    before, hashes = calls(tmp_path), tree(store.root)
    if what == "pointer":
        damaged = [path for path in (store.root / "stages" / "add").rglob("*") if path.is_file()]
    elif what == "last record":
        damaged = [store._path("objects", first["item0"].digest)]
    else:
        sizes = (lambda n: n == 8000) if what == "shared array" else (lambda n: n < 8000)
        damaged = [p for p in (store.root / "objects").rglob("*") if p.is_file() and sizes(p.stat().st_size)]
        for path in (store.root / "stages" / "add").rglob("*"):
            if path.is_file() and what == "shared array":
                path.unlink()  # else nobody would read the array
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-1] + b"#")
    notes = Notes()
    second = run(chain(tmp_path), items(2), store, observer=notes)
    assert [second[name].record for name in second] == [first[name].record for name in first]
    assert tree(store.root) == hashes
    assert sum(calls(tmp_path).values()) > sum(before.values())
    assert what == "pointer" or any("damaged; computed again" in note for note in notes.notes)


@pytest.mark.ray
def test_equal_bytes_whatever_the_executor_and_the_workers(tmp_path, local_ray):
    log = tmp_path
    trees = []
    for number, (execute, options) in enumerate(
        [(run_serial, {}), (run_ray, {"workers": 1}), (run_ray, {"workers": 2}), (run_serial, {})]
    ):
        store = Store(tmp_path / str(number))
        batch = items(6, item1="reject", item3="raise")
        outcomes = execute(
            chain(log), batch if number < 3 else batch[::-1], store, observer=SilentObserver(), **options
        )
        assert Counter(type(outcome) for outcome in outcomes.values()) == {Finished: 4, Rejected: 1, Quarantined: 1}
        trees.append(tree(store.root))
    assert trees[0] and all(other == trees[0] for other in trees)


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from pipeline_stages import chain, items
from scenegen.pipeline.observer import SilentObserver
from scenegen.pipeline.run_serial import run_serial
from scenegen.pipeline.run_ray import run_ray
from scenegen.pipeline.store import Store
root = Path(sys.argv[1])
run = {"serial": run_serial, "ray": run_ray}[sys.argv[3]]
stages, batch = chain(root, seconds=0.02, size=50_000), items(12, item4="reject")
outcomes = run(stages, batch, Store(root / "s"), observer=SilentObserver())
print(len(outcomes))
"""


def drive(root: Path, executor: str) -> subprocess.Popen:
    command = [sys.executable, "-c", DRIVER, str(root), str(Path(__file__).parent), executor]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def kill_and_resume(root: Path, executor: str, *, kills: int, longest_s: float) -> None:
    """Kill the driver at random moments, then let it finish; hold the store against an undisturbed one."""
    stages, rng = chain(root, seconds=0.02, size=50_000), random.Random(0)
    finished: dict[str, int] = {}
    for _ in range(kills):
        with drive(root, executor) as driver:
            time.sleep(rng.uniform(0.1, 1.0) * longest_s)
            os.kill(driver.pid, signal.SIGKILL)
        time.sleep(0.5)  # orphans notice that their parent is gone
        store, counts = Store(root / "s"), calls(root)
        for name, count in finished.items():
            assert counts[name] == count, f"{name} was finished, and yet computed again"
        finished = {}
        for item in items(12, item4="reject"):
            digest = store.put(item.record, Seed)
            for stage in stages:
                result = store.find(stage, digest)
                if result is None or not store.intact(result.digest):
                    break
                finished[f"{stage.name} {item.id}"] = counts[f"{stage.name} {item.id}"]
                digest = result.digest
    with drive(root, executor) as driver:
        assert driver.communicate()[0] == "12\n"
    for name, count in finished.items():
        assert calls(root)[name] == count
    undisturbed = Store(root / "undisturbed")
    run_serial(stages, items(12, item4="reject"), undisturbed, observer=SilentObserver())
    killed = {name: digest for name, digest in tree(root / "s").items() if ".partial-" not in name}
    assert killed == tree(undisturbed.root)


def test_sigkill_at_random_moments_and_resume(tmp_path):
    kill_and_resume(tmp_path, "serial", kills=5, longest_s=1.2)


@pytest.mark.slow
@pytest.mark.ray
def test_sigkill_at_random_moments_and_resume_on_ray(tmp_path):
    kill_and_resume(tmp_path, "ray", kills=10, longest_s=12.0)


@pytest.mark.ray
def test_a_killed_actor_is_replaced(tmp_path, local_ray):
    import psutil

    class Killer(SilentObserver):
        done = False

        def stage_passed(self, item_id, time):
            if not self.done:
                self.done = True
                workers = [
                    p for p in psutil.Process().children(recursive=True) if "Worker" in " ".join(p.cmdline()[:1])
                ]
                for worker in workers[:1]:
                    worker.kill()

        def noted(self, message):
            self.note = message

    killer = Killer()
    outcomes = run_ray(chain(tmp_path, seconds=0.3), items(4), Store(tmp_path / "s"), observer=killer)
    assert all(isinstance(outcome, Finished) for outcome in outcomes.values())
    assert "lost its worker" in killer.note


@pytest.mark.ray
def test_resources_that_this_machine_lacks(tmp_path, local_ray):
    import dataclasses

    stages = list(chain(tmp_path))
    stages[1] = dataclasses.replace(stages[1], resources=Resources(gpus=64.0))
    with pytest.raises(ExecutorError, match="stage square asks for 1 CPU, 64 GPU, this machine has 2 CPU"):
        run_ray(stages, items(1), Store(tmp_path / "s"), observer=SilentObserver())


@pytest.mark.ray
def test_stages_with_resources_of_their_own_get_actors_of_their_own(tmp_path, local_ray):
    import dataclasses

    stages = list(chain(tmp_path))
    stages[1] = dataclasses.replace(stages[1], resources=Resources(cpus=0.5))
    stages[2] = dataclasses.replace(stages[2], resources=Resources(cpus=4.0))
    outcomes = run_ray(stages, items(5), Store(tmp_path / "s"), observer=SilentObserver())
    assert all(isinstance(outcome, Finished) for outcome in outcomes.values())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "cannot reach a Ray cluster at 127.0.0.1:1: Connection refused"),
        ("nonsense", "'nonsense' is not an address; expected auto, host:port or ray://host:port"),
    ],
)
def test_an_address_that_does_not_answer(address, message):
    code = (
        "import sys\nfrom scenegen.pipeline.ray_session import ray_session\nfrom scenegen.errors import ExecutorError\n"
        "try:\n    with ray_session(address=sys.argv[1]): pass\nexcept ExecutorError as error: print(error)"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, timeout=60)
    assert message in done.stdout, done.stderr
    assert time.monotonic() - begun < 30


def test_two_runs_in_one_store(tmp_path, run):
    store = Store(tmp_path / "s")
    with store.locked(), pytest.raises(StoreError, match="another run is writing"):
        run(chain(tmp_path), items(1), store, observer=SilentObserver())


def test_a_store_that_breaks_stops_the_run(tmp_path, run):
    """Objects cannot be written, because their folder is a file."""
    store = Store(tmp_path / "s")
    (store.root / "stages").touch()
    with pytest.raises(StoreError, match="choose another output folder"):
        run(chain(tmp_path), items(1), store, observer=SilentObserver())


def test_chains_that_do_not_fit_are_refused(tmp_path, run):
    draw, square, add = chain(tmp_path)
    for stages, message in [
        ((), "at least one stage"),
        ((draw, draw), "unique names"),
        ((draw, add, square), "add returns Total, but stage square takes Grid"),
    ]:
        with pytest.raises(StageError, match=message):
            run(stages, items(1), Store(tmp_path / "s"), observer=SilentObserver())
    with pytest.raises(StageError, match="two items are named 'item0'"):
        run((draw,), items(1) * 2, Store(tmp_path / "s"), observer=SilentObserver())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Draw it"}, "is not of the form"),
        ({"function": "draw"}, "is not of the form 'module:function'"),
        ({"deadline_s": 0.0}, "deadline_s is 0.0, expected a finite time > 0 s"),
        ({"memory_bytes": 0}, "memory_bytes is 0"),
    ],
)
def test_stages_that_mean_nothing_are_refused(changes, message):
    values = {"name": "draw", "function": "pipeline_stages:draw", "input_type": Seed, "output_type": Grid}
    with pytest.raises(StageError, match=message):
        Stage(**(values | changes))
    with pytest.raises(StageError, match="resource gpus is -1"):
        Resources(gpus=-1)


def test_a_function_that_is_not_there_quarantines(tmp_path):
    stage = Stage("draw", "pipeline_stages:missing", Seed, Grid)
    check_chain((stage,))
    outcome = run_serial((stage,), items(1), Store(tmp_path), observer=SilentObserver())["item0"]
    assert isinstance(outcome, Quarantined) and "cannot import pipeline_stages:missing" in outcome.stderr


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("moment_s", [2.0, 12.0], ids=["while Ray starts", "at work"])
def test_ctrl_c_leaves_nothing_behind(tmp_path, moment_s):
    import psutil

    code = DRIVER.replace("seconds=0.02", "seconds=1.0")
    command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent), "ray"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        time.sleep(moment_s)
        family = psutil.Process(driver.pid).children(recursive=True)
        driver.send_signal(signal.SIGINT)
        errors = driver.communicate(timeout=60)[1]
    assert driver.returncode == -signal.SIGINT and errors.rstrip().endswith("KeyboardInterrupt")
    psutil.wait_procs(family, timeout=10)
    assert [process for process in family if process.is_running()] == []
