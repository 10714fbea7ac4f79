"""What is poured into a bin in layers: nothing is lost."""

import numpy as np
import pytest
from scene_assets import plain_assets

from physics.engine import Placement
from physics.materials import find_material
from physics.pose import Pose
from scenegen.large.component import ComponentRequest, hold_component
from scenegen.large.floor import Fixture, Job
from scenegen.large.hold import HoldConfig
from scenegen.large.pool import shell_points
from scenegen.large.pour import pour
from scenegen.pipeline.stage import Rejection
from scenegen.scenes.publish import scene_asset
from scenegen.scenes.scene import SceneObject
from scenegen.scenes.supports import BinSize, Region, make_bin
from scenegen.scenes.verify import SceneCheckConfig

SIDE = 0.24
REGION = Region(np.array([0.0, 0.0, 0.01]), np.full(2, SIDE / 2), np.inf)


@pytest.fixture(scope="module")
def brick():
    return scene_asset(plain_assets()[0], "brick")  # 120 x 60 x 40 mm


def test_what_is_wedged_is_given_up_before_pybullet_is_asked(brick, monkeypatch):
    """Any contact counts as too deep here: every object goes in each of the rounds, on the word of one engine."""

    def never(*_, **__):
        raise AssertionError("PyBullet was asked")

    monkeypatch.setattr("scenegen.large.witness.OPEN_ENGINE", {"mujoco": never, "pybullet": never})
    bin_model = make_bin(BinSize(SIDE, SIDE, 0.2, 0.01), find_material("plywood")).model
    monkeypatch.setattr("scenegen.large.hold.read_asset", lambda root, folder: brick)
    monkeypatch.setattr("scenegen.large.pour.read_asset", lambda root, folder: brick)
    checks = SceneCheckConfig(overlap_share=0.0, overlap_floor=1e-9, overlap_cap=1e-9)
    config = HoldConfig("", {"tote": bin_model}, ("brick",), np.ones(1), rounds=2, checks=checks)
    job = Job("pit_in", REGION, poured=3, container="pit", pour_room=1.0, pour_height=0.3)
    request = ComponentRequest(
        "pit_in", 0, (), (Fixture("pit", "tote", np.zeros(3)),), np.array([[-1.0] * 3, [1.0] * 3]), job
    )
    refused = hold_component(request, config)
    assert isinstance(refused, Rejection) and refused.reason == "objects never held"
    assert "3 of 3 objects did not hold still" in refused.message and "FAIL S1 deepest overlap" in refused.message


def test_layers_lose_nothing_and_repeat(brick):
    block = scene_asset(plain_assets()[1], "block")
    size = BinSize(SIDE, SIDE, 0.2, 0.01)
    container = Placement("pit", make_bin(size, find_material("plywood")).model, Pose.identity(), fixed=True)
    objects = [SceneObject(f"o_{number:02d}", (brick, block)[number % 2], Pose.identity()) for number in range(14)]
    job = Job("pit_in", REGION, poured=14, container="pit", pour_room=1.0, pour_height=0.3)
    config = HoldConfig("", {}, layer=5)

    def run():
        return pour(job, container, objects, config, np.random.default_rng(3), lost=(), first=True)

    rested, lost = run()
    assert not lost and [one.name for one in rested] == [one.name for one in objects]
    for one in rested:
        points = one.X_WB.apply(shell_points(one.asset))
        assert points[:, 2].min() > 0.01 - 1e-3 and (np.abs(points[:, :2]) < SIDE / 2 + 1e-3).all()
    again, _ = run()
    assert all(np.array_equal(a.X_WB.position, b.X_WB.position) for a, b in zip(rested, again, strict=True))
