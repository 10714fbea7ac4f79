"""A budget of hulls: kept in expectation by the least change of the draws, refused where it cannot be."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from large_scene import SMALL_WAREHOUSE, compose, require, write_assets

from scenegen.errors import SceneError
from scenegen.large.hull_budget import Draw, favour_plain, find_exponent
from scenegen.large.options import MixConfig, ShareConfig
from scenegen.large.pool import read_asset

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
    with pytest.raises(SceneError, match=r"mean_hulls is 12.*20\.\d hulls on average even where the plainest"):
        find_exponent(draws, 12.0)


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
