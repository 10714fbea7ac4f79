"""Rest and rolling: what counts as still, and the motion of a round body that is not rolling.

A lying body of revolution rolls about its declared axis, a ball about any horizontal one. Only rolling friction stops
them, and no limit on time or creep is fair to that; slip, yaw, bouncing and tilting keep their limits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from physics.model import Body
from physics.pose import Pose
from physics.subject import Moment, Subject


def slows_down(subject: Subject, window: Sequence[Moment]) -> bool:
    """Return whether energy falls over a window, by the means of its first and last third, or motion ends.

    A ball rocks over its facets, so its height counts with its motion.
    """
    third = max(len(window) // 3, 1)
    first, last = window[:third], window[-third:]
    if all(is_still(subject, moment) for moment in last):
        return True
    before, after = (float(np.mean([_energy(subject, moment) for moment in part])) for part in (first, last))
    return after < before * (1 - subject.config.rolling_loss)


def _energy(subject: Subject, moment: Moment) -> float:
    """Return the kinetic energy, of a ball with the potential energy above its lowest pose [J]."""
    kinetic = kinetic_energy(subject.body, moment)
    if not subject.ball:
        return kinetic
    lowest = min(pose.com_height for pose in subject.poses)
    return kinetic + subject.body.inertial.mass * subject.g * max(float(moment.com[2]) - lowest, 0.0)


def is_quiet(subject: Subject, moment: Moment) -> bool:
    """Return whether speed and spin are those of a body at rest (D3), pure rolling of a round body left out.

    Pure rolling is a spin about the horizontal direction u of the axis with the velocity that the spin gives the
    centre of mass above a contact line along u. All other motion keeps the limits: velocity along u, vertical
    velocity, slip at the contact, yaw and tilting. Cones roll so too: their spin is along the contact line.
    """
    if is_still(subject, moment):
        return True
    config = subject.config
    if subject.ball:
        return _ball_rolls(subject, moment)
    axis = lying_axis(subject, moment.X_WB)
    if axis is None:
        return False
    forward, across = _rolling_directions(axis)
    spin, speed = float(moment.spin @ forward), float(moment.velocity @ across)
    slip = speed - spin * float(moment.com[2])
    allowed = max(config.quiet_speed * subject.speed, config.quiet_speed_floor)
    beside = math.hypot(float(moment.velocity @ forward), float(moment.velocity[2]))
    turning = float(np.linalg.norm(moment.spin - spin * forward))
    return (
        beside <= allowed
        and abs(slip) <= allowed + config.rolling_slip * abs(speed)
        and turning <= max(config.quiet_spin / subject.tau, config.quiet_speed_floor / subject.size)
        and abs(speed) <= config.rolling_speed * subject.speed
    )


def _ball_rolls(subject: Subject, moment: Moment) -> bool:
    """Return whether a ball rolls over its corners: the one in contact stands still, and the ball does not pivot."""
    config = subject.config
    speed = float(np.linalg.norm(moment.velocity))
    slip = moment.velocity - np.cross(moment.spin, _lever(subject, moment))
    allowed = max(config.quiet_speed * subject.speed, config.quiet_speed_floor)
    return (
        float(np.linalg.norm(slip)) <= allowed + config.rolling_slip * speed
        and abs(float(moment.spin[2])) <= max(config.quiet_spin / subject.tau, config.quiet_speed_floor / subject.size)
        and speed <= config.rolling_speed * subject.speed
    )


def _lever(subject: Subject, moment: Moment) -> Float64[np.ndarray, "3"]:
    """Return the centre of mass from the lowest corner of the convex hull, in W [m]."""
    corners = moment.X_WB.apply(subject.corners)
    return moment.com - corners[corners[:, 2].argmin()]


def _rolling_directions(axis: np.ndarray) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Return the horizontal unit direction of a lying axis in W and that in which a spin about it rolls."""
    forward = np.array([axis[0], axis[1], 0.0]) / max(math.hypot(axis[0], axis[1]), 1e-12)
    return forward, np.cross(forward, [0.0, 0.0, 1.0])


def beside_rolling(
    subject: Subject, moments: Sequence[Moment]
) -> tuple[Float64[np.ndarray, "N 3"], Float64[np.ndarray, "N 2"]]:
    """Return the motion of a round body that is not rolling, summed from the first moment on.

    Returns:
        Displacements (N, 3): along the axis, by slip across it, and upwards; of a ball, by slip along x, y, z [m].
        Turns (N, 2): tilt of the axis, and yaw as the rotation about the vertical [rad]; 0 for a ball, which has none.
    """
    shifts, turns = [np.zeros(3)], [np.zeros(2)]
    for before, after in itertools.pairwise(moments):
        moved, turned = after.com - before.com, _rotation_vector(before.X_WB, after.X_WB)
        if subject.ball:
            lever = (_lever(subject, before) + _lever(subject, after)) / 2
            shifts.append(moved - np.cross(turned, lever))
            turns.append(np.zeros(2))
            continue
        old, new = (moment.X_WB.rotate(np.asarray(subject.symmetry_axis)) for moment in (before, after))
        forward, across = _rolling_directions(old + new)
        rolled = float(turned @ forward) * (before.com[2] + after.com[2]) / 2
        shifts.append(np.array([moved @ forward, moved @ across - rolled, moved[2]]))
        turns.append(np.array([axis_tilt(new) - axis_tilt(old), turned[2]]))
    return np.cumsum(shifts, axis=0), np.cumsum(turns, axis=0)


def _rotation_vector(before: Pose, after: Pose) -> Float64[np.ndarray, "3"]:
    """Return the rotation from one orientation to the next in W, at most half a turn [rad]."""
    quaternion = after.compose(before.inverse()).quaternion
    sine = float(np.linalg.norm(quaternion[1:]))
    if sine == 0:
        return np.zeros(3)
    sign = 1.0 if quaternion[0] >= 0 else -1.0
    return quaternion[1:] * (sign * 2 * math.atan2(sine, abs(float(quaternion[0]))) / sine)


def lying_axis(subject: Subject, X_WB: Pose) -> Float64[np.ndarray, "3"] | None:
    """Return the declared axis of revolution in W when the body lies on its side, None otherwise."""
    if subject.symmetry_axis is None:
        return None
    axis = X_WB.rotate(subject.symmetry_axis)
    return axis if abs(float(axis[2])) < np.cos(subject.config.standing_angle) else None


def rolls_freely(subject: Subject, X_WB: Pose) -> bool:
    """Return whether nothing but rolling friction stops the body in this pose: a ball, a lying body of revolution."""
    return subject.ball or lying_axis(subject, X_WB) is not None


def axis_tilt(axis: np.ndarray) -> float:
    """Return the angle of a unit axis in W above the horizontal [rad]."""
    return float(np.arcsin(np.clip(axis[2], -1.0, 1.0)))


def is_still(subject: Subject, moment: Moment) -> bool:
    """Return whether speed and spin are those of a body at rest (D3)."""
    config = subject.config
    speed, spin = float(np.linalg.norm(moment.velocity)), float(np.linalg.norm(moment.spin))
    return speed <= max(config.quiet_speed * subject.speed, config.quiet_speed_floor) and spin <= max(
        config.quiet_spin / subject.tau, config.quiet_speed_floor / subject.size
    )


def kinetic_energy(body: Body, moment: Moment) -> float:
    """Return the kinetic energy [J]."""
    spin = moment.X_WB.rotation.T @ moment.spin
    inertial = body.inertial
    return 0.5 * float(inertial.mass * moment.velocity @ moment.velocity + spin @ inertial.inertia @ spin)
