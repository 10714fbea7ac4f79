"""Rigid transforms form a group and act as rotation matrices do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from physics.errors import PhysicsError
from physics.pose import Pose

SEEDS = range(8)


def random_pose(rng: np.random.Generator) -> Pose:
    return Pose(rng.standard_normal(3), Pose.random_rotation(rng).quaternion)


def same(a: Pose, b: Pose) -> None:
    np.testing.assert_allclose(a.position, b.position, atol=1e-12)
    np.testing.assert_allclose(a.rotation, b.rotation, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_group_axioms(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (random_pose(rng) for _ in range(3))
    same(a.compose(b).compose(c), a.compose(b.compose(c)))
    same(a.compose(Pose.identity()), a)
    same(Pose.identity().compose(a), a)
    same(a.compose(a.inverse()), Pose.identity())
    same(a.inverse().compose(a), Pose.identity())
    same(a.compose(b).inverse(), b.inverse().compose(a.inverse()))


@pytest.mark.parametrize("seed", SEEDS)
def test_action(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, points = random_pose(rng), random_pose(rng), rng.standard_normal((5, 3))
    np.testing.assert_allclose(a.compose(b).apply(points), a.apply(b.apply(points)), atol=1e-12)
    np.testing.assert_allclose(a.inverse().apply(a.apply(points)), points, atol=1e-12)
    np.testing.assert_allclose(a.rotate(points), a.apply(points) - a.position, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_agrees_with_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_pose(rng), random_pose(rng)
    w, x, y, z = a.quaternion
    np.testing.assert_allclose(a.rotation, Rotation.from_quat([x, y, z, w]).as_matrix(), atol=1e-12)
    relative = Rotation.from_matrix(a.rotation.T @ b.rotation)
    assert a.angle_to(b) == pytest.approx(relative.magnitude(), abs=1e-9)
    same(Pose.from_matrix(a.rotation, a.position), a)


@pytest.mark.parametrize("seed", SEEDS)
def test_half_way_is_as_far_from_both(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_pose(rng), random_pose(rng)
    middle = a.half_way(b)
    assert a.angle_to(middle) == pytest.approx(a.angle_to(b) / 2, abs=1e-9)
    assert b.angle_to(middle) == pytest.approx(a.angle_to(b) / 2, abs=1e-9)
    np.testing.assert_allclose(middle.position, (a.position + b.position) / 2)
    same(b.half_way(a), middle)
    same(a.half_way(Pose(b.position, -b.quaternion)), middle)  # the other name of the same rotation


@pytest.mark.parametrize("axis", np.vstack([np.eye(3), -np.eye(3), [[1, 1, 1]]]))
@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.5, np.pi / 2, np.pi - 1e-9, np.pi])
def test_axis_angle_and_matrix_round_trip(axis: np.ndarray, angle: float) -> None:
    pose = Pose.from_axis_angle(axis, angle, np.array([1.0, 2.0, 3.0]))
    unit = axis / np.linalg.norm(axis)
    np.testing.assert_allclose(pose.rotation, Rotation.from_rotvec(unit * angle).as_matrix(), atol=1e-12)
    same(Pose.from_matrix(pose.rotation, pose.position), pose)
    assert Pose.identity().angle_to(pose) == pytest.approx(angle, abs=1e-8)


def test_random_rotations_are_uniform() -> None:
    rng = np.random.default_rng(0)
    turned = np.array([Pose.random_rotation(rng).rotation[:, 2] for _ in range(4000)])
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(turned.T @ turned / len(turned), np.eye(3) / 3, atol=0.03)


@pytest.mark.parametrize(
    ("position", "quaternion", "message"),
    [
        ([0, 0], [1, 0, 0, 0], "shapes"),
        ([0, 0, np.nan], [1, 0, 0, 0], "not finite"),
        ([0, 0, 0], [1, 0, 0, 1e-3], "norm"),
        ([0, 0, 0], [0, 0, 0, 0], "norm"),
    ],
)
def test_refusals(position: list, quaternion: list, message: str) -> None:
    with pytest.raises(PhysicsError, match=message):
        Pose(np.array(position, dtype=float), np.array(quaternion, dtype=float))


def test_poses_are_read_only() -> None:
    pose = Pose.translation(1, 2, 3)
    with pytest.raises(ValueError, match="read-only"):
        pose.position[0] = 5
