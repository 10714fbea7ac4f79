"""Mass, centre of mass and inertia against closed forms and the laws that they obey."""

from __future__ import annotations

import numpy as np
import pytest

from physics import truth as solids
from physics.errors import MassError
from physics.mass import MassProperties, combine_masses, integrate_mesh
from physics.mesh import Mesh
from physics.pose import Pose

SOLIDS = {solid.name: solid for solid in solids.all_solids()}


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def transformed(mesh: Mesh, X: Pose, scale: float = 1.0) -> Mesh:
    return Mesh(X.apply(mesh.vertices * scale), mesh.faces)


@pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)
def test_closed_forms(solid: solids.Solid) -> None:
    density = 700.0
    found = integrate_mesh(solid.mesh, density=density)
    tolerance = 1e-12 if solid.exact else 0.02
    assert found.mass == pytest.approx(density * solid.volume, rel=tolerance)
    np.testing.assert_allclose(found.com, solid.com, atol=tolerance * solid.mesh.extents.max())
    assert relative(found.inertia, density * solid.inertia) < 3 * tolerance


@pytest.mark.parametrize("make", [solids.sphere, solids.torus, solids.hemisphere])
def test_smooth_bodies_are_approached_as_the_square_of_the_segment(make) -> None:
    coarse, fine = make(segments=32), make(segments=64)
    errors = [relative(integrate_mesh(s.mesh, density=1.0).inertia, s.inertia) for s in (coarse, fine)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)
@pytest.mark.parametrize("scale", [1e-3, 0.1, 7.0])
def test_scaling(solid: solids.Solid, scale: float) -> None:
    base = integrate_mesh(solid.mesh, density=1000.0)
    scaled = integrate_mesh(transformed(solid.mesh, Pose.identity(), scale), density=1000.0)
    assert scaled.mass == pytest.approx(scale**3 * base.mass, rel=1e-10)
    assert relative(scaled.inertia, scale**5 * base.inertia) < 1e-10
    doubled = integrate_mesh(solid.mesh, density=2000.0)
    assert doubled.mass == pytest.approx(2 * base.mass, rel=1e-12)
    assert relative(doubled.inertia, 2 * base.inertia) < 1e-12


@pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)
def test_turning_and_moving_the_mesh_turns_and_moves_the_body(solid: solids.Solid) -> None:
    rng = np.random.default_rng(5)
    base = integrate_mesh(solid.mesh, density=1000.0)
    for _ in range(4):
        X = Pose(rng.uniform(-1, 1, 3), Pose.random_rotation(rng).quaternion)
        found, expected = integrate_mesh(transformed(solid.mesh, X), density=1000.0), base.moved(X)
        assert found.mass == pytest.approx(expected.mass, rel=1e-9)
        np.testing.assert_allclose(found.com, expected.com, atol=1e-9)
        assert relative(found.inertia, expected.inertia) < 1e-9
        np.testing.assert_allclose(found.principal_moments, base.principal_moments, rtol=1e-8)


def test_far_from_the_origin_nothing_is_lost() -> None:
    solid = solids.box((0.01, 0.02, 0.03))
    far = integrate_mesh(solid.mesh.translated(np.array([100.0, -50.0, 20.0])), density=1000.0)
    assert relative(far.inertia, 1000 * solid.inertia) < 1e-8


def test_parts_combine_to_the_whole() -> None:
    whole = integrate_mesh(solids.box((0.2, 0.1, 0.1)).mesh, density=800.0)
    half = solids.box((0.1, 0.1, 0.1)).mesh
    halves = [integrate_mesh(half.translated(np.array([x, 0, 0])), density=800.0) for x in (-0.05, 0.05)]
    found = combine_masses(halves)
    assert found.mass == pytest.approx(whole.mass)
    np.testing.assert_allclose(found.com, whole.com, atol=1e-15)
    assert relative(found.inertia, whole.inertia) < 1e-12
    with pytest.raises(MassError, match="no parts"):
        combine_masses([])


def test_a_cavity_is_subtracted() -> None:
    outer, inner = solids.box((0.1,) * 3).mesh, solids.box((0.05,) * 3).mesh
    hollow = Mesh(
        np.vstack([outer.vertices, inner.vertices]),
        np.vstack([outer.faces, inner.faces[:, ::-1] + len(outer.vertices)]),
    )
    assert integrate_mesh(hollow, density=1000.0).mass == pytest.approx(1.0 - 0.125)


@pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)
def test_principal_pose_diagonalises(solid: solids.Solid) -> None:
    turned = transformed(solid.mesh, Pose.from_axis_angle(np.array([1, 2, 3]), 1.1))
    found = integrate_mesh(turned, density=1000.0)
    axes = found.principal_pose.rotation
    assert np.linalg.det(axes) == pytest.approx(1.0)
    off = axes.T @ found.inertia @ axes - np.diag(found.principal_moments)
    assert np.abs(off).max() < 1e-12 * found.principal_moments.max()
    np.testing.assert_array_equal(found.principal_pose.position, found.com)


def test_refusals() -> None:
    box = solids.box().mesh
    with pytest.raises(MassError, match="wound inward"):
        integrate_mesh(Mesh(box.vertices, box.faces[:, ::-1]), density=1.0)
    for density in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(MassError, match="density is"):
            integrate_mesh(box, density=density)
    with pytest.raises(MassError, match="mass is 0 kg"):
        MassProperties(0.0, np.zeros(3), np.eye(3))
    with pytest.raises(MassError, match="not finite"):
        MassProperties(1.0, np.array([0, 0, np.nan]), np.eye(3))
    with pytest.raises(MassError, match="not symmetric"):
        MassProperties(1.0, np.zeros(3), np.eye(3) + np.triu(np.ones((3, 3)), 1))
    with pytest.raises(MassError, match="shapes"):
        MassProperties(1.0, np.zeros(2), np.eye(3))
