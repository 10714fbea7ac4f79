"""Checks D1 to D8, D11 and D14 from measured drops: the worst drop decides, whatever the others say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from physics.check import SEVERITY, Check, Verdict
from physics.drop_record import Drop, DropConfig, Outcome
from physics.floors import EngineFloors, FloorsAt
from physics.rolling import rolls_freely
from physics.subject import Subject, direction_difference

FIX = {
    "D1": "The engine adds damping, sleeps or uses another gravity; open it with drag 0 and sleep off.",
    "D2": "Contacts create energy: raise the contact time constant or lower the time step; look for overlapping hulls.",
    "D3": "Look for hulls with noise on the base, an inertia that does not fit, or a shape that balances on a point.",
    "D4": "Stiffen the contact or lower the time step; a part thinner than ten rest depths needs more thickness.",
    "D5": "Contacts do not carry the weight: look for missing hulls under the centre of mass, or a frozen body.",
    "D6": "Remove slivers and near-coplanar hulls at the base; lower the time step.",
    "D7": "Raise sliding and torsional friction or lower the time step; look for a base that rocks.",
    "D8": "The body rests where its hulls have no equilibrium: a point, an edge, or mass that its hulls do not show.",
    "D11": "The result depends on the time step: halve it for this asset, or look for thin parts and tiny hulls.",
    "D14": "Read the engine's warning; the record cannot be trusted.",
}
"""What to do when a check fails."""


PRECARIOUS_FIX = (
    "The body rests close to tipping over: widen its base, lower its centre of mass, or do not place it so."
)
"""What to do about a small support margin."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Turns drops of one subject in one engine into checks."""

    subject: Subject
    engine: str
    floors: EngineFloors
    rolling_friction: float = 0.0
    """Rolling friction between the body and the ground, a length [m]."""

    @property
    def config(self) -> DropConfig:
        """The limits."""
        return self.subject.config

    @property
    def floor(self) -> FloorsAt:
        """Engine floors at the size of the subject."""
        return self.floors.at(self.subject.size)

    def check(
        self, identifier: str, name: str, value: float, unit: str, limit: float, drop: Drop | None = None, **more
    ) -> Check:
        """Return one check of this subject in this engine."""
        detail = ", ".join(part for part in (drop.name if drop else "", more.pop("detail", "")) if part)
        check = Check(
            id=identifier,
            name=name,
            value=float(value),
            unit=unit,
            limit=limit,
            body=self.subject.body.name,
            engine=self.engine,
            fix=more.pop("fix", FIX[identifier]),
            detail=detail,
            **more,
        )
        excused = check.verdict is Verdict.PASS and replace(check, floor_limit=None).verdict is Verdict.FAIL
        return replace(check, detail=f"{detail}; within the engine floor") if excused else check

    def judge_drop(self, drop: Drop) -> tuple[Check, ...]:
        """Return the checks of one drop; what was not reached is NaN and fails, but for D1 and D7."""
        checks = [*self._motion(drop), *self._contact(drop), *self._quiet(drop), self._pose(drop), self._health(drop)]
        if np.isnan(drop.free_fall_error) and drop.outcome.settled:
            checks = [check for check in checks if check.id != "D1"]  # fell less than a time step
        return tuple(checks)

    def _motion(self, drop: Drop) -> list[Check]:
        config = self.config
        return [
            self.check(
                "D1", "free fall against the discrete formula", drop.free_fall_error, "1", config.free_fall_limit, drop
            ),
            self.check(
                "D2", "energy gained over m g (clearance + L)", drop.energy_gain, "1", config.energy_limit, drop
            ),
            self.check(
                "D3",
                "time to rest after contact",
                self._settle_value(drop),
                "s",
                self.subject.settle_limit(drop.start),
                drop,
                warn=self.subject.settle_usual,
                detail=str(drop.outcome),
            ),
        ]

    def _settle_value(self, drop: Drop) -> float:
        # A drop that ended otherwise than at rest has no time to rest, whatever was measured before.
        moving = drop.outcome in (Outcome.TIMEOUT, Outcome.ESCAPED, Outcome.STOPPED)
        if drop.outcome.settled:
            return drop.settle_seconds
        return (
            max(drop.settle_seconds, math.nextafter(self.subject.settle_limit(drop.start), math.inf))
            if moving
            else np.nan
        )

    def _contact(self, drop: Drop) -> list[Check]:
        config, subject = self.config, self.subject
        family = len(subject.poses[drop.rest_index].members) > 1 if drop.rest_index >= 0 else False
        rolls = family or (drop.X_WB is not None and rolls_freely(subject, drop.X_WB))
        # A round body rests and rolls on any corner of its facets, on either side of the centre of mass.
        facet = config.facet_of_ball if subject.ball else config.facet_of_round if rolls else 0.0
        return [
            self.check(
                "D4",
                "rest penetration over l",
                drop.penetration / subject.thickness,
                "1",
                config.penetration_limit,
                drop,
                floor_value=drop.penetration,
                floor_limit=config.penetration_floors * self.floor.penetration,
                floor_unit="m",
            ),
            self.check("D5", "supporting force off the weight", abs(drop.load - 1.0), "1", config.load_limit, drop),
            self.check(
                "D5",
                "support margin over L",
                drop.support_margin / subject.size,
                "1",
                config.margin_limit - self.rolling_friction / subject.size - facet,
                drop,
                # A round body rests on a line: its margin is that of its tessellation.
                warn=None if rolls else config.margin_warn,
                sense=">=",
                fix=PRECARIOUS_FIX,
            ),
        ]

    def _quiet(self, drop: Drop) -> list[Check]:
        config, size, floor = self.config, self.subject.size, self.floor
        checks = [
            self.check(
                "D6",
                "jitter of position over L",
                drop.jitter_position / size,
                "1",
                config.jitter_limit,
                drop,
                floor_value=drop.jitter_position,
                floor_limit=floor.jitter_position,
                floor_unit="m",
            ),
            self.check(
                "D6",
                "jitter of rotation",
                drop.jitter_angle,
                "rad",
                config.jitter_angle_limit,
                drop,
                floor_value=drop.jitter_angle,
                floor_limit=floor.jitter_angle,
                floor_unit="rad",
            ),
        ]
        if np.isnan(drop.creep_position):
            return checks
        return [
            *checks,
            self.check(
                "D7",
                "creep over L",
                drop.creep_position / size,
                "1",
                config.creep_limit,
                drop,
                floor_value=drop.creep_position,
                floor_limit=floor.creep_position,
                floor_unit="m",
            ),
            self.check(
                "D7",
                "creep of tilt",
                drop.creep_angle,
                "rad",
                config.creep_angle_limit,
                drop,
                floor_value=drop.creep_angle,
                floor_limit=floor.creep_angle,
                floor_unit="rad",
            ),
        ]

    def balances(self, drop: Drop) -> bool:
        """Return whether a random drop ended on an edge where rolling friction alone holds the body.

        There the hulls have no equilibrium, but the centre of mass lies beyond them by less than the length by which
        rolling friction shifts the supporting force. An engine without static rolling friction tips the body over.
        """
        if not drop.outcome.settled or drop.start.stable_index >= 0 or self.rolling_friction == 0.0:
            return False
        off = drop.rest_angle > self.config.rest_angle_limit
        return off and self.subject.hull_margin(drop.down) >= -self.rolling_friction

    def _pose(self, drop: Drop) -> Check:
        if self.balances(drop):
            return self.check(
                "D8",
                "margin of hulls that rolling friction holds, over L",
                self.subject.hull_margin(drop.down) / self.subject.size,
                "1",
                -self.rolling_friction / self.subject.size,
                drop,
                warn=self.config.margin_warn,
                sense=">=",
                detail="on an edge; no pose to place it in",
                fix=PRECARIOUS_FIX,
            )
        return self.check(
            "D8",
            "gravity direction off the nearest stable pose",
            drop.rest_angle,
            "rad",
            self.config.rest_angle_limit,
            drop,
        )

    def _health(self, drop: Drop) -> Check:
        bad = drop.outcome in (Outcome.UNHEALTHY, Outcome.STOPPED)
        detail = "; ".join(drop.warnings) or (str(drop.outcome) if bad else "")
        return self.check("D14", "engine warnings", max(len(drop.warnings), int(bad)), "1", 0.0, drop, detail=detail)

    def judge(self, drops: Sequence[Drop], repeats: Sequence[Drop]) -> tuple[Check, ...]:
        """Return the worst check of each kind over all drops, and D11.

        D7 must have been measured on every held drop: one that did not reach it fails.
        """
        checks = [check for drop in drops for check in self.judge_drop(drop)]
        for drop in drops[: self.config.held_starts]:
            if np.isnan(drop.creep_position):
                checks.append(
                    self.check(
                        "D7",
                        "creep over L",
                        np.nan,
                        "1",
                        self.config.creep_limit,
                        drop,
                        detail="not measured: the drop did not come to rest",
                    )
                )
        if not any(check.id == "D1" for check in checks):
            checks.append(
                self.check(
                    "D1",
                    "free fall against the discrete formula",
                    np.nan,
                    "1",
                    self.config.free_fall_limit,
                    detail="no drop fell for a time step",
                )
            )
        return (*worst_of(checks), *self._converged(drops, repeats))

    def _converged(self, drops: Sequence[Drop], repeats: Sequence[Drop]) -> tuple[Check, ...]:
        """Return D11: what a drop at half the time step says against the same drop at the full one."""
        if not repeats:
            return (
                self.check(
                    "D11",
                    "rest pose at half the time step",
                    np.nan,
                    "rad",
                    self.config.rest_angle_limit,
                    detail="not repeated",
                ),
            )
        return worst_of([self._pair(drop, half) for drop, half in zip(drops, repeats, strict=False)])

    def _pair(self, drop: Drop, half: Drop) -> Check:
        one, two = ({c.id for c in self.judge_drop(d) if c.verdict is Verdict.FAIL} - {"D7"} for d in (drop, half))
        if not (drop.outcome.settled and half.outcome.settled):
            angle, height = (0.0, 0.0) if drop.outcome is half.outcome else (np.pi, np.inf)
        else:
            angle, height = rest_difference(self.subject, drop, half)
        config = self.config
        deepening = max(
            config.depth_share * drop.penetration, config.depth_floors * self.floor.penetration, config.depth_floor
        )
        differs = (
            one != two
            or angle > config.rest_angle_limit
            or height > max(config.height_limit * self.subject.thickness, config.height_floor)
            or abs(drop.penetration - half.penetration) > deepening
        )
        detail = (
            f"{drop.outcome} at {drop.timestep:.3g} s, {half.outcome} at {half.timestep:.3g} s; failing "
            f"{sorted(one) or 'none'} and {sorted(two) or 'none'}; depth {drop.penetration:.3g} and "
            f"{half.penetration:.3g} m; heights differ by {height:.3g} m"
        )
        return self.check(
            "D11",
            "rest pose at half the time step",
            angle,
            "rad",
            config.rest_angle_limit,
            drop,
            undecided=differs,
            detail=detail,
        )


def rest_difference(subject: Subject, a: Drop, b: Drop) -> tuple[float, float]:
    """Return the angle between two rest poses, yaw left out [rad], and the difference of their heights [m]."""
    return direction_difference(subject, a.down, b.down), abs(a.com_height - b.com_height)


def worst_of(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Return the worst check of each (id, name), in order of first appearance, noting how many were compared."""
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        groups.setdefault((check.id, check.name), []).append(check)
    worst = []
    for group in groups.values():
        chosen = max(group, key=_badness)
        count = f"worst of {len(group)}" if len(group) > 1 else ""
        worst.append(replace(chosen, detail="; ".join(part for part in (chosen.detail, count) if part)))
    return tuple(worst)


def _badness(check: Check) -> tuple[int, float]:
    value = np.inf if np.isnan(check.value) else check.value
    return SEVERITY.index(check.verdict), value if check.sense == "<=" else -value
