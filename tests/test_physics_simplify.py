"""Simplification: fewer faces, the same solid, and an honest record when that is not possible."""

import numpy as np
import pytest

from generators.procedural import ProceduralGenerator
from generators.surface import SurfaceMethod, extract_surface, field_normals
from generators.volume import SparseVolume
from physics import truth as solids
from physics.check import Verdict, overall_verdict
from physics.errors import MeshError
from physics.mesh import Mesh
from physics.simplify import SimplifyConfig, sharpest_turn, simplify_mesh
from physics.slivers import flip_slivers
from physics.topology import trace_topology
from physics.validity import check_validity, face_quality
from scenegen.provenance import item_rng


def cup(count: int) -> SparseVolume:
    """A cup 0.16 m high with a wall of 5 mm: plane, ruled and sharp-edged parts."""
    h = 0.24 / count
    axis = -0.12 + h * np.arange(count + 1)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    r = np.hypot(x, y)
    field = np.maximum(np.maximum(r - 0.07, -np.maximum(r - 0.065, -0.07 - z)), np.abs(z) - 0.08)
    nodes = np.argwhere(np.abs(field) < 3 * h)
    values = field[tuple(nodes.T)].astype(np.float32)
    values[values == 0] = 1e-9
    return SparseVolume(nodes.astype(np.int32), values, h, (-0.12, -0.12, -0.12))


@pytest.mark.parametrize("method", tuple(SurfaceMethod))
@pytest.mark.parametrize("factor", [0.1, 0.25])
@pytest.mark.parametrize("count", [64, 96])
def test_extracted_cup_keeps_its_solid_with_a_tenth_of_the_faces(count, factor, method):
    volume = cup(count)
    mesh = extract_surface(volume, method=method)
    result = simplify_mesh(mesh, tolerance=factor * volume.voxel_size)
    assert not result.fallback and 0 < result.tolerance_used <= factor * volume.voxel_size
    assert len(result.mesh.faces) < len(mesh.faces) / 5
    assert abs(result.mesh.volume / mesh.volume - 1) < 0.005
    last = result.deviations[-1]
    assert (
        last.tolerance == result.tolerance_used and last.distance <= 2 * last.tolerance and not last.self_intersections
    )
    checks = check_validity(result.mesh, body="cup", declared_genus=0)
    assert overall_verdict(checks) in (Verdict.PASS, Verdict.WARN)
    assert result.mesh.normals is not None
    if method is SurfaceMethod.CUBES:  # on a diagonal the field is interpolated along it, not over the cell
        np.testing.assert_allclose(field_normals(volume, result.mesh.vertices), result.mesh.normals, atol=1e-6)


def test_vertices_are_a_subset_of_the_original():
    volume = cup(64)
    mesh = extract_surface(volume)
    result = simplify_mesh(mesh, tolerance=0.1 * volume.voxel_size)
    assert {tuple(v) for v in result.mesh.vertices.tolist()} <= {tuple(v) for v in mesh.vertices.tolist()}


def test_genus_and_shells_survive():
    torus = solids.torus().mesh
    result = simplify_mesh(torus, tolerance=1e-4)
    assert trace_topology(result.mesh.faces, len(result.mesh.vertices)).genus == 1


def test_too_large_a_tolerance_is_halved_and_recorded():
    sphere = solids.sphere(0.05, 96).mesh
    result = simplify_mesh(sphere, tolerance=2e-3)
    assert len(result.deviations) > 1
    assert all(attempt.reason for attempt in result.deviations[:-1])
    assert result.tolerance_used < 2e-3


def test_original_is_kept_and_said_so():
    sphere = solids.sphere(0.05, 48).mesh
    result = simplify_mesh(sphere, tolerance=0.04, config=SimplifyConfig(halvings=1))
    assert result.mesh is sphere and result.tolerance_used == 0
    assert result.fallback.startswith("not simplified after 2 attempts") and len(result.deviations) == 2


def test_same_input_gives_the_same_bytes():
    mesh = extract_surface(cup(64))
    assert simplify_mesh(mesh, tolerance=5e-4).mesh.digest == simplify_mesh(mesh, tolerance=5e-4).mesh.digest


@pytest.mark.parametrize("tolerance", [0.0, -1.0, np.nan, np.inf])
def test_refuses_a_meaningless_tolerance(tolerance):
    with pytest.raises(MeshError, match="tolerance > 0"):
        simplify_mesh(solids.box().mesh, tolerance=tolerance)


def test_refuses_an_open_mesh():
    box = solids.box().mesh
    with pytest.raises(MeshError, match="closed manifold"):
        simplify_mesh(Mesh(box.vertices, box.faces[1:]), tolerance=1e-4)


def test_flat_triangle_on_a_side_is_turned_away():
    """A vertex on the diagonal of a box side: one face has no height until its long edge is turned."""
    box = solids.box((1, 1, 1)).mesh
    vertices = np.vstack([box.vertices, box.vertices[box.faces[0][[0, 1]]].mean(axis=0)])
    a, b, c = box.faces[0]
    faces = np.vstack([box.faces[1:], [[a, 8, c], [8, b, c], [a, b, 8]]]).astype(np.int32)
    assert face_quality(vertices, faces)[1].min() == 0
    turned = flip_slivers(vertices, faces, face_height=1e-3)
    assert face_quality(vertices, turned)[1].min() > 0.1
    assert trace_topology(turned, 9).closed and Mesh(vertices, turned).volume == pytest.approx(1)


def test_sharpest_turn_of_a_box_is_a_right_angle():
    assert sharpest_turn(solids.box().mesh) == pytest.approx(np.pi / 2, abs=1e-12)


@pytest.mark.parametrize("angle", [0.05, 0.3, 0.7])
def test_sharpest_turn_of_a_wedge_is_that_of_its_blade(angle):
    assert sharpest_turn(wedge(angle)) == pytest.approx(np.pi - angle, abs=1e-9)


def test_blade_of_the_original_may_stay():
    assert not simplify_mesh(wedge(0.2), tolerance=1e-5).fallback


def test_collapse_that_folds_the_surface_is_refused():
    """A board that meets a panel a hundredth of a voxel off: a full collapse leaves a blade 0.5 um thick there."""
    shelf = ProceduralGenerator().generate("shelf", rng=item_rng(1, "object_00012", "generate"), resolution=128)
    volume = shelf.bodies[0].parts[0].volume
    mesh = extract_surface(volume)
    result = simplify_mesh(mesh, tolerance=0.1 * volume.voxel_size)
    assert "folds back" in result.deviations[0].reason
    assert not result.fallback
    (wall,) = (c for c in check_validity(result.mesh, body="shelf", declared_genus=None) if c.id == "G7")
    assert wall.value > 0.02 and wall.verdict is Verdict.PASS


def wedge(angle: float) -> Mesh:
    """A prism over a triangle with one sharp corner [rad]."""
    tip, long, wide = (0.0, 0.0), (0.1, 0.0), (0.1, 0.1 * np.tan(angle))
    vertices = np.array([(*corner, z) for z in (0.0, 0.05) for corner in (tip, long, wide)])
    sides = [face for k in range(3) for face in ((k, (k + 1) % 3, (k + 1) % 3 + 3), (k, (k + 1) % 3 + 3, k + 3))]
    return Mesh(vertices, np.array([(0, 2, 1), (3, 4, 5), *sides], dtype=np.int32))
