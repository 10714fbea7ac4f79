"""A library: a folder of certified assets, of a run or of `scenegen verify --import`, that runs take assets from."""

from __future__ import annotations

from pathlib import Path

from physics.check import SEVERITY, Verdict
from scenegen.assets.asset import Asset
from scenegen.assets.certificate import CHECKS_VERSION, REQUIRED_ENGINES, Certificate, load_certificate
from scenegen.assets.layout import ASSET_JSON
from scenegen.assets.manifest import MANIFEST, asset_row, write_manifest
from scenegen.assets.package import STAGED, WrittenAsset, copy_asset, folder_digest, load_asset
from scenegen.assets.publish import PublishedAsset, describe_published
from scenegen.errors import AssetError
from scenegen.provenance import library_versions

ACCEPTED = (Verdict.PASS, Verdict.WARN)
"""Verdicts with which an asset may be used."""


def find_assets(root: Path) -> list[Path]:
    """Return the folders of all assets below an output folder, in order of their names."""
    found = (path.parent for path in root.glob(f"assets/*/*/{ASSET_JSON}"))
    return sorted((folder for folder in found if not folder.name.startswith(STAGED)), key=lambda folder: folder.name)


def deciding_certificate(folder: Path) -> Certificate:
    """Return the certificate that decides whether an asset may be used.

    It is the one of the present checks and the installed engines; where there is none, any other. The worst of several
    decides, so that no refusal is overlooked.

    Raises:
        AssetError: There is no certificate, one is damaged, or one is of another asset.
    """
    held = [load_certificate(path) for path in sorted(folder.glob("certificate_*.json"))]
    if not held:
        raise AssetError(f"{folder}: holds no certificate; 'scenegen reverify --write' makes one")
    foreign = next((one.asset_id for one in held if one.asset_id != folder.name), None)
    if foreign is not None:
        raise AssetError(f"{folder}: holds a certificate of asset {foreign}; take it out of the folder")
    current = [one for one in held if one.checks_version == CHECKS_VERSION and one.engines == installed_engines()]
    return max(current or held, key=lambda one: SEVERITY.index(one.verdict))


def installed_engines() -> tuple[tuple[str, str], ...]:
    """Return name and version of each engine that would judge an asset now."""
    versions = library_versions()
    return tuple((name, versions[name]) for name in REQUIRED_ENGINES)


def open_asset(folder: Path) -> tuple[Asset, Certificate]:
    """Return an asset whose files are verified, and the certificate that decides about it.

    Raises:
        AssetError: The folder is damaged or is not named after its content, or its verdict is neither PASS nor WARN.
    """
    asset = load_asset(folder)
    if asset.asset_id != folder.name:
        raise AssetError(f"{folder}: holds asset {asset.asset_id}; the folder of an asset is named after its content")
    certificate = deciding_certificate(folder)
    if certificate.verdict not in ACCEPTED:
        raise AssetError(f"{folder}: its certificate says {certificate.verdict}; take the folder out of the library")
    return asset, certificate


def take_assets(library: Path, out: Path) -> tuple[PublishedAsset, ...]:
    """Copy all assets of a library, with their certificates, into the output folder of a run.

    Args:
        library: Folder that holds `assets/<aa>/<asset_id>/`.
        out: Output folder of the run.

    Raises:
        AssetError: Any asset is damaged or not certified, or the library is the output folder itself.
    """
    if library.resolve() == out.resolve():
        raise AssetError(f"assets.import: {library} is the output folder of this run; give another --out")
    taken = []
    for folder in find_assets(library):
        asset, certificate = open_asset(folder)
        copied = copy_asset(folder, out)
        written = WrittenAsset(copied, certificate, folder_digest(copied, certificate.file_name))
        taken.append(describe_published(asset, written, out))
    return tuple(taken)


def write_library_manifest(library: Path) -> Path:
    """Write the manifest of a library: a row for each asset that is there, whoever put it there, and when."""
    rows = []
    for folder in find_assets(library):
        relative = folder.relative_to(library).as_posix()
        rows.append(asset_row(load_asset(folder), deciding_certificate(folder), relative))
    return write_manifest(rows, library / MANIFEST)
