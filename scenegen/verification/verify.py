"""`scenegen verify`: files from anywhere, judged as they are, each with a verdict or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from physics.drop_record import DropConfig
from physics.hulls import HullConfig
from scenegen.assets.build import BatteryConfig, Draft, SurfaceConfig
from scenegen.assets.certificate import Certificate
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.stage import Finished, Item, Outcome, Stage
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest
from scenegen.run import STORE, Execute, measure_all_floors
from scenegen.verification import chain
from scenegen.verification.evidence import write_evidence
from scenegen.verification.keep import check_library, import_files
from scenegen.verification.request import VerifyOptions, VerifyRequest, make_requests
from scenegen.verification.verified import VerifiedFile, why_not

GROUND = "oak"
"""Material of the ground in drop tests."""
MOST_MEMORY = 8 * 2**30
"""Memory of a step: a file that declares more than it holds must not take the machine with it [byte]."""


def verify_files(
    paths: Sequence[Path],
    out: Path,
    options: VerifyOptions,
    execute: Execute,
    observer: Observer,
    *,
    library: Path | None = None,
    evidence: bool = True,
) -> list[VerifiedFile]:
    """Judge files; the same call again takes up what is left.

    Args:
        paths: Files, and folders in which all files of a known format are taken.
        out: Output folder, for the results of the steps.
        options: What the files do not say.
        execute: Executor of the steps.
        observer: Is told what happens.
        library: Folder that takes what is PASS or WARN as assets of ours; None imports nothing.
        evidence: Keep options and certificates in the output folder, for `scenegen reverify`.

    Raises:
        ConfigError: a path or an option that means nothing.
        AssetError: the library holds something else in the place of an asset.
        ScenegenError: the output folder cannot be written, or an engine is broken.
    """
    if library is not None:
        check_library(library)
    requests = make_requests(paths, options)
    store = Store(out / STORE)
    floors = measure_all_floors(DropConfig(), store, execute, observer)
    battery = BatteryConfig(GROUND, DropConfig(), floors, pose_drops=options.pose_drops)
    items = [Item(request.item_id, request) for request in requests]
    outcomes = execute(verify_stages(battery), items, store, observer=observer)
    judged = _drafts(requests, verify_stages(battery), store)
    found = [replace(_found(request, outcomes), draft=judged[request.item_id]) for request in requests]
    if evidence:
        write_evidence(found, options, out)
    return found if library is None else import_files(found, library, verify_stages(battery), store, execute, observer)


def verify_stages(battery: BatteryConfig) -> tuple[Stage, ...]:
    """Return the steps of `scenegen.verification.chain`, each as a stage."""
    steps: tuple[tuple[str, Any, type, type, Any], ...] = (
        ("read", chain.read_file, VerifyRequest, Draft, SurfaceConfig()),
        ("hulls", chain.cover, Draft, Draft, HullConfig()),
        ("drop_mujoco", chain.drop_in_mujoco, Draft, Draft, battery),
        ("drop_pybullet", chain.drop_in_pybullet, Draft, Draft, battery),
        ("agreement", chain.compare_engines, Draft, Draft, battery),
        ("judge", chain.judge, Draft, Certificate, battery),
    )
    return tuple(
        Stage(name, f"{step.__module__}:{step.__name__}", taken, given, config, code_digest(), memory_bytes=MOST_MEMORY)
        for name, step, taken, given, config in steps
    )


def _drafts(requests: Sequence[VerifyRequest], stages: Sequence[Stage], store: Store) -> dict[str, str]:
    """Return the content hash of what was judged of each request; empty where a step gave nothing."""
    drafts = {}
    for request in requests:
        digest = store.put(request, VerifyRequest)
        for stage in stages[:-1]:
            result = store.find(stage, digest)
            digest = "" if result is None or result.rejected else result.digest
            if not digest:
                break
        drafts[request.item_id] = digest
    return drafts


def _found(request: VerifyRequest, outcomes: Mapping[str, Outcome]) -> VerifiedFile:
    outcome, path = outcomes[request.item_id], Path(request.path)
    if isinstance(outcome, Finished):
        return VerifiedFile(path, outcome.record, request=request)
    return VerifiedFile(path, None, why_not(outcome), request)
