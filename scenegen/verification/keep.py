"""What passes becomes an asset of ours: the folder and certificate of a run's assets, with the file it came from."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scenegen.assets.asset import UNKNOWN_LICENCE, Asset, Provenance, collect_rest_poses
from scenegen.assets.build import BatteryConfig, Draft
from scenegen.assets.layout import ASSET_JSON
from scenegen.assets.library import ACCEPTED, write_library_manifest
from scenegen.assets.package import asset_folder, load_asset, write_asset
from scenegen.assets.publish import PublishedAsset, describe_published, find_damage
from scenegen.errors import AssetError, ConfigError
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.stage import Finished, Item, Outcome, Rejection, Stage
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest
from scenegen.reports.summary import SUMMARY
from scenegen.run import Execute, complete_folders, finished_records
from scenegen.verification.chain import judge
from scenegen.verification.verified import VerifiedFile, why_not

KEEP = "keep"
"""The stage that writes the folder of an asset."""
IMPORTED = "import"
"""What an imported asset names as its generator."""


@dataclass(frozen=True)
class KeepConfig:
    """Where imported assets go, and what their certificates need."""

    root: str
    """Folder that takes the assets."""
    battery: BatteryConfig


def check_library(library: Path) -> None:
    """Refuse a folder that cannot take imported assets.

    Raises:
        ConfigError: It is a file, or the output of a run, whose manifest is its own.
    """
    if library.exists() and not library.is_dir():
        raise ConfigError(f"--import {library}: is a file; give a folder, which is made where it is not there")
    if (library / SUMMARY).exists():
        raise ConfigError(f"--import {library}: is the output of a run; give a folder of its own for imported assets")


def import_files(
    found: Sequence[VerifiedFile],
    library: Path,
    stages: Sequence[Stage],
    store: Store,
    execute: Execute,
    observer: Observer,
) -> list[VerifiedFile]:
    """Write an asset's folder for each file whose verdict is PASS or WARN; return all files, with their folders.

    Files of one content become one asset, named after the first of them by name. An asset that is there already is
    left as it is.

    Args:
        found: Verified files.
        library: Folder that takes the assets; made when it is not there.
        stages: The steps that they went through, the last of which judged them.
        store: Where the results of their steps are.
        execute: Executor of the steps.
        observer: Is told what happens.

    Raises:
        AssetError: A folder of the library has the name of an asset and holds something else.
    """
    owners = _owners(found)
    new = [asset_id for asset_id in owners if not _is_there(asset_folder(library, asset_id), owners[asset_id])]
    outcomes = _write_folders([owners[asset_id] for asset_id in new], library, stages, store, execute, observer)
    failed = {asset_id: outcomes[_request(owners[asset_id]).item_id] for asset_id in new}
    failed = {asset_id: outcome for asset_id, outcome in failed.items() if not isinstance(outcome, Finished)}
    if owners:
        write_library_manifest(library)
    return [_with_folder(file, library, failed) for file in found]


def keep_draft(draft: Draft, config: KeepConfig) -> PublishedAsset | Rejection:
    """Stage: write the folder of an imported asset, every format read back."""
    certificate, root = judge(draft, config.battery), Path(config.root)
    if certificate.verdict not in ACCEPTED:
        raise AssetError(f"{draft.request.item_id}: is {certificate.verdict}, and only PASS and WARN are imported")
    try:
        asset = imported_asset(draft)
        return describe_published(asset, write_asset(asset, certificate, root), root)
    except AssetError as error:
        return Rejection(KEEP, "no format holds it", np.nan, None, "", str(error))


def imported_asset(draft: Draft) -> Asset:
    """Return the asset that a finished draft of a foreign file describes."""
    assert draft.origin is not None  # read_file gives every draft one
    request = draft.request
    return Asset(
        model=draft.solid,
        volumes=(),
        family=request.family,
        provenance=Provenance(
            IMPORTED, request.seed, request.item_id, origin=replace(draft.origin, altered=draft.fallbacks)
        ),
        rest_poses=collect_rest_poses(draft.solid.root, draft.drops),
        symmetry_axis=draft.symmetry_axis,
        licence=UNKNOWN_LICENCE,
    )


def _owners(found: Sequence[VerifiedFile]) -> dict[str, VerifiedFile]:
    """Return each accepted asset by identifier, with the file that gives it its origin, whatever the order of files."""
    accepted = sorted(
        (file for file in found if file.accepted), key=lambda file: (file.path.name, _request(file).content)
    )
    owners: dict[str, VerifiedFile] = {}
    for file in accepted:
        owners.setdefault(_asset_id(file), file)
    return dict(sorted(owners.items()))


def _asset_id(file: VerifiedFile) -> str:
    return file.certificate.asset_id if file.certificate is not None else ""


def _request(file: VerifiedFile):
    assert file.request is not None  # verify_files gives every file one
    return file.request


def _is_there(folder: Path, file: VerifiedFile) -> bool:
    """Return whether a library holds an asset already.

    Raises:
        AssetError: The folder holds something else.
    """
    if not folder.exists():
        return False
    try:
        held = load_asset(folder)
    except AssetError as error:
        raise AssetError(
            f"{folder}: has the name of the asset in {file.path.name}, but does not hold it: {error} "
            "Take the folder away, or import into another one."
        ) from error
    if held.asset_id != folder.name:
        raise AssetError(
            f"{folder / ASSET_JSON}: holds asset {held.asset_id} in the place of the one in {file.path.name}; "
            "take the folder away, or import into another one"
        )
    return True


def _write_folders(
    files: Sequence[VerifiedFile],
    library: Path,
    stages: Sequence[Stage],
    store: Store,
    execute: Execute,
    observer: Observer,
) -> Mapping[str, Outcome]:
    if not files:
        return {}
    config = KeepConfig(str(library.absolute()), stages[-1].config)
    keep = Stage(KEEP, "scenegen.verification.keep:keep_draft", Draft, PublishedAsset, config, code_digest())
    items = [Item(_request(file).item_id, _request(file)) for file in files]
    return complete_folders(
        KEEP,
        functools.partial(
            execute,
            (*stages[:-1], keep),
            items,  # all but the last are in the store
            store,
            observer=observer,
        ),
        lambda done: {name: find_damage(asset, library) for name, asset in finished_records(done).items()},
        store,
        observer,
    )


def _with_folder(file: VerifiedFile, library: Path, failed: Mapping[str, Outcome]) -> VerifiedFile:
    if not file.accepted:
        return file
    outcome = failed.get(_asset_id(file))
    if outcome is not None:
        return replace(file, not_kept=why_not(outcome))
    return replace(file, folder=asset_folder(library, _asset_id(file)))
