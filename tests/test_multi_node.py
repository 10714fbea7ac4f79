"""Ray with several nodes on this machine: nodes go away in mid-run, and the bytes are those of a serial run."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from pipeline_stages import chain, items
from test_pipeline_executors import Notes, tree
from tiny_run import CONFIG, TinyRun, tree_hashes

from scenegen.arithmetic import arithmetic_digest
from scenegen.errors import ExecutorError
from scenegen.pipeline import run_ray as run_ray_module
from scenegen.pipeline.in_flight import CallInFlight, find_calls, read_call
from scenegen.pipeline.observer import SilentObserver
from scenegen.pipeline.ray_pool import Machines, Pool, resize_pools
from scenegen.pipeline.ray_session import RaySession
from scenegen.pipeline.ray_worker import Worker
from scenegen.pipeline.run_ray import run_ray
from scenegen.pipeline.run_serial import run_serial
from scenegen.pipeline.stage import Finished, Rejected, Resources, Stage
from scenegen.pipeline.store import LEDGER, Store
from scenegen.provenance import code_digest

OBJECT_STORE_BYTES = 80 * 2**20
QUICK_DEATH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""How soon Ray takes a silent node for dead."""


class Nodes:
    """A head without CPUs and nodes that come and go."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        self.cluster = Cluster(initialize_head=True, head_node_args=head | {"_system_config": QUICK_DEATH})
        self.address: str = self.cluster.address
        self.nodes: list = []

    def add(self, **resources) -> None:
        self.nodes.append(self.cluster.add_node(object_store_memory=OBJECT_STORE_BYTES, **resources))

    def keep(self, *wanted: dict) -> None:
        """Have just these nodes."""
        for node in self.nodes:
            self.cluster.remove_node(node, allow_graceful=False)
        self.nodes.clear()
        for resources in wanted:
            self.add(**resources)
        self.cluster.wait_for_nodes()

    def raylet(self, number: int) -> int:
        return self.nodes[number].all_processes["raylet"][0].process.pid

    def remove(self, number: int) -> None:
        """Take a node away with all its processes at once."""
        self.cluster.remove_node(self.nodes.pop(number), allow_graceful=False)

    def stop_call(self, *numbers: int, patience_s: float = 60.0) -> tuple[int, CallInFlight]:
        """Freeze a call on one of these nodes, so that what follows is sure to hit it; return where, and which."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            for number in numbers:
                for call in find_calls(self.raylet(number)):
                    os.kill(call.pid, signal.SIGSTOP)
                    if read_call(call.pid) == call:  # it had not ended in between
                        return number, call
                    os.kill(call.pid, signal.SIGCONT)
            time.sleep(0.01)
        raise AssertionError(f"no call in flight on the nodes {numbers} within {patience_s} s")


@pytest.fixture(scope="module")
def nodes():
    held = Nodes()
    yield held
    held.cluster.shutdown()


def let_go(stopped: tuple[int, CallInFlight]) -> None:
    os.kill(stopped[1].pid, signal.SIGCONT)


class Saboteur(Notes):
    """Runs each of its actions in a thread of its own, beside the run, as so many more stages have been passed."""

    def __init__(self, *actions, every: int = 4):
        super().__init__()
        self.actions, self.every = list(actions), every
        self.threads: list[Future] = []
        self.pool = ThreadPoolExecutor(1)

    def stage_passed(self, item_id, time):
        super().stage_passed(item_id, time)
        if self.actions and len(self.passed) >= self.every * (len(self.threads) + 1):
            self.threads.append(self.pool.submit(self.actions.pop(0)))

    def results(self) -> list:
        """Wait for the actions; all were begun."""
        assert not self.actions
        return [thread.result() for thread in self.threads]


def computed(store: Store) -> Counter[str]:
    """Return how often each result was computed, by the store's own ledger."""
    return Counter(json.loads(line)["key"] for line in (store.root / LEDGER).read_text().splitlines())


def hold_against_serial(root: Path, stages: tuple[Stage, ...], batch: list, store: Store) -> None:
    """Nothing lost, nothing computed twice, every byte that of an undisturbed serial run."""
    undisturbed = Store(root / "undisturbed")
    run_serial(stages, batch, undisturbed, observer=SilentObserver())
    killed = {name: digest for name, digest in tree(store.root).items() if ".partial-" not in name}
    assert killed == tree(undisturbed.root)
    assert computed(store) == computed(undisturbed) and set(computed(store).values()) == {1}


def with_resources(stages: tuple[Stage, ...], name: str, **resources) -> tuple[Stage, ...]:
    return tuple(
        dataclasses.replace(stage, resources=Resources(**resources)) if stage.name == name else stage
        for stage in stages
    )


@pytest.mark.ray
def test_three_nodes_two_of_which_die_give_the_bytes_of_a_serial_run(tmp_path, nodes):
    """One node by SIGKILL of its raylet, one with all its processes, each under a call; neither comes back."""
    nodes.keep({"num_cpus": 2, "num_gpus": 1}, {"num_cpus": 1}, {"num_cpus": 1})

    def kill_raylet():
        number, _ = nodes.stop_call(1, 2)
        os.kill(nodes.raylet(number), signal.SIGKILL)
        return number

    def remove_node():
        number = 3 - saboteur.threads[0].result()
        nodes.stop_call(number)
        nodes.remove(number)

    stages = with_resources(chain(tmp_path, seconds=0.4, size=50_000), "square", cpus=0.25, gpus=0.25)
    batch, store, saboteur = items(8, item4="reject"), Store(tmp_path / "s"), Saboteur(kill_raylet, remove_node)
    outcomes = run_ray(stages, batch, store, address=nodes.address, machine_wait_s=60.0, observer=saboteur)
    saboteur.results()  # each found a call in flight
    assert Counter(type(outcome) for outcome in outcomes.values()) == {Finished: 7, Rejected: 1}
    assert list(outcomes) == [item.id for item in batch]
    assert sum("lost its worker" in note for note in saboteur.notes) >= 2
    hold_against_serial(tmp_path, stages, batch, store)


@pytest.mark.ray
def test_a_cluster_without_what_a_stage_asks_for(tmp_path, nodes, monkeypatch):
    """Said at once with what the cluster has and what to do; refused at once where no machine can be started."""
    nodes.keep({"num_cpus": 1}, {"num_cpus": 1})
    stages = with_resources(chain(tmp_path), "square", cpus=1.0, gpus=1.0)
    message = (
        r"no machine of the cluster could take stage square{}: it asks for 1 CPU, 1 GPU on one machine; the cluster "
        r"has 2 CPU, 0 GPU on 3 machines. Add such a machine, or lower executor.stages.square; .* the same command "
    )
    store, notes = Store(tmp_path / "s"), Notes()
    begun = time.monotonic()
    with pytest.raises(ExecutorError, match=message.format("")):
        run_ray(stages, items(1), store, address=nodes.address, machine_wait_s=0.0, observer=notes)
    assert time.monotonic() - begun < 20 and computed_nothing(store)
    # The other stages must have started by then, on a busy machine too.
    monkeypatch.setattr(run_ray_module, "START_SECONDS", 16.0)
    with pytest.raises(ExecutorError, match=message.format(" within 16 s")):
        run_ray(stages, items(1), store, address=nodes.address, machine_wait_s=3.0, observer=notes)
    assert any(note.startswith("waiting up to 3 s for a machine: no machine") for note in notes.notes)
    # Two cores there are, but no machine has both.
    stages = with_resources(chain(tmp_path), "square", cpus=2.0)
    with pytest.raises(ExecutorError, match="asks for 2 CPU, 0 GPU on one machine; the cluster has 2 CPU"):
        run_ray(stages, items(1), store, address=nodes.address, machine_wait_s=0.0, observer=notes)


def computed_nothing(store: Store) -> bool:
    return not (store.root / LEDGER).exists()


@pytest.mark.slow
@pytest.mark.ray
def test_a_node_that_never_comes_back_does_not_stall_the_run(tmp_path, nodes, monkeypatch):
    """Actors for the lost node are asked for and given up in vain, while the others work on."""
    nodes.keep({"num_cpus": 1}, {"num_cpus": 1})
    patience = 12.0
    monkeypatch.setattr(run_ray_module, "START_SECONDS", patience)
    saboteur = Saboteur(lambda: nodes.remove(1))
    stages, batch, store = chain(tmp_path, seconds=1.5), items(8), Store(tmp_path / "s")
    begun = time.monotonic()
    outcomes = run_ray(stages, batch, store, address=nodes.address, machine_wait_s=patience, observer=saboteur)
    assert all(isinstance(outcome, Finished) for outcome in outcomes.values())
    saboteur.results()
    assert time.monotonic() - begun > patience, "the run went on past the moment at which they were given up"
    hold_against_serial(tmp_path, stages, batch, store)


@pytest.mark.slow
@pytest.mark.ray
def test_a_stage_that_lost_its_machine_gets_room_on_the_one_that_is_left(tmp_path, nodes):
    """Both pools need a whole core, and one core is left: they take turns."""
    nodes.keep({"num_cpus": 1, "resources": {"arm": 1}}, {"num_cpus": 1, "resources": {"arm": 1}})
    stages = with_resources(chain(tmp_path, seconds=0.2), "square", cpus=1.0, custom=(("arm", 1.0),))
    batch, store, saboteur = items(4), Store(tmp_path / "s"), Saboteur(lambda: nodes.remove(1), every=3)
    outcomes = run_ray(stages, batch, store, address=nodes.address, machine_wait_s=120.0, observer=saboteur)
    saboteur.results()
    assert all(isinstance(outcome, Finished) for outcome in outcomes.values())
    hold_against_serial(tmp_path, stages, batch, store)


@pytest.mark.slow
@pytest.mark.ray
def test_a_node_that_joins_is_taken_up(tmp_path, nodes):
    nodes.keep({"num_cpus": 1})

    stages, batch, store = chain(tmp_path, seconds=1.0), items(12), Store(tmp_path / "s")
    how = {"address": nodes.address, "machine_wait_s": 60.0, "observer": SilentObserver()}
    with ThreadPoolExecutor(1) as beside:  # Ray starts nodes from the main thread only
        run = beside.submit(run_ray, stages, batch, store, **how)
        let_go(nodes.stop_call(0))  # it is at work
        nodes.add(num_cpus=1)
        let_go(nodes.stop_call(1))  # there, too
        assert all(isinstance(outcome, Finished) for outcome in run.result().values())
    hold_against_serial(tmp_path, stages, batch, store)


@pytest.mark.slow
@pytest.mark.ray
def test_the_command_line_on_three_nodes_writes_the_bytes_of_a_serial_run(tmp_path, nodes, tiny_run: TinyRun):
    """The whole job with both engines; generation takes a quarter of a GPU; one raylet is killed under a call."""
    nodes.keep({"num_cpus": 1, "num_gpus": 1}, {"num_cpus": 1}, {"num_cpus": 1})
    config, out = tmp_path / "run.yaml", tmp_path / "out"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "scenegen", "run", str(config), "--out", str(out), "--address", nodes.address]
    command += ["--set", "executor.stages.generate={gpus: 0.25, cpus: 0.5}", "--set", "executor.stages.scene.cpus=1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as driver:
        number, _ = nodes.stop_call(1, 2, patience_s=120.0)
        os.kill(nodes.raylet(number), signal.SIGKILL)
        errors = driver.communicate(timeout=240)[1]
    assert "lost its worker" in errors
    assert driver.returncode == 0, errors
    assert tree_hashes(out) == tree_hashes(tiny_run.out)


def test_a_worker_with_other_code_or_another_store_refuses(tmp_path):
    import pickle

    store, stages = Store(tmp_path / "s"), pickle.dumps(chain(tmp_path))
    assert Worker(str(store.root), store.name, code_digest(), arithmetic_digest(), stages, []).ready() == ""
    trouble = Worker(str(store.root), store.name, "0" * 64, arithmetic_digest(), stages, []).ready()
    assert "has other code or libraries than this process" in trouble and "best from one image" in trouble
    trouble = Worker(str(store.root), store.name, code_digest(), "0" * 64, stages, []).ready()
    assert "rounds otherwise than this process" in trouble and "docs/cluster.md" in trouble
    trouble = Worker(str(tmp_path / "none"), store.name, code_digest(), arithmetic_digest(), stages, []).ready()
    assert "cannot see the store" in trouble and "--out must be a folder that all machines share" in trouble
    trouble = Worker(str(store.root), "another", code_digest(), arithmetic_digest(), stages, []).ready()
    assert "holds another store there" in trouble


def test_actors_are_counted_by_machine():
    machines = Machines(({"CPU": 2.0, "GPU": 1.0}, {"CPU": 3.0}, {"CPU": 0.0}))
    assert machines.hold(Resources(cpus=2.0)) == 2, "not 5 / 2: each lies on one machine"
    assert machines.hold(Resources(cpus=0.1, gpus=0.25)) == 4
    assert machines.hold(Resources(cpus=4.0)) == 0
    assert machines.hold(Resources(cpus=0.0)) is None
    assert machines.hold(Resources(cpus=0.1)) == 50


@pytest.mark.parametrize(
    ("workers", "wait_s", "limits"),
    [(None, 0.0, (5, 4)), (None, 300.0, (6, 5)), (8, 300.0, (8, 8)), (3, 0.0, (3, 3))],
)
def test_pools_follow_the_machines(workers, wait_s, limits):
    """As many as fit, one more where the cluster may start machines; on 2 and 3 cores, with 4 quarters of a GPU."""
    pools = [Pool(Resources(), ("a",), {}), Pool(Resources(cpus=0.1, gpus=0.25), ("b",), {})]
    session = RaySession(local=False, workers=workers, machine_wait_s=wait_s)
    resize_pools(pools, Machines(()), session)
    expected = (workers or 1) if wait_s else 1
    assert [pool.limit for pool in pools] == [expected, expected], "a cluster that has not started any machine yet"
    resize_pools(pools, Machines(({"CPU": 2.0, "GPU": 1.0}, {"CPU": 3.0})), session)
    assert tuple(pool.limit for pool in pools) == limits
