"""Stage: a certified asset becomes a folder on disk and a row for the manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenegen.assets.asset import Asset
from scenegen.assets.build import CertifiedAsset
from scenegen.assets.manifest import asset_row
from scenegen.assets.package import WrittenAsset, folder_digest, verify_files, write_asset
from scenegen.errors import AssetError


@dataclass(frozen=True)
class PublishConfig:
    """Where folders are written."""

    root: str
    """Output folder of the run."""


@dataclass(frozen=True)
class PublishedAsset:
    """A certified asset on disk."""

    asset_id: str
    family: str
    verdict: str
    folder: str
    """Relative to the output folder."""
    certificate: str
    """Name of its certificate's file."""
    digest: str
    """SHA-256 over asset.json and the certificate (`folder_digest`)."""
    warnings: tuple[str, ...]
    """Checks that warn, one line each."""
    row: str
    """Its row of the manifest, as json."""
    simulated_seconds: float
    """Simulated time of the drops in all engines [s]."""

    @property
    def manifest_row(self) -> dict[str, Any]:
        """Row of the manifest."""
        return json.loads(self.row)


def publish(certified: CertifiedAsset, config: PublishConfig) -> PublishedAsset:
    """Write the folder of an asset, every format read back, and describe it."""
    root = Path(config.root)
    written = write_asset(certified.asset, certified.certificate, root)
    return describe_published(certified.asset, written, root, simulated_seconds=certified.simulated_seconds)


def describe_published(
    asset: Asset, written: WrittenAsset, root: Path, *, simulated_seconds: float = 0.0
) -> PublishedAsset:
    """Return what a run says of an asset's folder below its output folder."""
    # What was written, not what is there now: another item may have published the same body in the meantime.
    certificate = written.certificate
    relative = written.folder.relative_to(root).as_posix()
    return PublishedAsset(
        asset_id=asset.asset_id,
        family=asset.family,
        verdict=str(certificate.verdict),
        folder=relative,
        certificate=certificate.file_name,
        digest=written.digest,
        warnings=tuple(check.describe() for check in certificate.checks if check.verdict == "WARN"),
        row=json.dumps(asset_row(asset, certificate, relative)),
        simulated_seconds=simulated_seconds,
    )


def find_damage(published: PublishedAsset, root: Path) -> str:
    """Return what is wrong with a published folder, or nothing: it holds what publishing this item wrote.

    Args:
        published: What the item's publishing said.
        root: Output folder of the run.
    """
    folder = root / published.folder
    try:
        verify_files(folder)
        if folder_digest(folder, published.certificate) != published.digest:
            return f"{folder}: asset.json or {published.certificate} is not what was written for this item"
    except AssetError as error:
        return str(error)
    return ""
