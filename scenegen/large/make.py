"""A large scene from certified assets to its folder, on any executor."""

from __future__ import annotations

from collections.abc import Sequence

from scenegen.large.compose import Execute, LargeConfig, LargePlan, compose_large
from scenegen.large.export import ExportConfig
from scenegen.large.publish import PublishLargeConfig
from scenegen.large.scene import LargeScene
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.stage import Item, Outcome, Rejected, Stage
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest
from scenegen.scenes.publish import PublishedScene

PUBLISH_SECONDS = 3600.0
"""Longest that writing, loading and drawing a scene may take [s]."""


def make_large(
    plan: LargePlan,
    folders: Sequence[str],
    root: str,
    store: Store,
    execute: Execute,
    observer: Observer,
    *,
    config: LargeConfig | None = None,
    export: ExportConfig | None = None,
    pictures: bool = True,
    stage_name: str = "scene",
) -> Outcome:
    """Compose, verify and write one large scene; see `compose_large`.

    Returns:
        How it ended: its last record is a `PublishedScene`.
    """
    scene = compose_large(plan, folders, root, store, execute, observer, config or LargeConfig())
    if not isinstance(scene, LargeScene):
        observer.noted(f"{plan.name}: {scene.reason}: {scene.message}")
        return Rejected(Item(plan.name, plan), scene, ())
    stage = Stage(
        stage_name, "scenegen.large.publish:publish_large", LargeScene, PublishedScene,
        PublishLargeConfig(root, export or ExportConfig(), pictures=pictures), code_digest(),
        deadline_s=PUBLISH_SECONDS,
    )  # fmt: skip
    return execute([stage], [Item(plan.name, scene)], store, observer=observer)[plan.name]
