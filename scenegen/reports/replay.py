"""A drop as a small animation: one body let go from a tilted pose, simulated again in MuJoCo for the page."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from physics.drop_mujoco import open_mujoco
from physics.drop_record import DropConfig
from physics.drop_trial import Watch, place_on_plane, put_at
from physics.engine import GRAVITY
from physics.errors import PhysicsError
from physics.materials import find_material, sized_friction
from physics.model import Model
from physics.pose import Pose
from physics.subject import Subject

FRAMES = 48
"""Poses of an animation [1]."""
TAUS = 22.0
"""Its length in sqrt(L / g) [1]."""
START = (0.5, -0.85, 0.3)
"""Rotation vector of the start from the upright pose [rad]."""
CLEARANCE = 0.5
"""Height of the start above the ground, as a share of L [1]."""
GROUND = "oak"


def replay_drop(model: Model) -> tuple[Float64[np.ndarray, "F 7"], float] | None:
    """Return the poses of a fall (x, y, z, qw, qx, qy, qz) in W, and the time between two [s]; None if it cannot fall.

    Args:
        model: One body with hulls and mass.
    """
    try:
        subject = Subject(model, DropConfig(gravity=GRAVITY))
        start = place_on_plane(subject, _tilted(), CLEARANCE * subject.size)
        engine = open_mujoco(subject.world(sized_friction(find_material(GROUND), subject.size)))
    except PhysicsError:
        return None
    try:
        put_at(engine, start)
        watch = Watch(engine, subject)
        stride = max(round(TAUS * subject.tau / FRAMES / engine.timestep), 1)
        poses = [watch.advance(stride if number else 0).X_WB for number in range(FRAMES)]
        return np.array([[*pose.position, *pose.quaternion] for pose in poses]), stride * engine.timestep
    finally:
        engine.close()


def _tilted() -> Pose:
    angle = float(np.linalg.norm(START))
    return Pose.from_axis_angle(np.array(START) / angle, angle)
