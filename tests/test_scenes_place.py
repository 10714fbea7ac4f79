"""Placement: footprints apart, zones free, clear refusals."""

import itertools

import numpy as np
import pytest
from scene_assets import plain_assets

from physics.materials import find_material
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.scenes.place import KeepOut, PlaceConfig, footprint, hull_points, place_above, place_at_rest, separated
from scenegen.scenes.supports import BinSize, RackSize, Region, TableSize, make_bin, make_rack, make_table

OAK = find_material("oak")
SQUARE = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def objects(count):
    pool = plain_assets()
    chosen = [pool[i % len(pool)] for i in range(count)]
    return [(asset.model, [pose.X_WB for pose in asset.rest_poses]) for asset in chosen]


@pytest.mark.parametrize(
    ("support", "boxes"),
    [(make_table(TableSize(), OAK), 5), (make_bin(BinSize(), OAK), 5), (make_rack(RackSize(levels=2), OAK), 6)],
)
def test_supports_are_boxes_that_stand_on_the_ground_with_their_mass(support, boxes):
    body = support.model.root
    assert len(body.hulls) == boxes
    assert body.bounds[0, 2] == 0
    assert body.inertial.mass == pytest.approx(OAK.density * sum(part.surface.volume for part in body.parts))
    assert all(part.surface.volume > 0 for part in body.parts)


def test_regions_lie_on_the_upper_sides_of_boards():
    rack = make_rack(RackSize(levels=3), OAK)
    tops = sorted(part.surface.bounds[1, 2] for part in rack.model.root.parts if part.name.startswith("board"))
    assert sorted(region.centre[2] for region in rack.regions) == pytest.approx(tops)
    assert all(region.clear_height == pytest.approx(0.5 - 0.025) for region in rack.regions)


@pytest.mark.parametrize(("shift", "gap", "apart"), [(1.05, 0.1, False), (1.11, 0.1, True), (0.5, 0.0, False)])
def test_separating_axes(shift, gap, apart):
    assert separated(SQUARE, SQUARE + np.array([shift, 0]), gap) is apart
    assert separated(SQUARE + np.array([0, shift]), SQUARE, gap) is apart


def test_placed_objects_stand_inside_apart_and_on_their_region():
    table = make_table(TableSize(), OAK)
    wanted = objects(24)
    poses = place_at_rest(wanted, table.regions, rng=np.random.default_rng(1), config=PlaceConfig())
    points = [pose.apply(hull_points(model)) for pose, (model, _) in zip(poses, wanted, strict=True)]
    for cloud in points:
        assert cloud[:, 2].min() == pytest.approx(table.regions[0].centre[2], abs=1e-12)
        assert (np.abs(cloud[:, :2]) <= table.regions[0].half).all()
    for a, b in itertools.combinations(points, 2):
        assert separated(footprint(a), footprint(b), 0.0)


def test_keep_out_zones_and_obstacles_stay_free():
    table = make_table(TableSize(length=1.0, width=0.6), OAK)
    zone = KeepOut((-0.1, -0.3, 0.7), (0.5, 0.3, 2.0))
    standing = np.array([[-0.5, -0.3, 0.74], [-0.4, -0.3, 0.74], [-0.5, 0.3, 0.74], [-0.4, 0.3, 0.9]])
    wanted = objects(6)
    poses = place_at_rest(
        wanted,
        table.regions,
        rng=np.random.default_rng(2),
        config=PlaceConfig(),
        keep_outs=[zone],
        obstacles=[standing],
    )
    for pose, (model, _) in zip(poses, wanted, strict=True):
        cloud = pose.apply(hull_points(model))
        assert not zone.holds(cloud)
        assert cloud[:, 0].min() > -0.4


def test_a_zone_above_or_below_a_region_takes_nothing():
    region = Region(np.array([0, 0, 0.5]), np.array([0.2, 0.2]), 0.3)
    assert not KeepOut((-1, -1, 0.9), (1, 1, 2)).overlaps(region)
    assert not KeepOut((-1, -1, 0), (1, 1, 0.5)).overlaps(region)
    assert KeepOut((-1, -1, 0.7), (1, 1, 2)).overlaps(region)


def test_more_objects_than_fit_are_refused_with_how_many_fit():
    table = make_table(TableSize(length=0.4, width=0.3), OAK)
    with pytest.raises(SceneError, match=r"40 objects were asked for.*had room for \d+"):
        place_at_rest(objects(40), table.regions, rng=np.random.default_rng(0), config=PlaceConfig(tries=50))


def test_poured_objects_start_apart_in_layers_above_their_region():
    bin_ = make_bin(BinSize(length=0.3, width=0.3), OAK)
    models = [model for model, _ in objects(12)]
    poses = place_above(models, bin_.regions[0], rng=np.random.default_rng(3), config=PlaceConfig(), height=0.1)
    points = [pose.apply(hull_points(model)) for pose, model in zip(poses, models, strict=True)]
    assert min(cloud[:, 2].min() for cloud in points) == pytest.approx(0.1)
    for cloud in points:
        assert (np.abs(cloud[:, :2]) < bin_.regions[0].half).all()
    for a, b in itertools.combinations(points, 2):
        above = a[:, 2].min() > b[:, 2].max() or b[:, 2].min() > a[:, 2].max()
        assert above or separated(footprint(a), footprint(b), 0.0)


def test_an_object_larger_than_the_region_is_refused():
    region = Region(np.zeros(3), np.array([0.02, 0.02]), np.inf)
    with pytest.raises(SceneError, match="does not fit above a region"):
        place_above([objects(1)[0][0]], region, rng=np.random.default_rng(0), config=PlaceConfig(tries=20), height=0.1)


def test_a_keep_out_zone_needs_a_volume():
    with pytest.raises(SceneError, match="lower < upper"):
        KeepOut((0, 0, 0), (1, 0, 1))


def test_the_same_generator_gives_the_same_poses():
    table = make_table(TableSize(), OAK)
    runs = [
        place_at_rest(objects(8), table.regions, rng=np.random.default_rng(5), config=PlaceConfig()) for _ in range(2)
    ]
    for a, b in zip(*runs, strict=True):
        assert isinstance(a, Pose)
        assert np.array_equal(a.position, b.position)
        assert np.array_equal(a.quaternion, b.quaternion)
