"""The main job: a configuration goes in; certified assets, verified scenes and their summary come out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from physics.drop_record import DropConfig
from physics.floors import EngineFloors
from physics.hulls import without_slabs
from scenegen.assets import build
from scenegen.assets.build import AssetRequest, BatteryConfig, BuildConfig, CertifiedAsset, Draft, SurfaceConfig
from scenegen.assets.draw import Mate, draw_config
from scenegen.assets.layout import THUMB_PNG
from scenegen.assets.library import take_assets
from scenegen.assets.manifest import RejectionRow, write_manifest, write_rejections
from scenegen.assets.package import STAGED, remove_folder
from scenegen.assets.publish import PublishConfig, PublishedAsset, find_damage
from scenegen.config import ExecutorConfig, LargeSceneConfig, RunConfig, configure_stages
from scenegen.errors import ScenegenError
from scenegen.large.compose import LargePlan
from scenegen.large.export import ExportConfig
from scenegen.large.make import make_large
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.outcomes import keep_outcomes
from scenegen.pipeline.stage import Finished, Item, Outcome, Rejected, Resources, Stage
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest, config_digest
from scenegen.reports.figures import write_thumb_sheet
from scenegen.scenes.build import ScenePlan
from scenegen.scenes.export_mjcf import SCENE_XML
from scenegen.scenes.publish import PublishedScene, SceneRequest, SceneStageConfig, find_scene_damage

STORE = ".store"
"""Folder of stage results inside the output folder."""
PUBLISH, SCENE = "publish", "scene"
"""Stages that write folders outside the store."""
MANIFEST, REJECTIONS, SHEET = "manifest.parquet", "rejections.parquet", "assets.png"
"""Files in the output folder."""
SAMPLE_DEADLINE_SECONDS = 60.0
"""What each further object of a batch adds to the deadline of its call [s]."""
ENGINES = ("mujoco", "pybullet")
"""Engines that must agree."""

Execute = Callable[..., dict[str, Outcome]]
"""`run_serial`, or `run_ray` with its cluster chosen: (stages, items, store, *, observer, replace) -> outcomes."""


@dataclass(frozen=True)
class FloorsRequest:
    """The engine whose floors are wanted."""

    engine: str


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run produced."""

    assets: dict[str, PublishedAsset]
    """Certified assets, each once, by the first item that made it, in the order of the request."""
    outcomes: dict[str, Outcome]
    """How every drawn item ended."""
    scenes: dict[str, Outcome]
    """How every scene ended, by name."""
    floors: tuple[EngineFloors, ...]
    imported: tuple[PublishedAsset, ...] = ()
    """Assets of a library, which scenes use too."""
    written: tuple[Path, ...] = ()
    """Tables and pictures."""

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdict of every certified asset by item id."""
        return {item_id: asset.verdict for item_id, asset in self.assets.items()}

    @property
    def placed(self) -> int:
        """Objects placed in verified scenes [1]."""
        return sum(scene.objects for scene in finished_records(self.scenes).values())


def run(config: RunConfig, out: Path, execute: Execute, observer: Observer) -> RunResult:
    """Make the assets and scenes of a configuration in an output folder.

    Running the same again takes up what is left. Nothing is written outside `out`.

    Args:
        config: What to make.
        out: Output folder; made when it is not there.
        execute: Executor of the stages.
        observer: Is told what happens.

    Raises:
        ScenegenError: The output folder cannot be written, or a machine is broken.
    """
    store = Store(out / STORE)
    sweep_staged(out, store)
    imported = import_assets(config, out, store, observer)
    floors = measure_all_floors(config.drop, store, execute, observer)
    outcomes = complete_folders(
        PUBLISH,
        functools.partial(make_assets, config, floors, out, store, execute, observer),
        lambda done: damaged_assets(done, out),
        store,
        observer,
    )
    keep_outcomes(store, asset_stages(config, floors, out), outcomes)
    assets = owned_assets(outcomes)
    scenes = complete_folders(
        SCENE,
        functools.partial(make_scenes, config, (*imported, *assets.values()), out, store, execute, observer),
        lambda done: {name: find_scene_damage(scene, out) for name, scene in finished_records(done).items()},
        store,
        observer,
    )
    sweep_staged(out, store)
    result = RunResult(assets, outcomes, scenes, floors, imported)
    return replace(result, written=write_tables(result, out, config_digest(replace(config, executor=ExecutorConfig()))))


def import_assets(config: RunConfig, out: Path, store: Store, observer: Observer) -> tuple[PublishedAsset, ...]:
    """Copy the assets of the library that a configuration names into the output folder.

    Raises:
        AssetError: One of them is damaged or not certified.
        StoreError: Another run is writing into the same output folder.
    """
    if "import" not in config.assets:
        return ()
    with store.locked():
        taken = take_assets(Path(config.assets["import"]), out)
    observer.noted(f"{len(taken)} assets taken from {config.assets['import']}")
    return taken


def sweep_staged(out: Path, store: Store) -> None:
    """Remove the half-written folders that killed processes left, of an earlier run or of this one.

    Raises:
        StoreError: Another run is writing into the same output folder.
    """
    with store.locked():
        for folder in (*out.glob(f"assets/*/{STAGED}*"), *out.glob(f"scenes/{STAGED}*")):
            remove_folder(folder)


def complete_folders(
    stage: str,
    make: Callable[[], dict[str, Outcome]],
    find_damages: Callable[[Mapping[str, Outcome]], Mapping[str, str]],
    store: Store,
    observer: Observer,
) -> dict[str, Outcome]:
    """Return the outcomes of a chain once every folder that its last stage wrote holds what was written.

    The store knows results, not folders: one that was deleted or damaged since is written again from the record that
    the last stage took.

    Args:
        stage: Name of the last stage.
        make: Runs the chain; takes from the store what is there.
        find_damages: Returns what is wrong with the folder of each item, empty where nothing is.
        store: Where the results are.
        observer: Is told which folders are written again.

    Raises:
        ScenegenError: A folder is damaged right after it was written.
    """
    outcomes = make()
    for last in (False, True):
        damages = {item_id: damage for item_id, damage in find_damages(outcomes).items() if damage}
        if not damages:
            break
        if last:
            raise ScenegenError(f"{next(iter(damages.values()))} This was so right after writing it; check the disk.")
        for item_id, damage in damages.items():
            observer.noted(f"{item_id}: its folder is written again: {damage}")
        finished = (outcomes[item_id] for item_id in damages)
        forget_results(store, stage, {outcome.digest for outcome in finished if isinstance(outcome, Finished)})
        outcomes = make()
    return outcomes


def forget_results(store: Store, stage: str, digests: Set[str]) -> None:
    """Make a stage run again where its result has one of these content hashes."""
    for pointer in (store.root / "stages" / stage).glob("*/*"):
        if pointer.read_text(errors="replace").partition(" ")[0] in digests:
            pointer.unlink()


def owned_assets(outcomes: Mapping[str, Outcome]) -> dict[str, PublishedAsset]:
    """Return each distinct asset by the first item, in the order of the request, that made it.

    Items with all parameters given make the same asset; the others count as its duplicates.
    """
    owners: dict[str, tuple[str, PublishedAsset]] = {}
    for item_id, asset in finished_records(outcomes).items():
        owners.setdefault(asset.asset_id, (item_id, asset))
    return dict(owners.values())


def damaged_assets(outcomes: Mapping[str, Outcome], out: Path) -> dict[str, str]:
    """Return what is wrong with the folder of each asset; it has to hold what its first item wrote."""
    return {item_id: find_damage(asset, out) for item_id, asset in owned_assets(outcomes).items()}


def finished_records(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return the last records of the items that went through all stages."""
    return {item_id: outcome.record for item_id, outcome in outcomes.items() if isinstance(outcome, Finished)}


def make_assets(
    config: RunConfig,
    floors: tuple[EngineFloors, ...],
    out: Path,
    store: Store,
    execute: Execute,
    observer: Observer,
) -> dict[str, Outcome]:
    """Draw, build, certify and publish every object of the configuration, rejected ones replaced."""
    stages = asset_stages(config, floors, out)
    again = functools.partial(next_draw, config)
    return execute(stages, object_items(config), store, observer=observer, replace=again)


def measure_all_floors(
    config: DropConfig, store: Store, execute: Execute, observer: Observer
) -> tuple[EngineFloors, ...]:
    """Measure what perfect solids show in each engine, under the rules that assets are dropped under."""
    stage = Stage(
        "floors", "scenegen.run:measure_engine", FloorsRequest, EngineFloors, config=config, version=code_digest()
    )
    items = [Item(f"floors_{engine}", FloorsRequest(engine)) for engine in ENGINES]
    outcomes = execute([stage], items, store, observer=observer)
    for outcome in outcomes.values():
        if not isinstance(outcome, Finished):
            raise ScenegenError(
                f"{outcome.item.id} could not be measured, so that no verdict would mean anything: {outcome}. "
                "Run 'scenegen doctor' to see which engine is broken."
            )
    return tuple(outcome.record for outcome in outcomes.values() if isinstance(outcome, Finished))


def measure_engine(request: FloorsRequest, config: DropConfig) -> EngineFloors:
    """Stage: measure the floors of one engine."""
    from physics.drop_mujoco import open_mujoco
    from physics.drop_pybullet import open_pybullet
    from physics.floors import measure_floors

    return measure_floors({"mujoco": open_mujoco, "pybullet": open_pybullet}[request.engine], config=config)


@functools.cache
def measure_engines(config: DropConfig) -> tuple[EngineFloors, ...]:
    """Measure the floors of both engines in this process, once; a run measures them as stages instead."""
    return tuple(measure_engine(FloorsRequest(engine), config) for engine in ENGINES)


def build_config(config: RunConfig, floors: tuple[EngineFloors, ...]) -> BuildConfig:
    """Return what `build_asset` needs to know of a run's configuration."""
    battery = BatteryConfig(
        ground="oak",
        drop=config.drop,
        floors=floors,
        pose_drops=config.pose_drops,
        other_hulls=without_slabs(config.hulls),
    )
    return BuildConfig(draw_config(config.generator), SurfaceConfig(validity=config.validity), config.hulls, battery)


def asset_stages(config: RunConfig, floors: tuple[EngineFloors, ...], out: Path) -> tuple[Stage, ...]:
    """Return the chain of `build_asset`, one stage a step, and the step that writes the asset's folder."""
    how = build_config(config, floors)
    surface, battery = how.surface, how.battery
    publish = PublishConfig(str(out.absolute()))
    steps = (
        ("generate", build.draw_blueprint, AssetRequest, Draft, how.draw),
        ("surface", build.extract_solid, Draft, Draft, surface),
        ("hulls", build.decompose_solid, Draft, Draft, how.hulls),
        ("drop_mujoco", build.drop_in_mujoco, Draft, Draft, battery),
        ("drop_pybullet", build.drop_in_pybullet, Draft, Draft, battery),
        ("agreement", build.compare_engines, Draft, Draft, battery),
        ("certify", build.certify_draft, Draft, CertifiedAsset, battery),
    )
    stages = [
        Stage(name, f"{step.__module__}:{step.__name__}", taken, given, config=step_config, version=code_digest())
        for name, step, taken, given, step_config in steps
    ]
    generator, draw = how.draw.generator, stages[0]
    stages[0] = replace(draw, deadline_s=draw.deadline_s + SAMPLE_DEADLINE_SECONDS * (generator.batch - 1))
    if generator.device == "cuda":
        stages[0] = replace(stages[0], resources=Resources(gpus=1.0))
    stages.append(
        Stage(PUBLISH, "scenegen.assets.publish:publish", CertifiedAsset, PublishedAsset, publish, code_digest())
    )
    return configure_stages(stages, config.executor)


def object_items(config: RunConfig) -> list[Item]:
    """Return one item for each requested object, the families taking turns; neighbours are sampled together."""
    asked: list[Mate] = []
    for batch in config.objects:
        for number in range(batch.count):
            family = batch.families[number % len(batch.families)]
            asked.append(Mate(f"object_{len(asked):05d}", family, batch.parameters))
    size = 1 if config.generator.kind == "procedural" else config.generator.batch
    items = []
    for number, one in enumerate(asked):
        first = number - number % size
        together = tuple(asked[first : first + size]) if size > 1 else ()
        items.append(Item(one.item_id, AssetRequest(one.item_id, config.seed, one.family, one.parameters, together)))
    return items


def next_draw(config: RunConfig, outcome: Outcome) -> Item | None:
    """Return the next draw of an object that was rejected, until the attempts are used up."""
    if isinstance(outcome, Finished):
        return None
    request: AssetRequest = outcome.item.record
    number = int(request.item_id.partition("_draw_")[2] or 0) + 1
    if number >= config.attempts_per_object:
        return None

    def named(item_id: str) -> str:
        return f"{item_id.partition('_draw_')[0]}_draw_{number}"

    # The batch of the second draws is that of the first, whichever of them are needed: it depends on no verdict.
    together = tuple(replace(mate, item_id=named(mate.item_id)) for mate in request.batch)
    again = replace(request, item_id=named(request.item_id), batch=together)
    return Item(again.item_id, again)


def make_scenes(
    config: RunConfig,
    assets: Sequence[PublishedAsset],
    out: Path,
    store: Store,
    execute: Execute,
    observer: Observer,
) -> dict[str, Outcome]:
    """Compose, settle and verify every scene of the configuration from the certified assets."""
    if not config.scenes:
        return {}
    folders = tuple(sorted({asset.folder for asset in assets}))
    small = make_small_scenes(config, folders, out, store, execute, observer)
    outcomes: dict[str, Outcome] = {}
    for scene in config.scenes:
        if isinstance(scene, LargeSceneConfig):
            plan = LargePlan(scene.name, scene.layout, scene.options, scene.objects, config.seed)
            outcomes[scene.name] = make_large(
                plan, folders, str(out.absolute()), store, execute, observer, export=ExportConfig(scene.sleeping)
            )
        else:
            outcomes[scene.name] = small[scene.name]
    return outcomes


def make_small_scenes(
    config: RunConfig, folders: tuple[str, ...], out: Path, store: Store, execute: Execute, observer: Observer
) -> dict[str, Outcome]:
    """Make the scenes that are settled as one model, in both engines."""
    scenes = [scene for scene in config.scenes if not isinstance(scene, LargeSceneConfig)]
    if not scenes:
        return {}
    stage = Stage(
        SCENE, "scenegen.scenes.publish:publish_scene", SceneRequest, PublishedScene,
        SceneStageConfig(str(out.absolute())), code_digest(), deadline_s=1200.0,
    )  # fmt: skip
    items = []
    for scene in scenes:
        plan = ScenePlan(scene.name, scene.layout, scene.options, scene.objects, config.seed, scene.keep_outs)
        items.append(Item(scene.name, SceneRequest(plan, folders)))
    return execute(configure_stages([stage], config.executor), items, store, observer=observer)


def write_tables(result: RunResult, out: Path, digest: str) -> tuple[Path, ...]:
    """Write the manifest, the rejections and the contact sheet of the run whose configuration has this digest."""
    # An asset is the same whichever run made it; the row says which run listed it.
    assets = list({asset.asset_id: asset for asset in (*result.imported, *result.assets.values())}.values())
    made = [{**asset.manifest_row, "config_digest": digest} for asset in assets]
    written = [write_manifest(made, out / MANIFEST)]
    rows = [
        RejectionRow(item_id, outcome.item.record.family, outcome.item.record.seed, outcome.rejection)
        for item_id, outcome in result.outcomes.items()
        if isinstance(outcome, Rejected)
    ]
    written.append(write_rejections(rows, out / REJECTIONS))
    if assets:
        thumbs = [out / asset.folder / THUMB_PNG for asset in assets]
        labels = [asset.family for asset in assets]
        written.append(write_thumb_sheet(thumbs, labels, out / SHEET))
    for outcome in result.scenes.values():
        if isinstance(outcome, Finished):
            scene: PublishedScene = outcome.record
            written += [out / scene.folder / SCENE_XML, *(out / picture for picture in scene.pictures)]
    return tuple(written)
