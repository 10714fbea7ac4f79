"""A heap poured in layers: what lies is held while the next layer falls, then all is let go and comes to rest.

The cost of a fall grows with what falls, not with what lies there. Nor does the rest of the way cost all of it: let go,
most of a heap sinks into its contacts and lies still at once, and where some objects still move, they and those that
they touch are free alone until they lie too. The heap is at rest when it was let go and none moved.
What is found here is a proposal. Whether it rests is judged elsewhere, from the poses alone, with nothing held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64
from scipy.spatial import ConvexHull

from physics.engine import Placement, State
from physics.errors import EngineError
from physics.materials import Material
from physics.mujoco_hold import HeldMujoco, open_held
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.scenes.place import hull_points
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.settle import SettleConfig, settle
from scenegen.scenes.supports import Region


@dataclass(frozen=True)
class HeapConfig:
    """How a heap is poured and brought to rest."""

    cell: float = 0.01
    """Side of the cells by which the surface of a heap is seen [m]."""
    gap: float = 0.004
    """Distance above that surface, and between objects of one layer, at which they are let go [m]."""
    tries: int = 12
    """Turns and places tried for an object, of which the lowest is taken [1]."""
    look: float = 0.02
    """Time between two looks at the speeds [s]."""
    fallen_speed: float = 0.05
    """An object of a layer that is slower lies, and is held [m/s]."""
    fallen_spin: float = 0.8
    """The same for its angular velocity [rad/s]."""
    fall: float = 0.6
    """Longest time of one layer [s]; what then still moves is free while the next one falls."""
    rest: SettleConfig = field(
        default_factory=lambda: SettleConfig(
            longest=0.14, quiet_speed=5e-3, quiet_spin=0.1, rim=True, quiet_time=0.1, sample_time=0.02
        )
    )
    """When all count as at rest, all of them free; and how long they are let go before what still moves is calmed."""
    calm: float = 1.0
    """Longest time for which what still moves is free with its neighbours alone [s]."""
    rattle: float = 0.25
    """What moved for this share of it, and at its end, rattles [1]."""
    calm_quiet: float = 0.06
    """How long these must stay quiet [s]."""
    releases: int = 8
    """Times that all are let go again at most [1]."""


@dataclass(frozen=True, eq=False)
class Heap:
    """Where the objects of a heap came to rest."""

    poses: dict[str, Pose]
    """Pose of each object."""
    lost: dict[str, str]
    """Objects that did not come to rest within the region, and why."""
    seconds: float
    """Simulated time [s]."""
    layers: int


class Surface:
    """The height of a heap over the cells of a region; grows as objects are added."""

    def __init__(self, region: Region, cell: float):
        self.region, self.cell = region, cell
        self.heights = np.full(np.ceil(2 * region.half / cell).astype(int), float(region.centre[2]))

    def add(self, one: SceneObject) -> None:
        """Raise the surface to each hull of an object, over the box around it."""
        for hull in one.asset.model.root.hulls:
            points = one.X_WB.apply(hull.mesh.vertices)
            x, y = self._cells(points.min(axis=0), points.max(axis=0))
            self.heights[x, y] = np.maximum(self.heights[x, y], points[:, 2].max())

    def under(self, lower: np.ndarray, upper: np.ndarray) -> float:
        """Return the largest height under a rectangle [m]."""
        return float(self.heights[self._cells(lower, upper)].max())

    def _cells(self, lower: np.ndarray, upper: np.ndarray) -> tuple[slice, slice]:
        """Return the cells that a rectangle touches, at least one."""
        corner = self.region.centre[:2] - self.region.half
        limit = np.array(self.heights.shape) - 1
        first = np.clip(np.floor((lower[:2] - corner) / self.cell).astype(int), 0, limit)
        last = np.clip(np.floor((upper[:2] - corner) / self.cell).astype(int), first, limit)
        return slice(first[0], last[0] + 1), slice(first[1], last[1] + 1)


def pour_heap(
    rested: Sequence[SceneObject],
    fresh: Sequence[SceneObject],
    container: Placement,
    region: Region,
    ground: Material,
    config: HeapConfig,
    rng: np.random.Generator,
) -> Heap:
    """Pour objects onto those that lie there, and let all of them come to rest.

    Args:
        rested: Objects that lie there.
        fresh: What is poured onto them, in this order.
        container: What holds the heap.
        region: Above what it is poured.
        ground: Material of the floor.
        config: Speeds, times, patience.
        rng: Draws turns and places.

    Raises:
        SceneError: An object is larger than the region.
        EngineError: The state is no longer a number.
    """
    engine = open_held(make_world([container], [*rested, *_parked(fresh, region)], ground))
    try:
        surface = Surface(region, config.cell)
        for one in rested:
            surface.add(one)
        lying, waiting, restless, layers = [one.name for one in rested], list(fresh), set[str](), 0
        while waiting:
            layer = _draw_layer(waiting, surface, config, rng)
            waiting = waiting[len(layer) :]
            engine.set_state(_at_rest(layer, engine.state().time))
            names = [one.name for one in layer]
            free = [*restless, *names]
            engine.arrange(free=free, held=[name for name in lying if name not in restless])
            restless = _fall(engine, free, config)
            state = engine.state()
            for one in layer:
                surface.add(one.at(state.pose(one.name)))
            lying += names
            layers += 1
        state = engine.state()
    finally:
        engine.close()
    poured = [one.at(state.pose(one.name)) for one in (*rested, *fresh)]
    return come_to_rest(poured, container, region, ground, config, begun=float(state.time), layers=layers)


def come_to_rest(
    poured: Sequence[SceneObject],
    container: Placement,
    region: Region,
    ground: Material,
    config: HeapConfig,
    *,
    begun: float = 0.0,
    layers: int = 0,
) -> Heap:
    """Let all objects of a heap go at once, until none moves: they feel each other's weight only now.

    What still moves then is brought to rest with nothing but its neighbours free, and all are let go again. What moves
    even so, such as a nut that rattles in a gap, is lost.

    Args:
        poured: Objects where they fell.
        container: What holds the heap.
        region: Above what it was poured.
        ground: Material of the floor.
        config: Speeds, times, patience.
        begun: Time that was simulated before [s].
        layers: Layers that were poured [1].

    Raises:
        EngineError: The state is no longer a number.
    """
    ordered = order_along(poured, region)
    half_sizes = {one.name: one.half_size for one in ordered}
    names = list(half_sizes)
    engine = open_held(make_world([container], ordered, ground))
    try:
        end = settle(engine, ordered, (region,), config.rest)
        rattling: set[str] = set()
        for _ in range(config.releases):
            if not end.restless:
                break
            rattling = _calm(engine, end.restless, half_sizes, config)
            if rattling:
                break  # to be taken out: without it the heap lies otherwise
            engine.arrange(free=names, held=())
            end = settle(engine, ordered, (region,), config.rest)
        state = engine.state()
        if not (np.isfinite(state.positions).all() and np.isfinite(state.quaternions).all()):
            raise EngineError(f"the heap burst at {engine.time:.3g} s")
        lost = {name: why for name, why in end.lost.items() if not rattling or name not in end.restless}
        lost |= dict.fromkeys(sorted(rattling), f"still moves among its neighbours after {config.calm:g} s")
        return Heap({name: state.pose(name) for name in names}, lost, begun + engine.time, layers)
    finally:
        engine.close()


def _calm(
    engine: HeldMujoco, restless: Collection[str], half_sizes: Mapping[str, float], config: HeapConfig
) -> set[str]:
    """Let what moves, and what touches it, be free until it lies, all else held; return what never does.

    What was only just set in motion when the time was up is not meant.
    """
    moving, spent, quiet = set(restless), 0.0, 0.0
    seen: Counter[str] = Counter()
    free = moving | engine.touching(moving)
    while spent < config.calm and quiet < config.calm_quiet:
        engine.arrange(free=free, held=[name for name in half_sizes if name not in free])
        engine.step(_steps(engine, config.look))
        spent += config.look
        awake = sorted(free)
        speed, spin = _speeds(engine, awake)
        moves = config.rest.moving(speed, spin, np.array([half_sizes[name] for name in awake]))
        moving = set(np.array(awake)[moves].tolist())
        seen.update(moving)
        if moving:
            free, quiet = moving | engine.touching(moving), 0.0
        else:
            quiet += config.look
    return {name for name in moving if seen[name] * config.look >= config.rattle * config.calm}


def _speeds(engine: HeldMujoco, names: Sequence[str]) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
    """Return the speed [m/s] and angular velocity [rad/s] of bodies.

    Raises:
        EngineError: The state is no longer a number.
    """
    speeds = engine.speeds(names)
    if not np.isfinite(speeds).all():
        raise EngineError(f"the heap burst at {engine.time:.3g} s")
    return speeds[:, 0], speeds[:, 1]


def order_along(objects: Sequence[SceneObject], region: Region) -> list[SceneObject]:
    """Return objects in the order of their places along the longer side of a region; see `size_pit`."""
    axis = int(np.argmax(region.half))
    return sorted(objects, key=lambda one: (float(one.X_WB.position[axis]), one.name))


def _draw_layer(
    waiting: Sequence[SceneObject], surface: Surface, config: HeapConfig, rng: np.random.Generator
) -> list[SceneObject]:
    """Return the first of those that wait, side by side just above the surface, as many as find room."""
    taken: list[np.ndarray] = []
    layer: list[SceneObject] = []
    for one in waiting:
        pose, box = _lowest_place(one, taken, surface, config, rng)
        if pose is None:
            break
        taken.append(box)
        layer.append(one.at(pose))
    if not layer:
        extents = np.ptp(hull_points(waiting[0].asset.model), axis=0).round(3)
        raise SceneError(
            f"{waiting[0].asset.model.name} ({extents} m) does not fit above a region of "
            f"{(2 * surface.region.half).round(3)} m; leave it out or enlarge the pit"
        )
    return layer


def _lowest_place(
    one: SceneObject, taken: Sequence[np.ndarray], surface: Surface, config: HeapConfig, rng: np.random.Generator
) -> tuple[Pose | None, Float64[np.ndarray, "2 3"]]:
    """Return the pose, of some random ones beside those taken, that lies lowest; and the box around it."""
    points = hull_points(one.asset.model)
    points = points[ConvexHull(points).vertices]
    boxes = np.array(taken).reshape(-1, 2, 3)
    best: Pose | None = None
    best_box, lowest = np.zeros((2, 3)), np.inf
    region = surface.region
    for _ in range(config.tries):
        turned = Pose.random_rotation(rng)
        cloud = turned.apply(points)
        low, high = cloud.min(axis=0), cloud.max(axis=0)
        first = region.centre[:2] - region.half + config.gap - low[:2]
        last = region.centre[:2] + region.half - config.gap - high[:2]
        spot = rng.uniform(size=2)
        if (first > last).any():
            continue
        spot = first + spot * (last - first)
        box = np.array([low, high])
        box[:, :2] += spot
        grown = box + np.array([[-config.gap], [config.gap]])
        beside = (boxes[:, 0, :2] > grown[1, :2]) | (boxes[:, 1, :2] < grown[0, :2])
        if not beside.any(axis=1).all():
            continue
        height = surface.under(*grown) + config.gap
        if height + (high[2] - low[2]) / 2 < lowest:  # a flat pose and an upright one are compared by their middle
            lowest = height + (high[2] - low[2]) / 2
            best, best_box = Pose(np.array([*spot, height - low[2]]), turned.quaternion), box
    return best, best_box


def _parked(objects: Sequence[SceneObject], region: Region) -> list[SceneObject]:
    """Return objects one above the other, far from the heap: they are left out until they are poured."""
    side = max(one.asset.model.root.size for one in objects) if objects else 0.0
    foot = region.centre + np.array([2 * region.half[0] + 4 * side, 0.0, 0.0])
    return [
        one.at(Pose.translation(*(foot + np.array([0.0, 0.0, (2 + 2 * number) * side]))))
        for number, one in enumerate(objects)
    ]


def _at_rest(objects: Sequence[SceneObject], time: float) -> State:
    poses = [one.X_WB for one in objects]
    zero = np.zeros((len(poses), 3))
    return State(
        time, tuple(one.name for one in objects), np.array([pose.position for pose in poses]),
        np.array([pose.quaternion for pose in poses]), zero, zero,
    )  # fmt: skip


def _fall(engine: HeldMujoco, free: Sequence[str], config: HeapConfig) -> set[str]:
    """Let a layer fall until it lies; return what still moves."""
    quiet, spent = 0, 0.0
    moving = set(free)
    while spent < config.fall and quiet < 2:
        engine.step(_steps(engine, config.look))
        spent += config.look
        speed, spin = _speeds(engine, free)
        moving = set(np.array(free)[(speed > config.fallen_speed) | (spin > config.fallen_spin)].tolist())
        quiet = 0 if moving else quiet + 1
    return moving


def _steps(engine: HeldMujoco, seconds: float) -> int:
    return max(round(seconds / engine.timestep), 1)
