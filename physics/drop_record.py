"""Records of the drop tests: what is dropped, under which rules, and what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float64

from physics.check import Check, Verdict, overall_verdict
from physics.engine import GRAVITY
from physics.pose import Pose, frozen


@dataclass(frozen=True)
class DropConfig:
    """How bodies are dropped, when they count as at rest, and the limits of checks D1 to D8, D11, D12, D14.

    L is the largest and l the smallest extent of the body, tau = sqrt(L/g), v* = sqrt(g L).
    """

    gravity: tuple[float, float, float] = GRAVITY
    """Gravity in W [m/s^2]."""
    covered_probability: float = 0.8
    """Stable poses are dropped from, most probable first, until they cover this share [1]."""
    max_stable_starts: int = 6
    """Most stable poses dropped from; the upright pose is added when it is not among them [1]."""
    random_starts: int = 4
    """Drops from random orientations [1]."""
    rest_clearance: float = 0.02
    """Clearance below a stable start, as a share of L [1]."""
    min_clearance: float = 1e-3
    """Smallest clearance below a stable start [m]; at most min_clearance_share."""
    min_clearance_share: float = 0.1
    """Largest min_clearance as a share of L [1]: let go from half its height, a tall block of 2 mm stays up in one
    engine and falls over in the other, which says nothing about it."""
    start_tilt: float = math.radians(0.5)
    """Tilt of a stable start, so that no exact symmetry holds a body in place [rad]; at most start_tilt_share."""
    start_tilt_share: float = 0.25
    """Largest tilt of a stable start as a share of the angle at which the pose tips [1]."""
    random_clearance: float = 1.0
    """Clearance below a random start, as a share of L [1]."""
    held_starts: int = 2
    """Most probable stable starts that are watched for creep (D7) and repeated at half the time step (D11) [1]."""
    quiet_speed: float = 0.005
    """Speed of the centre of mass at rest, as a share of v* [1]."""
    quiet_speed_floor: float = 1e-3
    """Speed that counts as rest at any size [m/s]; also for L times the angular velocity."""
    quiet_spin: float = 0.02
    """Angular velocity times tau at rest [1]."""
    quiet_seconds: float = 0.5
    """How long a body must stay quiet to be at rest [s]."""
    settle_taus: float = 40.0
    """Limit of D3 after contact, in tau, plus settle_seconds [1]."""
    settle_seconds: float = 1.0
    """Limit of D3 after contact, on top of settle_taus [s]."""
    settle_cap: float = 10.0
    """Largest limit of D3 [s]."""
    rim_seconds: float = 20.0
    """Limit of D3 for random starts, which may land on a round rim and roll on it like Euler's disk [s].

    Beyond the limit of stable starts such a drop warns. Random starts of every body get this time, a rim or not.

    A rigid circle loses energy by rolling friction alone. Measured on perfect cylinders of 0.03, 0.1 and 0.3 m let go
    from 1 L at 6 to 30 degrees: up to 1.4, 6.7 and 16.2 s in MuJoCo, 1.8, 6.3 and 13.6 s in Bullet."""
    rim_size: float = 0.3
    """Beyond this size rim_seconds grows as L^1.5 [m], as the time in which rolling friction, a length, stops it."""
    rim_cap: float = 120.0
    """Largest limit of D3 for random starts [s]."""
    jitter_seconds: float = 1.0
    """Window of D6, the last of the drop [s]."""
    jitter_patience: float = 2.0
    """How much longer a quiet body may take until D6 holds [s]."""
    creep_seconds: float = 5.0
    """Time of D7 [s]."""
    support_steps: int = 21
    """Consecutive steps over which contact forces are averaged for D5, at least [1]."""
    support_seconds: float = 0.5
    """Time over which they are averaged where that mean is off by more than the limit [s].

    Measured: a shelf of 36 kg on three contacts rattles in MuJoCo at 2 mm/s, within D6; the mean force is 3 % off
    over 21 ms, 1 % over 0.1 s, and 0.2 % over 0.5 s."""
    rolling_support_seconds: float = 2.0
    """The same for a body that rolls over its facets [s]; a sphere of 1 m and 64 meridians is 1.4 % off over 0.5 s."""
    samples_per_tau: float = 5.0
    """States read per tau; the stride is odd, so that jitter of period two is seen [1]."""
    sample_seconds: float = 0.01
    """Longest time between two states that are read [s]."""
    impact_steps: int = 20
    """Steps after first contact of which every one is read for D2 [1]."""
    cpu_seconds: float = 60.0
    """Processor time of one drop beyond which it is stopped and D14 fails [s]."""

    free_fall_limit: float = 1e-6
    """D1: relative error against the discrete trajectory [1]."""
    energy_limit: float = 0.01
    """D2: energy gained, as a share of m g (clearance + L) [1]."""
    penetration_limit: float = 0.01
    """D4: rest penetration as a share of l [1]."""
    penetration_floors: float = 3.0
    """D4: engine floors of rest penetration that always pass [1]."""
    load_limit: float = 0.01
    """D5: deviation of the supporting force from the weight, as a share of the weight [1]."""
    margin_limit: float = 0.0
    """D5: distance of the projected centre of mass inside the support polygon, as a share of L [1].

    The polygon is that of the contact points grown by the rolling friction between body and ground, a length: a contact
    that resists rolling carries the moment of a force so far beside it. Seen: a mug that leans on its handle with its
    centre of mass 0.27 mm outside, on oak of 0.3 mm. Such a pose warns, as every margin below margin_warn."""
    margin_warn: float = 0.01
    """D5: below this the rest pose is precarious [1]."""
    precarious_probability: float = 0.2
    """D12: a precarious pose of less than this probability, not the upright one, need not hold in both engines [1]."""
    jitter_limit: float = 1e-4
    """D6: RMS of the position as a share of L [1]."""
    jitter_angle_limit: float = math.radians(0.05)
    """D6: RMS of the rotation [rad]."""
    creep_limit: float = 1e-3
    """D7: displacement in creep_seconds as a share of L [1]."""
    creep_angle_limit: float = math.radians(0.5)
    """D7: change of tilt in creep_seconds [rad]."""
    rest_angle_limit: float = math.radians(3.0)
    """D8, D11, D12: angle between two gravity directions in the body frame that are one pose [rad]."""
    height_limit: float = 0.01
    """D11, D12: difference of the heights of the centre of mass as a share of l [1]."""
    height_floor: float = 5e-4
    """D11, D12: difference of heights that always passes [m]."""
    depth_share: float = 0.3
    """D11: change of the rest depth at half the time step, as a share of the depth [1]."""
    depth_floors: float = 3.0
    """D11: change of the rest depth that always passes, in engine floors of rest depth [1]."""
    depth_floor: float = 1e-4
    """D11: change of the rest depth that always passes [m]."""
    ball_roundness: float = 0.03
    """A body is a ball where its convex hull lies between two spheres about its centre of mass that differ by this [1].

    A sphere of 64 meridians has 0.24 %, its hulls of 64 corners each have 2.2 %."""
    facet_of_ball: float = 0.12
    """D5: half the width of a facet of a ball over L, at its roundness: sqrt(1 - (1 - 0.03)^2) / 2 [1]."""
    facet_of_round: float = 0.05
    """D5: the same of the side of another round body: sin(6 deg) / 2 for the 30 sides from which on it is one [1]."""
    standing_angle: float = math.radians(20.0)
    """A body with a symmetry axis stands when the axis is this close to the vertical; then nothing is exempt [rad]."""
    rolling_speed: float = 0.5
    """Largest speed at which a lying body of revolution may roll on and count as settled, as a share of v* [1]."""
    rolling_slip: float = 0.05
    """Slip at the contact of a rolling body as a share of its speed, on top of the speed at rest [1]."""
    rolling_loss: float = 0.01
    """Share of its kinetic energy that a rolling body loses at least in the time in which it counts as settled [1].

    Rolling friction of 0.1 mm takes 20 % of it per second from a cylinder of 60 mm at rolling_speed."""
    relax_seconds: float = 0.5
    """D12: time for a pose to adopt the contact softness of another engine [s]."""
    rolling_seconds: float = 10.0
    """D6, D12: how long a round body may rock and roll from facet to facet until it is still [s]."""
    brief_hold_seconds: float = 2.0
    """D12: how long rest poses beyond the held_starts most probable ones must hold [s]."""


class Outcome(StrEnum):
    """How a drop ended."""

    RESTED = "rested"
    ROLLING = "rolling"
    """At rest but for rolling about a declared axis of symmetry."""
    TIMEOUT = "timeout"
    """Still moving at the limit of D3."""
    ESCAPED = "escaped"
    """Fell through the ground."""
    UNHEALTHY = "unhealthy"
    """The state was not finite, or the engine warned."""
    STOPPED = "stopped"
    """Took more processor time than allowed."""

    @property
    def settled(self) -> bool:
        """True when a rest pose was reached."""
        return self in (Outcome.RESTED, Outcome.ROLLING)


@dataclass(frozen=True, eq=False)
class Start:
    """Where a drop begins, at rest in the air."""

    name: str
    X_WB: Pose
    clearance: float
    """Height of the lowest vertex above the ground [m]."""
    stable_index: int = -1
    """Index of the stable pose, or -1 for any other orientation."""
    probability: float = 0.0
    """Probability of that stable pose [1]."""


@dataclass(frozen=True, eq=False)
class Drop:
    """One drop and all that was measured on it; a quantity that was not measured is NaN."""

    start: Start
    outcome: Outcome
    timestep: float
    """Step of the engine [s]."""
    steps: int
    """Steps taken [1]."""
    X_WB: Pose | None
    """Pose at the end, None when it is not finite."""
    down: Float64[np.ndarray, "3"]
    """Gravity direction in B at the end [1]."""
    com_height: float = np.nan
    """Height of the centre of mass above the ground at the end [m]."""
    free_fall_error: float = np.nan
    """D1 [1]."""
    energy_gain: float = np.nan
    """D2 [1]."""
    settle_seconds: float = np.nan
    """D3: from contact to the beginning of rest, or to the end of the drop without rest [s]."""
    penetration: float = np.nan
    """D4: how far the body lies in the ground, or above it, whichever is more [m]."""
    load: float = np.nan
    """D5: supporting force over the weight [1]."""
    support_margin: float = np.nan
    """D5: distance of the projected centre of mass inside the contact polygon [m]."""
    contact_count: int = 0
    """Contact points at rest [1]."""
    jitter_position: float = np.nan
    """D6: RMS of the centre of mass about its mean [m]."""
    jitter_angle: float = np.nan
    """D6: RMS of the rotation about its mean [rad]."""
    creep_position: float = np.nan
    """D7: displacement of the centre of mass [m]."""
    creep_angle: float = np.nan
    """D7: change of tilt [rad]."""
    rest_index: int = -1
    """Nearest stable pose, by index."""
    rest_angle: float = np.nan
    """D8: angle to it [rad]."""
    travel: float = np.nan
    """Horizontal distance from start to end [m]."""
    warnings: tuple[str, ...] = ()
    """D14: what the engine complained of."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "down", frozen(self.down))

    @property
    def name(self) -> str:
        """Name of the start."""
        return self.start.name

    @property
    def simulated_seconds(self) -> float:
        """Simulated time [s]."""
        return self.steps * self.timestep


@dataclass(frozen=True, eq=False)
class RestPose:
    """A distinct pose in which the body came to rest, with the evidence for it."""

    X_WB: Pose
    """Pose as it came to rest, the engine's rest depth included, the centre of mass moved above the origin."""
    down: Float64[np.ndarray, "3"]
    """Gravity direction in the body frame [1]."""
    com_height: float
    """Height of the centre of mass above the ground [m]."""
    penetration: float
    """Rest depth in the ground [m]."""
    support_margin: float
    """Distance of the projected centre of mass inside the contact polygon [m]."""
    probability: float
    """Quasi-static probability of the stable pose [1]."""
    stable_index: int
    """Index of the nearest stable pose."""
    upright: bool
    """True when z of the body points up."""
    drops: tuple[str, ...]
    """Names of the drops that ended here."""
    settled_only: bool = False
    """True when the body may roll on about its declared axis of symmetry."""
    balanced: bool = False
    """True when rolling friction alone holds the body there: no pose to place it in, nor one that D12 compares."""
    precarious: bool = False
    """True when it is close to tipping and rare: no pose to place it in unless both engines end there."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "down", frozen(self.down))


@dataclass(frozen=True, eq=False)
class DropRecord:
    """All drops of one model in one engine, and the checks that follow from them."""

    model: str
    engine: str
    engine_version: str
    ground: str
    """Name of the ground's material."""
    timestep: float
    """Step of the engine, before D11 halves it [s]."""
    size: float
    """L: largest extent [m]."""
    thickness: float
    """l: smallest extent [m]."""
    drops: tuple[Drop, ...]
    repeats: tuple[Drop, ...]
    """The drops of D11 at half the time step."""
    rest_poses: tuple[RestPose, ...]
    """Distinct rest poses, most probable first."""
    checks: tuple[Check, ...]
    simulated_seconds: float
    """Simulated time of all drops [s]."""
    steps: int
    """Engine steps of all drops [1]."""

    @property
    def verdict(self) -> Verdict:
        """Worst verdict of the checks; a missing one makes it at best UNDECIDED."""
        return overall_verdict(self.checks, REQUIRED_DROP_CHECKS)


REQUIRED_DROP_CHECKS = ("D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9", "D10", "D11", "D14")
"""Checks that every drop record must hold."""

REQUIRED_DYNAMIC_CHECKS = (*REQUIRED_DROP_CHECKS, "D12")
"""Checks without which no asset is ever PASS; D12 needs a second engine."""
