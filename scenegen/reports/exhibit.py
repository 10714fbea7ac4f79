"""What a report shows of each object of a run or a verification, read back from its output folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from physics.model import Model
from scenegen.assets.asset import RestPose, collect_rest_poses
from scenegen.assets.build import Draft
from scenegen.assets.layout import THUMB_PNG
from scenegen.assets.library import deciding_certificate, find_assets
from scenegen.assets.manifest import REJECTIONS, read_manifest
from scenegen.assets.package import load_asset
from scenegen.errors import ConfigError, CorruptRecordError
from scenegen.pipeline.store import Store
from scenegen.run import STORE
from scenegen.verification.evidence import EVIDENCE, read_evidence
from scenegen.verification.verified import VerifiedFile

RUN, VERIFICATION = "run", "verification"
"""Kinds of output folders."""


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One object."""

    file: VerifiedFile
    """The file or the asset, and its verdict."""
    name: str
    category: str
    model: Model | None = None
    """Surfaces, hulls and mass; None where there is no solid."""
    rest_poses: tuple[RestPose, ...] = ()
    thumb: Path | None = None
    """A picture that is there already."""


def kind_of(folder: Path) -> str:
    """Return what an output folder holds.

    Raises:
        ConfigError: It holds neither a run nor a verification.
    """
    if (folder / EVIDENCE).is_file():
        return VERIFICATION
    if find_assets(folder) or (folder / REJECTIONS).is_file():
        return RUN
    raise ConfigError(f"{folder}: holds neither assets of a run nor {EVIDENCE} of 'scenegen verify'")


def exhibits_of(folder: Path) -> Iterator[Exhibit]:
    """Return all objects of an output folder, one at a time.

    Raises:
        ConfigError: The folder holds neither a run nor a verification.
        AssetError: A file in it is damaged.
    """
    return _of_verification(folder) if kind_of(folder) == VERIFICATION else _of_run(folder)


def _of_run(folder: Path) -> Iterator[Exhibit]:
    for place in find_assets(folder):
        asset = load_asset(place)
        file = VerifiedFile(place.relative_to(folder), deciding_certificate(place), folder=place)
        thumb = place / THUMB_PNG
        yield Exhibit(
            file,
            f"{asset.family} {asset.asset_id[:8]}",
            asset.family,
            asset.model,
            asset.rest_poses,
            thumb if thumb.is_file() else None,
        )
    rejections = folder / REJECTIONS
    for row in read_manifest(rejections) if rejections.is_file() else ():
        reason = row["message"] or row["reason"]
        file = VerifiedFile(Path(row["item_id"]), None, f"{row['stage']}: {reason}", rejected=row["reason"])
        yield Exhibit(file, row["item_id"], row["category"])


def _of_verification(folder: Path) -> Iterator[Exhibit]:
    store = Store(folder / STORE, create=False)
    found, _ = read_evidence(folder)
    for file in found:
        draft: Draft | None = None
        if file.draft:
            try:
                draft = store.load(file.draft, Draft)
            except CorruptRecordError:  # judged by another version: the verdict is there, the shape is not
                draft = None
        model = None if draft is None else draft.model
        poses = collect_rest_poses(model.root, draft.drops) if model is not None and draft is not None else ()
        yield Exhibit(file, file.path.name, file.path.suffix.lstrip(".").lower(), model, poses)
