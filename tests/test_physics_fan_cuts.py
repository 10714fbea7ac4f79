"""Cuts through an axis of rotation: the axis that is known is found, and bodies without one are left alone."""

from __future__ import annotations

import manifold3d as m3
import numpy as np
import pytest

from physics.convex import solid_arrays
from physics.fan_cuts import FanConfig, fan_planes
from physics.plane_cuts import CutConfig, Group, cut_solid

AXES = np.eye(3)[::-1]
SOLID = m3.Manifold


def planes_of(solid: SOLID, **options: float) -> list:
    return fan_planes(*solid_arrays(solid), AXES, FanConfig(**options))


def groups_of(solid: SOLID, config: CutConfig) -> list[Group]:
    return cut_solid(solid, config).groups()


def tube(radius: float, wall: float, height: float) -> SOLID:
    return SOLID.cylinder(height, radius, circular_segments=96) - SOLID.cylinder(
        3 * height, radius - wall, circular_segments=96
    ).translate((0, 0, -height))


def bowl() -> SOLID:
    return (SOLID.sphere(0.5, 64) - SOLID.sphere(0.46, 64)).trim_by_plane((0, 0, -1), 0.0)


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.0), (0.3, -0.2, 0.1)])
def test_planes_pass_through_the_axis_of_a_tube(place):
    planes = planes_of(tube(0.5, 0.04, 0.3).translate(place))
    assert len(planes) >= 2
    for normal, offset in planes:
        assert abs(normal[2]) < 1e-9
        assert normal @ np.array(place) == pytest.approx(offset, abs=1e-3)


def test_a_handle_does_not_move_the_axis():
    handle = SOLID.cube((0.25, 0.06, 0.2)).translate((0.45, -0.03, 0.05))
    planes = planes_of(tube(0.5, 0.04, 0.4) + handle)
    assert len(planes) >= 2
    assert max(abs(offset) for _, offset in planes) < 0.01


def test_wedges_have_the_wanted_sagitta():
    for sagitta in (0.01, 0.02, 0.04):
        wedges = 2 * len(planes_of(tube(0.5, 0.04, 0.3), sagitta=sagitta, most_wedges=64))
        assert 0.46 * (1 - np.cos(np.pi / wedges)) <= sagitta
        assert 0.46 * (1 - np.cos(np.pi / (wedges - 2))) > sagitta


def test_bodies_without_a_hollow_about_an_axis_are_left_alone():
    box = SOLID.cube((1, 0.6, 0.4), True)
    assert planes_of(box) == []
    assert planes_of(SOLID.cylinder(0.4, 0.5, circular_segments=64)) == []
    assert planes_of(box - SOLID.cube((0.9, 0.5, 0.4), True).translate((0, 0, 0.05))) == []


def test_boards_between_two_sides_do_not_turn():
    """Faces across an axis turn about all axes beside it, and so do the middles of large flat faces."""
    sides = SOLID.cube((0.37, 0.03, 1.0)) + SOLID.cube((0.37, 0.03, 1.0)).translate((0, 0.75, 0))
    boards = [SOLID.cube((0.37, 0.78, 0.03)).translate((0, 0, z)) for z in (0.05, 0.35, 0.65, 0.95)]
    shelf = sides
    for board in boards:
        shelf += board
    assert planes_of(shelf) == []
    assert len(groups_of(shelf, CutConfig())) <= 8


def test_part_of_a_ring_is_cut_within_its_arc():
    half = tube(0.5, 0.05, 0.2).trim_by_plane((1, 0, 0), 0.0)
    planes = planes_of(half)
    assert len(planes) >= 3
    for normal, offset in planes:
        sides = half.split_by_plane(tuple(normal), offset)
        assert min(side.volume() for side in sides) > 0.01 * half.volume()


def test_a_fan_needs_fewer_hulls_on_a_bowl():
    with_fan, without = (len(groups_of(bowl(), CutConfig(fan=fan))) for fan in (FanConfig(), None))
    assert with_fan <= without


def test_one_result_for_one_input():
    first, second = (groups_of(bowl(), CutConfig()) for _ in range(2))
    assert len(first) == len(second)
    assert all(np.array_equal(p.points, q.points) for p, q in zip(first, second, strict=True))


def test_closer_cuts_go_on_from_the_pieces_of_wider_ones():
    wide = cut_solid(bowl(), CutConfig())
    closer = cut_solid(bowl(), CutConfig(target_distance=0.015), wide)
    assert closer.coarse is wide.coarse and len(closer.pieces) > len(wide.pieces)
    kept = {id(piece) for piece in wide.pieces} & {id(piece) for piece in closer.pieces}
    assert kept and all(piece.standoff <= 0.015 for piece in closer.pieces if id(piece) in kept)
    again = cut_solid(bowl(), CutConfig(faces=400), wide)  # simplified otherwise: the pieces are of another solid
    assert again.coarse is not wide.coarse
