"""What is poured into a bin in layers: nothing is lost."""

import numpy as np
import pytest
from scene_assets import plain_assets

from physics.engine import Placement
from physics.materials import find_material
from physics.pose import Pose
from scenegen.large.floor import Job
from scenegen.large.hold import HoldConfig
from scenegen.large.pool import shell_points
from scenegen.large.pour import pour
from scenegen.scenes.publish import scene_asset
from scenegen.scenes.scene import SceneObject
from scenegen.scenes.supports import BinSize, Region, make_bin

SIDE = 0.24
REGION = Region(np.array([0.0, 0.0, 0.01]), np.full(2, SIDE / 2), np.inf)


@pytest.fixture(scope="module")
def brick():
    return scene_asset(plain_assets()[0], "brick")  # 120 x 60 x 40 mm


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
