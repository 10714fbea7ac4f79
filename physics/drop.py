"""Drop tests: a model is let go above a plane from its stable poses and from random ones, in one engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physics.check import Check
from physics.drop_checks import Judge, rest_difference
from physics.drop_record import Drop, DropConfig, DropRecord, Outcome, RestPose, Start
from physics.drop_trial import place_on_plane, simulate_drop, stable_start
from physics.engine import Engine
from physics.errors import EngineError, ModelError
from physics.floors import EngineFloors, OpenEngine
from physics.incline import check_incline
from physics.materials import Material, pair_friction
from physics.model import Model
from physics.pose import Pose
from physics.stable_poses import UPRIGHT_DOWN, StablePoseConfig, angles_between
from physics.subject import Subject

HALF_STEP = 0.5
"""Scale of the time step in the repeats of D11 [1]."""


def run_drops(
    model: Model,
    open_engine: OpenEngine,
    *,
    ground: Material,
    floors: EngineFloors,
    config: DropConfig | None = None,
    rng: np.random.Generator,
    symmetry_axis: np.ndarray | None = None,
) -> DropRecord:
    """Drop a model in one engine and judge what happened.

    Starts are the most probable stable poses, the upright pose, and random orientations. Each drop ends when the
    body has rested and its jitter is measured. The first `config.held_starts` drops go on for D7 and are repeated at
    half the time step for D11. Then its upright rest pose stands on inclines (D9, D10). An engine that refuses the
    model, and a body without stable poses (its centre of mass lies outside its hulls), give a failed D14, not an
    exception.

    Args:
        model: One body with hulls and mass properties.
        open_engine: Opens the engine on a world: `open_engine(world, timestep_scale=1.0)`.
        ground: Material of the half-space z <= 0.
        floors: What perfect solids show in this engine.
        config: Rules and limits.
        rng: Draws the random orientations and nothing else.
        symmetry_axis: Unit axis of revolution in B, exempt from D3, D6 and D7 when it lies; for assets only.

    Raises:
        ModelError: The model has more than one body, no hulls, or no mass properties.
    """
    config = config or DropConfig()
    axis = None if symmetry_axis is None else np.asarray(symmetry_axis, dtype=np.float64)
    subject = Subject(model, config, axis)
    rolling = max(pair_friction(part.material, ground).rolling for part in subject.body.parts)
    judge = Judge(subject, floors.engine, floors, rolling)
    try:
        starts = plan_starts(subject, rng)
    except ModelError as error:
        return _refused(subject, ground, judge, f"the model has no stable pose to be dropped from: {error}")
    try:
        drops, version, timestep = _drop_all(subject, open_engine, ground, starts, held=config.held_starts)
        repeats, _, _ = _drop_all(
            subject, open_engine, ground, starts[: config.held_starts], held=0, timestep_scale=HALF_STEP
        )
        poses = find_rest_poses(judge, drops)
        incline = check_incline(subject, poses, open_engine, engine=floors.engine, ground=ground)
    except EngineError as error:
        return _refused(subject, ground, judge, f"the engine refused the model: {error}")
    every = (*drops, *repeats)
    return DropRecord(
        model=model.name,
        engine=floors.engine,
        engine_version=version,
        ground=ground.name,
        timestep=timestep,
        size=subject.size,
        thickness=subject.thickness,
        drops=drops,
        repeats=repeats,
        rest_poses=poses,
        checks=(*judge.judge(drops, repeats), *incline),
        simulated_seconds=float(sum(drop.simulated_seconds for drop in every)),
        steps=sum(drop.steps for drop in every),
    )


def plan_starts(subject: Subject, rng: np.random.Generator) -> tuple[Start, ...]:
    """Return the starts of the drops: stable poses by probability, the upright pose, random orientations.

    A body whose upright orientation is no stable pose has no upright start: balanced exactly, it could stay in an
    unstable equilibrium, which says nothing about it.
    """
    config = subject.config
    starts: list[Start] = []
    covered = 0.0
    for index, pose in enumerate(subject.poses):
        enough = len(starts) >= config.max_stable_starts or covered >= config.covered_probability
        if enough and not pose.upright:
            continue
        name = "upright" if pose.upright else f"stable-{index}"
        starts.append(stable_start(subject, index, name))
        covered += pose.probability
    high = config.random_clearance * subject.size
    for number in range(config.random_starts):
        starts.append(Start(f"random-{number}", place_on_plane(subject, Pose.random_rotation(rng), high), high))
    return tuple(starts)


def find_rest_poses(judge: Judge, drops: Sequence[Drop]) -> tuple[RestPose, ...]:
    """Return the distinct poses in which the drops came to rest, most probable first, each with its drops."""
    groups: list[list[Drop]] = []
    for drop in drops:
        if not drop.outcome.settled:
            continue
        for group in groups:
            if _same_pose(judge.subject, group[0], drop):
                group.append(drop)
                break
        else:
            groups.append([drop])
    poses = [_rest_pose(judge, group) for group in groups]
    return tuple(sorted(poses, key=lambda pose: (-round(pose.probability, 9), pose.drops)))


def _same_pose(subject: Subject, a: Drop, b: Drop) -> bool:
    return rest_difference(subject, a, b)[0] <= subject.config.rest_angle_limit


def _rest_pose(judge: Judge, group: Sequence[Drop]) -> RestPose:
    drop, subject = group[0], judge.subject
    assert drop.X_WB is not None  # a settled drop has a finite pose
    com = drop.X_WB.apply(subject.body.inertial.com)
    X_WB = Pose(drop.X_WB.position - np.array([com[0], com[1], 0.0]), drop.X_WB.quaternion)
    stable = drop.rest_angle <= subject.config.rest_angle_limit
    probability = subject.poses[drop.rest_index].probability if stable else 0.0
    upright = bool(angles_between(drop.down[None], UPRIGHT_DOWN)[0] <= StablePoseConfig().upright_angle)
    return RestPose(
        X_WB=X_WB,
        down=drop.down,
        com_height=drop.com_height,
        penetration=drop.penetration,
        support_margin=drop.support_margin,
        probability=probability,
        stable_index=drop.rest_index,
        upright=upright,
        drops=tuple(member.name for member in group),
        settled_only=any(member.outcome is Outcome.ROLLING for member in group),
        balanced=judge.balances(drop),
        precarious=subject.precarious(drop.support_margin, probability, upright=upright),
    )


def _drop_all(
    subject: Subject,
    open_engine: OpenEngine,
    ground: Material,
    starts: Sequence[Start],
    *,
    held: int,
    timestep_scale: float = 1.0,
) -> tuple[tuple[Drop, ...], str, float]:
    """Run all drops in one engine instance; return them with the engine's version and time step."""
    engine: Engine = open_engine(subject.world(ground), timestep_scale=timestep_scale)
    try:
        drops = []
        for number, start in enumerate(starts):
            drops.append(simulate_drop(engine, subject, start, creep=number < held))
        return tuple(drops), engine.version, engine.timestep
    finally:
        engine.close()


def _refused(subject: Subject, ground: Material, judge: Judge, reason: str) -> DropRecord:
    """Return the record of a model that cannot be dropped: D14 fails and nothing else was measured."""
    check: Check = judge.check("D14", "engine warnings", 1.0, "1", 0.0, detail=reason)
    return DropRecord(
        model=subject.model.name,
        engine=judge.floors.engine,
        engine_version=judge.floors.engine_version,
        ground=ground.name,
        timestep=np.nan,
        size=subject.size,
        thickness=subject.thickness,
        drops=(),
        repeats=(),
        rest_poses=(),
        checks=(check,),
        simulated_seconds=0.0,
        steps=0,
    )
