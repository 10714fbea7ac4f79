"""A budget of hulls: kept in expectation by the least change of the draws, refused where it cannot be."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from large_scene import SMALL_WAREHOUSE, compose, require, write_assets
from scene_assets import bench

from physics.pose import Pose
from scenegen.assets.package import asset_folder, publish_asset, stage_asset
from scenegen.errors import SceneError
from scenegen.large.fill import Choice
from scenegen.large.hull_budget import Draw, expected_hulls, favour_plain, find_exponent, stance_draws
from scenegen.large.options import ApartmentConfig, MixConfig, ShareConfig, ToteGridConfig
from scenegen.large.pool import read_asset
from scenegen.large.stances import Stance
from scenegen.pipeline.stage import Rejection

ASSETS = st.lists(st.tuples(st.floats(0.1, 10.0), st.integers(1, 100)), min_size=1, max_size=12)
DRAWS = st.lists(st.tuples(st.integers(1, 1000), ASSETS), min_size=1, max_size=4)


def draws_of(drawn):
    return [
        Draw(float(objects), np.array([w for w, _ in assets]), np.array([float(h) for _, h in assets]))
        for objects, assets in drawn
    ]


def mean_of(draws, exponent):
    objects = np.array([draw.objects for draw in draws])
    return objects @ [draw.mean_hulls(exponent) for draw in draws] / objects.sum()


@given(DRAWS, st.floats(0.0, 1.0))
def test_the_mean_is_the_budget_where_it_was_above(drawn, share):
    draws = draws_of(drawn)
    most, least = mean_of(draws, 0.0), mean_of(draws, 7.9)
    budget = least + share * (most - least)
    exponent = find_exponent(draws, budget)
    assert mean_of(draws, exponent) <= budget + 1e-6
    assert exponent == 0 or mean_of(draws, exponent) >= budget - 1e-6  # the least exponent: no more than it takes


@given(ASSETS, st.floats(0.0, 4.0))
def test_probabilities_follow_the_power_law(assets, exponent):
    (draw,) = draws_of([(1, assets)])
    found = favour_plain(draw.weights, draw.hulls, exponent)
    assert found.sum() == pytest.approx(1.0)
    assert (found > 0).all()  # nothing is left out
    assert found / found[0] == pytest.approx(draw.weights / draw.weights[0] * (draw.hulls / draw.hulls[0]) ** -exponent)


def test_a_budget_below_the_plainest_is_refused():
    draws = draws_of([(10, [(1.0, 20), (1.0, 30)])])
    with pytest.raises(SceneError, match=r"mix\.mean_hulls is 12, but objects have 20\.\d hulls on average even"):
        find_exponent(draws, 12.0)


def test_equal_hulls_within_the_budget_need_no_weights():
    draws = draws_of([(7, [(0.3, 67), (0.1, 67), (1.7, 67)]), (3, [(0.9, 67)])])
    assert find_exponent(draws, 67.0) == 0.0


def test_draws_of_stacks_count_objects_by_height():
    """Heights of stacks are equally likely, so that 3 of 5 objects in them are in stacks of three."""
    stances = tuple(
        Stance("f", (Pose.identity(),) * copies, np.zeros((3, 2)), 0.1, (0.0,) * copies, 0, ())
        for copies in (1, 2, 2, 3)
    )
    choice = Choice(stances, np.array([0.4, 0.3, 0.2, 0.1]))
    draws = stance_draws(choice, 50, 100, np.array([1.0, 2.0, 4.0, 8.0]))
    assert [draw.objects for draw in draws] == pytest.approx([50, 40, 60])
    assert expected_hulls(draws, 0.0) == pytest.approx((50 * 1 + 40 * (0.6 * 2 + 0.4 * 4) + 60 * 8) / 150)


@pytest.mark.parametrize(
    ("layout", "options"),
    [("tote_grid", ToteGridConfig(bin=SMALL_WAREHOUSE.bin, objects_per_bin=5)), ("apartment", ApartmentConfig())],
)
def test_a_budget_that_no_asset_keeps_is_refused_before_anything_is_settled(tmp_path, layout, options):
    known = write_assets(tmp_path)
    folders = [folder for folder in known if len(read_asset(str(tmp_path), folder).model.root.hulls) > 1]
    mix = dataclasses.replace(options.mix, mean_hulls=1.0)

    def never(*_, **__):
        raise AssertionError("a stage was run")

    if layout == "apartment":
        publish_asset(stage_asset(bench(), tmp_path), asset_folder(tmp_path, bench().asset_id))
        folders.append(asset_folder(tmp_path, bench().asset_id).relative_to(tmp_path).as_posix())
    refused = compose(
        tmp_path, folders, 10, options=dataclasses.replace(options, mix=mix), layout=layout, execute=never
    )
    assert isinstance(refused, Rejection) and "mix.mean_hulls is 1, but" in refused.message


def test_a_scene_keeps_to_its_budget(tmp_path):
    folders = write_assets(tmp_path)
    hulls = {folder: len(read_asset(str(tmp_path), folder).model.root.hulls) for folder in folders}
    shares = ShareConfig(0.0, 0.0, 5, 0.2)
    counts = []
    for budget in (None, 1.1):
        options = dataclasses.replace(SMALL_WAREHOUSE, shares=shares, mix=MixConfig(largest=0.2, mean_hulls=budget))
        scene = require(compose(tmp_path, folders, 150, options=options))
        counts.append(Counter(one.folder for one in scene.members))
    means = [sum(hulls[folder] * count for folder, count in drawn.items()) / drawn.total() for drawn in counts]
    assert means[0] > 1.2
    assert abs(means[1] - 1.1) < 0.08  # three deviations of the mean of 150 draws of one hull or two
