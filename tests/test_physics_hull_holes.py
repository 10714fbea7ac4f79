"""Narrow holes in thin sheets: found at their own scale, and hulls that close them never pass unseen."""

from __future__ import annotations

import manifold3d as m3
import numpy as np
import pytest

from physics.check import Verdict, overall_verdict
from physics.hull_error import arrays, hull_checks, measure_hulls
from physics.hull_holes import HoleConfig, NarrowHoles, narrow_holes
from physics.mesh import Mesh

SOLID = m3.Manifold


def plate(thickness: float = 0.02) -> SOLID:
    return SOLID.cube((1.0, 0.8, thickness), True)


def drill(radius: float, at: tuple[float, float] = (0.0, 0.0)) -> SOLID:
    return SOLID.cylinder(1.0, radius, circular_segments=24, center=True).translate((*at, 0.0))


def holes_of(solid: SOLID, hulls: list[SOLID]) -> NarrowHoles:
    return narrow_holes(*arrays(solid), [arrays(hull) for hull in hulls], config=HoleConfig())


def mesh_of(solid: SOLID) -> Mesh:
    vertices, faces = arrays(solid)
    return Mesh(vertices, faces.astype(np.int32))


@pytest.mark.parametrize("radius", [0.004, 0.01, 0.018])
@pytest.mark.parametrize("turn", [(0, 0, 0), (35, 20, 50)])
def test_a_closed_hole_in_a_sheet_is_seen_at_its_width(radius, turn):
    sheet = (plate() - drill(radius)).rotate(turn)
    found = holes_of(sheet, [plate().rotate(turn)])
    assert (found.found, found.closed) == (1, 1)
    assert found.widest_closed == pytest.approx(2 * radius, rel=0.1)


def test_holes_that_stay_open_are_not_closed():
    sheet = plate() - drill(0.015) - drill(0.012, (0.3, 0.2))
    halves = [sheet.trim_by_plane((side, 0, 0), 0.0).hull() for side in (1, -1)]
    assert holes_of(sheet, halves) == NarrowHoles(2, 2, pytest.approx(0.03, rel=0.1))
    frame = [
        SOLID.cube((x, y, 0.02), True).translate((u, v, 0.0))
        for x, y, u, v in (
            (0.484, 0.8, -0.258, 0.0),
            (0.484, 0.8, 0.258, 0.0),
            (0.04, 0.38, 0.0, 0.21),
            (0.04, 0.38, 0.0, -0.21),
        )
    ]
    kept = holes_of(sheet, frame)
    assert (kept.found, kept.closed) == (2, 1)
    assert kept.widest_closed == pytest.approx(0.024, rel=0.1)


def test_wide_holes_grooves_and_blind_holes_are_none():
    groove = SOLID.cube((2.0, 0.02, 0.02), True).translate((0.0, 0.0, 0.01))
    blind = drill(0.015).translate((0.3, 0.2, 0.5))
    slit = SOLID.cube((0.5, 0.02, 1.0), True).translate((0.5, -0.2, 0.0))
    for solid in (plate() - drill(0.05), plate() - groove, plate(0.06) - blind, plate() - slit, plate()):
        assert holes_of(solid, [solid.hull()]).found == 0


def test_a_sheet_whose_screw_hole_is_closed_does_not_pass():
    sheet = mesh_of(plate() - drill(0.012))
    checks = hull_checks(measure_hulls(sheet, [mesh_of(plate())], body="sheet", graspable=False))
    closed = [check for check in checks if "narrow" in check.name]
    assert [check.verdict for check in closed] == [Verdict.WARN]
    assert closed[0].value == pytest.approx(0.024, rel=0.1)
    assert "1 of 1" in closed[0].detail
    assert overall_verdict(checks) is Verdict.WARN


@pytest.mark.parametrize("gap", [1e-6, 3e-4, 2e-3])
def test_the_fit_of_two_parts_is_no_hole(gap):
    """A pin in a board: the gap about it is closed by any hulls, and the board beside it is no gap at all."""
    board, pin = plate(0.2) - drill(0.05), SOLID.cylinder(0.4, 0.05 - gap, circular_segments=24, center=True)
    hulls = [arrays(plate(0.2)), arrays(pin)]
    found = narrow_holes(*arrays(board + pin), hulls, config=HoleConfig(), parts=2)
    assert found == NarrowHoles(0, 0, 0.0)


def test_a_hole_between_two_parts_is_seen():
    """Wider than a fit: what passes there would be stopped by hulls that close it."""
    board, pin = plate(0.02) - drill(0.05), SOLID.cylinder(0.04, 0.03, circular_segments=24, center=True)
    hulls = [arrays(plate(0.02)), arrays(pin)]
    found = narrow_holes(*arrays(board + pin), hulls, config=HoleConfig(), parts=2)
    assert found.closed > 0 and found.widest_closed == pytest.approx(0.02, rel=0.15)


def test_material_beside_a_gap_too_narrow_for_a_ray_is_no_hole():
    board = plate(0.2) - SOLID.cube((1e-6, 0.3, 1.0), True).translate((0.48, 0.0, 0.0))
    found = narrow_holes(*arrays(board), [arrays(plate(0.2))], config=HoleConfig())
    assert found.widest_closed < 1e-4
