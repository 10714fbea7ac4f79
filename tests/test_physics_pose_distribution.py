"""How often random drops end in each stable pose (D13)."""

from __future__ import annotations

import drop_bodies as bodies
import numpy as np
import pytest
from drop_bodies import REFERENCE_MATERIAL, opener

from physics.check import Verdict
from physics.drop_record import DropConfig
from physics.pose_distribution import check_distribution
from physics.subject import Subject

DROPS = 60


def spread(model, drops: int = DROPS, seed: int = 0):
    return check_distribution(
        Subject(model, DropConfig()),
        opener("mujoco"),
        engine="mujoco",
        ground=REFERENCE_MATERIAL,
        drops=drops,
        rng=np.random.default_rng(seed),
    )


def test_a_cube_ends_on_all_six_faces_alike_up_to_chance() -> None:
    found = spread(bodies.cuboid("cube", 0.1, 0.1, 0.1))
    # Mean and deviation of the total variation of 60 fair draws among 6: 0.115 and 0.03, by simulation.
    rng = np.random.default_rng(0)
    chance = np.abs(rng.multinomial(DROPS, np.full(6, 1 / 6), size=4000) / DROPS - 1 / 6).sum(axis=1) / 2
    assert 0 < found.value <= np.quantile(chance, 0.999)
    assert found.id == "D13" and found.limit is None and found.verdict is Verdict.PASS
    assert "for 16.7%" in found.detail and f"{DROPS} drops" in found.detail


def test_a_flat_plate_prefers_its_large_faces_more_than_solid_angles_say() -> None:
    plate = bodies.cuboid("plate", 0.1, 0.06, 0.03)  # solid angles: 65.5 % of all on the two largest faces
    found = spread(plate)
    assert 0.1 < found.value < 0.345  # a tumbling body ends there nearly always, and never more than always


def test_the_same_seed_gives_the_same_distribution() -> None:
    cube = bodies.cuboid("cube", 0.1, 0.1, 0.1)
    assert spread(cube, 8) == spread(cube, 8)
    assert spread(cube, 8, seed=1).value == pytest.approx(spread(cube, 8, seed=1).value)
