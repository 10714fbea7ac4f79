"""One drop of one body in one engine: fall, settle, rest, hold. Measures, and judges nothing."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np

from physics.drop_record import Drop, Outcome, Start
from physics.engine import GROUND, Engine, State
from physics.pose import Pose
from physics.rolling import beside_rolling, is_quiet, is_still, kinetic_energy, rolls_freely, slows_down
from physics.stable_poses import angles_between
from physics.subject import SUBJECT, Moment, Subject, down_in_body
from physics.support import support_margin

FALL_SHARE = 0.9
"""Share of the analytic fall time over which D1 compares; the engine may brake in the last step before contact."""

TILT_AXIS = np.array([1.0, 0.6180339887, 0.0])
"""Horizontal axis about which stable starts are tilted [1]."""

TOUCHING = 5e-4
"""Contacts and hull corners within this share of L of the ground make up the support polygon [1].

Engines keep or load only some of the touching corners: Bullet may rest a cube on two opposite ones."""


class NotFinite(Exception):
    """The engine returned a state with NaN or infinity."""


@dataclass
class Watch:
    """Steps an engine and keeps the moments that were read: the only mutable state of a drop."""

    engine: Engine
    subject: Subject
    steps: int = 0
    moments: list[Moment] = field(default_factory=list)
    started: float = field(default_factory=time.process_time)

    def advance(self, count: int) -> Moment:
        """Advance by `count` steps, read the state and keep it."""
        if count:
            self.engine.step(count)
            self.steps += count
        state = self.engine.state()
        row = state.names.index(SUBJECT)
        position, quaternion = state.positions[row], state.quaternions[row]
        velocity, spin = state.linear_velocities[row], state.angular_velocities[row]
        total = float(position.sum() + quaternion.sum() + velocity.sum() + spin.sum())
        if not np.isfinite(total):
            raise NotFinite
        X_WB = Pose.from_quaternion(quaternion, position)
        com = X_WB.apply(self.subject.body.inertial.com)
        self.moments.append(Moment(self.steps, com, X_WB.quaternion, velocity, spin, X_WB))
        return self.moments[-1]

    @property
    def time(self) -> float:
        """Simulated time [s]."""
        return self.steps * self.engine.timestep

    @property
    def late(self) -> bool:
        """True when the drop has taken more processor time than allowed."""
        return time.process_time() - self.started > self.subject.config.cpu_seconds

    def since(self, steps: int) -> list[Moment]:
        """Return the moments from a step on."""
        return [moment for moment in self.moments if moment.steps >= steps]


def simulate_drop(engine: Engine, subject: Subject, start: Start, *, creep: bool = False) -> Drop:
    """Let the body go at `start` and measure until it has rested, or the limits say that it will not.

    Args:
        engine: Engine that holds `subject.world(...)`.
        subject: What is dropped, and the rules.
        start: Where it is let go.
        creep: Whether to watch the rest pose for D7.

    Returns:
        The measurements. NaN where a phase was not reached.
    """
    put_at(engine, start.X_WB)
    watch = Watch(engine, subject)
    outcome, measured = Outcome.UNHEALTHY, {}
    try:
        watch.advance(0)
        measured["free_fall_error"] = _fall(watch, start)
        outcome, settle_seconds = settle(watch, math.sqrt(2 * start.clearance / subject.g), subject.settle_limit(start))
        measured["settle_seconds"] = settle_seconds
        measured["energy_gain"] = _energy_gain(watch, start)
        if outcome.settled:
            measured |= jitter(watch) | _support(watch)
            if creep:
                measured |= hold(watch, subject.config.creep_seconds)
    except NotFinite:
        outcome = Outcome.UNHEALTHY
    warnings = engine.health()
    if warnings:
        outcome = Outcome.UNHEALTHY
    return _describe(watch, start, Outcome(outcome), warnings, measured)


def stable_start(subject: Subject, index: int, name: str) -> Start:
    """Return the start above a stable pose, tilted a little about an axis that is parallel to no side."""
    pose, config = subject.poses[index], subject.config
    angle = min(config.start_tilt, config.start_tilt_share * pose.tip_angle)
    least = min(config.min_clearance, config.min_clearance_share * subject.size)
    clearance = max(config.rest_clearance * subject.size, least)
    X_WB = place_on_plane(subject, Pose.from_axis_angle(TILT_AXIS, angle).compose(pose.X_WB), clearance)
    return Start(name, X_WB, clearance, index, pose.probability)


def place_on_plane(subject: Subject, orientation: Pose, clearance: float) -> Pose:
    """Return the orientation with the centre of mass above the origin and the lowest vertex at `clearance` [m]."""
    com = orientation.rotate(subject.body.inertial.com)
    lowest = float(orientation.rotate(subject.corners)[:, 2].min())
    return Pose(np.array([-com[0], -com[1], clearance - lowest]), orientation.quaternion)


def put_at(engine: Engine, X_WB: Pose) -> None:
    """Put the body at a pose, at rest, with no contact history."""
    zero = np.zeros((1, 3))
    engine.set_state(State(0.0, (SUBJECT,), X_WB.position[None], X_WB.quaternion[None], zero, zero))


def _fall(watch: Watch, start: Start) -> float:
    """Fall and return the worst relative error against semi-implicit Euler: x0 + g t (t + dt) / 2 (D1)."""
    dt = watch.engine.timestep
    gravity = np.asarray(watch.subject.config.gravity)
    count = int(FALL_SHARE * np.sqrt(2 * start.clearance / watch.subject.g) / dt)
    origin = watch.moments[0].com
    worst = np.nan
    stride = max(count // 4, 1)
    for _ in range(count // stride):
        moment = watch.advance(stride)
        t = moment.steps * dt
        drop = gravity * t * (t + dt) / 2
        error = float(np.linalg.norm(moment.com - origin - drop) / np.linalg.norm(drop))
        worst = error if np.isnan(worst) else max(worst, error)
    return worst


def settle(watch: Watch, contact_time: float, limit: float) -> tuple[Outcome, float]:
    """Step until the body is quiet and its jitter is within D6; return the outcome and the time since contact [s]."""
    config, subject = watch.subject.config, watch.subject
    dt = watch.engine.timestep
    stride = subject.stride(dt)
    quiet_from = -1
    next_look = 0.0
    patience = max(config.quiet_seconds, config.jitter_seconds) + config.jitter_patience
    impact = int(contact_time / dt)
    while True:
        # Every step about the first contact is read, where energy is gained if anywhere (D2).
        striking = impact - 2 <= watch.steps < impact + config.impact_steps
        moment = watch.advance(1 if striking else min(stride, max(impact - 2 - watch.steps, 0) or stride))
        elapsed = watch.time - contact_time
        if moment.com[2] < -subject.size:
            return Outcome.ESCAPED, max(elapsed, math.nextafter(limit, math.inf))
        if watch.late:
            return Outcome.STOPPED, max(elapsed, math.nextafter(limit, math.inf))
        if elapsed <= 0:
            continue
        if not is_quiet(subject, moment):
            quiet_from = -1
        elif quiet_from < 0:
            quiet_from, next_look = moment.steps, 0.0
        if quiet_from < 0:
            if elapsed > limit:
                return Outcome.TIMEOUT, elapsed
            continue
        quiet = (watch.steps - quiet_from) * dt
        if quiet < max(config.quiet_seconds, config.jitter_seconds) or quiet < next_look:
            continue
        next_look = quiet + config.jitter_seconds / 10
        measured = jitter(watch)
        still = (
            measured["jitter_position"] <= config.jitter_limit * subject.size
            and measured["jitter_angle"] <= config.jitter_angle_limit
        )
        round_body = subject.rolls(down_in_body(moment.X_WB, config.gravity))
        # A round body rocks from facet to facet, and may gain speed for a while: it has until the limit to calm down.
        if still or (elapsed > max(limit, config.rolling_seconds) if round_body else quiet > patience):
            outcome = _rest_outcome(watch, quiet_from)
            if outcome is not Outcome.TIMEOUT or elapsed > limit:
                return outcome, quiet_from * dt - contact_time


def _rest_outcome(watch: Watch, quiet_from: int) -> Outcome:
    """Tell rest from rolling about the symmetry axis, which must slow down."""
    window = watch.since(quiet_from)
    if all(is_still(watch.subject, moment) for moment in window):
        return Outcome.RESTED
    return Outcome.ROLLING if slows_down(watch.subject, window) else Outcome.TIMEOUT


def _energy_gain(watch: Watch, start: Start) -> float:
    """Return the largest energy above that of the start, over m g (clearance + L) (D2)."""
    subject = watch.subject
    gravity, mass = np.asarray(subject.config.gravity), subject.body.inertial.mass
    energies = [kinetic_energy(subject.body, m) - mass * float(gravity @ m.com) for m in watch.moments]
    return (max(energies) - energies[0]) / (mass * subject.g * (start.clearance + subject.size))


def jitter(watch: Watch) -> dict[str, float]:
    """Return the RMS of position and rotation about their means over the last window (D6).

    For a round body all but pure rolling counts.
    """
    subject = watch.subject
    window = watch.since(watch.steps - round(subject.config.jitter_seconds / watch.engine.timestep))
    last = window[-1]
    positions = np.array([moment.com for moment in window])
    if rolls_freely(subject, last.X_WB):
        positions, turns = beside_rolling(subject, window)
    else:
        inverse = last.X_WB.inverse()
        relative = np.array([inverse.compose(moment.X_WB).quaternion for moment in window])
        turns = 2 * relative[:, 1:] * np.sign(relative[:, :1])
    return {
        "jitter_position": float(np.sqrt(((positions - positions.mean(axis=0)) ** 2).sum(axis=1).mean())),
        "jitter_angle": float(np.sqrt(((turns - turns.mean(axis=0)) ** 2).sum(axis=1).mean())),
    }


def _support(watch: Watch) -> dict[str, float]:
    """Return penetration, load and support margin over a few consecutive steps (D4, D5).

    The mean force over a time T differs from the weight by the share v / (g T) where the body rattles with a speed v
    that rest allows, so a second, longer T decides where the first is off.
    """
    subject, engine = watch.subject, watch.engine
    gravity = np.asarray(subject.config.gravity)
    weight = subject.body.inertial.mass * subject.g
    load, depth, count = 0.0, 0.0, 0
    points: list[np.ndarray] = []
    moment = watch.moments[-1]
    steps, planned = 0, subject.config.support_steps
    while steps < planned:
        moment = watch.advance(1)
        steps += 1
        contacts = engine.contacts()
        on_body = np.array(
            [float(b == SUBJECT) - float(a == SUBJECT) for a, b in zip(contacts.names_a, contacts.names_b, strict=True)]
        )
        with_ground = np.array(
            [GROUND in pair for pair in zip(contacts.names_a, contacts.names_b, strict=True)], dtype=bool
        )
        forces = contacts.forces * on_body[:, None]
        load += float(-(forces @ gravity).sum()) / (subject.g * weight)
        loaded = np.linalg.norm(contacts.forces, axis=1) > 0
        pressing = with_ground & loaded & (contacts.distances <= TOUCHING * subject.size)
        points.append(contacts.positions[pressing])
        count = max(count, int(pressing.sum()))
        if len(contacts.distances):
            depth = max(depth, float(-contacts.distances.min()))
        # The longer mean is taken to its end: to stop where it happens to be right would pass what oscillates.
        if steps == subject.config.support_steps and abs(load / steps - 1) > subject.config.load_limit:
            config = subject.config
            rolling = rolls_freely(subject, moment.X_WB)
            seconds = config.rolling_support_seconds if rolling else config.support_seconds
            planned = max(steps, round(seconds / engine.timestep))
    corners = moment.X_WB.apply(subject.corners)
    lowest = float(corners[:, 2].min())
    # A body without any loaded contact has no support, however near its corners are. Corners are taken from all
    # hulls, since contacts do not name theirs; a corner at TOUCHING is in contact but for that distance.
    if count:
        points.append(corners[corners[:, 2] <= lowest + TOUCHING * subject.size])
    footprint = np.concatenate(points)[:, :2]
    return {
        "load": load / steps,
        "penetration": max(depth, abs(lowest)),
        "support_margin": support_margin(footprint, moment.com[:2]),
        "contact_count": count,
    }


def hold(watch: Watch, seconds: float) -> dict[str, float]:
    """Keep stepping and return the largest displacement and change of tilt (D7); yaw is free.

    For a round body all but pure rolling counts, and the yaw of a lying one too.
    """
    subject = watch.subject
    first = watch.advance(0)
    down = down_in_body(first.X_WB, subject.config.gravity)
    rolling = rolls_freely(subject, first.X_WB)
    position = angle = 0.0
    stride = max(int(0.05 / watch.engine.timestep) // 2 * 2 + 1, 1)
    shift, turn, last = np.zeros(3), np.zeros(2), first
    for _ in range(max(round(seconds / (stride * watch.engine.timestep)), 1)):
        moment = watch.advance(stride)
        moved = moment.com - first.com
        tilted = down_in_body(moment.X_WB, subject.config.gravity)
        if rolling:
            shifts, turns = beside_rolling(subject, (last, moment))
            shift, turn, last = shift + shifts[-1], turn + turns[-1], moment
            position = max(position, float(np.linalg.norm(shift)))
            angle = max(angle, float(np.linalg.norm(turn)))
        else:
            position = max(position, float(np.linalg.norm(moved)))
            angle = max(angle, float(angles_between(tilted[None], down)[0]))
        if watch.late:
            return {"creep_position": np.nan, "creep_angle": np.nan}
    return {"creep_position": position, "creep_angle": angle}


def _describe(
    watch: Watch, start: Start, outcome: Outcome, warnings: tuple[str, ...], measured: dict[str, float]
) -> Drop:
    """Collect the measurements of a drop; the end pose is the last finite one."""
    subject = watch.subject
    if not watch.moments:
        return Drop(start, outcome, watch.engine.timestep, watch.steps, None, np.full(3, np.nan), warnings=warnings)
    first, last = watch.moments[0], watch.moments[-1]
    down = down_in_body(last.X_WB, subject.config.gravity)
    drop = Drop(
        start=start,
        outcome=outcome,
        timestep=watch.engine.timestep,
        steps=watch.steps,
        X_WB=last.X_WB,
        down=down,
        com_height=float(last.com[2]),
        travel=float(np.linalg.norm((last.com - first.com)[:2])),
        warnings=warnings,
    )
    if outcome.settled:
        index, angle = subject.nearest_pose(down)
        drop = replace(drop, rest_index=index, rest_angle=angle)
    return replace(drop, **measured)
