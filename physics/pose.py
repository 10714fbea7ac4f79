"""Rigid transforms: a position and a unit quaternion (w, x, y, z)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.errors import PhysicsError

UNIT_NORM_TOLERANCE = 1e-9
"""How far from 1 the norm of a quaternion may be [1]."""


def frozen(array: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Return a read-only, contiguous copy of an array."""
    copy = np.array(array, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


@dataclass(frozen=True, eq=False)
class Pose:
    """The pose X_AB of frame B in frame A: `p_A = R_AB p_B + t`."""

    position: Float64[np.ndarray, "3"]
    """Origin of B in A [m]."""
    quaternion: Float64[np.ndarray, "4"]
    """Orientation of B in A, (w, x, y, z), unit norm [1]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", frozen(self.position))
        object.__setattr__(self, "quaternion", frozen(self.quaternion))
        if self.position.shape != (3,) or self.quaternion.shape != (4,):
            raise PhysicsError(f"Pose needs shapes (3,) and (4,), got {self.position.shape}, {self.quaternion.shape}")
        if not (np.isfinite(self.position).all() and np.isfinite(self.quaternion).all()):
            raise PhysicsError(f"Pose is not finite: position {self.position}, quaternion {self.quaternion}")
        norm = float(np.linalg.norm(self.quaternion))
        if abs(norm - 1.0) > UNIT_NORM_TOLERANCE:
            raise PhysicsError(f"Pose quaternion has norm {norm:.12g}, expected 1 within {UNIT_NORM_TOLERANCE:g}")

    @classmethod
    def identity(cls) -> Pose:
        """Return the pose that changes nothing."""
        return cls(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))

    @classmethod
    def translation(cls, x: float, y: float, z: float) -> Pose:
        """Return a pure translation [m]."""
        return cls(np.array([x, y, z]), np.array([1.0, 0.0, 0.0, 0.0]))

    @classmethod
    def from_quaternion(cls, quaternion: np.ndarray, position: np.ndarray | None = None) -> Pose:
        """Return a pose from a quaternion of any non-zero norm (engines round theirs)."""
        q = np.asarray(quaternion, dtype=np.float64)
        return cls(np.zeros(3) if position is None else position, q / np.linalg.norm(q))

    @classmethod
    def from_axis_angle(cls, axis: np.ndarray, angle: float, position: np.ndarray | None = None) -> Pose:
        """Return a turn by `angle` [rad] about `axis`."""
        axis = np.asarray(axis, dtype=np.float64)
        axis = axis / np.linalg.norm(axis)
        return cls.from_quaternion(np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * axis]), position)

    @classmethod
    def from_matrix(cls, rotation: np.ndarray, position: np.ndarray | None = None) -> Pose:
        """Return a pose from a rotation matrix (3, 3), by the largest of the four squared components (Shepperd)."""
        r = np.asarray(rotation, dtype=np.float64)
        squares = np.array(
            [
                1 + r[0, 0] + r[1, 1] + r[2, 2],
                1 + r[0, 0] - r[1, 1] - r[2, 2],
                1 - r[0, 0] + r[1, 1] - r[2, 2],
                1 - r[0, 0] - r[1, 1] + r[2, 2],
            ]
        )
        largest = int(np.argmax(squares))
        s = squares[largest]
        rows = (
            [s, r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], s, r[1, 0] + r[0, 1], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[1, 0] + r[0, 1], s, r[2, 1] + r[1, 2]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[2, 1] + r[1, 2], s],
        )
        return cls.from_quaternion(np.array(rows[largest]), position)

    @classmethod
    def random_rotation(cls, rng: np.random.Generator) -> Pose:
        """Return a uniformly random orientation (Marsaglia: a normalised Gaussian 4-vector)."""
        return cls.from_quaternion(rng.standard_normal(4))

    @property
    def rotation(self) -> Float64[np.ndarray, "3 3"]:
        """Rotation matrix R_AB."""
        w, x, y, z = self.quaternion
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 3) from B to A [m]."""
        return np.asarray(points) @ self.rotation.T + self.position

    def rotate(self, vectors: np.ndarray) -> np.ndarray:
        """Map directions (..., 3) from B to A."""
        return np.asarray(vectors) @ self.rotation.T

    def compose(self, other: Pose) -> Pose:
        """Return X_AC from this X_AB and the other X_BC."""
        w1, x1, y1, z1 = self.quaternion
        w2, x2, y2, z2 = other.quaternion
        product = np.array(
            [
                w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
                w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
                w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
                w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
            ]
        )
        return Pose.from_quaternion(product, self.apply(other.position))

    def inverse(self) -> Pose:
        """Return X_BA."""
        w, x, y, z = self.quaternion
        conjugate = Pose.from_quaternion(np.array([w, -x, -y, -z]))
        return Pose(-conjugate.rotate(self.position), conjugate.quaternion)

    def half_way(self, other: Pose) -> Pose:
        """Return the pose in the middle: the mean of the positions, and half of the shorter turn."""
        nearer = other.quaternion if self.quaternion @ other.quaternion >= 0 else -other.quaternion
        return Pose.from_quaternion(self.quaternion + nearer, (self.position + other.position) / 2)

    def angle_to(self, other: Pose) -> float:
        """Return the angle of the rotation between two orientations [rad], in [0, pi]."""
        relative = self.inverse().compose(other).quaternion
        return float(2 * np.arctan2(np.linalg.norm(relative[1:]), abs(relative[0])))
