"""The store: sharing, damage, crashes in the middle of a write, and folders that cannot be written."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pipeline_stages
import pytest
from pipeline_stages import Grid, Seed

from scenegen.errors import CorruptRecordError, StoreError
from scenegen.pipeline.attempt import Attempter, AttemptKind, run_call
from scenegen.pipeline.stage import Rejection
from scenegen.pipeline.store import INLINE_BYTES, Store, stage_key

SEED = Seed("a", 3)
GRID = Grid(SEED, np.arange(1000.0))


def objects(store: Store) -> list[Path]:
    return sorted(path for path in (store.root / "objects").rglob("*") if path.is_file())


def test_a_record_comes_back(tmp_path):
    store = Store(tmp_path / "store")
    back = Store(tmp_path / "store").load(store.put(GRID, Grid), Grid)
    assert back.seed == SEED and back.squares is None
    np.testing.assert_array_equal(back.values, GRID.values)
    assert not back.values.flags.writeable


def test_records_share_their_arrays(tmp_path):
    store = Store(tmp_path)
    store.put(GRID, Grid)
    store.put(replace(GRID, squares=GRID.values), Grid)
    large = [path for path in objects(store) if path.stat().st_size == GRID.values.nbytes]
    assert len(large) == 1 and len(objects(store)) == 3


def test_small_arrays_stay_in_the_record(tmp_path):
    store = Store(tmp_path)
    small = Grid(SEED, np.arange(INLINE_BYTES // 8, dtype=float))
    digest = store.put(small, Grid)
    assert len(objects(store)) == 1
    np.testing.assert_array_equal(store.load(digest, Grid).values, small.values)


def test_results_and_rejections_are_found_by_stage_and_input(tmp_path):
    store, (draw, square, _) = Store(tmp_path), pipeline_stages.chain(tmp_path)
    assert store.find(draw, "0" * 64) is None
    kept = store.keep(draw, "0" * 64, GRID, seconds=2.0, cpu_seconds=1.0)
    assert store.find(draw, "0" * 64) == kept and not kept.rejected
    assert store.find(square, "0" * 64) is None
    assert store.time_of(draw, "0" * 64, stored=True).seconds == 2.0
    rejection = Rejection("square", "too large", float("nan"), None, "m", "why")
    kept = store.keep(square, kept.digest, rejection, seconds=0.0, cpu_seconds=0.0)
    assert kept.rejected and store.load(kept.digest, Rejection).reason == "too large"


def test_key_depends_on_everything_that_decides_the_result(tmp_path):
    stage = pipeline_stages.chain(tmp_path)[0]
    variants = [
        stage,
        replace(stage, name="drawn"),
        replace(stage, version="2"),
        replace(stage, function="pipeline_stages:square"),
        replace(stage, config=replace(stage.config, size=7)),
        replace(stage, config=None),
        replace(stage, output_type=Seed),
    ]
    keys = [stage_key(variant, "0" * 64) for variant in variants] + [stage_key(stage, "1" * 64)]
    assert len(set(keys)) == len(keys)
    assert stage_key(replace(stage, deadline_s=1.0, memory_bytes=1), "0" * 64) == keys[0]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove"])
@pytest.mark.parametrize("which", ["record", "array"])
def test_damage_is_never_read(tmp_path, damage, which):
    store = Store(tmp_path)
    digest = store.put(GRID, Grid)
    path = next(p for p in objects(store) if (p.name == digest) == (which == "record"))
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes({"flip": data, "truncate": data[:-1], "empty": b""}[damage])
    assert not store.intact(digest)
    with pytest.raises(CorruptRecordError):
        store.load(digest, Grid)
    assert store.put(GRID, Grid) == digest and store.intact(digest)


def test_writing_again_repairs_a_damaged_array_that_was_not_read(tmp_path):
    store = Store(tmp_path)
    digest = store.put(GRID, Grid)
    path = next(p for p in objects(store) if p.name != digest)
    path.write_bytes(bytes(path.stat().st_size))  # same size, other content
    store.put(GRID, Grid)
    np.testing.assert_array_equal(store.load(digest, Grid).values, GRID.values)


@pytest.mark.parametrize("text", ["", "abc", "0 record 0", "\udcff".encode("utf-8", "surrogateescape")])
def test_a_damaged_pointer_is_as_if_it_were_not_there(tmp_path, text):
    store, stage = Store(tmp_path), pipeline_stages.chain(tmp_path)[0]
    store.keep(stage, "0" * 64, GRID, seconds=0.0, cpu_seconds=0.0)
    pointer = next(p for p in (tmp_path / "stages").rglob("*") if p.is_file())
    pointer.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert store.find(stage, "0" * 64) is None
    assert not pointer.exists()


def test_a_record_of_another_type_is_refused(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(CorruptRecordError, match="holds Seed, not Grid"):
        store.load(store.put(SEED, Seed), Grid)


def test_one_run_at_a_time(tmp_path):
    with (
        Store(tmp_path).locked(),
        pytest.raises(StoreError, match="another run is writing to"),
        Store(tmp_path).locked(),
    ):
        pass
    with Store(tmp_path).locked():
        pass


def test_what_another_process_computes_is_waited_for_and_not_computed_twice(tmp_path):
    """As by the worker that outlives its driver, and the driver that is started again."""
    store, (draw, *_) = Store(tmp_path / "store"), pipeline_stages.chain(tmp_path, seconds=4.0, deadline_s=6.0)
    digest, log = store.put(SEED, Seed), tmp_path / "calls.log"
    orphan = multiprocessing.get_context("spawn").Process(target=run_call, args=(str(store.root), draw, digest, None))
    orphan.start()
    while not log.exists():
        assert orphan.is_alive()
        time.sleep(0.05)
    attempter = Attempter(store)
    assert attempter.attempt(draw, digest).kind is AttemptKind.STORED
    attempter.close()
    orphan.join()
    assert log.read_text() == "draw a\n"
    assert len((store.root / "ledger.jsonl").read_text().splitlines()) == 1
    assert store.find(draw, digest) is not None
    kept = store.find(draw, digest)
    (path,) = (one for one in objects(store) if one.name == kept.digest)
    path.write_bytes(b"rotten")  # found, but not whole: computed again
    run_call(str(store.root), draw, digest, None)
    assert store.intact(kept.digest) and (tmp_path / "calls.log").read_text() == "draw a\ndraw a\n"


def test_a_claim_is_waited_for_only_so_long(tmp_path):
    store, (draw, square, _) = Store(tmp_path / "store"), pipeline_stages.chain(tmp_path)
    code = (
        "import sys, time, pickle; from scenegen.pipeline.store import Store\n"
        "store, draw = Store(sys.argv[1]), pickle.loads(bytes.fromhex(sys.argv[2]))\n"
        "with store.claimed(draw, '0' * 64, patience_s=1.0): print('held', flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(store.root), pickle.dumps(draw).hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        begin = time.monotonic()
        with store.claimed(square, "0" * 64, patience_s=30.0):  # another result: nobody has it
            assert time.monotonic() - begin < 5
        with store.claimed(draw, "0" * 64, patience_s=0.5):
            assert 0.5 <= time.monotonic() - begin < 10
        holder.kill()
        holder.wait()
        begin = time.monotonic()
        with store.claimed(draw, "0" * 64, patience_s=30.0):  # it ended with its process
            assert time.monotonic() - begin < 5


def test_scratch_of_a_killed_run_is_cleared(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "scratch" / "left").mkdir(parents=True)
    with store.locked():
        assert not (tmp_path / "scratch").exists()
        with store.scratch() as folder:
            (folder / "file").touch()
        assert not folder.exists()


def test_a_path_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot open the store at .*file.*choose another output folder"):
        Store(tmp_path / "file" / "store")


def test_another_layout_is_refused(tmp_path):
    Store(tmp_path)
    (tmp_path / "store.json").write_text('{"format": 99, "name": "x"}')
    with pytest.raises(StoreError, match="has layout 99, expected 1"):
        Store(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_what_the_system_refuses_is_explained(tmp_path, monkeypatch, number, advice):
    store = Store(tmp_path)

    def refuse(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match=advice):
        store.put(GRID, Grid)
    monkeypatch.undo()
    assert objects(store) == []  # nothing half-written stays behind


def test_a_real_full_disk_is_explained(tmp_path):
    """A file-size limit makes the system itself refuse the write."""
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from scenegen.pipeline.store import Store; from test_pipeline_store import GRID, Grid\n"
        "from scenegen.errors import StoreError\n"
        "store = Store(sys.argv[1]); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: store.put(GRID, Grid)\n"
        "except StoreError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s"), str(Path(__file__).parent)], capture_output=True, text=True
    )
    assert "cannot write at" in done.stdout, done.stderr


def test_a_killed_writer_leaves_nothing_half_written(tmp_path):
    code = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[2])\n"
        "from scenegen.pipeline.store import Store; from pipeline_stages import Grid, Seed\n"
        "store = Store(sys.argv[1]); n = 0\n"
        "while True:\n"
        "    n += 1; print(store.put(Grid(Seed('a', n), np.full(200_000, float(n))), Grid), flush=True)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "s"), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        digests = [writer.stdout.readline().strip()]
        time.sleep(0.3)
        writer.send_signal(signal.SIGKILL)
        digests += writer.stdout.read().split()
    store = Store(tmp_path / "s")
    whole = [digest for digest in digests if len(digest) == 64]
    assert whole and all(store.intact(digest) for digest in whole)
    names = [path.name for path in objects(store) if not path.name.startswith(".partial-")]
    assert all(hashlib.sha256((store._path("objects", name)).read_bytes()).hexdigest() == name for name in names)
