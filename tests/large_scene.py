"""Small large scenes for tests, of plain assets on disk; stages run in this process."""

from __future__ import annotations

from pathlib import Path

from scene_assets import plain_assets

from scenegen.assets.package import asset_folder, publish_asset, stage_asset
from scenegen.large.compose import LargeConfig, LargePlan, compose_large
from scenegen.large.options import BaySize, LargeLayoutConfig, MixConfig, ShareConfig, WarehouseConfig
from scenegen.large.scene import LargeScene
from scenegen.pipeline.observer import SilentObserver
from scenegen.pipeline.stage import Finished, Rejected, Rejection
from scenegen.scenes.supports import BinSize

SMALL_WAREHOUSE = WarehouseConfig(
    bay=BaySize(bin_levels=2), bin=BinSize(0.24, 0.24, 0.16, 0.01), shares=ShareConfig(0.4, 0.2, 5, 0.2),
    mix=MixConfig(largest=0.2),
)  # fmt: skip

STANCES: dict = {}
"""Stances of the assets by request, which do not depend on the scene."""


def write_assets(root: Path) -> tuple[str, ...]:
    """Write the plain assets; return their folders."""
    for asset in plain_assets():
        publish_asset(stage_asset(asset, root), asset_folder(root, asset.asset_id))
    return tuple(asset_folder(root, asset.asset_id).relative_to(root).as_posix() for asset in plain_assets())


def run_here(stages, items, store, *, observer, backwards=False):
    """Executor without store and child processes; `backwards` takes the items in the other order."""
    outcomes = {}
    for item in reversed(items) if backwards else items:
        record = item.record
        for stage in stages:
            key = (stage.name, stage.config.root, repr(record)) if stage.name == "stance" else None
            known = STANCES.get(key)
            record = stage.resolve()(record, stage.config) if known is None else known
            if key is not None:
                STANCES[key] = record
        if isinstance(record, Rejection):
            outcomes[item.id] = Rejected(item, record, ())
        else:
            outcomes[item.id] = Finished(item, "", (), lambda record=record: record)
    return outcomes


def compose(
    root: Path,
    folders,
    objects: int,
    *,
    options: LargeLayoutConfig = SMALL_WAREHOUSE,
    layout="warehouse",
    seed=3,
    execute=run_here,
    config: LargeConfig | None = None,
):
    """Compose a scene."""
    plan = LargePlan("test", layout, options, objects, seed)
    return compose_large(plan, folders, str(root), None, execute, SilentObserver(), config or LargeConfig())


def require(scene) -> LargeScene:
    """Return a scene that was not refused."""
    assert isinstance(scene, LargeScene), scene
    return scene
