"""Stage: a certified asset becomes a folder on disk and a row for the manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenegen.assets.build import CertifiedAsset
from scenegen.assets.certificate import load_certificate
from scenegen.assets.manifest import asset_row
from scenegen.assets.package import write_asset


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
    folder = write_asset(certified.asset, certified.certificate, root)
    certificate = load_certificate(folder / certified.certificate.file_name)
    relative = folder.relative_to(root).as_posix()
    return PublishedAsset(
        asset_id=certified.asset.asset_id,
        family=certified.asset.family,
        verdict=str(certificate.verdict),
        folder=relative,
        warnings=tuple(check.describe() for check in certificate.checks if check.verdict == "WARN"),
        row=json.dumps(asset_row(certified.asset, certificate, relative)),
        simulated_seconds=certified.simulated_seconds,
    )
