"""Cuts of thin walls and blind bores, and the distances behind them."""

from __future__ import annotations

import igl
import manifold3d as m3
import numpy as np
import pytest

from physics import gap_cuts
from physics.check import Verdict
from physics.convex import solid_arrays
from physics.cut_directions import directions, flat_directions
from physics.hull_error import arrays, hull_checks, surface_samples
from physics.hull_openings import _are_clear
from physics.hull_standoff import face_standoff, farthest_standoff
from physics.hulls import HullConfig, decompose_mesh
from physics.mesh import Mesh
from physics.plane_cuts import CutConfig, Piece, best_planes, cut_solid
from physics.surface_distance import Surface

SOLID = m3.Manifold


def box(x: float, y: float, z: float, at: tuple[float, float, float] = (0, 0, 0)) -> SOLID:
    return SOLID.cube((x, y, z), True).translate(at)


def cross_products(solid: SOLID) -> np.ndarray:
    vertices, faces = solid_arrays(solid)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def test_surface_is_as_far_as_libigl_says() -> None:
    rng = np.random.default_rng(0)
    vertices, faces = solid_arrays(SOLID.sphere(0.5, 40))
    points = rng.uniform(-1, 1, (200, 3))
    expected = np.sqrt(igl.point_mesh_squared_distance(points, vertices, faces)[0])
    surface = Surface(vertices, faces)
    np.testing.assert_array_equal(surface.distance(points), expected)
    assert (surface.box_distance(points) <= expected + 1e-12).all()


def test_corner_normals_of_a_cube_are_its_diagonals() -> None:
    surface = Surface(*solid_arrays(box(1, 1, 1)))
    np.testing.assert_allclose(surface.corner_normals, np.sign(surface.vertices) / np.sqrt(3), atol=1e-12)


def test_farthest_standoff_is_the_largest_of_all_faces() -> None:
    cup = Piece(SOLID.cylinder(0.8, 0.5, 0.5, 64) - SOLID.cylinder(0.8, 0.4, 0.4, 64).translate((0, 0, 0.1)), ())
    every = face_standoff(cup.hull, [cup.surface])
    assert farthest_standoff(cup.hull, [cup.surface]) == every.max()
    assert every.max() == pytest.approx(0.4, abs=0.03)  # from about the middle of the mouth to its rim
    some = face_standoff(cup.hull, [cup.surface], least=0.05)
    np.testing.assert_array_equal(some[every > 0.05], every[every > 0.05])


def test_standoff_from_several_pieces_is_that_from_their_common_surface() -> None:
    left, right = (Surface(*solid_arrays(box(0.2, 0.2, 0.2, (x, 0, 0)))) for x in (-0.4, 0.4))
    both = SOLID.compose([box(0.2, 0.2, 0.2, (x, 0, 0)) for x in (-0.4, 0.4)])
    hull = both.hull()
    np.testing.assert_allclose(
        face_standoff(hull, [left, right]), face_standoff(hull, [Surface(*solid_arrays(both))]), atol=1e-12
    )


def test_points_in_rows_are_clear_where_they_are_far() -> None:
    rng = np.random.default_rng(0)
    surface = Surface(*solid_arrays(SOLID.sphere(0.3, 40)))
    start, way = rng.uniform(-0.6, 0.6, (100, 1, 3)), rng.uniform(-0.1, 0.1, (100, 1, 3))
    points = start + np.arange(9)[None, :, None] * way
    expected = surface.distance(points.reshape(-1, 3)).reshape(100, 9) > 0.05
    np.testing.assert_array_equal(_are_clear(surface, points, 0.05), expected)


def test_a_square_has_no_principal_axes_by_chance() -> None:
    plate = surface_samples(*solid_arrays(box(1, 1, 0.05)), 500)
    turned = plate @ np.array([[np.cos(0.4), np.sin(0.4), 0], [-np.sin(0.4), np.cos(0.4), 0], [0, 0, 1]])
    assert len(directions(turned, np.ones(len(turned)))) == 3  # the third is the axis z


def test_walls_aslant_give_their_normals() -> None:
    ribs = box(1, 0.05, 0.3).rotate((0, 0, 30)) + box(1, 0.05, 0.3).rotate((0, 0, -30))
    found = flat_directions(cross_products(ribs), np.eye(3))
    expected = np.array([[np.sin(a), np.cos(a), 0] for a in (np.pi / 6, -np.pi / 6)])
    assert len(found) == 2
    np.testing.assert_allclose(np.abs(found @ expected.T).max(axis=1), 1.0, atol=1e-9)


def test_round_walls_give_no_flat_direction() -> None:
    assert not len(flat_directions(cross_products(SOLID.sphere(0.5, 60)), np.eye(3)))


def test_the_floor_of_a_box_is_cut_off_whole() -> None:
    tray = box(1, 0.9, 0.3) - box(0.94, 0.84, 0.3, (0, 0, 0.03))
    planes = best_planes(Piece(tray, ()), CutConfig())
    assert len(planes) == 1
    assert abs(planes[0].normal[2]) == 1.0
    assert abs(planes[0].offset) == pytest.approx(0.12, abs=0.001)  # the top of the floor


def test_walls_with_ribs_fall_into_few_pieces() -> None:
    tray = box(1, 1, 0.4) - box(0.94, 0.94, 0.4, (0, 0, 0.03))
    for angle in (45, -45):
        tray += box(1.3, 0.03, 0.3, (0, 0, 0)).rotate((0, 0, angle)) ^ box(0.95, 0.95, 0.4)
    groups = cut_solid(tray, CutConfig()).groups()
    assert len(groups) <= 14  # a floor, four walls, and two ribs that cross and meet the walls aslant


def test_a_blind_bore_is_opened() -> None:
    bore = SOLID.cylinder(0.2, 0.02, 0.02, 24).translate((0.1, 0.05, 0.16))
    vertices, faces = arrays(box(1, 0.8, 0.4) - bore)
    mesh = Mesh(vertices, faces.astype(np.int32))
    result = decompose_mesh(mesh, config=HullConfig(), graspable=False)
    assert result.error.inward_max < 0.03
    assert not [c for c in hull_checks(result.error) if c.id in ("H2", "H3", "H4") and c.verdict is Verdict.FAIL]


def test_air_on_a_hull_that_only_rounding_puts_inside_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two foreign meshes had air whose depth was 1e-17 in one sum over planes and none in another."""
    piece = Piece(box(1, 1, 1) - box(0.2, 0.2, 2), ())
    monkeypatch.setattr(gap_cuts, "depths_in", lambda hull, points: np.zeros(len(points)))
    assert gap_cuts._opened(piece, np.array([[0.0, 0.0, 0.1]]), CutConfig()) == [piece]
