"""Engine floors on perfect solids in the real engines, and the refusal of engines that are not usable."""

from __future__ import annotations

import time

import drop_bodies as bodies
import numpy as np
import pytest
from drop_bodies import ENGINES, floors, opener

from physics.drop_record import DropConfig
from physics.engine import Engine, World
from physics.errors import EngineError
from physics.floors import FLOOR_FIELDS, EngineFloors, measure_floors, reference_solids


@pytest.mark.parametrize("engine", ENGINES)
def test_floors_are_small_and_name_their_engine(engine: str) -> None:
    measured = floors(engine)
    assert measured.engine == engine and measured.engine_version
    assert list(measured.sizes) == sorted(measured.sizes)
    assert (measured.penetration > 0).all() and (measured.penetration < 1e-3 * np.maximum(measured.sizes, 0.1)).all()
    for name in FLOOR_FIELDS:
        assert np.isfinite(getattr(measured, name)).all()
    assert len(measured.describe().splitlines()) == 1 + len(measured.sizes)


def test_floors_between_sizes_are_interpolated_in_log_size() -> None:
    values = np.array([1e-6, 3e-6])
    measured = EngineFloors("e", "1", np.array([0.01, 1.0]), *(values for _ in FLOOR_FIELDS))
    assert measured.at(0.1).penetration == pytest.approx(2e-6)
    assert measured.at(1e-3).penetration == 1e-6
    assert measured.at(50.0).jitter_angle == 3e-6


@pytest.mark.parametrize("engine", ENGINES)
def test_measuring_is_repeatable_and_cheap(engine: str) -> None:
    started = time.process_time()
    again = measure_floors(opener(engine), sizes=(0.1,))
    assert time.process_time() - started < 5
    assert again.at(0.1) == floors(engine).at(0.1)


def test_an_engine_in_which_a_cube_does_not_rest_gives_no_floors() -> None:
    def weightless(world: World, **options) -> Engine:
        running = opener("mujoco")(world, **options)
        running.set_gravity((1.0, 0.0, 0.0))
        return running

    with pytest.raises(EngineError, match=r"mujoco: reference cube of 0.1 m .* check the engine's time step"):
        measure_floors(weightless, config=DropConfig(settle_taus=1.0), sizes=(0.1,))


def test_reference_solids_stand_on_the_plane() -> None:
    for model in reference_solids(0.1):
        assert model.root.bounds[0, 2] == 0
        assert model.root.size == pytest.approx(0.1)
        assert model.root.parts[0].surface.volume > 0
    assert bodies.cylinder().root.parts[0].surface.volume > 0


@pytest.mark.parametrize(
    "config",
    [DropConfig(jitter_angle_limit=1e-15, jitter_patience=0.1), DropConfig(creep_angle_limit=1e-15)],
    ids=("jitter", "creep"),
)
def test_a_solid_that_turns_at_rest_gives_no_floors(config: DropConfig) -> None:
    # Angles of a real drop against limits below them; jitter_patience lets the drop end although D6 never holds.
    with pytest.raises(EngineError, match=r"(jitters|creeps) by .* rad at rest, expected at most"):
        measure_floors(opener("mujoco"), config=config, sizes=(0.1,))
