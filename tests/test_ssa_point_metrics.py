"""Likeness of sets of shapes: closed forms of MMD, COV and 1-NNA, and even points on surfaces."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from generators.errors import ParameterError
from generators.process_map import ProcessMap
from generators.ssa.point_metrics import chamfer_distances, compare_sets, surface_cloud
from physics.mesh import Mesh


def clouds(count: int, *, seed: int, shift: float = 0.0, spread: float = 0.1) -> list[np.ndarray]:
    """A few points, moved by chance as a whole: distances between clouds are those between the moves."""
    rng = np.random.default_rng(seed)
    shape = 200.0 * np.indices((2, 2, 3)).reshape(3, -1).T  # far apart, so that each point matches its own
    return [shape + shift + spread * rng.standard_normal(3) for _ in range(count)]


def test_distance_of_moved_clouds_is_the_move() -> None:
    (a,) = clouds(1, seed=0, spread=0.0)
    found = chamfer_distances([a], [a + np.array([0.3, 0.0, 0.4]), a])
    np.testing.assert_allclose(found, [[0.5, 0.0]], atol=1e-12)


def test_distances_do_not_depend_on_who_finds_them() -> None:
    left, right = clouds(19, seed=7), clouds(3, seed=8)
    with ProcessMap(2) as apply:
        shared = chamfer_distances(left, right, apply=apply)
    np.testing.assert_array_equal(shared, chamfer_distances(left, right))
    assert shared.shape == (19, 3)


def test_far_sets_are_told_apart_and_cover_one() -> None:
    found = compare_sets(clouds(12, seed=1), clouds(10, seed=2, shift=9.0), redraws=50)
    assert (found.nna.value, found.nna.low, found.nna.high) == (1.0, 1.0, 1.0)
    assert found.cov.value <= 0.3  # the few references on the near side
    assert found.mmd.value == pytest.approx(9.0 * np.sqrt(3), rel=0.05)


def test_sets_of_one_distribution_cannot_be_told_apart() -> None:
    found = compare_sets(clouds(60, seed=3), clouds(60, seed=4), redraws=200)
    assert found.nna.low < 0.5 < found.nna.high and 0.35 < found.nna.value < 0.65
    assert 0.4 < found.cov.value < 0.9


def test_copies_of_the_references_match_them() -> None:
    references = clouds(20, seed=5)
    found = compare_sets(references, references, redraws=20)
    assert (found.mmd.value, found.cov.value) == (0.0, 1.0)
    assert found.nna.value == 0.0  # the nearest of each is its copy, of the other set


def test_a_single_mode_covers_one_reference() -> None:
    references = clouds(20, seed=6)
    found = compare_sets([references[3]] * 8, references, redraws=20)
    assert found.cov.value == pytest.approx(1 / 20)
    with pytest.raises(ParameterError, match="at least 2"):
        compare_sets(references[:1], references)


def test_points_are_even_over_the_area_and_scaled() -> None:
    box = trimesh.creation.box((2.0, 1.0, 0.5))
    mesh = Mesh(box.vertices + 5.0, box.faces.astype(np.int32))
    points = surface_cloud(mesh, count=4096)
    np.testing.assert_allclose(np.ptp(points, axis=0), [1.0, 0.5, 0.25], atol=0.01)
    assert np.abs(points.mean(axis=0) - [0, 0, 0.125]).max() < 0.01
    top = np.abs(points[:, 2] - 0.25) < 1e-9
    assert top.mean() == pytest.approx(2.0 / 7.0, abs=0.01)  # 2 of 7 m^2
