"""Check D12: two engines agree on the equilibria of a body, not on the chaotic paths that lead to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physics.check import Check
from physics.drop_checks import rest_difference, worst_of
from physics.drop_record import REQUIRED_DYNAMIC_CHECKS, DropConfig, DropRecord, RestPose
from physics.drop_trial import NotFinite, Watch, hold, jitter, put_at, settle
from physics.engine import Engine
from physics.errors import EngineError
from physics.floors import EngineFloors, FloorsAt, OpenEngine
from physics.materials import Material
from physics.model import Model
from physics.subject import Moment, Subject, direction_difference, down_in_body

__all__ = ["REQUIRED_DYNAMIC_CHECKS", "check_agreement"]

FIX = (
    "The engines disagree about where this body rests: look for tiny or overlapping hulls, a base smaller than the "
    "rest depth, or friction that one engine cannot represent; neither result is to be trusted alone."
)
"""What to do when D12 does not pass."""


def check_agreement(
    model: Model,
    record_a: DropRecord,
    record_b: DropRecord | None,
    open_a: OpenEngine,
    open_b: OpenEngine | None,
    *,
    ground: Material,
    floors: Sequence[EngineFloors],
    config: DropConfig | None = None,
    symmetry_axis: np.ndarray | None = None,
    absent: str = "the second engine is not installed; install pybullet (Python 3.11) to decide",
) -> tuple[Check, ...]:
    """Return D12: each engine's rest poses must hold in the other, and equal stable starts must end alike.

    Whatever does not agree is UNDECIDED, with both values: two engines that differ prove nothing about the body.

    Args:
        model: The model that both records describe.
        record_a: Drops in the first engine.
        record_b: Drops in the second engine, or None where it is absent.
        open_a: Opens the first engine.
        open_b: Opens the second engine, or None where it is absent.
        ground: Material of the half-space z <= 0.
        floors: Floors of both engines, found by engine name.
        config: Rules and limits.
        symmetry_axis: Unit axis of revolution in B, exempt when it lies.
        absent: Why there is no second engine, for the reader.

    Raises:
        EngineError: An engine that has run the drops cannot be opened again, or has no floors.
    """
    config = config or DropConfig()
    axis = None if symmetry_axis is None else np.asarray(symmetry_axis, dtype=np.float64)
    subject = Subject(model, config, axis)
    if record_b is None or open_b is None:
        return (_d12(subject, "two engines agree", np.nan, "1", None, record_a.engine, detail=absent, undecided=True),)
    held = [
        *_hold_all(subject, record_a, record_b.engine, open_b, ground, floors),
        *_hold_all(subject, record_b, record_a.engine, open_a, ground, floors),
    ]
    return (*worst_of(held), *worst_of(_same_starts(subject, record_a, record_b)))


def _d12(
    subject: Subject, name: str, value: float, unit: str, limit: float | None, engine: str, **more: object
) -> Check:
    return Check("D12", name, value, unit, limit, body=subject.body.name, engine=engine, fix=FIX, **more)  # type: ignore[arg-type]


def _hold_all(
    subject: Subject,
    source: DropRecord,
    target: str,
    open_target: OpenEngine,
    ground: Material,
    floors: Sequence[EngineFloors],
) -> list[Check]:
    """Start every rest pose of one engine in the other, where it must hold."""
    name = f"rest poses of {source.engine} hold"
    # An edge on which only rolling friction holds a body is no equilibrium of the body; D8 warns of it.
    poses = [pose for pose in source.rest_poses if not pose.balanced]
    if not poses:
        return [_d12(subject, name, np.nan, "1", None, target, undecided=True, detail="it has no rest pose")]
    floor = _floors_of(floors, target).at(subject.size)
    engine = open_target(subject.world(ground))
    try:
        checks = [
            _hold_one(subject, engine, pose, number < subject.config.held_starts, source.engine, floor)
            for number, pose in enumerate(poses)
        ]
    finally:
        engine.close()
    if all(check.name != name for check in checks):
        checks.append(_d12(subject, name, np.nan, "1", None, target, undecided=True, detail="all are precarious"))
    return checks


def _hold_one(subject: Subject, engine: Engine, pose: RestPose, probable: bool, source: str, floor: FloorsAt) -> Check:
    """Start one rest pose, let the contact relax, and watch it for D6 and D7."""
    config = subject.config
    put_at(engine, pose.X_WB)
    watch = Watch(engine, subject)
    try:
        watch.advance(0)
        relaxed = _relax(watch)
        angle = direction_difference(subject, down_in_body(relaxed.X_WB, config.gravity), pose.down)
        height = abs(float(relaxed.com[2]) - pose.com_height)
        creep = hold(watch, config.creep_seconds if probable else config.brief_hold_seconds)
        shake = jitter(watch)
    except NotFinite:
        angle, height, creep, shake = np.nan, np.nan, {"creep_position": np.nan}, {}
    warnings = engine.health()
    value = creep["creep_position"] / subject.size
    holds = (
        not warnings
        and angle <= config.rest_angle_limit
        and height <= _height_limit(subject)
        and creep["creep_position"] <= max(config.creep_limit * subject.size, floor.creep_position)
        and creep["creep_angle"] <= max(config.creep_angle_limit, floor.creep_angle)
        and shake["jitter_position"] <= max(config.jitter_limit * subject.size, floor.jitter_position)
        and shake["jitter_angle"] <= max(config.jitter_angle_limit, floor.jitter_angle)
    )
    detail = (
        f"pose of {pose.drops[0]}: turned {np.rad2deg(angle):.3g} deg and moved {height * 1e3:.3g} mm in height while "
        f"relaxing, then creep {creep.get('creep_position', np.nan):.3g} m {creep.get('creep_angle', np.nan):.3g} rad, "
        f"jitter {shake.get('jitter_position', np.nan):.3g} m {shake.get('jitter_angle', np.nan):.3g} rad"
        f"{'; ' + '; '.join(warnings) if warnings else ''}"
    )
    if pose.precarious and not holds and np.isfinite(angle) and not warnings:
        # It tips over there: a finding about the pose, which no asset offers, and not about the body.
        name = f"turn of precarious rest poses of {source}"
        return _d12(subject, name, angle, "rad", np.pi, engine.name, warn=0.0, detail=detail)
    more = {"floor_value": creep["creep_position"], "floor_limit": floor.creep_position, "floor_unit": "m"}
    name = f"rest poses of {source} hold"
    return _d12(subject, name, value, "1", config.creep_limit, engine.name, undecided=not holds, detail=detail, **more)


def _relax(watch: Watch) -> Moment:
    """Let a pose adopt the contact softness of an engine; a round body may roll to the next facet and rest there."""
    subject, dt = watch.subject, watch.engine.timestep
    config = subject.config
    moment = watch.advance(max(round(config.relax_seconds / dt), 1))
    if subject.rolls(down_in_body(moment.X_WB, config.gravity)):
        settle(watch, 0.0, config.rolling_seconds)
    return watch.moments[-1]


def _same_starts(subject: Subject, a: DropRecord, b: DropRecord) -> list[Check]:
    """Compare the ends of drops from one stable start: gravity direction, and height of the centre of mass."""
    config = subject.config
    ends = {drop.name: drop for drop in b.drops}
    pairs = [(drop, ends[drop.name]) for drop in a.drops if drop.start.stable_index >= 0 and drop.name in ends]
    engines = f"{a.engine}+{b.engine}"
    direction, height_name = "gravity direction from one stable start", "height from one stable start"
    if not pairs:
        why = "the records share no stable start"
        return [_d12(subject, direction, np.nan, "rad", None, engines, undecided=True, detail=why)]
    checks = []
    for one, two in pairs:
        if not (one.outcome.settled and two.outcome.settled):
            why = f"{one.name}: {one.outcome} in {a.engine}, {two.outcome} in {b.engine}"
            checks.append(_d12(subject, direction, np.nan, "rad", None, engines, undecided=True, detail=why))
            continue
        angle, height = rest_difference(subject, one, two)
        why = f"{one.name}: heights {one.com_height:.6g} m in {a.engine}, {two.com_height:.6g} m in {b.engine}"
        limit = config.rest_angle_limit
        start = subject.poses[one.start.stable_index]
        if subject.precarious(start.margin, start.probability, upright=start.upright) and not angle <= limit:
            rare = "gravity direction from one precarious start"
            checks.append(_d12(subject, rare, angle, "rad", np.pi, engines, warn=limit, detail=why))
            continue
        checks.append(
            _d12(subject, direction, angle, "rad", limit, engines, undecided=not angle <= limit, detail=one.name)
        )
        limit = _height_limit(subject)
        checks.append(
            _d12(subject, height_name, height, "m", limit, engines, undecided=not height <= limit, detail=why)
        )
    if all(check.name.endswith("precarious start") for check in checks):
        why = "all that differ are precarious, and none agrees"
        checks.append(_d12(subject, direction, np.nan, "rad", None, engines, undecided=True, detail=why))
    return checks


def _height_limit(subject: Subject) -> float:
    return max(subject.config.height_limit * subject.thickness, subject.config.height_floor)


def _floors_of(floors: Sequence[EngineFloors], engine: str) -> EngineFloors:
    for measured in floors:
        if measured.engine == engine:
            return measured
    raise EngineError(
        f"no floors of {engine!r} given, got {[m.engine for m in floors]}; run measure_floors on it first"
    )
