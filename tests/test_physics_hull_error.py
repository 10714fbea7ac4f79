"""Hull error: known answers, and sets of hulls that must fail."""

from __future__ import annotations

import manifold3d as m3
import numpy as np
import pytest

from physics.check import Verdict, overall_verdict
from physics.errors import HullError as HullFault
from physics.hull_error import HullErrorConfig, arrays, hull_checks, measure_hulls, surface_samples
from physics.mesh import Mesh

SOLID = m3.Manifold


def mesh_of(solid: SOLID) -> Mesh:
    vertices, faces = arrays(solid)
    return Mesh(vertices, faces.astype(np.int32))


def box(x: float, y: float, z: float, at: tuple[float, float, float] = (0, 0, 0)) -> SOLID:
    return SOLID.cube((x, y, z)).translate(at)


def legs() -> list[SOLID]:
    return [box(0.04, 0.04, 0.38, (x, y, 0.0)) for x in (0.0, 0.56) for y in (0.0, 0.36)]


def table() -> tuple[Mesh, list[SOLID]]:
    pieces = [box(0.6, 0.4, 0.02, (0, 0, 0.38)), *legs()]
    return mesh_of(SOLID.batch_boolean(pieces, m3.OpType.Add)), pieces


def torus(sides: int = 64) -> SOLID:
    return SOLID.revolve(m3.CrossSection.circle(0.03, 24).translate((0.1, 0)), sides)


def bowl() -> SOLID:
    return (SOLID.sphere(0.08, 64) - SOLID.sphere(0.074, 64)).trim_by_plane((0, 0, -1), 0.0)


def failing(mesh: Mesh, hulls: list[SOLID], **options) -> set[str]:
    error = measure_hulls(mesh, [mesh_of(h) for h in hulls], body="it", **options)
    return {c.id for c in hull_checks(error) if c.verdict is Verdict.FAIL}


def test_a_cube_is_its_own_hull():
    cube = mesh_of(box(0.1, 0.1, 0.1))
    error = measure_hulls(cube, [cube], body="cube")
    assert error.iou == pytest.approx(1.0, abs=1e-12)
    assert max(error.outward_max, error.inward_max, error.com_shift, error.mean_inflation, error.mean_loss) < 1e-12
    assert error.least_width == pytest.approx(1.0)
    assert overall_verdict(hull_checks(error), required=("H1", "H2", "H3", "H4", "H5", "H6")) is Verdict.PASS


def test_l_bar_is_two_boxes():
    a, b = box(0.1, 0.04, 0.04), box(0.04, 0.06, 0.04, (0, 0.04, 0))
    bar = mesh_of(a + b)
    assert bar.volume == pytest.approx(2.56e-4)
    error = measure_hulls(bar, [mesh_of(a), mesh_of(b)], body="bar")
    assert error.iou > 0.999
    assert overall_verdict(hull_checks(error)) is Verdict.PASS


def test_inflation_of_a_known_box():
    cube, grown = box(0.1, 0.1, 0.1), box(0.102, 0.102, 0.102, (-0.001, -0.001, -0.001))
    error = measure_hulls(mesh_of(cube), [mesh_of(grown)], body="cube", graspable=False)
    assert error.excess_ratio == pytest.approx(1.02**3 - 1)
    assert error.mean_inflation == pytest.approx((1.02**3 - 1) / 6)
    assert error.outward_max == pytest.approx(0.01 * np.sqrt(3), rel=1e-6)
    assert error.inward_max == pytest.approx(0.01, rel=1e-6)
    assert error.iou == pytest.approx(1 / 1.02**3)


def test_figures_do_not_depend_on_size_or_place():
    mesh, pieces = table()
    hulls = [mesh_of(p.hull()) for p in pieces]
    reference = measure_hulls(mesh, hulls, body="t", graspable=False)
    for factor in (1e-3, 100.0):
        moved = [Mesh(m.vertices * factor + 5.0 * factor, m.faces) for m in (mesh, *hulls)]
        error = measure_hulls(moved[0], moved[1:], body="t", graspable=False)
        assert error.iou == pytest.approx(reference.iou, abs=1e-9)
        assert error.clear_share == reference.clear_share
        assert error.inward_max == pytest.approx(reference.inward_max, abs=1e-9)


def test_exact_table_passes_and_a_missing_leg_fails():
    mesh, pieces = table()
    assert failing(mesh, pieces) == set()
    assert {"H4", "H5"} <= failing(mesh, pieces[:-1])


def test_torus_closed_by_its_hull_fails():
    assert {"H2", "H4", "H6"} <= failing(mesh_of(torus()), [torus().hull()])


def test_excess_of_a_torus_hull():
    fine = torus(256)
    error = measure_hulls(mesh_of(fine), [mesh_of(fine.hull())], body="torus")
    assert error.excess_ratio == pytest.approx(0.63, abs=0.02)  # 2.86 kg of hull over 1.75 kg of torus


def test_bowl_filled_by_its_hull_fails():
    assert {"H2", "H4", "H6"} <= failing(mesh_of(bowl()), [bowl().hull()])


def test_inflated_hulls_fail():
    mesh, pieces = table()
    grown = [p.hull().translate((0, 0, 0)).minkowski_sum(SOLID.sphere(0.012, 12)).hull() for p in pieces]
    assert {"H2", "H4"} <= failing(mesh, grown, graspable=False)


def test_a_small_closed_hole_is_seen_by_the_rays():
    plate = box(0.2, 0.2, 0.06)
    drilled = plate - SOLID.cylinder(0.1, 0.02, circular_segments=48).translate((0.1, 0.1, -0.02))
    assert "H6" in failing(mesh_of(drilled), [plate])


def test_a_closed_hole_too_narrow_for_rays_is_seen_by_the_distances():
    plate = box(0.2, 0.2, 0.06)
    drilled = plate - SOLID.cylinder(0.1, 0.003, circular_segments=24).translate((0.1, 0.1, -0.02))
    assert "H4" in failing(mesh_of(drilled), [plate])


def test_a_lost_foot_is_seen_though_it_is_low():
    mesh, pieces = table()
    low = 0.002  # a third of a percent of L
    short = [pieces[0], *(p - box(1, 1, low, (-0.1, -0.1, 0.0)) for p in pieces[1:3]), *pieces[3:]]
    error = measure_hulls(mesh, [mesh_of(p) for p in short], body="t")
    assert error.support_margin > 0 > error.hull_support_margin
    assert "H5" in {c.id for c in hull_checks(error) if c.verdict is Verdict.FAIL}


def test_graspable_objects_have_a_limit_in_metres():
    block, grown = box(0.4, 0.05, 0.05), box(0.4, 0.062, 0.05, (0, -0.006, 0))
    assert "H4" in failing(mesh_of(block), [grown], graspable=True)
    assert "H4" in failing(mesh_of(block), [grown])
    farthest = [
        c
        for c in hull_checks(measure_hulls(mesh_of(block), [mesh_of(grown)], body="b", graspable=False))
        if "farthest" in c.name
    ]
    assert all(c.verdict is not Verdict.FAIL for c in farthest)


def test_concave_and_flat_hulls_fail_h1():
    mesh, pieces = table()
    assert "H1" in failing(mesh, [SOLID.batch_boolean(pieces, m3.OpType.Add)])
    assert "H1" in failing(mesh, [*pieces, box(0.2, 0.2, 0.0003, (0.1, 0.1, 0.39))])


def test_too_many_vertices_warn_then_fail():
    ball = SOLID.sphere(0.05, 32)
    error = measure_hulls(mesh_of(ball), [mesh_of(ball)], body="ball")
    checks = {c.name: c for c in hull_checks(error)}
    assert checks["vertices of a hull"].verdict is Verdict.FAIL
    loose = hull_checks(error, config=HullErrorConfig(vertices_limit=1000))
    assert {c.name: c for c in loose}["vertices of a hull"].verdict is Verdict.WARN


def test_lost_balance_is_seen():
    mesh, pieces = table()
    tipped = [pieces[0], *(p for p in pieces[1:3])]  # legs on one side only
    error = measure_hulls(mesh, [mesh_of(p) for p in tipped], body="t")
    assert error.support_margin > 0 > error.hull_support_margin
    assert "H5" in {c.id for c in hull_checks(error) if c.verdict is Verdict.FAIL}


def fitted_rod(gap: float, hull_growth: float) -> tuple[Mesh, list[Mesh], list[tuple[Mesh, list[Mesh]]]]:
    """A block with a square eye, a rod through it, and hulls of the block that reach into the gap."""
    rod = box(0.02, 0.02, 0.2, (-0.01, -0.01, 0))
    eye = 0.01 + gap
    block = box(0.1, 0.1, 0.1, (-0.05, -0.05, 0.05)) - box(2 * eye, 2 * eye, 0.3, (-eye, -eye, -0.05))
    sides = [
        box(0.05 - eye + hull_growth, 0.1, 0.1, (eye - hull_growth, -0.05, 0.05)).rotate((0, 0, a))
        for a in (0, 90, 180, 270)
    ]
    parts = [(mesh_of(block), [mesh_of(s) for s in sides]), (mesh_of(rod), [mesh_of(rod)])]
    return mesh_of(block + rod), [h for _, hulls in parts for h in hulls], parts


def test_a_gap_of_a_fit_that_hulls_close_is_no_missing_surface():
    mesh, hulls, parts = fitted_rod(gap=0.001, hull_growth=0.0015)
    apart = measure_hulls(mesh, hulls, body="fit")
    fit = measure_hulls(mesh, hulls, body="fit", parts=parts)
    assert apart.inward_max > 0.03  # the walls of the gap, out of reach
    assert 0.0075 - 1e-9 <= fit.inward_max <= 0.0075 * np.sqrt(2)  # more where two sides cross


def test_parts_do_not_hide_a_wide_gap_or_a_missing_hull():
    mesh, hulls, parts = fitted_rod(gap=0.012, hull_growth=0.0125)
    checks = hull_checks(measure_hulls(mesh, hulls, body="fit", parts=parts))
    assert {c.id for c in checks if c.verdict is Verdict.FAIL} >= {"H2", "H4"}
    lost = [(parts[0][0], parts[0][1][:-1]), parts[1]]
    checks = hull_checks(measure_hulls(mesh, [*lost[0][1], *lost[1][1]], body="fit", parts=lost))
    assert "H4" in {c.id for c in checks if c.verdict is Verdict.FAIL}
    with pytest.raises(HullFault, match="no hulls"):
        measure_hulls(mesh, hulls, body="fit", parts=[(parts[0][0], hulls), (parts[1][0], [])])


def test_open_and_inverted_meshes_are_refused():
    cube = mesh_of(box(0.1, 0.1, 0.1))
    with pytest.raises(HullFault, match="not closed"):
        measure_hulls(Mesh(cube.vertices, cube.faces[1:]), [cube], body="cube")
    with pytest.raises(HullFault, match="inside out"):
        measure_hulls(Mesh(cube.vertices, cube.faces[:, ::-1]), [cube], body="cube")
    with pytest.raises(HullFault, match="no hulls"):
        measure_hulls(cube, [], body="cube")


def test_samples_lie_on_the_surface_and_spread_by_area():
    vertices, faces = arrays(box(1.0, 1.0, 0.5))
    points = surface_samples(vertices, faces, 4000)
    on = np.abs(np.minimum(points, np.array([1, 1, 0.5]) - points)).min(axis=1)
    assert on.max() < 1e-12
    assert (points[:, 2] < 1e-9).mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(points, surface_samples(vertices, faces, 4000))
