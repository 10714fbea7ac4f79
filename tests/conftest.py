"""One small run with both real engines, shared by every test that needs what a run writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import launched
from tiny_run import TinyRun, make_run

if not Path("/dev/nvidiactl").exists():
    # Read when Triton's kernels are defined: they then run on the CPU, in its interpreter.
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """Objects of two families, one draw of which is rejected, and a scene named kitchen_table; made once."""
    return make_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_out(tiny_run: TinyRun) -> Path:
    """Output folder of the small run; tests leave it as it is."""
    return tiny_run.out


@pytest.fixture(scope="session")
def floors_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds what perfect solids show in both engines; tests copy it, so that it is measured once."""
    from physics.drop_record import DropConfig
    from scenegen.pipeline.observer import SilentObserver
    from scenegen.pipeline.run_serial import run_serial
    from scenegen.pipeline.store import Store
    from scenegen.run import STORE, measure_all_floors

    store = Store(tmp_path_factory.mktemp("floors") / STORE)
    measure_all_floors(DropConfig(), store, run_serial, SilentObserver())
    return store.root


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium; tests of the report skip without one."""
    with launched() as opened:
        yield opened
