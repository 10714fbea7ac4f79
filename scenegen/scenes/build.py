"""From certified assets to a verified scene: draw, place, settle, verify, replace what fails; or say why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from physics.drop_pybullet import open_pybullet

from physics.check import Check, Verdict
from physics.drop_mujoco import open_mujoco
from physics.engine import Engine, World
from physics.materials import Material, find_material
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.pipeline.stage import Rejection
from scenegen.scenes.layouts import Layout, LayoutConfig, make_layout
from scenegen.scenes.place import KeepOut, PlaceConfig, footprint, hull_points, place_above, place_at_rest
from scenegen.scenes.scene import Scene, SceneAsset, SceneEvent, SceneObject, make_world
from scenegen.scenes.settle import SettleConfig, settle
from scenegen.scenes.verify import SceneCheckConfig, failing_objects, verify_scene

OPEN_ENGINE: dict[str, Callable[[World], Engine]] = {"mujoco": open_mujoco, "pybullet": open_pybullet}
"""The engines that must both hold a scene."""


@dataclass(frozen=True)
class ComposeConfig:
    """How scenes are made and judged."""

    ground: str = "concrete"
    """Material of the floor."""
    rounds: int = 6
    """Times that failing objects are replaced before the scene is given up [1]."""
    relax_seconds: float = 1.0
    """Time in which each engine may adopt the other's rest state before both are judged [s]."""
    place: PlaceConfig = field(default_factory=PlaceConfig)
    settle: SettleConfig = field(default_factory=SettleConfig)
    checks: SceneCheckConfig = field(default_factory=SceneCheckConfig)


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
    for number in range(config.rounds):
        objects, lost = _settle(layout, objects, ground, config)
        checks = () if lost else _verify(layout, objects, ground, config)
        if not lost:
            lost = {name: _reasons(checks, name) for name in sorted(failing_objects(checks))}
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
        tuple(events), *_engine_facts(layout, objects, ground),
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
    poured = round(plan.objects * layout.poured_share)
    standing = [draw(poured=False) for _ in range(plan.objects - poured)]
    # Large things first: they are hardest to find room for.
    standing.sort(key=lambda asset: -asset.model.root.size)
    falling = [draw(poured=True) for _ in range(poured)]
    poses: list[Pose] = []
    if standing:
        chosen = [(asset.model, asset.rest_poses) for asset in standing]
        poses += place_at_rest(chosen, layout.standing, rng=rng, config=config.place, keep_outs=plan.keep_outs)
    if falling and layout.pouring is not None:
        height = layout.pouring.centre[2] + config.place.pour_clearance
        models = [asset.model for asset in falling]
        poses += place_above(models, layout.pouring, rng=rng, config=config.place, height=height)
    names = (f"object_{number:03d}" for number in range(plan.objects))
    return [SceneObject(*row) for row in zip(names, [*standing, *falling], poses, strict=True)]


def _settle(
    layout: Layout, objects: list[SceneObject], ground: Material, config: ComposeConfig
) -> tuple[list[SceneObject], dict[str, str]]:
    """Let objects come to rest in MuJoCo; return them at rest, and those that cannot stay."""
    engine = open_mujoco(make_world(layout.furniture, objects, ground))
    try:
        end = settle(engine, objects, layout.regions, config.settle)
    finally:
        engine.close()
    return [one.at(end.poses.get(one.name, one.X_WB)) for one in objects], end.lost


def _verify(layout: Layout, objects: list[SceneObject], ground: Material, config: ComposeConfig) -> tuple[Check, ...]:
    checks: list[Check] = []
    world = make_world(layout.furniture, objects, ground)
    for open_engine in OPEN_ENGINE.values():
        engine = open_engine(world)
        try:
            checks += verify_scene(world, engine, config.checks)
        finally:
            engine.close()
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
    """Return a new object for each that failed: poured on top where objects are poured, put into a gap elsewhere."""
    if layout.pouring is not None:
        top = max((one.X_WB.apply(hull_points(one.asset.model))[:, 2].max() for one in kept), default=0.0)
        height = max(float(top), float(layout.pouring.centre[2])) + config.place.pour_clearance
        chosen = [draw(poured=True) for _ in gone]
        models = [asset.model for asset in chosen]
        poses = place_above(models, layout.pouring, rng=rng, config=config.place, height=height)
    else:
        chosen = [draw(poured=False) for _ in gone]
        wanted = [(asset.model, asset.rest_poses) for asset in chosen]
        blocked = [footprint(one.X_WB.apply(hull_points(one.asset.model))) for one in kept]
        poses = place_at_rest(
            wanted, layout.standing, rng=rng, config=config.place, keep_outs=plan.keep_outs, blocked=blocked
        )
    return [SceneObject(old.name, asset, pose) for old, asset, pose in zip(gone, chosen, poses, strict=True)]


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
            limits += [f"{name}: {text}" for text in getattr(engine, "limits", ())]
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
