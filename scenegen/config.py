"""The configuration of a run, and its strict loader: what is not understood is refused, never ignored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from generators.errors import GeneratorError, ParameterError
from generators.families import FAMILIES
from generators.procedural import draw_params
from physics.drop_record import DropConfig
from physics.errors import PhysicsError
from physics.hulls import HullConfig
from physics.validity import ValidityConfig
from scenegen.assets.draw import GeneratorConfig, draw_config, open_learned
from scenegen.assets.library import find_assets
from scenegen.config_records import nearest, read_record
from scenegen.config_text import apply_override, kind_of, parse_text
from scenegen.errors import ConfigError, SceneError
from scenegen.large.options import (
    ApartmentConfig,
    FloorClutterConfig,
    PileConfig,
    TableFarmConfig,
    ToteGridConfig,
    WarehouseConfig,
)
from scenegen.pipeline.stage import Resources, Stage
from scenegen.scenes.layouts import BinConfig, ShelfConfig, TabletopConfig, make_layout
from scenegen.scenes.place import KeepOut, PlaceConfig

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
"""Names become folder names: no separators, no dots."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]
Count = Annotated[int, Field(ge=1)]

MOST_OBJECTS = 20_000
"""Objects in one scene [1]; the broad phase of MuJoCo takes memory by their square."""


@dataclass(frozen=True)
class ObjectsConfig:
    """A batch of objects; the families take turns. A file may say `family: mug` or `families: all`."""

    families: tuple[str, ...]
    count: Count
    """Objects in all [1]."""
    parameters: dict[str, float] = field(default_factory=dict)
    """Family parameters that are given instead of drawn [m] or [1]."""


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """A scene to be composed of the certified objects; the fields that all layouts share."""

    name: Name
    objects: Count
    """Objects in the scene [1]."""
    keep_outs: tuple[KeepOut, ...] = ()
    """Boxes that objects must leave free, such as the reach of a robot."""


@dataclass(frozen=True, kw_only=True)
class TabletopScene(SceneConfig):
    """Objects on a table."""

    layout: Literal["tabletop"]
    options: TabletopConfig = field(default_factory=TabletopConfig)


@dataclass(frozen=True, kw_only=True)
class BinScene(SceneConfig):
    """Objects in an open container."""

    layout: Literal["bin"]
    options: BinConfig = field(default_factory=BinConfig)


@dataclass(frozen=True, kw_only=True)
class ShelfScene(SceneConfig):
    """Objects on the boards of a rack."""

    layout: Literal["shelf"]
    options: ShelfConfig = field(default_factory=ShelfConfig)


@dataclass(frozen=True, kw_only=True)
class LargeSceneConfig:
    """A scene of up to thousands of the certified objects, verified by components."""

    name: Name
    objects: Annotated[int, Field(ge=1, le=MOST_OBJECTS)]
    """Objects in the scene [1]."""
    sleeping: bool = False
    """Whether `scene.xml` starts with all objects asleep."""


@dataclass(frozen=True, kw_only=True)
class WarehouseScene(LargeSceneConfig):
    """Aisles of racks, with bins and objects on their boards."""

    layout: Literal["warehouse"]
    options: WarehouseConfig = field(default_factory=WarehouseConfig)


@dataclass(frozen=True, kw_only=True)
class ToteGridScene(LargeSceneConfig):
    """Totes side by side on the floor."""

    layout: Literal["tote_grid"]
    options: ToteGridConfig = field(default_factory=ToteGridConfig)


@dataclass(frozen=True, kw_only=True)
class PileScene(LargeSceneConfig):
    """One heap in a walled pit."""

    layout: Literal["pile"]
    options: PileConfig = field(default_factory=PileConfig)


@dataclass(frozen=True, kw_only=True)
class FloorClutterScene(LargeSceneConfig):
    """Objects strewn over the floor."""

    layout: Literal["floor_clutter"]
    options: FloorClutterConfig = field(default_factory=FloorClutterConfig)


@dataclass(frozen=True, kw_only=True)
class TableFarmScene(LargeSceneConfig):
    """Rows of tables with objects on them."""

    layout: Literal["table_farm"]
    options: TableFarmConfig = field(default_factory=TableFarmConfig)


@dataclass(frozen=True, kw_only=True)
class ApartmentScene(LargeSceneConfig):
    """Rooms with furniture that carries objects."""

    layout: Literal["apartment"]
    options: ApartmentConfig = field(default_factory=ApartmentConfig)


AnyLargeScene = WarehouseScene | ToteGridScene | PileScene | FloorClutterScene | TableFarmScene | ApartmentScene
AnyScene = Annotated[
    TabletopScene | BinScene | ShelfScene | AnyLargeScene,
    Field(discriminator="layout"),
]


STAGES = (
    "generate", "surface", "hulls", "drop_mujoco", "drop_pybullet", "agreement", "certify", "publish", "scene",
)  # fmt: skip
"""Stages whose limits a configuration may set: the chain of an asset, and a scene that is settled as one model."""


@dataclass(frozen=True)
class StageLimits:
    """What one stage may take; what is left out keeps its default."""

    cpus: Annotated[float, Field(ge=0)] | None = None
    """CPU cores of one call [1]."""
    gpus: Annotated[float, Field(ge=0)] | None = None
    """CUDA devices of one call, or a share of one [1]."""
    custom: dict[str, float] | None = None
    """Custom resources of the cluster [1]."""
    deadline_s: Annotated[float, Field(gt=0)] | None = None
    """Longest a call may take [s]."""
    memory_mib: Annotated[int, Field(ge=64)] | None = None
    """Memory limit of a call [MiB]."""


@dataclass(frozen=True)
class ExecutorConfig:
    """Where the stages run. Has no influence on the results."""

    kind: Literal["ray", "serial"] = "ray"
    address: str | None = None
    """Address of a Ray cluster; None starts a local Ray."""
    workers: Count | None = None
    """Stage calls at a time; None means one for each core, and as many as fit on a cluster."""
    machine_wait_s: Annotated[float, Field(ge=0)] = 300.0
    """Longest wait for a machine that a cluster has to start, or has lost; 0 where it starts none [s]."""
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    """Memory that the run may take [GiB]; a run that is expected to take more is refused before it starts."""
    disk_gib: Annotated[float, Field(gt=0)] | None = None
    """Disk that the run may take [GiB]; the same."""
    stages: dict[str, StageLimits] = field(default_factory=dict)
    """Limits by stage name, of `STAGES`."""


@dataclass(frozen=True)
class RunConfig:
    """One complete run."""

    name: Name
    objects: tuple[ObjectsConfig, ...] = ()
    """What is drawn; may be left out where assets are imported."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Every random draw comes from it."""
    attempts_per_object: Annotated[int, Field(ge=1, le=100)] = 5
    """Draws for one object before it is given up [1]."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    scenes: tuple[AnyScene, ...] = ()
    assets: dict[str, str] = field(default_factory=dict)
    """`import`: folder of `scenegen verify --import`, or output of another run, whose assets the scenes use too."""
    validity: ValidityConfig = field(default_factory=ValidityConfig)
    hulls: HullConfig = field(default_factory=HullConfig)
    drop: DropConfig = field(default_factory=DropConfig)
    pose_drops: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Drops of each asset for the distribution of its rest poses (D13), 385 for 5 %; 0 leaves it out [1]."""
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration file, apply overrides, and check every key and value.

    Args:
        path: YAML file.
        overrides: "key.of.a.field=value" each, with the value in YAML; list entries are addressed by number.

    Raises:
        ConfigError: Names the file, the key and what was expected.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file in UTF-8: {error}") from error
    return read_config(text, source=str(path), overrides=overrides)


def read_config(text: str, *, source: str = "configuration", overrides: Sequence[str] = ()) -> RunConfig:
    """Do what `load_config` does for YAML text."""
    data = parse_text(text, source)
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: expected a mapping of keys to values, got {kind_of(data)}")
    for override in overrides:
        apply_override(data, override)
    source += f" (with --set {' --set '.join(overrides)})" if overrides else ""
    return check_config(data, source=source)


def check_config(data: dict[str, Any], *, source: str) -> RunConfig:
    """Return the run that plain values describe, as `load_config` does for those of a file."""
    _name_families(data, source)
    _check_assets(data, source)
    config = read_record(data, RunConfig, source=source)
    _check_stages(config.executor, source)
    learned = _learned_families(config.generator, source)
    _check_device(config, source)
    _check_objects(config, learned, source)
    _check_scenes(config, source)
    return config


def configure_stages(stages: Sequence[Stage], executor: ExecutorConfig) -> tuple[Stage, ...]:
    """Return the stages with the limits that the configuration sets."""
    return tuple(_limited(stage, executor.stages.get(stage.name, StageLimits())) for stage in stages)


def _limited(stage: Stage, limits: StageLimits) -> Stage:
    old = stage.resources
    resources = Resources(
        cpus=old.cpus if limits.cpus is None else limits.cpus,
        gpus=old.gpus if limits.gpus is None else limits.gpus,
        custom=old.custom if limits.custom is None else tuple(sorted(limits.custom.items())),
    )
    return dataclasses.replace(
        stage,
        resources=resources,
        deadline_s=stage.deadline_s if limits.deadline_s is None else limits.deadline_s,
        memory_bytes=stage.memory_bytes if limits.memory_mib is None else limits.memory_mib * 2**20,
    )


def _check_stages(executor: ExecutorConfig, source: str) -> None:
    """Refuse limits for a stage that no chain has."""
    for name in executor.stages:
        if name not in STAGES:
            raise ConfigError(
                f"{source}: executor.stages.{name} is not a stage. {nearest(name, STAGES)}Stages: {', '.join(STAGES)}"
            )


def _name_families(data: dict[str, Any], source: str) -> None:
    """Write `family: x` and `families: all` out as the list that they mean."""
    if not isinstance(data.get("objects"), list):
        return  # the schema says what is wrong with it
    for number, batch in enumerate(data["objects"]):
        if not isinstance(batch, dict):
            continue
        if ("family" in batch) == ("families" in batch):
            raise ConfigError(
                f"{source}: objects.{number} needs either 'family' (one name) or 'families' (names or all)"
            )
        if "family" in batch:
            batch["families"] = [batch.pop("family")]
        if batch["families"] == "all":
            batch["families"] = list(FAMILIES)


def _check_assets(data: dict[str, Any], source: str) -> None:
    """Refuse a run without any asset, and a library that holds none."""
    assets = data.get("assets", {})
    if not isinstance(assets, dict):
        return  # the schema says what is wrong with it
    for name in assets:
        if name != "import":
            raise ConfigError(
                f"{source}: assets.{name} is not a key of assets. {nearest(name, ['import'])}Keys: import"
            )
    library = assets.get("import")
    if library is None and not data.get("objects"):
        what = "has 0 entries" if "objects" in data else "is missing"
        raise ConfigError(f"{source}: objects {what}; say what to draw, or use assets that are there: assets.import")
    if isinstance(library, str) and not find_assets(Path(library)):
        what = "holds no assets" if Path(library).is_dir() else "is not a folder"
        raise ConfigError(
            f"{source}: assets.import: {library!r} {what}; give the folder of 'scenegen verify ... --import DIR', or "
            "the output folder of a run"
        )


def _learned_families(config: GeneratorConfig, source: str) -> tuple[str, ...]:
    """Return the families that the learned generator draws; refuse a checkpoint that cannot be used."""
    if config.kind == "procedural":
        return ()
    try:
        draw_config(config)
    except GeneratorError as error:
        raise ConfigError(f"{source}: generator.checkpoint: {error}") from error
    return open_learned(dataclasses.replace(config, device="cpu")).families


def _check_device(config: RunConfig, source: str) -> None:
    """Refuse sampling on a GPU that is not there, or that the stage is not given."""
    if config.generator.kind == "procedural" or config.generator.device == "cpu":
        return
    gpus = config.executor.stages.get("generate", StageLimits()).gpus
    if gpus == 0:
        raise ConfigError(
            f"{source}: generator.device is cuda, but executor.stages.generate.gpus is 0; leave it out, or give the "
            "share of a GPU that one generator takes"
        )
    if config.executor.kind == "serial" or config.executor.address is None:
        from generators.ssa.checkpoint import find_device  # brings torch

        try:
            find_device(config.generator.device)
        except GeneratorError as error:
            raise ConfigError(f"{source}: generator.device: {error}, or join a cluster with --address") from error


def _check_objects(config: RunConfig, learned: tuple[str, ...], source: str) -> None:
    """Refuse families that do not exist, parameters they do not have, and scenes that share a name."""
    for number, batch in enumerate(config.objects):
        if not batch.families:
            raise ConfigError(f"{source}: objects.{number}.families is empty. Families: {', '.join(FAMILIES)}")
        for name in batch.families:
            if name not in FAMILIES:
                raise ConfigError(
                    f"{source}: objects.{number}: {name!r} is not a family. {nearest(name, FAMILIES)}"
                    f"Families: {', '.join(FAMILIES)}"
                )
            if not batch.parameters:
                continue
            try:
                if name in learned:
                    _check_sides(config.generator, name, batch.parameters)
                else:
                    draw_params(FAMILIES[name], np.random.default_rng(0), batch.parameters)
            except GeneratorError as error:
                raise ConfigError(f"{source}: objects.{number}.parameters: {error}") from error


def _check_sides(config: GeneratorConfig, family: str, parameters: Mapping[str, float]) -> None:
    """Refuse what the learned generator does not take; the two generators have no parameter in common."""
    if config.kind == "mixed":
        raise ParameterError(
            f"{family}: generator.kind is mixed, and no parameter means the same to both generators; "
            "leave the parameters out, or choose procedural or ssa"
        )
    from generators.ssa.generator import draw_extents  # brings torch

    model = open_learned(dataclasses.replace(config, device="cpu")).model
    draw_extents(model, family, np.random.default_rng(0), parameters)


def _check_scenes(config: RunConfig, source: str) -> None:
    """Refuse scenes that share a name, furniture that cannot be, and more objects than any support could hold."""
    names = [scene.name for scene in config.scenes]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{source}: two scenes are named {name!r}; each becomes a folder of its own")
    for number, scene in enumerate(config.scenes):
        where = f"{source}: scenes.{number}"
        if isinstance(scene, LargeSceneConfig):
            _check_large(scene, where)
            continue
        try:
            layout = make_layout(scene.options)
        except (PhysicsError, SceneError) as error:
            raise ConfigError(f"{where}.options: {error}") from error
        # Every object takes up its gap at least; how much room its own size takes is known when it is there.
        gap, standing = PlaceConfig().gap, scene.objects - round(scene.objects * layout.poured_share)
        area = sum(region.area for region in layout.standing)
        if standing * gap**2 > area or (scene.objects - standing) * gap**3 > layout.pour_volume:
            room = f"{1e3 * layout.pour_volume:.0f} litres" if layout.poured_share == 1 else f"{area:.2f} m^2"
            raise ConfigError(
                f"{where}.objects is {scene.objects}, which no {scene.layout} of {room} can hold, however small "
                "they are; ask for fewer, or enlarge it under 'options'"
            )


def _check_large(scene: AnyLargeScene, where: str) -> None:
    """Refuse furniture that cannot be, and more objects than fit however small they are."""
    from scenegen.large.demand import Demand
    from scenegen.large.layouts import plan_floor

    try:  # how much room the objects take is known when they are there
        plan_floor(scene.options, scene.objects, Demand(PlaceConfig().gap ** 2, 0.0), packing=1.0)
    except (PhysicsError, SceneError) as error:
        raise ConfigError(f"{where}.options: {error}") from error
