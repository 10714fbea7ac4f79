"""`scenegen reverify`: what was judged before is judged again, by the installed engines and the present checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from physics.drop_record import DropConfig
from physics.hulls import HullConfig
from scenegen.assets.build import BatteryConfig, Draft, SurfaceConfig
from scenegen.assets.certificate import Certificate, certificate_bytes
from scenegen.assets.library import deciding_certificate, find_assets
from scenegen.assets.manifest import MANIFEST, asset_row, read_manifest, write_manifest
from scenegen.assets.package import load_asset
from scenegen.errors import AssetError, ConfigError
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.stage import Finished, Item, Stage
from scenegen.pipeline.store import Store, explained, write_atomic
from scenegen.provenance import code_digest
from scenegen.reports.verification import write_verification
from scenegen.run import STORE, Execute, measure_all_floors
from scenegen.verification import chain, reread
from scenegen.verification.change import Change
from scenegen.verification.evidence import EVIDENCE, read_evidence, write_evidence
from scenegen.verification.request import FORMATS, VerifyOptions
from scenegen.verification.reread import RereadRequest, hash_folder
from scenegen.verification.verified import VerifiedFile, why_not
from scenegen.verification.verify import GROUND, MOST_MEMORY, verify_files


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds nothing that was judged.

    Raises:
        ConfigError: It is not there, or holds neither assets nor the evidence of a verification.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder")
    if not find_assets(folder) and not (folder / EVIDENCE).is_file():
        raise ConfigError(
            f"{folder}: holds neither assets nor {EVIDENCE}; give the output folder of 'scenegen run' or 'scenegen "
            "verify', or the folder of 'verify --import'"
        )


def reverify_folder(folder: Path, execute: Execute, observer: Observer, *, write: bool = False) -> list[Change]:
    """Judge all assets and files of a folder again; the same call again takes up what is left.

    Args:
        folder: Output folder of a run or a verification, or imported assets.
        execute: Executor of the steps.
        observer: Is told what happens.
        write: Keep the new certificates: beside the assets, whose manifest follows, and in the verification.

    Raises:
        ConfigError: See `check_folder`.
        AssetError: The evidence of a verification is damaged.
        ScenegenError: The folder cannot be written, or an engine is broken.
    """
    check_folder(folder)
    changes: list[Change] = []
    if find_assets(folder):
        changes += _reverify_assets(folder, execute, observer, write)
    if (folder / EVIDENCE).is_file():
        changes += _reverify_files(folder, execute, observer, write)
    return changes


# ---- assets ------------------------------------------------------------------------------------------------------


def _reverify_assets(root: Path, execute: Execute, observer: Observer, write: bool) -> list[Change]:
    folders = find_assets(root)
    store = Store(root / STORE)
    floors = measure_all_floors(DropConfig(), store, execute, observer)
    battery = BatteryConfig(ground=GROUND, drop=DropConfig(), floors=floors)
    requests = {folder: RereadRequest(folder.name, str(folder.absolute()), hash_folder(folder)) for folder in folders}
    items = [Item(request.item_id, request) for request in requests.values()]
    outcomes = execute(reread_stages(battery), items, store, observer=observer)
    changes, fresh = [], {}
    for folder in folders:
        outcome, subject = outcomes[requests[folder].item_id], folder.relative_to(root).as_posix()
        old, reason = _old_certificate(folder)
        if isinstance(outcome, Finished):
            fresh[folder] = outcome.record
        else:
            reason = why_not(outcome)
        changes.append(Change(subject, _name_of(folder), old, fresh.get(folder), reason))
    if write:
        _keep_certificates(root, fresh)
    return changes


def _old_certificate(folder: Path) -> tuple[Certificate | None, str]:
    """Return the certificate that decides now, or why there is none: then any verdict is no worse."""
    try:
        return deciding_certificate(folder), ""
    except AssetError as error:
        return None, str(error)


def _name_of(folder: Path) -> str:
    """Return category and identifier of an asset, or the identifier where its files are damaged."""
    try:
        return f"{load_asset(folder).family} {folder.name[:8]}"
    except AssetError:
        return folder.name[:8]


def reread_stages(battery: BatteryConfig) -> tuple[Stage, ...]:
    """Return the steps from the folder of an asset to its new certificate."""
    steps: tuple[tuple[str, Any, type, type, Any], ...] = (
        ("reread", reread.reread_asset, RereadRequest, Draft, SurfaceConfig()),
        ("hulls", reread.remeasure_hulls, Draft, Draft, HullConfig()),
        ("drop_mujoco", chain.drop_in_mujoco, Draft, Draft, battery),
        ("drop_pybullet", chain.drop_in_pybullet, Draft, Draft, battery),
        ("agreement", chain.compare_engines, Draft, Draft, battery),
        ("judge", chain.judge, Draft, Certificate, battery),
    )
    return tuple(
        Stage(name, f"{step.__module__}:{step.__name__}", taken, given, config, code_digest(), memory_bytes=MOST_MEMORY)
        for name, step, taken, given, config in steps
    )


def _keep_certificates(root: Path, fresh: Mapping[Path, Certificate]) -> None:
    """Put new certificates beside the old ones, and the verdicts that now decide into the manifest."""
    for folder, certificate in fresh.items():
        path = folder / certificate.file_name
        with explained(path, "write"):
            write_atomic(path, certificate_bytes(certificate))
    rows = read_manifest(root / MANIFEST) if (root / MANIFEST).is_file() else []
    judged = {folder.name: folder for folder in fresh}
    for number, row in enumerate(rows):
        if row["asset_id"] in judged:
            folder = judged[row["asset_id"]]
            renewed = asset_row(load_asset(folder), deciding_certificate(folder), row["folder"])
            rows[number] = {**renewed, "config_digest": row["config_digest"]}
    if rows:
        write_manifest(rows, root / MANIFEST)


# ---- files of a verification -------------------------------------------------------------------------------------


def _reverify_files(out: Path, execute: Execute, observer: Observer, write: bool) -> list[Change]:
    old, options = read_evidence(out)
    new = _judge_files([file.path for file in old], out, options, execute, observer)
    if write:
        write_evidence(new, options, out)
        write_verification(new, out)
    return [
        Change(str(before.path), before.path.name, before.certificate, after.certificate, after.reason)
        for before, after in zip(old, new, strict=True)
    ]


def _judge_files(
    paths: Sequence[Path], out: Path, options: VerifyOptions, execute: Execute, observer: Observer
) -> list[VerifiedFile]:
    """Judge files; those that have gone since get a row that says so."""
    there = [path for path in paths if path.is_file() and path.suffix.lower() in FORMATS]
    found: dict[Path, VerifiedFile] = {}
    if there:
        found = {file.path: file for file in verify_files(there, out, options, execute, observer, evidence=False)}
    gone = VerifiedFile(Path(), None, "there is no such file any more")
    return [found.get(path) or replace(gone, path=path) for path in paths]
