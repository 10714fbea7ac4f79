"""Furniture that carries objects: boards read off hulls, objects on them, and what happens when it tips."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from large_scene import compose, require, run_here, write_assets
from scene_assets import bench, furniture_asset, make_asset, pedestal, plain_assets

from physics import truth as solids
from physics.check import Verdict
from physics.pose import Pose
from scenegen.assets.package import asset_folder, publish_asset, stage_asset
from scenegen.errors import SceneError
from scenegen.large.apartment import plan_apartment
from scenegen.large.boards import find_boards, largest_rectangle
from scenegen.large.carry import Load, Pool, put_on
from scenegen.large.component import ComponentRequest, HeldComponent, hold_component
from scenegen.large.demand import Demand
from scenegen.large.hold import HoldConfig
from scenegen.large.options import ApartmentConfig, MixConfig
from scenegen.large.pool import shell_points
from scenegen.large.publish import verdict_of
from scenegen.pipeline.stage import Rejection
from scenegen.scenes.place import PlaceConfig, footprint, separated
from scenegen.scenes.publish import scene_asset
from scenegen.scenes.scene import SceneObject

SMALL = ApartmentConfig(objects_per_furniture=3, mix=MixConfig(largest=0.2))


def known(asset):
    return scene_asset(asset, asset.family)


# ---- boards ---------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_the_rectangle_is_the_largest_of_all(mask):
    rows, columns = largest_rectangle(mask)
    found = mask[rows, columns]
    assert found.all()
    corners = [
        (a, b, c, d)
        for a in range(mask.shape[0])
        for b in range(a + 1, mask.shape[0] + 1)
        for c in range(mask.shape[1])
        for d in range(c + 1, mask.shape[1] + 1)
    ]
    assert found.size == max((mask[a:b, c:d].size for a, b, c, d in corners if mask[a:b, c:d].all()), default=0)


def test_the_top_of_a_table_is_a_board():
    (top,) = find_boards(known(bench()))
    assert top.centre == pytest.approx([0, 0, 0.43], abs=0.7 / 64)
    assert top.centre[2] == pytest.approx(0.43)
    assert top.half == pytest.approx([0.35, 0.2], abs=0.02)
    assert (top.half <= [0.35, 0.2]).all()


def test_boards_of_a_shelf_end_below_the_next():
    boards = [((-0.3, -0.15, z), (0.3, 0.15, z + 0.02)) for z in (0.1, 0.4, 0.7)]
    sides = [((x, -0.15, 0.0), (x + 0.02, 0.15, 0.72)) for x in (-0.32, 0.3)]
    found = find_boards(known(furniture_asset("shelf", [*boards, *sides], "plywood")))
    assert [one.centre[2] for one in found] == pytest.approx([0.12, 0.42, 0.72], abs=1e-3)
    assert [one.clear_height for one in found[:2]] == pytest.approx([0.28, 0.28], abs=1e-3)
    assert found[0].half[0] <= 0.3 < found[2].half[0] + 0.02  # the sides take their room below the top


def test_what_has_no_level_face_has_no_board():
    assert find_boards(known(make_asset("ball", solids.sphere(0.2).mesh, "oak"))) == ()


def only(asset):
    return Pool((asset,), np.ones(1))


# ---- objects on boards ------------------------------------------------------------------------------------------


def test_objects_stand_on_the_board_apart_from_each_other():
    carrier = SceneObject(
        "piece", known(bench()), Pose.from_axis_angle(np.array([0, 0, 1.0]), 0.7, np.array([3, 1, 0.0]))
    )
    rng, brick = np.random.default_rng(0), known(plain_assets()[0])
    first = put_on(carrier, ["a", "b"], [], only(brick), rng, PlaceConfig())
    more = put_on(carrier, ["c"], first, only(brick), rng, PlaceConfig())
    home = carrier.X_WB.inverse()
    points = [home.compose(one.X_WB).apply(shell_points(one.asset)) for one in (*first, *more)]
    assert all(p[:, 2].min() == pytest.approx(0.43, abs=1e-3) for p in points)
    assert all((np.abs(p[:, :2]) < [0.35, 0.2]).all() for p in points)
    prints = [footprint(p) for p in points]
    assert all(separated(prints[i], prints[j], 0.0) for i in range(3) for j in range(i))


def test_a_full_board_says_how_many_it_holds():
    carrier = SceneObject("piece", known(bench()), Pose.identity())
    with pytest.raises(SceneError, match="objects_per_furniture"):
        put_on(
            carrier,
            Load("piece", 200).names,
            [],
            only(known(plain_assets()[0])),
            np.random.default_rng(0),
            PlaceConfig(tries=20),
        )


# ---- apartments -------------------------------------------------------------------------------------------------


def write_furniture(root, *furniture):
    folders = write_assets(root)
    for asset in furniture:
        publish_asset(stage_asset(asset, root), asset_folder(root, asset.asset_id))
    return (*folders, *(asset_folder(root, one.asset_id).relative_to(root).as_posix() for one in furniture))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    root = tmp_path_factory.mktemp("flat")
    folders = write_furniture(root, bench())
    return root, folders, require(compose(root, folders, 12, options=SMALL, layout="apartment"))


def test_furniture_and_what_it_carries_is_one_component(flat):
    _, _, scene = flat
    assert len(scene.members) == 12 and verdict_of(scene.checks) is Verdict.UNDECIDED  # the file is not judged yet
    owners = {member.name: owner for member, owner in zip(scene.members, scene.components, strict=True)}
    carried = [name for name in owners if "_on_" in name]
    assert carried and all(owners[name] == owners[name.partition("_on_")[0]] != "" for name in carried)
    heights = {member.name: member.X_WB.position[2] for member in scene.members}
    assert all(heights[name] > 0.42 for name in carried)


def test_an_apartment_does_not_depend_on_the_order(flat):
    root, folders, scene = flat

    def backwards(*arguments, **named):
        return run_here(*arguments, backwards=True, **named)

    again = require(compose(root, folders, 12, options=SMALL, layout="apartment", execute=backwards))
    for one, other in zip(scene.members, again.members, strict=True):
        assert one.name == other.name and one.folder == other.folder
        assert np.array_equal(one.X_WB.position, other.X_WB.position)


def test_doorways_stay_clear():
    floor = plan_apartment(ApartmentConfig(), 300, Demand(0.03, 0.0, 0.6), 0.4)
    assert all(len(job.keep_clear) == 4 for cell in floor.cells for job in cell.jobs)


def test_furniture_that_tips_is_named(tmp_path):
    folders = write_furniture(tmp_path, pedestal())
    options = ApartmentConfig(objects_per_furniture=1, objects_beside=0, mix=MixConfig(families={"l_bar": 1.0}))
    refused = compose(tmp_path, folders, 2, options=options, layout="apartment")
    assert isinstance(refused, Rejection), refused
    assert refused.reason == "furniture does not stand under its load" and "_000" in refused.message


def test_an_apartment_without_furniture_is_refused(tmp_path):
    folders = write_assets(tmp_path)
    refused = compose(tmp_path, folders, 12, options=SMALL, layout="apartment")
    assert isinstance(refused, Rejection) and "no certified asset is of table, shelf" in refused.message


def test_furniture_that_is_judged_again_still_has_to_carry(flat):
    root, _, scene = flat
    members = [member for member in scene.members if member.name.startswith("room_0000_in_000")]
    (carrier, first, *_), load = members, Load("room_0000_in_000", len(members) - 1)
    assert carrier.name == load.carrier and load.objects > 0
    hold = HoldConfig(str(root), {})
    box = np.array([[-9.0, -9.0, -1.0], [9.0, 9.0, 3.0]])
    request = ComponentRequest("again", 0, tuple(members), (), box, loads=(load,), loaded=True)
    held = hold_component(request, hold)
    assert isinstance(held, HeldComponent) and held.loads == (load,)
    beside = replace(first, X_WB=Pose(carrier.X_WB.position + np.array([2.0, 0.0, 0.1]), first.X_WB.quaternion))
    fallen = hold_component(replace(request, members=(carrier, beside, *members[2:])), hold)
    assert isinstance(fallen, Rejection) and f"fell off {carrier.name}" in fallen.message
