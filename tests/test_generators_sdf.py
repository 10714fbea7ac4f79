"""Signed distances: exactness against closed forms, the Lipschitz law for every solid, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from generators import sdf
from generators.curves import outline, stroke
from generators.errors import ParameterError
from generators.families import FAMILIES

ROUND_OFF = 1e-9
"""Distances of about 1 m in double precision carry errors far below this [m]."""

L_SHAPE = [(-0.5, -0.4), (0.5, -0.4), (0.5, 0.0), (0.0, 0.0), (0.0, 0.6), (-0.5, 0.6)]

SOLIDS = {
    "box": sdf.box((1.0, 0.6, 0.4), (0.1, 0.0, 0.0), 0.1),
    "sphere": sdf.sphere(0.4),
    "cylinder": sdf.cylinder(0.3, -0.4, 0.5, 0.05),
    "cone": sdf.cone(0.5, 0.2, -0.3, 0.4, 0.05),
    "torus": sdf.torus(0.5, 0.15),
    "extruded": sdf.extrude(outline(L_SHAPE, 0.08), -0.2, 0.3, 0.02),
    "revolved": sdf.revolve(stroke([(0, -0.4), (0.3, -0.4), (0.5, 0.5)], 0.2, 0.06)),
    "union": sdf.union(sdf.sphere(0.3), sdf.box((0.2, 1.0, 0.2)), sdf.cylinder(0.1, -0.6, 0.6)),
    "smooth": sdf.smooth_union(sdf.sphere(0.4), sdf.box((1.2, 0.2, 0.2)), 0.15),
    "difference": sdf.difference(sdf.box((1.0, 1.0, 0.4)), sdf.cylinder(0.2, -1.0, 1.0)),
    "intersection": sdf.intersection(sdf.sphere(0.5), sdf.box((0.6, 0.9, 0.9))),
    "shell": sdf.shell(sdf.sphere(0.4), 0.1),
    "polar": sdf.polar(sdf.capsule((0.5, 0, -0.2), (0.4, 0, 0.4), 0.08), 5),
    "mirror": sdf.mirror(sdf.box((0.2, 0.2, 0.6), (0.4, 0.3, 0.0)), "xy"),
    "turned": sdf.turn_z(sdf.translate(sdf.box((0.8, 0.2, 0.2)), (0.1, 0.0, 0.0)), 0.7),
    "cut": sdf.between(sdf.above(sdf.sphere(0.5), -0.3), -0.4, 0.2),
}


def pairs(bounds: np.ndarray, count: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of points in and about a box, from far apart to very close."""
    rng = np.random.default_rng(7)
    size = float((bounds[1] - bounds[0]).max())
    p = rng.uniform(bounds[0] - 0.3 * size, bounds[1] + 0.3 * size, (count, 3))
    step = rng.standard_normal((count, 3))
    step *= (size * 10.0 ** rng.uniform(-5, 0, count) / np.linalg.norm(step, axis=1))[:, None]
    return p, p + step


def assert_lipschitz(solid: sdf.Solid) -> None:
    p, q = pairs(solid.bounds)
    change = np.abs(solid.distance(p) - solid.distance(q))
    assert (change <= np.linalg.norm(p - q, axis=1) + ROUND_OFF).all()


@pytest.mark.parametrize("name", SOLIDS)
def test_every_solid_is_1_lipschitz(name: str) -> None:
    assert_lipschitz(SOLIDS[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_1_lipschitz(name: str) -> None:
    family = FAMILIES[name]
    for part in family.make(family.sample(np.random.default_rng(3))):
        assert_lipschitz(part.solid)


@pytest.mark.parametrize("name", SOLIDS)
def test_bounds_hold_the_solid(name: str) -> None:
    solid = SOLIDS[name]
    p, _ = pairs(solid.bounds, 20000)
    outside = ((p < solid.bounds[0]) | (p > solid.bounds[1])).any(axis=1)
    slack = 0.15 / 4 if name == "smooth" else 0.0  # a fillet adds at most a quarter of its width
    assert (solid.distance(p[outside]) > -slack).all()


def test_round_primitives_match_closed_forms() -> None:
    p, _ = pairs(np.array([[-1.0, -1, -1], [1, 1, 1]]))
    r = np.hypot(p[:, 0], p[:, 1])
    np.testing.assert_allclose(sdf.sphere(0.4).distance(p), np.linalg.norm(p, axis=1) - 0.4, atol=1e-12)
    np.testing.assert_allclose(sdf.torus(0.5, 0.1).distance(p), np.hypot(r - 0.5, p[:, 2]) - 0.1, atol=1e-12)
    d = np.column_stack([r - 0.3, np.abs(p[:, 2]) - 0.2])
    expected = np.minimum(d.max(axis=1), 0) + np.linalg.norm(np.maximum(d, 0), axis=1)
    np.testing.assert_allclose(sdf.cylinder(0.3, -0.2, 0.2).distance(p), expected, atol=1e-12)


def test_outline_matches_a_dense_walk_along_its_boundary() -> None:
    region = outline(L_SHAPE)
    corners = np.array(L_SHAPE)
    t = np.linspace(0, 1, 2000)[:, None]
    walk = np.concatenate([a + t * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])
    q = np.random.default_rng(1).uniform(-0.8, 0.8, (400, 2))
    expected = np.linalg.norm(q[:, None] - walk, axis=2).min(axis=1)
    x, y = q.T
    inside = (x > -0.5) & (x < 0.5) & (y > -0.4) & (y < 0.6) & ~((x > 0) & (y > 0))
    got = region.distance(x, y)
    np.testing.assert_allclose(np.abs(got), expected, atol=5e-4)  # half a step of the walk
    assert ((got < 0) == inside).all()


def test_outline_of_one_full_fillet_is_a_disc() -> None:
    """A square whose corners take half of each side is a circle, in either sense of turn."""
    square = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    q = np.random.default_rng(2).uniform(-2, 2, (2000, 2))
    for corners in (square, square[::-1]):
        got = outline(corners, 1.0).distance(q[:, 0], q[:, 1])
        np.testing.assert_allclose(got, np.linalg.norm(q, axis=1) - 1.0, atol=1e-9)


def test_smooth_union_adds_at_most_a_quarter_of_its_width() -> None:
    a, b = sdf.sphere(0.4), sdf.box((1.2, 0.2, 0.2))
    p, _ = pairs(a.bounds)
    added = np.minimum(a.distance(p), b.distance(p)) - sdf.smooth_union(a, b, 0.1).distance(p)
    assert added.min() > -ROUND_OFF
    assert added.max() <= 0.025 + ROUND_OFF


def test_polar_repeats_and_never_overestimates_at_the_borders() -> None:
    """Against the union of turned copies, an exact distance outside."""
    petal = sdf.capsule((0.5, 0, 0), (0.5, 0, 0.3), 0.1)
    copies = sdf.union(*(sdf.turn_z(petal, 2 * np.pi * i / 5) for i in range(5)))
    p, _ = pairs(copies.bounds)
    np.testing.assert_allclose(sdf.polar(petal, 5).distance(p), copies.distance(p), atol=1e-9)


def test_refusals_name_the_number() -> None:
    with pytest.raises(ParameterError, match=r"rounding is 0.3 m, at most 0.05 m"):
        sdf.box((0.1, 0.2, 0.3), rounding=0.3)
    with pytest.raises(ParameterError, match="distinct consecutive corners"):
        outline([(0, 0), (0, 0), (1, 1)])
