"""A body that rocks for ever on one large hull gets other hulls, and the record says so."""

from dataclasses import replace

import pytest

from physics.hulls import without_slabs
from scenegen.assets.build import AssetRequest, decompose_solid, draw_blueprint, drop_in_mujoco, extract_solid
from scenegen.config import check_config
from scenegen.pipeline.stage import Rejection
from scenegen.run import build_config, measure_engines


@pytest.fixture(scope="module")
def config():
    run = check_config({"name": "other", "objects": [{"families": ["table"], "count": 1}]}, source="test")
    return build_config(run, measure_engines(run.drop))


@pytest.fixture(scope="module")
def draft(config):
    """A table whose top is one hull: MuJoCo sees one end of its edge at a time where it lies on that."""
    drawn = draw_blueprint(AssetRequest(item_id="object_00071", family="table", seed=1), config.draw)
    return decompose_solid(extract_solid(drawn, config.surface), config.hulls)


def digests(draft):
    return [hull.mesh.digest for hull in draft.solid.root.hulls]


def test_hulls_that_do_not_let_a_body_rest_give_way_to_others(draft, config):
    battery = config.battery
    assert battery.other_hulls == without_slabs(config.hulls) != config.hulls
    refused = drop_in_mujoco(draft, replace(battery, other_hulls=None))
    assert isinstance(refused, Rejection) and refused.reason.startswith("D6"), refused
    rested = drop_in_mujoco(draft, battery)
    assert not isinstance(rested, Rejection), rested
    assert any(note.startswith("other hulls, on the first of which MuJoCo shows D6") for note in rested.notes)
    assert {hull.mesh.digest for hull in rested.solid.root.hulls} != {
        hull.mesh.digest for hull in draft.solid.root.hulls
    }
    measured = [check for check in rested.checks if check.id == "H4"]
    assert len(measured) == len([check for check in draft.checks if check.id == "H4"])  # of these hulls only


def test_the_same_hulls_are_not_dropped_twice(draft, config):
    same = drop_in_mujoco(draft, replace(config.battery, other_hulls=config.hulls))
    assert isinstance(same, Rejection) and same.reason.startswith("D6")
