"""The mesh record: integrals of closed forms, laws of motion, refusals."""

import numpy as np
import pytest

from physics import truth as solids
from physics.errors import MeshError
from physics.mesh import Mesh


@pytest.mark.parametrize("solid", solids.all_solids(), ids=lambda solid: solid.name)
def test_volume_matches_the_closed_form(solid):
    assert solid.mesh.volume == pytest.approx(solid.volume, rel=1e-12 if solid.exact else 5e-3)


def test_area_extents_bounds():
    mesh = solids.box((0.1, 0.06, 0.03)).mesh
    assert mesh.area == pytest.approx(2 * (0.1 * 0.06 + 0.1 * 0.03 + 0.06 * 0.03))
    np.testing.assert_allclose(mesh.extents, [0.1, 0.06, 0.03])
    np.testing.assert_allclose(mesh.bounds, np.array([[-0.05, -0.03, -0.015], [0.05, 0.03, 0.015]]))


def test_motion_keeps_volume_even_far_away():
    mesh = solids.torus().mesh
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    moved = mesh.rotated(turn).translated(np.array([1e4, -1e4, 1e4]))
    assert moved.volume == pytest.approx(mesh.volume, rel=1e-6)


def test_volume_scales_with_the_cube_and_changes_sign_inside_out():
    mesh = solids.l_bar().mesh
    assert Mesh(mesh.vertices * 2, mesh.faces).volume == pytest.approx(8 * mesh.volume)
    assert Mesh(mesh.vertices, mesh.faces[:, ::-1]).volume == pytest.approx(-mesh.volume)


def test_normals_turn_with_the_mesh():
    mesh = solids.sphere().mesh
    normals = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = Mesh(mesh.vertices, mesh.faces, normals).rotated(turn)
    assert turned.normals is not None
    np.testing.assert_allclose(turned.normals * 0.05, turned.vertices, atol=1e-12)


def test_digest_sees_every_bit_and_arrays_are_read_only():
    mesh = solids.box().mesh
    vertices = mesh.vertices.copy()
    vertices[0, 0] = np.nextafter(vertices[0, 0], 1)
    assert Mesh(vertices, mesh.faces).digest != mesh.digest == solids.box().mesh.digest
    with pytest.raises(ValueError, match="read-only"):
        mesh.vertices[0, 0] = 1


@pytest.mark.parametrize(
    ("vertices", "faces", "text"),
    [
        (np.zeros((4, 2)), np.zeros((1, 3)), "shape"),
        (np.zeros((4, 3)), np.zeros((1, 4)), "shape"),
        (np.full((4, 3), np.nan), np.array([[0, 1, 2]]), "vertex 0 is not finite"),
        (np.zeros((3, 3)), np.array([[0, 1, 3]]), "mesh has 3 vertices"),
        (np.zeros((3, 3)), np.array([[0, 1, -1]]), "mesh has 3 vertices"),
    ],
)
def test_refusals(vertices, faces, text):
    with pytest.raises(MeshError, match=text):
        Mesh(vertices, faces)
