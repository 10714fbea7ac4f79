"""From certified assets to a verified scene: draw, place, settle, verify, replace what fails; or say why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import ConvexHull

from physics.check import Check, Verdict
from physics.drop_mujoco import open_mujoco
from physics.errors import EngineError
from physics.materials import Material, find_material
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.pipeline.stage import Rejection
from scenegen.scenes.engines import OPEN_ENGINE
from scenegen.scenes.layouts import Layout, LayoutConfig, make_layout
from scenegen.scenes.perturb import PushConfig, push_scene
from scenegen.scenes.place import KeepOut, NoRoomError, PlaceConfig, hull_points, place_above, place_at_rest
from scenegen.scenes.scene import Scene, SceneAsset, SceneEvent, SceneObject, make_world
from scenegen.scenes.settle import SettleConfig, settle
from scenegen.scenes.supports import Region
from scenegen.scenes.verify import SceneCheckConfig, failing_objects, verify_scene


@dataclass(frozen=True)
class ComposeConfig:
    """How scenes are made and judged."""

    ground: str = "concrete"
    """Material of the floor."""
    arrangements: int = 4
    """Fresh draws of assets and places that are tried before the support counts as too small [1]."""
    rounds: int = 6
    """Times that failing objects are replaced before the scene is given up [1]."""
    relaxations: int = 2
    """Times that PyBullet's state is taken up before what slips in it is replaced [1]."""
    relax_seconds: float = 2.0
    """Longest time in PyBullet for that [s]."""
    packing: float = 0.4
    """Share of a container that the convex hulls of poured objects may fill [1]; loose irregular stones reach 0.55."""
    place: PlaceConfig = field(default_factory=PlaceConfig)
    settle: SettleConfig = field(default_factory=SettleConfig)
    checks: SceneCheckConfig = field(default_factory=SceneCheckConfig)
    push: PushConfig = field(default_factory=PushConfig)


@dataclass(frozen=True)
class ScenePlan:
    """What a scene should hold."""

    name: str
    layout: str
    """Name of the layout, for the record."""
    options: LayoutConfig
    objects: int
    """Objects in the scene [1]."""
    seed: int
    keep_outs: tuple[KeepOut, ...] = ()


def build_scene(
    plan: ScenePlan, assets: Sequence[SceneAsset], rng: np.random.Generator, config: ComposeConfig
) -> Scene | Rejection:
    """Make a scene of certified assets that holds still in both engines.

    Objects that fall, keep moving or fail a check are taken out, reported and replaced, up to `config.rounds` times.

    Args:
        plan: What to make.
        assets: Certified assets to draw from.
        rng: Draws assets, poses and positions.
        config: Rules and limits.

    Raises:
        SceneError: The plan cannot be met by these assets (nothing fits, or too many objects for the support).
    """
    layout = make_layout(plan.options)
    ground = find_material(config.ground)
    draw = _Draw(layout, assets, plan, rng)
    objects, events = _first_objects(plan, layout, draw, rng, config), []
    checks: tuple[Check, ...] = ()
    relaxed = 0
    for number in range(config.rounds):
        objects, lost, checks, count = _hold(layout, objects, ground, plan.keep_outs, config)
        relaxed += count
        if not lost:
            break
        kept = [one for one in objects if one.name not in lost]
        added = _replacements([one for one in objects if one.name in lost], kept, layout, draw, plan, rng, config)
        events += [
            SceneEvent(number, old.name, old.asset.asset_id, lost[old.name], new.asset.asset_id)
            for old, new in zip([one for one in objects if one.name in lost], added, strict=True)
        ]
        objects = sorted([*kept, *added], key=lambda one: one.name)
    scene = Scene(
        plan.name, plan.layout, plan.seed, layout.furniture, tuple(objects), ground, plan.keep_outs, checks,
        tuple(events), *_engine_facts(layout, objects, ground), settings={"relaxations": float(relaxed)},
    )  # fmt: skip
    if scene.verdict in (Verdict.PASS, Verdict.WARN):
        return scene
    return _rejection(scene, config)


class _Draw:
    """Draws assets that a layout has room for: each once, in random order, before any comes again."""

    def __init__(self, layout: Layout, assets: Sequence[SceneAsset], plan: ScenePlan, rng: np.random.Generator):
        self._rng = rng
        ordered = sorted(assets, key=lambda asset: asset.asset_id)
        self._pools = {
            False: [asset for asset in ordered if asset.model.root.size <= layout.largest and asset.rest_poses],
            True: [asset for asset in ordered if asset.model.root.size <= layout.largest_poured],
        }
        for poured, wanted in ((False, layout.poured_share < 1), (True, layout.poured_share > 0)):
            if wanted and not self._pools[poured]:
                limit = layout.largest_poured if poured else layout.largest
                raise SceneError(
                    f"scene {plan.name}: none of {len(assets)} certified assets is at most {limit:g} m large, as "
                    f"layout {plan.layout} needs; add smaller families or enlarge the layout"
                )
        self._cycles: dict[bool, Iterator[SceneAsset]] = {key: self._cycle(pool) for key, pool in self._pools.items()}

    def __call__(self, *, poured: bool) -> SceneAsset:
        return next(self._cycles[poured])

    def _cycle(self, pool: list[SceneAsset]) -> Iterator[SceneAsset]:
        while pool:
            yield from (pool[i] for i in self._rng.permutation(len(pool)))


def _first_objects(
    plan: ScenePlan, layout: Layout, draw: _Draw, rng: np.random.Generator, config: ComposeConfig
) -> list[SceneObject]:
    """Return objects at their first places; when they find no room, others are drawn."""
    for _ in range(config.arrangements - 1):
        try:
            return _arrange(plan, layout, draw, rng, config)
        except NoRoomError:
            continue
    return _arrange(plan, layout, draw, rng, config)


def _arrange(
    plan: ScenePlan, layout: Layout, draw: _Draw, rng: np.random.Generator, config: ComposeConfig
) -> list[SceneObject]:
    poured = _poured_count(plan, layout)
    standing = [draw(poured=False) for _ in range(plan.objects - poured)]
    # Large things first: they are hardest to find room for.
    standing.sort(key=lambda asset: -asset.model.root.size)
    falling = [draw(poured=True) for _ in range(poured)]
    _check_room(falling, layout, plan, config)
    poses: list[Pose] = []
    if standing:
        chosen = [(asset.model, asset.rest_poses) for asset in standing]
        poses += place_at_rest(chosen, layout.standing, rng=rng, config=config.place, keep_outs=plan.keep_outs)
    if falling and layout.pouring is not None:
        height = float(layout.pouring.centre[2]) + config.place.pour_clearance
        poses += _pour(falling, layout.pouring, height, plan, rng, config)
    names = (f"object_{number:03d}" for number in range(plan.objects))
    return [SceneObject(*row) for row in zip(names, [*standing, *falling], poses, strict=True)]


def _hold(
    layout: Layout,
    objects: list[SceneObject],
    ground: Material,
    keep_outs: Sequence[KeepOut],
    config: ComposeConfig,
) -> tuple[list[SceneObject], dict[str, str], tuple[Check, ...], int]:
    """Bring objects to a rest that both engines hold.

    Where the second engine lets a pile slip a little, its state is settled in MuJoCo and judged again: a rest that
    both hold is sought before anything is replaced.

    Returns:
        The objects at rest; those that cannot stay, with the reason; the checks (none when an object was lost while
        settling); and how often the second engine's state was taken up.
    """
    objects, lost = _settle(layout, objects, ground, keep_outs, config)
    checks: tuple[Check, ...] = ()
    count = 0
    for count in range(config.relaxations + 1):
        if lost:
            return objects, lost, (), count
        checks = _verify(layout, objects, ground, config)
        failing = {check.engine for check in checks if check.verdict in (Verdict.FAIL, Verdict.UNDECIDED)}
        if failing != {"pybullet"} or count == config.relaxations:
            break
        objects = _advance(layout, objects, ground, config)
        objects, lost = _settle(layout, objects, ground, keep_outs, config)
    present = {one.name for one in objects}
    reasons = {name: _reasons(checks, name) for name in sorted(failing_objects(checks) & present)}
    return objects, reasons, checks, count


def _advance(layout: Layout, objects: list[SceneObject], ground: Material, config: ComposeConfig) -> list[SceneObject]:
    """Return the objects where PyBullet takes them in a while."""
    engine = OPEN_ENGINE["pybullet"](make_world(layout.furniture, objects, ground))
    try:
        end = settle(engine, objects, layout.regions, replace(config.settle, longest=config.relax_seconds))
    finally:
        engine.close()
    return [one.at(end.poses.get(one.name, one.X_WB)) for one in objects]


def _settle(
    layout: Layout,
    objects: list[SceneObject],
    ground: Material,
    keep_outs: Sequence[KeepOut],
    config: ComposeConfig,
) -> tuple[list[SceneObject], dict[str, str]]:
    """Let objects come to rest in MuJoCo; return them at rest, and those that cannot stay."""
    engine = open_mujoco(make_world(layout.furniture, objects, ground))
    try:
        end = settle(engine, objects, layout.regions, config.settle, keep_outs=keep_outs)
    finally:
        engine.close()
    return [one.at(end.poses.get(one.name, one.X_WB)) for one in objects], end.lost


def _verify(layout: Layout, objects: list[SceneObject], ground: Material, config: ComposeConfig) -> tuple[Check, ...]:
    """Judge a scene in MuJoCo and, when it holds there, in PyBullet."""
    checks: list[Check] = []
    world = make_world(layout.furniture, objects, ground)
    for name, open_engine in OPEN_ENGINE.items():
        engine = open_engine(world)
        try:
            checks += verify_scene(world, engine, config.checks)
            if objects and not any(check.verdict in (Verdict.FAIL, Verdict.UNDECIDED) for check in checks):
                checks += push_scene(world, engine, config.push)
        except EngineError as error:  # the state is no longer a number
            checks.append(Check("S5", "engine gave up", np.nan, "1", 0.0, engine=name, detail=str(error)))
        finally:
            engine.close()
        if any(check.verdict in (Verdict.FAIL, Verdict.UNDECIDED) for check in checks):
            break
    return tuple(checks)


def _replacements(
    gone: list[SceneObject],
    kept: list[SceneObject],
    layout: Layout,
    draw: _Draw,
    plan: ScenePlan,
    rng: np.random.Generator,
    config: ComposeConfig,
) -> list[SceneObject]:
    """Return a new object for each that failed: put into a gap where it was put, poured on top where it was poured."""
    fill = [_points(one) for one in kept]
    standing, falling = [], []
    for old in gone:
        was_poured = int(old.name.rpartition("_")[2]) >= plan.objects - _poured_count(plan, layout)
        (falling if was_poured else standing).append(SceneObject(old.name, draw(poured=was_poured), old.X_WB))
    added: list[SceneObject] = []
    if standing:
        wanted = [(one.asset.model, one.asset.rest_poses) for one in standing]
        poses = place_at_rest(
            wanted, layout.standing, rng=rng, config=config.place, keep_outs=plan.keep_outs, obstacles=fill
        )
        added += [one.at(pose) for one, pose in zip(standing, poses, strict=True)]
    if falling and layout.pouring is not None:
        tops = [float(points[:, 2].max()) for points in [*fill, *(_points(one) for one in added)]]
        height = max([float(layout.pouring.centre[2]), *tops]) + config.place.pour_clearance
        poses = _pour([one.asset for one in falling], layout.pouring, height, plan, rng, config)
        added += [one.at(pose) for one, pose in zip(falling, poses, strict=True)]
    return sorted(added, key=lambda one: one.name)


def _pour(
    assets: Sequence[SceneAsset],
    region: Region,
    height: float,
    plan: ScenePlan,
    rng: np.random.Generator,
    config: ComposeConfig,
) -> list[Pose]:
    models = [asset.model for asset in assets]
    return place_above(models, region, rng=rng, config=config.place, height=height, keep_outs=plan.keep_outs)


def _poured_count(plan: ScenePlan, layout: Layout) -> int:
    return round(plan.objects * layout.poured_share)


def _points(one: SceneObject) -> np.ndarray:
    return one.X_WB.apply(hull_points(one.asset.model))


def _check_room(assets: Sequence[SceneAsset], layout: Layout, plan: ScenePlan, config: ComposeConfig) -> None:
    """Refuse to pour more into a container than it can hold.

    Raises:
        SceneError: The convex hulls of the objects fill more than `packing` of it (says how many fit).
    """
    room = config.packing * layout.pour_volume
    filled = np.cumsum([ConvexHull(hull_points(asset.model)).volume for asset in assets])
    fitting = int(np.searchsorted(filled, room, side="right"))
    if fitting < len(assets):
        raise SceneError(
            f"scene {plan.name}: {len(assets)} objects were to be poured into {1e3 * layout.pour_volume:.0f} litres, "
            f"which have room for {fitting} of them (their convex hulls may fill {config.packing:.0%}); "
            "ask for fewer or smaller objects, or enlarge the container"
        )


def _reasons(checks: Sequence[Check], name: str) -> str:
    return "; ".join(check.describe() for check in checks if name in failing_objects([check]))


def _engine_facts(
    layout: Layout, objects: Sequence[SceneObject], ground: Material
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return the versions of the engines, and what each cannot represent of this scene."""
    versions, limits = [], []
    for name, open_engine in OPEN_ENGINE.items():
        engine = open_engine(make_world(layout.furniture, objects, ground))
        try:
            versions.append((name, engine.version))
            # MuJoCo states what it lacks for any world, PyBullet which pairs' friction it cannot represent.
            limits += [f"{name}: {text}" for field in ("limits", "shortfalls") for text in getattr(engine, field, ())]
        finally:
            engine.close()
    return tuple(versions), tuple(limits)


def _rejection(scene: Scene, config: ComposeConfig) -> Rejection:
    failed = [check for check in scene.checks if check.verdict in (Verdict.FAIL, Verdict.UNDECIDED)]
    events = "; ".join(f"{event.object}: {event.reason}" for event in scene.events[-3:])
    if failed:
        worst = failed[0]
        return Rejection("scene", f"{worst.id} {worst.name}", worst.value, worst.limit, worst.unit, worst.describe())
    return Rejection(
        "scene", "objects never settled", float(len(scene.events)), float(config.rounds), "1",
        f"after {config.rounds} rounds objects still had to be replaced: {events}",
    )  # fmt: skip
