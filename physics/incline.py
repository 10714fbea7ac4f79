"""Checks D9 and D10: on an incline a body tips where its support ends, and slides where its friction ends.

The plane stays level and gravity is tilted, which is the same to the body. Each limit is bracketed: the body has to
hold below it and to give way above it. A body slides before it tips, or tips before it slides: only the first of both
can be seen, and each check says where it does not apply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.check import Check
from physics.drop_record import RestPose
from physics.drop_trial import NotFinite, Watch, put_at
from physics.engine import Engine
from physics.floors import OpenEngine
from physics.materials import Material, pair_friction
from physics.stable_poses import StablePoseConfig, angles_between
from physics.subject import Subject, down_in_body
from physics.support import support_polygon

FIX = {
    "D9": "The body tips at another angle than its hulls say: look for hulls that the engine shrinks or rounds.",
    "D10": "The body slides at another angle than its friction says: look for the friction that the engine combines.",
}
"""What to do when a check fails."""
DIRECTIONS = 36
"""Directions in which tipping is looked for, beside those of the edges of the foot [1]."""
ROCKING = tuple(math.radians(0.5 * step) for step in range(25))
"""Angles by which a round or uneven foot may rock before it tips [rad]."""


@dataclass(frozen=True)
class InclineConfig:
    """Angles and limits of D9 and D10."""

    tip_brackets: tuple[float, ...] = (math.radians(0.5), math.radians(2.0), math.radians(4.0))
    """Distances below and above the tipping angle at which the body is tried, the narrowest first [rad]."""
    tip_limit: float = math.radians(2.0)
    """D9: widest bracket that passes [rad]."""
    tipped: float = math.radians(12.0)
    """A body that turned so far has tipped [rad]."""
    tip_taus: float = 15.0
    """Time in which a body tips, in tau, plus tip_seconds [1]."""
    tip_seconds: float = 0.3
    """Time in which a body tips, on top of tip_taus [s]."""
    stick_below: float = math.radians(2.0)
    """D10: below the angle of friction by this the body has to stick [rad]."""
    slide_above: float = math.radians(5.0)
    """D10: above the angle of friction by this it has to slide [rad]."""
    apart: float = math.radians(3.0)
    """D9: only where the body slides by so much later than it tips is it sure to tip [rad]."""
    rocking_limit: float = math.radians(1.5)
    """A foot on which a body rocks, and tips later by more than this, is too uneven for D9 and D10 [rad].

    Which edge gives way then hangs on the way there. Measured on 143 scanned objects: of eleven that failed D9 or D10,
    ten stand on such a foot."""
    slide_apart: float = math.radians(10.0)
    """D10: only where it tips by so much later than it slides is it sure to slide [rad].

    Gravity is tilted at once. Measured: a cylinder that tips at 31 degrees and is tried at 26.8 falls in MuJoCo."""
    slide_seconds: float = 1.0
    """Longest time of each trial of D10 [s]."""
    slide_taus: float = 10.0
    """Time of each trial of D10 in tau, so that small bodies do not slide so far that they tumble [1]."""
    stick_limit: float = 1e-3
    """D10: largest speed that is sticking [m/s]."""
    slide_limit: float = 0.3
    """D10: largest relative error of the speed of sliding [1].

    It is that of a friction which is off by 0.03. Measured on bodies of all families: up to 18 % in MuJoCo, whose
    contacts chatter, and 16 % in Bullet, which keeps four contacts of a round foot; a cube has 0.1 and 0.004 %."""


@dataclass(frozen=True, eq=False)
class Foot:
    """How a rest pose stands: which way it tips first and last."""

    pose: RestPose
    weakest: Float64[np.ndarray, "2"]
    """Horizontal unit direction in which it tips first [1]."""
    strongest: Float64[np.ndarray, "2"]
    """The one in which it tips last [1]."""
    tip_angle: float
    """Tilt of the plane at which it tips in the weakest direction [rad]."""
    rolling_angle: float
    """How much later rolling friction lets it tip in the weakest direction [rad]."""
    rocking_angle: float
    """How much later it tips because it rocks first, on a round or uneven foot [rad]."""


def check_incline(
    subject: Subject,
    poses: Sequence[RestPose],
    open_engine: OpenEngine,
    *,
    engine: str,
    ground: Material,
    config: InclineConfig | None = None,
) -> tuple[Check, ...]:
    """Return D9 and D10 for the upright rest pose, or the most probable one where it has none.

    Args:
        subject: What stands on the incline.
        poses: Rest poses in this engine, most probable first.
        open_engine: Opens the engine.
        engine: Name of the engine.
        ground: Material of the plane.
        config: Angles and limits.

    Raises:
        EngineError: the engine cannot be opened.
    """
    config = config or InclineConfig()
    trial = _Trial(subject, engine, ground, config)
    standing = [pose for pose in poses if not (pose.settled_only or pose.balanced or subject.rolls(pose.down))]
    if not standing:
        why = "it rolls" if poses else "it has no rest pose"
        return trial.absent("D9", why), trial.absent("D10", why)
    foot = stand(subject, next((pose for pose in standing if pose.upright), standing[0]), trial.rolling)
    if foot is None:
        return tuple(trial.absent(name, "it stands on a point or a line") for name in ("D9", "D10"))
    opened = open_engine(subject.world(ground))
    try:
        return trial.tipping(opened, foot), trial.sliding(opened, foot)
    finally:
        opened.close()


def stand(subject: Subject, pose: RestPose, rolling: float) -> Foot | None:
    """Return how a rest pose stands; None on a point or a line.

    On a plane of tilt t the centre of mass has to stay above the contact. A round or uneven foot rocks by an angle r
    first, which moves the contact: the body tips where t exceeds the largest atan(d(r) / h(r)), with d the distance
    of the contact ahead of the centre of mass and h its height. For a sharp edge that is the one at r = 0.

    Args:
        subject: The body.
        pose: Its rest pose.
        rolling: Rolling friction between body and ground, a length [m].
    """
    com = pose.X_WB.apply(subject.body.inertial.com)
    corners = pose.X_WB.apply(subject.corners) - com
    slack = StablePoseConfig().contact_slack * subject.size
    polygon = support_polygon(corners[corners[:, 2] <= corners[:, 2].min() + slack][:, :2])
    if len(polygon) < 3:
        return None
    edges = np.roll(polygon, -1, axis=0) - polygon
    outward = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    ahead = np.einsum("ki,ki->k", polygon, outward)
    if ahead.min() <= 0:
        return None
    height = -float(corners[:, 2].min())
    turns = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    directions = np.concatenate([outward, np.stack([np.cos(turns), np.sin(turns)], axis=1)])
    reaches = np.array([_reach(corners, direction, slack) for direction in directions])
    weakest = int(reaches[:, 0].argmin())
    # Leaning in a direction tips over whichever edge gives way first.
    towards = np.maximum(directions @ outward.T, 1e-9)
    first = np.arctan2(ahead, height * towards).min(axis=1)
    strongest = int(first.argmax())
    tip, distance, at_height = (float(value) for value in reaches[weakest])
    flat = math.atan2(float(ahead.min()), height)
    return Foot(
        pose,
        directions[weakest],
        directions[strongest],
        tip,
        math.atan2(distance + rolling, at_height) - tip,
        tip - flat,
    )


def _reach(corners: np.ndarray, direction: np.ndarray, slack: float) -> tuple[float, float, float]:
    """Return the largest angle of the contact ahead of the centre of mass while rocking in a direction [rad].

    With it the distance ahead and the height of the centre of mass there [m].
    """
    along, up = corners[:, :2] @ direction, corners[:, 2]
    found = (-np.inf, 0.0, 1.0)
    for rock in ROCKING:
        ahead = along * math.cos(rock) + up * math.sin(rock)
        level = up * math.cos(rock) - along * math.sin(rock)
        lowest = float(level.min())
        distance = float(ahead[level <= lowest + slack].max())
        found = max(found, (math.atan2(distance, -lowest), distance, -lowest))
    return found


@dataclass(frozen=True, eq=False)
class _Trial:
    """Runs one subject on inclines in one engine."""

    subject: Subject
    engine: str
    ground: Material
    config: InclineConfig

    @property
    def rolling(self) -> float:
        """Rolling friction between body and ground, a length [m]."""
        return max(pair_friction(part.material, self.ground).rolling for part in self.subject.body.parts)

    @property
    def _slide_time(self) -> float:
        return min(self.config.slide_seconds, self.config.slide_taus * self.subject.tau)

    def tipping(self, engine: Engine, foot: Foot) -> Check:
        """Return D9: the narrowest bracket about the tipping angle in which the body gives way."""
        config = self.config
        if foot.rocking_angle > config.rocking_limit:
            return self.absent("D9", f"it rocks on its foot, and tips {_deg(foot.rocking_angle)} later by it")
        slides_at = math.atan(min(self._frictions()))
        widest = foot.tip_angle + foot.rolling_angle + max(config.tip_brackets)
        if widest + config.apart > slides_at:
            return self.absent("D9", f"it slides at {_deg(slides_at)}, before or as it tips at {_deg(foot.tip_angle)}")
        if foot.tip_angle <= config.tip_brackets[0]:
            return self.absent("D9", f"it tips at {_deg(foot.tip_angle)}, too little to be told from no tilt")
        value = math.pi / 2
        for bracket in config.tip_brackets:
            low, high = max(foot.tip_angle - bracket, 0.0), foot.tip_angle + foot.rolling_angle + bracket
            if not self._tips(engine, foot, low) and self._tips(engine, foot, high):
                value = bracket
                break
        detail = f"tips at {_deg(foot.tip_angle)}" if value < math.pi / 2 else "gives way nowhere near the angle"
        return self._check("D9", "tipping angle, bracketed within", value, "rad", config.tip_limit, detail)

    def sliding(self, engine: Engine, foot: Foot) -> Check:
        """Return D10: the error of the speed of sliding above the angle of friction; sticking below it comes first."""
        config, frictions = self.config, self._frictions()
        if max(frictions) - min(frictions) > 1e-9:
            return self.absent("D10", "its parts differ in friction")
        slides_at = math.atan(frictions[0])
        if foot.rocking_angle > config.rocking_limit:
            return self.absent("D10", "it rocks on its foot")
        if foot.tip_angle < slides_at + config.slide_above + config.slide_apart:
            return self.absent("D10", f"it tips at {_deg(foot.tip_angle)}, before or as it slides")
        name, limit = "speed of sliding off the friction cone", config.slide_limit
        stuck = self._slide(engine, foot, max(slides_at - config.stick_below, 0.0))
        if stuck is None or abs(stuck[1]) > config.stick_limit:
            slip = "tips" if stuck is None else f"creeps at {stuck[1] * 1e3:.3g} mm/s"
            detail = f"{slip} at {_deg(slides_at - config.stick_below)}, where friction holds it"
            return self._check("D10", name, 1.0, "1", limit, detail)
        angle = slides_at + config.slide_above
        slid = self._slide(engine, foot, angle)
        if slid is None:
            return self._check("D10", name, 1.0, "1", limit, f"tips at {_deg(angle)}, where it should slide")
        acceleration = self.subject.g * (math.sin(angle) - frictions[0] * math.cos(angle))
        error = abs(slid[0] / (acceleration * self._slide_time) - 1)
        detail = f"at {_deg(angle)}: {slid[0]:.4g} m/s after {self._slide_time:.3g} s"
        return self._check("D10", name, error, "1", limit, detail)

    def absent(self, name: str, why: str) -> Check:
        """Return a check that does not apply, as information."""
        return Check(
            name, "does not apply", 0.0, "1", None, body=self.subject.body.name, engine=self.engine, detail=why
        )

    def _check(self, identifier: str, name: str, value: float, unit: str, limit: float, detail: str) -> Check:
        body = self.subject.body.name
        return Check(
            identifier, name, value, unit, limit, body=body, engine=self.engine, fix=FIX[identifier], detail=detail
        )

    def _frictions(self) -> list[float]:
        return [pair_friction(part.material, self.ground).sliding for part in self.subject.body.parts]

    def _watch(self, engine: Engine, foot: Foot, direction: np.ndarray, angle: float) -> Watch:
        """Put the body on a plane that is tilted so that it leans in a direction."""
        engine.set_gravity((0.0, 0.0, -self.subject.g))
        put_at(engine, foot.pose.X_WB)
        watch = Watch(engine, self.subject)
        watch.advance(max(round(self.subject.config.relax_seconds / engine.timestep), 1))
        along = self.subject.g * math.sin(angle)
        engine.set_gravity((along * direction[0], along * direction[1], -self.subject.g * math.cos(angle)))
        return watch

    def _turned(self, watch: Watch, foot: Foot) -> float:
        down = down_in_body(watch.moments[-1].X_WB, self.subject.config.gravity)
        return float(angles_between(down[None], foot.pose.down)[0])

    def _tips(self, engine: Engine, foot: Foot, angle: float) -> bool:
        config = self.config
        try:
            watch = self._watch(engine, foot, foot.weakest, angle)
            stride = self.subject.stride(engine.timestep)
            for _ in range(
                math.ceil((config.tip_taus * self.subject.tau + config.tip_seconds) / engine.timestep / stride)
            ):
                watch.advance(stride)
                if self._turned(watch, foot) > config.tipped:
                    return True
        except NotFinite:
            return True
        return False

    def _slide(self, engine: Engine, foot: Foot, angle: float) -> tuple[float, float] | None:
        """Return the speed at the end, and the mean speed of the second half [m/s]; None where the body tips."""
        steps = round(self._slide_time / engine.timestep)
        direction = np.array([*foot.strongest, 0.0])
        try:
            watch = self._watch(engine, foot, foot.strongest, angle)
            middle = watch.advance(steps // 2)
            end = watch.advance(steps - steps // 2)
        except NotFinite:
            return None
        if self._turned(watch, foot) > self.config.tipped:
            return None
        mean = float((end.com - middle.com) @ direction) / ((end.steps - middle.steps) * engine.timestep)
        return float(end.velocity @ direction), mean


def _deg(angle: float) -> str:
    return f"{math.degrees(angle):.3g} deg"
