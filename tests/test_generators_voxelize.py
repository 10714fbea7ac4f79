"""Foreign meshes: mesh -> volume -> mesh keeps the solid; holes, soups and overlaps become one; refusals."""

import numpy as np
import pytest

from generators.errors import VolumeError
from generators.surface import extract_surface
from generators.voxelize import unresolved_area, voxelize_mesh
from physics import truth as solids
from physics.check import Verdict, overall_verdict
from physics.mesh import Mesh
from physics.validity import check_validity

BOX = solids.box()


def round_trip(mesh: Mesh, volume: float, *, genus: int = 0, resolution: int = 48, tolerance: float = 0.01) -> None:
    band = voxelize_mesh(mesh, resolution=resolution)
    surface = extract_surface(band)
    checks = check_validity(surface, body="b", declared_genus=genus)
    assert overall_verdict(checks) in (Verdict.PASS, Verdict.WARN), [c.describe() for c in checks]
    assert surface.volume == pytest.approx(volume, rel=tolerance)
    assert unresolved_area(mesh, surface, reach=band.voxel_size).share == 0


@pytest.mark.parametrize(
    "solid",
    [BOX, solids.l_bar(), solids.cylinder(), solids.cone(), solids.sphere(segments=32), solids.torus(segments=48)],
    ids=lambda solid: solid.name,
)
def test_round_trip_keeps_volume_and_genus(solid):
    round_trip(solid.mesh, solid.mesh.volume, genus=solid.genus)


def test_values_are_the_exact_distance():
    band = voxelize_mesh(BOX.mesh, resolution=40)
    points = band.voxel_size * band.coords + np.array(band.origin)
    q = np.abs(points) - np.array([0.05, 0.03, 0.015])
    exact = np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)
    np.testing.assert_allclose(band.values, exact, atol=1e-6 * band.voxel_size + 1e-9)
    assert np.abs(exact).max() < 3 * band.voxel_size


def test_separate_triangles_are_no_obstacle():
    soup = Mesh(BOX.mesh.triangles.reshape(-1, 3), np.arange(36, dtype=np.int32).reshape(12, 3))
    round_trip(soup, BOX.volume)


def test_small_and_wide_holes_are_capped():
    round_trip(Mesh(BOX.mesh.vertices, BOX.mesh.faces[1:]), BOX.volume)
    can = solids.cylinder().mesh
    lid = (can.triangles[:, :, 2] > 0.0999).all(axis=1)
    round_trip(Mesh(can.vertices, can.faces[~lid]), can.volume, tolerance=0.02)


def test_overlapping_parts_become_one():
    box = BOX.mesh
    both = Mesh(
        np.vstack([box.vertices, box.translated(np.array([0.05, 0.01, 0.01])).vertices]),
        np.vstack([box.faces, box.faces + 8]).astype(np.int32),
    )
    round_trip(both, 2 * BOX.volume - 0.05 * 0.05 * 0.02, tolerance=0.02)


def test_cavity_stays_a_cavity():
    box = BOX.mesh
    hollow = Mesh(
        np.vstack([box.vertices, box.vertices * 0.5]), np.vstack([box.faces, box.faces[:, ::-1] + 8]).astype(np.int32)
    )
    surface = extract_surface(voxelize_mesh(hollow, resolution=64))
    checks = check_validity(surface, body="b", declared_cavities=1)
    assert not [check for check in checks if check.verdict is Verdict.FAIL]
    assert surface.volume == pytest.approx(BOX.volume * 7 / 8, rel=0.02)


def test_lost_parts_are_measured():
    """A plate thinner than a voxel beside a cube: the share of its area is reported."""
    cube = solids.box((0.04, 0.04, 0.04)).mesh
    plate = solids.box((0.04, 0.04, 4e-4)).mesh.translated(np.array([0.06, 0, 0.0002]))
    both = Mesh(np.vstack([cube.vertices, plate.vertices]), np.vstack([cube.faces, plate.faces + 8]).astype(np.int32))
    band = voxelize_mesh(both, resolution=40)
    share = unresolved_area(both, extract_surface(band), reach=band.voxel_size)
    assert share.walls == pytest.approx(plate.area / both.area, rel=0.3) and share.gaps == 0


def test_a_gap_that_is_closed_is_no_lost_wall():
    """Two cubes a fiftieth of a voxel apart: what faces the gap lies within the solid."""
    cube = solids.box((0.04, 0.04, 0.04)).mesh
    beside = cube.translated(np.array([0.04004, 0, 0]))
    both = Mesh(np.vstack([cube.vertices, beside.vertices]), np.vstack([cube.faces, beside.faces + 8]).astype(np.int32))
    band = voxelize_mesh(both, resolution=40)
    share = unresolved_area(both, extract_surface(band), reach=band.voxel_size)
    assert share.gaps == pytest.approx(2 / 12, rel=1e-3) and share.walls == 0


def test_size_and_place_change_nothing():
    small = voxelize_mesh(BOX.mesh, resolution=32)
    large = voxelize_mesh(Mesh(BOX.mesh.vertices * 16 + 8, BOX.mesh.faces), resolution=32)
    np.testing.assert_array_equal(small.coords, large.coords)
    np.testing.assert_allclose(large.values, small.values * 16, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("mesh", "options", "text"),
    [
        (Mesh(BOX.mesh.vertices, BOX.mesh.faces[:, ::-1]), {"resolution": 32}, "inside out"),
        (BOX.mesh, {"resolution": 2}, "resolution must be"),
        (BOX.mesh, {"resolution": 32, "band_voxels": 1.0}, "band_voxels"),
        (BOX.mesh, {"resolution": 32, "winding_threshold": 1.0}, "winding_threshold"),
        (Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]], dtype=np.int32)), {"resolution": 32}, "no extent"),
        (Mesh(BOX.mesh.vertices, BOX.mesh.faces[:1]), {"resolution": 32}, "inside"),
    ],
)
def test_refusals(mesh, options, text):
    with pytest.raises(VolumeError, match=text):
        voxelize_mesh(mesh, **options)
