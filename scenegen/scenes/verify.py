"""Checks S1, S2, S3 and S5 of a scene at rest, in one engine with sleep off."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.check import Check
from physics.engine import GROUND, Contacts, Engine, State, World
from physics.materials import Material
from physics.model import Model
from physics.pose import Pose
from scenegen.errors import SceneError

MEASURED = ("S1", "S2", "S3")
"""Checks that need every declared object."""
LEAST_LOOKS = 8
"""Looks at the poses from which a rate may be taken [1]."""
MASS_TOLERANCE = 1e-4
"""S5: how far the mass in an engine may be from the asset's; PyBullet holds single precision in places [1]."""


@dataclass(frozen=True)
class SceneCheckConfig:
    """Limits of the scene checks; l is the smallest extent of an object, L the largest."""

    hold_seconds: float = 2.0
    """Time of S2 [s]."""
    mujoco_horizon: float = 5.0
    """S2: time within which no limit may be passed in MuJoCo, after `hold_seconds` at the steady rate of their second
    half [s]; what speeds up is not foreseen. In PyBullet, which lets most heaps creep, `hold_seconds` count alone."""
    sample_seconds: float = 0.1
    """Time between two looks at the poses for S2 [s]."""
    overlap_share: float = 0.01
    """S1: penetration as a share of the smaller l of a pair [1]."""
    overlap_floor: float = 2e-4
    """S1: penetration that always passes [m]."""
    overlap_cap: float = 1e-3
    """S1: penetration that never passes [m]."""
    drift_share: float = 0.01
    """S2: displacement as a share of l [1]."""
    drift_floor: float = 1e-3
    """S2: displacement that always passes [m]."""
    tilt: float = float(np.deg2rad(1.0))
    """S2: rotation [rad]."""
    balance: float = 0.02
    """S3: unbalanced force over m g, and torque over m g L [1]."""
    window: int = 51
    """S3: consecutive steps over which contact forces are averaged [1]."""

    def __post_init__(self) -> None:
        looks = self.hold_seconds / self.sample_seconds
        if self.mujoco_horizon > self.hold_seconds and looks < LEAST_LOOKS - 0.5:
            raise SceneError(
                f"{looks:.0f} looks in {self.hold_seconds:g} s are too few to say where things are after "
                f"{self.mujoco_horizon:g} s, expected {LEAST_LOOKS}; look more often, or set mujoco_horizon to 0"
            )

    def horizon(self, engine: str) -> float:
        """Return the time for which nothing may pass the limits of S2 in an engine [s]."""
        return max(self.mujoco_horizon if engine == "mujoco" else 0.0, self.hold_seconds)


@dataclass(frozen=True, eq=False)
class _Watch:
    """What is known of each free object."""

    names: tuple[str, ...]
    least: dict[str, float]
    """Smallest extent of each [m]."""
    largest: dict[str, float]
    weight: dict[str, float]
    """Mass times gravity [N]."""
    com: dict[str, np.ndarray]
    moment: dict[str, float]
    """Torsional plus rolling friction length of the roughest hull of each placement [m]."""
    gravity: float
    """Magnitude of gravity [m/s^2]."""
    fixed: frozenset[str]


def verify_scene(world: World, engine: Engine, config: SceneCheckConfig) -> tuple[Check, ...]:
    """Judge a world that should be at rest.

    The engine must hold the world in its initial state. S1 is measured on that state, S2 over the next
    `hold_seconds` and reckoned to `horizon`, S3 on forces averaged at the end, S5 on the names and poses at the end.
    """
    watch = _watch(world)
    start = {p.name: p.X_WB for p in world.placements if not p.fixed}
    identity = _identity(engine, watch, start)
    if identity[0].verdict != "PASS":  # nothing else can be measured on objects that are not there
        return (*identity, *(Check(name, "not measured", np.nan, "1", 0.0, engine=engine.name) for name in MEASURED))
    engine.step(1)  # contacts belong to a step
    overlap = _overlap(engine.contacts(), watch, engine.name, config)
    seen = watch_poses(engine, config.hold_seconds, config.sample_seconds)
    drift = check_drift(start, seen, world, engine.name, config.hold_seconds, config)
    balance = _balance(engine, watch, config)
    warnings = engine.health()
    health = Check(
        "S5", "engine warnings", float(len(warnings)), "1", 0.0, engine=engine.name, detail="; ".join(warnings)
    )
    return (*overlap, *drift, *balance, *identity, health)


def failing_objects(checks: Sequence[Check]) -> set[str]:
    """Return the names of the objects that failed checks speak of."""
    return {name for check in checks if check.verdict in ("FAIL", "UNDECIDED") for name in check.body.split(" and ")}


def reasons_against(
    refused: Sequence[Check], names: Collection[str], of_overlap: Callable[[set[str]], Collection[str]]
) -> dict[str, list[str]]:
    """Return what refused checks say against each object that they name, objects in order.

    Args:
        refused: Checks that do not hold.
        names: The objects that can be meant.
        of_overlap: Which of those that overlap are meant.
    """
    against: dict[str, list[str]] = {}
    for check in refused:
        named = failing_objects([check]) & set(names)
        for name in of_overlap(named) if named and check.id == "S1" else named:
            against.setdefault(name, []).append(check.describe())
    return dict(sorted(against.items()))


def _watch(world: World) -> _Watch:
    free = [p for p in world.placements if not p.fixed]
    moment = {p.name: max(_friction_lengths(p.model)) for p in world.placements}
    moment[GROUND] = 0.0 if world.ground is None else _friction_length(world.ground)
    gravity = float(np.linalg.norm(world.gravity))
    return _Watch(
        tuple(p.name for p in free),
        {p.name: float(p.model.root.extents.min()) for p in free},
        {p.name: p.model.root.size for p in free},
        {p.name: sum(b.inertial.mass for b in p.model.bodies) * gravity for p in free},
        {p.name: p.model.root.inertial.com for p in free},
        moment,
        gravity,
        frozenset({GROUND, *(p.name for p in world.placements if p.fixed)}),
    )


def _friction_length(material: Material) -> float:
    return material.torsional_friction + material.rolling_friction


def _friction_lengths(model: Model) -> list[float]:
    return [_friction_length(body.hull_material(hull)) for body in model.bodies for hull in body.hulls]


def check_overlap(contacts: Contacts, world: World, engine: str, config: SceneCheckConfig) -> list[Check]:
    """S1: the pair whose penetration is largest against its limit, and every other that does not pass."""
    return _overlap(contacts, _watch(world), engine, config)


def watch_poses(engine: Engine, seconds: float, interval: float) -> list[dict[str, Pose]]:
    """Advance an engine, and return the poses at equal intervals; none at all where a number is not finite."""
    stride = max(round(interval / engine.timestep), 1)
    seen: list[dict[str, Pose]] = []
    for _ in range(max(round(seconds / (stride * engine.timestep)), 1)):
        engine.step(stride)
        seen.append(_poses(engine.state()))
    return seen


def _overlap(contacts: Contacts, watch: _Watch, engine: str, config: SceneCheckConfig) -> list[Check]:
    fix = "The hulls overlap at the start: place the objects further apart or let them settle longer."
    if not np.isfinite(contacts.distances).all():
        return [Check("S1", "deepest overlap", np.nan, "m", config.overlap_floor, engine=engine, fix=fix)]
    deepest: dict[tuple[str, str], float] = {}
    for *pair, distance in zip(contacts.names_a, contacts.names_b, contacts.distances, strict=True):
        a, b = sorted(map(_root, pair))
        deepest[a, b] = max(deepest.get((a, b), 0.0), -float(distance))
    checks = [Check("S1", "deepest overlap", 0.0, "m", config.overlap_floor, engine=engine, fix=fix)]
    for (a, b), depth in deepest.items():
        least = min(watch.least.get(a, np.inf), watch.least.get(b, np.inf))
        limit = min(config.overlap_cap, max(config.overlap_floor, config.overlap_share * least))
        checks.append(Check("S1", "deepest overlap", depth, "m", limit, body=f"{a} and {b}", engine=engine, fix=fix))
    return _worst(checks)


def _poses(state: State) -> dict[str, Pose]:
    """Return the pose of every body; none at all when a number is not finite."""
    finite = np.isfinite(state.positions).all() and np.isfinite(state.quaternions).all()
    return {name: state.pose(name) for name in state.names} if finite else {}


def check_drift(
    start: dict[str, Pose],
    seen: Sequence[dict[str, Pose]],
    world: World,
    engine: str,
    seconds: float,
    config: SceneCheckConfig,
) -> list[Check]:
    """S2: the largest displacement and rotation within the horizon: of the worst object, and of each that fails.

    Args:
        start: Pose of each free body at the start.
        seen: Poses at equal intervals, the last after `seconds`; none at all where a number is not finite.
        world: What the engine holds.
        engine: Its name.
        seconds: Time that was looked at, at most the horizon [s].
        config: Limits.
    """
    roots = {p.name: p.model.root for p in world.placements}
    horizon = config.horizon(engine)
    fix = f"It does not stand still for {horizon:g} s: let the scene settle longer, or take the object out."
    note = f"reckoned to {horizon:g} s from its rate in the last {seconds / 2:g} s of {seconds:g} s"
    drifts, turns = [], []
    for name, X_WB in start.items():
        limit = max(config.drift_floor, config.drift_share * float(roots[name].extents.min()))
        distance, far, angle, wide = np.nan, False, np.nan, False
        if all(name in poses for poses in seen):
            com = roots[name].inertial.com
            moved = np.array([poses[name].apply(com) for poses in seen]) - X_WB.apply(com)
            turned = np.array([_rotation_vector(X_WB, poses[name]) for poses in seen])
            (distance, far), (angle, wide) = (_reach(path, seconds, horizon) for path in (moved, turned))
        drifts.append(Check("S2", "drift", distance, "m", limit, body=name, engine=engine, detail=note * far, fix=fix))
        turns.append(
            Check("S2", "rotation", angle, "rad", config.tilt, body=name, engine=engine, detail=note * wide, fix=fix)
        )
    if not drifts:
        return [Check("S2", "drift", np.nan, "m", config.drift_floor, engine=engine, detail="there is no object")]
    return [*_worst(drifts), *_worst(turns)]


def _reach(path: Float64[np.ndarray, "T 3"], seconds: float, horizon: float) -> tuple[float, bool]:
    """Return how far from its start a path comes within a horizon, and whether that is at its end and reckoned.

    After the last look it goes on at its rate of the second half: the slope of least squares, which a rattle about one
    place hardly changes.

    Args:
        path: Places at equal intervals, the last at `seconds`.
        seconds: Time that was looked at [s].
        horizon: Time in question, no less [s].
    """
    late = path[len(path) // 2 :]
    time = np.arange(len(late)) * seconds / len(path)
    time -= time.mean()
    rate = time @ late / max(time @ time, 1e-12)
    seen = float(np.linalg.norm(path, axis=1).max())
    ahead = float(np.linalg.norm(path[-1] + (horizon - seconds) * rate))
    return float(np.maximum(seen, ahead)), ahead > seen  # what is no number stays none


def _rotation_vector(a: Pose, b: Pose) -> Float64[np.ndarray, "3"]:
    """Return axis times angle of the rotation from one pose to another, in the world [rad]."""
    w, *axis = b.compose(a.inverse()).quaternion
    axis = np.array(axis) * (1.0 if w >= 0 else -1.0)
    sine = float(np.linalg.norm(axis))
    return axis / sine * 2 * np.arctan2(sine, abs(w)) if sine > 0 else axis


def _worst(checks: list[Check]) -> list[Check]:
    """Return the check whose value is largest against its limit, or all that do not pass, the worst first."""
    bad = [check for check in checks if check.verdict != "PASS"]
    return sorted(bad, key=_badness, reverse=True) or [max(checks, key=_badness)]


def _badness(check: Check) -> float:
    """Return a value over its limit; what is no number is worst."""
    return check.value / (check.limit or np.inf) if np.isfinite(check.value) else np.inf


def _balance(engine: Engine, watch: _Watch, config: SceneCheckConfig) -> list[Check]:
    """S3: every object is carried by something static, and contact forces balance its weight.

    Of the forces and of the torques the worst is returned, or all that are out of balance.

    Contacts also carry moments by torsional and rolling friction, which an engine need not report. They are at most
    the normal force times the friction lengths of the pair; as much is taken off the torque that the forces leave.
    """
    row = {name: number for number, name in enumerate(watch.names)}
    com = np.array([watch.com[name] for name in watch.names])
    force, torque, moment = np.zeros((len(row), 3)), np.zeros((len(row), 3)), np.zeros(len(row))
    links: set[tuple[str, str]] = set()
    for _ in range(config.window):
        engine.step(1)
        contacts, state = engine.contacts(), engine.state()
        if not (np.isfinite(state.positions).all() and np.isfinite(contacts.forces).all()):
            return [Check("S3", "unbalanced force over weight", np.nan, "1", config.balance, engine=engine.name)]
        roots = [tuple(map(_root, names)) for names in (contacts.names_a, contacts.names_b)]
        pairs = list(zip(*roots, strict=True))
        loaded = np.linalg.norm(contacts.forces, axis=1) > 0
        links.update(pair for pair, bears in zip(pairs, loaded, strict=True) if bears)
        centre = np.array([state.pose(name).apply(com[number]) for name, number in row.items()])
        pushes = np.abs(np.einsum("ci,ci->c", contacts.forces, contacts.normals))
        rubs = pushes * [max(watch.moment[a], watch.moment[b]) for a, b in pairs]
        for names, sign in zip(roots, (-1.0, 1.0), strict=True):
            free = np.array([number for number, name in enumerate(names) if name in row], dtype=int)
            body = np.array([row[names[number]] for number in free], dtype=int)
            pull = sign * contacts.forces[free]
            np.add.at(force, body, pull)
            np.add.at(torque, body, np.cross(contacts.positions[free] - centre[body], pull))
            np.add.at(moment, body, rubs[free])
    force, torque, moment = force / config.window, torque / config.window, moment / config.window
    carried = _reached(links, watch.fixed)
    floating = [name for name in watch.names if name not in carried]
    weight = np.array([watch.weight[name] for name in watch.names])
    size = np.array([watch.largest[name] for name in watch.names])
    left = np.linalg.norm(force - weight[:, None] * np.array([0.0, 0.0, 1.0]), axis=1) / weight
    bent = np.maximum(np.linalg.norm(torque, axis=1) - moment, 0.0) / (weight * size)
    fix = "Something holds it up or presses on it that is no contact: look for frozen, floating or jammed objects."

    def unbalanced(quantity: str, values: Float64[np.ndarray, "N"]) -> list[Check]:
        return [
            Check("S3", quantity, float(value), "1", config.balance, body=name, engine=engine.name, fix=fix)
            for name, value in zip(watch.names, values, strict=True)
        ]

    return [
        Check(
            "S3", "objects that nothing carries", float(len(floating)), "1", 0.0,
            body=" and ".join(floating), engine=engine.name, fix=fix,
        ),
        *_worst(unbalanced("unbalanced force over weight", left)),
        *_worst(unbalanced("unbalanced torque over weight and size", bent)),
    ]  # fmt: skip


def _identity(engine: Engine, watch: _Watch, start: dict[str, Pose]) -> list[Check]:
    """S5: each declared object is there once, with its mass, and no two are at one place."""
    held = engine.inertials()
    strays = {*watch.names} ^ {name for name in held if "/" not in name}
    weights = dict.fromkeys(watch.names, 0.0)
    for name, inertial in held.items():
        weights[_root(name)] = weights.get(_root(name), 0.0) + inertial.mass * watch.gravity
    errors = {name: abs(weights[name] / watch.weight[name] - 1) for name in watch.names}
    heavy = max(errors, key=errors.__getitem__, default="")
    positions = np.array([start[name].position for name in watch.names]).reshape(-1, 3)
    twins = 0
    for row in range(len(positions)):
        twins += int((np.linalg.norm(positions[row + 1 :] - positions[row], axis=1) < 1e-6).sum())
    return [
        Check("S5", "objects missing or undeclared", float(len(strays)), "1", 0.0, engine=engine.name),
        Check("S5", "objects at one place", float(twins), "1", 0.0, engine=engine.name),
        Check("S5", "mass error", errors.get(heavy, np.nan), "1", MASS_TOLERANCE, body=heavy, engine=engine.name),
    ]


def _reached(links: set[tuple[str, str]], fixed: frozenset[str]) -> set[str]:
    reached = set(fixed)
    while True:
        more = {y for a, b in links for x, y in ((a, b), (b, a)) if x in reached} - reached
        if not more:
            return reached
        reached |= more


def _root(name: str) -> str:
    """Return the placement that a body belongs to."""
    return name.partition("/")[0]
