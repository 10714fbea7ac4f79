"""What is dropped: a body, the rules, and the lengths and times that all its drops share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64
from scipy.spatial import ConvexHull

from physics.drop_record import DropConfig, Start
from physics.engine import Placement, World
from physics.errors import ModelError
from physics.materials import Material
from physics.model import Body, Model
from physics.pose import Pose
from physics.stable_poses import (
    StablePose,
    StablePoseConfig,
    angles_between,
    hull_vertices,
    nearest_stable,
    pose_on_plane,
    stable_poses,
)
from physics.support import support_margin

SUBJECT = "object"
"""Name of the dropped model in its world."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A one-body model with the quantities that all its drops share."""

    model: Model
    config: DropConfig
    symmetry_axis: Float64[np.ndarray, "3"] | None = None
    """Declared axis of revolution in B, or None."""

    def __post_init__(self) -> None:
        if len(self.model.bodies) != 1:
            raise ModelError(
                f"model {self.model.name!r} has {len(self.model.bodies)} bodies; drop tests take one so far"
            )
        if self.symmetry_axis is not None:
            axis = np.asarray(self.symmetry_axis, dtype=np.float64)
            if axis.shape != (3,) or not np.isclose(np.linalg.norm(axis), 1.0):
                raise ModelError(f"model {self.model.name!r}: symmetry_axis {axis} is not a unit vector of length 3")

    @property
    def body(self) -> Body:
        """The body."""
        return self.model.root

    @cached_property
    def corners(self) -> Float64[np.ndarray, "V 3"]:
        """Corners of the convex hull of the collision geometry, in B [m]."""
        return hull_vertices(self.body)

    @cached_property
    def poses(self) -> tuple[StablePose, ...]:
        """Stable poses, most probable first."""
        return stable_poses(self.body)

    def nearest_pose(self, down: np.ndarray) -> tuple[int, float]:
        """Return the index of the stable pose nearest to a gravity direction in B, and the angle to it [rad].

        The angle is 0 for a ball, which has no other poses than stable ones. Turns about a declared axis of revolution
        do not count: a body that rolls need not lie on a facet of its hulls.
        """
        index, angle = nearest_stable(self.poses, down, self.corners - self.body.inertial.com)
        if self.ball:
            return index, 0.0
        if self.symmetry_axis is not None:
            tilts = np.arcsin(
                np.clip(np.concatenate([pose.members for pose in self.poses]) @ self.symmetry_axis, -1, 1)
            )
            own = np.arcsin(np.clip(down @ self.symmetry_axis, -1, 1))
            angle = min(angle, float(np.abs(tilts - own).min()))
        return index, angle

    def hull_margin(self, down: np.ndarray) -> float:
        """Return how far inside the support polygon of the lowest corners the centre of mass projects [m].

        From the collision geometry alone, whatever contacts an engine reports; negative outside.
        """
        corners = self.corners - self.body.inertial.com
        reach = corners @ down
        lowest = corners[reach >= reach.max() - StablePoseConfig().contact_slack * self.size]
        across = pose_on_plane(down, np.zeros(3), 0.0).rotation[:2]
        return support_margin(lowest @ across.T, np.zeros(2))

    def rolls(self, down: np.ndarray) -> bool:
        """Return whether the stable pose nearest to a gravity direction in B is one of the facets of a round body."""
        return self.ball or len(self.poses[self.nearest_pose(down)[0]].members) > 1

    @cached_property
    def ball(self) -> bool:
        """Whether the body rests alike in every orientation: its convex hull is a sphere about the centre of mass."""
        corners = self.corners - self.body.inertial.com
        hull = ConvexHull(corners)
        furthest = float(np.linalg.norm(corners, axis=1).max())
        return float(-hull.equations[:, 3].max()) >= (1 - self.config.ball_roundness) * furthest

    @cached_property
    def extents(self) -> Float64[np.ndarray, "3"]:
        """Extents of the smaller of two boxes: along the axes of B and along the principal axes [m]."""
        along_body = np.ptp(self.corners, axis=0)
        along_principal = np.ptp(self.corners @ self.body.inertial.principal_pose.rotation, axis=0)
        return min(along_body, along_principal, key=lambda extents: float(extents.min()))

    @property
    def size(self) -> float:
        """L: largest extent [m]."""
        return float(self.extents.max())

    @property
    def thickness(self) -> float:
        """l: smallest extent [m]."""
        return float(self.extents.min())

    @property
    def g(self) -> float:
        """Magnitude of standard or configured gravity [m/s^2]."""
        return float(np.linalg.norm(self.config.gravity))

    @property
    def tau(self) -> float:
        """Time scale sqrt(L/g) [s]."""
        return float(np.sqrt(self.size / self.g))

    @property
    def speed(self) -> float:
        """Speed scale v* = sqrt(g L) [m/s]."""
        return float(np.sqrt(self.size * self.g))

    @property
    def settle_usual(self) -> float:
        """Time in which a body without a round rim rests after contact [s]."""
        config = self.config
        return min(config.settle_taus * self.tau + config.settle_seconds, config.settle_cap)

    def settle_limit(self, start: Start) -> float:
        """Return the limit of D3 [s]; longer for a random start, which may land on a round rim, and for a ball."""
        config, usual = self.config, self.settle_usual
        if start.stable_index >= 0 and not self.ball:
            return usual
        rolling = config.rim_seconds * max(self.size / config.rim_size, 1.0) ** 1.5
        return max(usual, min(rolling, config.rim_cap))

    def precarious(self, margin: float, probability: float, *, upright: bool) -> bool:
        """Return whether a rest pose is both close to tipping and rare: no equilibrium to expect of every engine.

        Args:
            margin: Distance of the projected centre of mass inside the support [m].
            probability: Share of random drops that end there [1].
            upright: Whether it is the upright pose, which has to hold.
        """
        config = self.config
        return not upright and margin < config.margin_warn * self.size and probability < config.precarious_probability

    def world(self, ground: Material | None) -> World:
        """Return the world of a drop: this model above a half-space."""
        return World((Placement(SUBJECT, self.model, Pose.identity()),), ground, self.config.gravity)

    def stride(self, timestep: float) -> int:
        """Return the odd number of steps between two states that are read."""
        interval = min(self.tau / self.config.samples_per_tau, self.config.sample_seconds)
        return (max(int(interval / timestep), 1) - 1) // 2 * 2 + 1


@dataclass(frozen=True, eq=False)
class Moment:
    """The state of the subject at one time."""

    steps: int
    com: Float64[np.ndarray, "3"]
    quaternion: Float64[np.ndarray, "4"]
    velocity: Float64[np.ndarray, "3"]
    spin: Float64[np.ndarray, "3"]
    X_WB: Pose


def down_in_body(X_WB: Pose, gravity: tuple[float, float, float]) -> Float64[np.ndarray, "3"]:
    """Return the direction of gravity in the body frame."""
    direction = np.asarray(gravity) / np.linalg.norm(gravity)
    return X_WB.rotation.T @ direction


def direction_difference(subject: Subject, a: np.ndarray, b: np.ndarray) -> float:
    """Return the angle between two gravity directions in B that are rest poses, yaw left out [rad].

    Facets of one family are one pose, so is every roll of a body about its declared axis of symmetry, and every
    orientation of a ball.
    """
    if subject.ball:
        return 0.0
    (index_a, off_a), (index_b, off_b) = (subject.nearest_pose(down) for down in (a, b))
    if index_a == index_b and len(subject.poses[index_a].members) > 1:
        off = max(off_a, off_b)
        if off <= subject.config.rest_angle_limit:
            return off
    axis = subject.symmetry_axis
    if axis is not None:
        tilts = [float(np.arcsin(np.clip(down @ axis, -1, 1))) for down in (a, b)]
        return abs(tilts[0] - tilts[1])
    return float(angles_between(a[None], b)[0])
