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
from physics.subject import Moment, Subject, down_in_body


def slows_down(subject: Subject, window: Sequence[Moment]) -> bool:
    """Return whether energy falls over a window, by the means of its first and last third, or motion ends.

    A round body rocks over its facets, so the height above its rest pose counts with its motion.
    """
    third = max(len(window) // 3, 1)
    first, last = window[:third], window[-third:]
    if all(is_still(subject, moment) for moment in last):
        return True
    down = down_in_body(last[-1].X_WB, subject.config.gravity)
    rest = subject.poses[subject.nearest_pose(down)[0]].com_height
    weight = subject.body.inertial.mass * subject.g

    def energy(moment: Moment) -> float:
        return kinetic_energy(subject.body, moment) + weight * max(float(moment.com[2]) - rest, 0.0)

    before, after = (float(np.mean([energy(moment) for moment in part])) for part in (first, last))
    return after < before * (1 - subject.config.rolling_loss)


def is_quiet(subject: Subject, moment: Moment) -> bool:
    """Return whether speed and spin are those of a body at rest (D3), pure rolling of a round body left out.

    Pure rolling is a spin about the horizontal direction u of the axis, for a ball that of its spin, under which the
    corner in contact stands still. All other motion keeps the limits: slip at the contact along, across and upwards,
    yaw and tilting. Cones roll so too: their spin is along the contact line.
    """
    if is_still(subject, moment):
        return True
    axis = _free_axis(subject, moment.X_WB, moment.spin)
    if axis is None:
        return False
    config = subject.config
    forward, across = _rolling_directions(axis)
    rolling = float(moment.spin @ forward) * forward
    slip = moment.velocity - np.cross(rolling, _lever(subject, moment))
    speed = abs(float(moment.velocity @ across))
    allowed = max(config.quiet_speed * subject.speed, config.quiet_speed_floor)
    return (
        math.hypot(float(slip @ forward), float(slip[2])) <= allowed
        and abs(float(slip @ across)) <= allowed + config.rolling_slip * speed
        and float(np.linalg.norm(moment.spin - rolling))
        <= max(config.quiet_spin / subject.tau, config.quiet_speed_floor / subject.size)
        and speed <= config.rolling_speed * subject.speed
    )


def beside_rolling(
    subject: Subject, moments: Sequence[Moment]
) -> tuple[Float64[np.ndarray, "N 3"], Float64[np.ndarray, "N 2"]]:
    """Return the motion of a round body that is not rolling over its corners, summed from the first moment on.

    Returns:
        Displacements (N, 3): along the axis, by slip across it, and upwards [m].
        Turns (N, 2): tilt of the axis, and yaw as the rotation about the vertical [rad]; 0 for a ball, which has none.
    """
    shifts, turns = [np.zeros(3)], [np.zeros(2)]
    for before, after in itertools.pairwise(moments):
        moved, turned = after.com - before.com, _rotation_vector(before.X_WB, after.X_WB)
        old, new = (_free_axis(subject, moment.X_WB, turned) for moment in (before, after))
        # An axis that stands up is no rolling axis any more: all its motion counts.
        if old is None or new is None:
            forward, across = np.eye(3)[:2]
            slip = moved
        else:
            forward, across = _rolling_directions(old + new)
            lever = (_lever(subject, before) + _lever(subject, after)) / 2
            slip = moved - np.cross(float(turned @ forward) * forward, lever)
        shifts.append(np.array([slip @ forward, slip @ across, slip[2]]))
        turns.append(np.zeros(2) if subject.ball else np.array([_tilt(subject, before, after), turned[2]]))
    return np.cumsum(shifts, axis=0), np.cumsum(turns, axis=0)


def _tilt(subject: Subject, before: Moment, after: Moment) -> float:
    """Return the change of the angle of the symmetry axis above the horizontal [rad]."""
    old, new = (axis_tilt(moment.X_WB.rotate(np.asarray(subject.symmetry_axis))) for moment in (before, after))
    return new - old


def _free_axis(subject: Subject, X_WB: Pose, spin: np.ndarray) -> Float64[np.ndarray, "3"] | None:
    """Return the direction in W about which the body rolls freely: its lying axis, or that of the spin of a ball."""
    return spin if subject.ball else lying_axis(subject, X_WB)


def _lever(subject: Subject, moment: Moment) -> Float64[np.ndarray, "3"]:
    """Return the centre of mass from the lowest corner of the convex hull, in W [m]."""
    corners = moment.X_WB.apply(subject.corners)
    return moment.com - corners[corners[:, 2].argmin()]


def _rolling_directions(axis: np.ndarray) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Return the horizontal unit direction of a lying axis in W and that in which a spin about it rolls."""
    forward = np.array([axis[0], axis[1], 0.0]) / max(math.hypot(axis[0], axis[1]), 1e-12)
    return forward, np.cross(forward, [0.0, 0.0, 1.0])


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
