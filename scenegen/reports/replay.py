"""A recorded drop simulated once more in MuJoCo, a few poses of which make the animation of a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.drop import plan_starts
from physics.drop_mujoco import open_mujoco
from physics.drop_record import Drop, Start
from physics.drop_trial import put_at
from physics.errors import EngineError, ModelError
from physics.pose import frozen
from physics.subject import SUBJECT, Subject
from scenegen.assets.build import ground_under
from scenegen.provenance import item_rng
from scenegen.reports.report_entry import Entry

FRAMES = 40
"""Poses of an animation [1]."""
LONGEST = 2.0
"""Longest that a replay lasts [s]."""
AFTER_REST = 0.2
"""How long a replay goes on after the recorded rest [s]."""
MOST = 2
"""Drops of one asset that are replayed [1]."""
ENGINE = "mujoco"


@dataclass(frozen=True, eq=False)
class Replay:
    """Poses of the root body along a drop."""

    start: str
    """Name of the start."""
    engine_version: str
    outcome: str
    """How the recorded drop ended; empty where no record was kept."""
    times: Float64[np.ndarray, "T"]
    """Simulated time of each pose [s]."""
    positions: Float64[np.ndarray, "T 3"]
    """Origin of the body in W [m]."""
    quaternions: Float64[np.ndarray, "T 4"]
    """Orientation of the body in W, (w, x, y, z) [1]."""
    rest_gap: float = math.nan
    """Distance of the last pose from where the recorded drop ended [m]; NaN where the replay stops before its rest."""

    def __post_init__(self) -> None:
        for name in ("times", "positions", "quaternions"):
            object.__setattr__(self, name, frozen(getattr(self, name)))


def replay_drops(entry: Entry) -> tuple[Replay, ...]:
    """Return the drops of an asset that tell most: one that did not settle or is random, and one from a stable pose.

    Nothing is returned for an asset that the engine refuses, or that has no hulls.
    """
    model = entry.model
    if model is None or len(model.bodies) != 1 or not model.root.hulls or model.root.mass_properties is None:
        return ()
    axis = None if entry.symmetry_axis is None else np.array(entry.symmetry_axis)
    subject = Subject(model, entry.drop_config, axis)
    try:
        chosen = choose_drops(_recorded(entry)) or tuple((start, None) for start in _planned(entry, subject))
        engine = open_mujoco(subject.world(ground_under(model, entry.ground)))
    except (EngineError, ModelError):
        return ()
    try:
        return tuple(_replay(engine, subject, start, drop) for start, drop in chosen)
    finally:
        engine.close()


def _recorded(entry: Entry) -> tuple[Drop, ...]:
    return next((record.drops for record in entry.drops if record.engine == ENGINE), ())


def _planned(entry: Entry, subject: Subject) -> tuple[Start, ...]:
    """Return starts drawn as the drop test drew them, for an asset whose records were not kept."""
    starts = plan_starts(subject, item_rng(entry.seed, entry.item or entry.id, "drop"))
    return _telling([(start, True) for start in starts])


def choose_drops(drops: Sequence[Drop]) -> tuple[tuple[Start, Drop], ...]:
    """Return the drops to replay, each with its start."""
    named = {drop.name: drop for drop in drops}
    return tuple((start, named[start.name]) for start in _telling([(d.start, d.outcome.settled) for d in drops]))


def _telling(starts: Sequence[tuple[Start, bool]]) -> tuple[Start, ...]:
    """Return up to MOST starts: what did not settle, then a random one, then stable ones."""
    order = sorted(range(len(starts)), key=lambda i: (starts[i][1], starts[i][0].stable_index >= 0, i))
    first = order[:1]
    others = [i for i in range(len(starts)) if i not in first and starts[i][0].stable_index >= 0]
    return tuple(starts[i][0] for i in (first + others)[:MOST])


def _replay(engine, subject: Subject, start: Start, drop: Drop | None) -> Replay:
    dt = engine.timestep
    fall = math.sqrt(2 * start.clearance / subject.g)
    settle = drop.settle_seconds if drop is not None else math.nan
    rest = fall + max(settle, 0.0) + AFTER_REST if drop is not None and drop.outcome.settled else math.inf
    steps = max(int(min(rest, LONGEST) / dt), FRAMES)
    put_at(engine, start.X_WB)
    at = np.unique(np.round(np.linspace(0, steps, FRAMES)).astype(int))
    poses = []
    for count in np.diff(at, prepend=0):
        if count:
            engine.step(int(count))
        poses.append(engine.state().pose(SUBJECT))
    gap = math.nan
    if rest <= LONGEST and drop is not None and drop.X_WB is not None:
        gap = float(np.linalg.norm(poses[-1].position - drop.X_WB.position))
    return Replay(
        start.name,
        engine.version,
        "" if drop is None else str(drop.outcome),
        at * dt,
        np.array([pose.position for pose in poses]),
        np.array([pose.quaternion for pose in poses]),
        gap,
    )
