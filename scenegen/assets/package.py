"""The folder of an asset: written whole or not at all, with the same bytes every time, and read back strictly."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from generators.volume import SparseVolume
from physics.check import Verdict
from physics.errors import PhysicsError
from physics.mesh_io import write_obj
from scenegen.assets.asset import Asset
from scenegen.assets.asset_json import SCHEMA, describe_asset, record_digest, restore_asset
from scenegen.assets.certificate import Certificate, certificate_bytes
from scenegen.assets.export_glb import glb_bytes
from scenegen.assets.export_mjcf import mjcf_bytes
from scenegen.assets.export_urdf import urdf_bytes
from scenegen.assets.layout import (
    ASSET_JSON,
    MODEL_URDF,
    MODEL_XML,
    THUMB_PNG,
    VISUAL_GLB,
    VOLUME_NPZ,
    hull_paths,
    part_paths,
)
from scenegen.errors import AssetError

THUMB_SIZE = 256
"""Side of the thumbnail [pixels]."""
STAGED = ".staged_"
"""Prefix of folders that are being written; what a killed run left of them may be deleted."""
PUBLISH_ATTEMPTS = 100
"""Renames tried while other processes publish the same asset [1]."""


@dataclass(frozen=True, eq=False)
class WrittenAsset:
    """The folder of an asset, as one call wrote it."""

    folder: Path
    certificate: Certificate
    """With the checks of reading back."""
    digest: str
    """What `folder_digest` gives while nothing changes asset.json and this certificate."""


def write_asset(asset: Asset, certificate: Certificate, root: Path) -> WrittenAsset:
    """Write, read back in every format, and publish the folder of an asset.

    The checks of reading back join the certificate. When a folder with the same asset.json is there already, it is
    verified and only the certificate is put beside the others; a damaged or different one is replaced.

    Args:
        asset: What to write.
        certificate: Evidence about it.
        root: Output folder of the run; the asset goes to `assets/<aa>/<asset_id>/`.

    Raises:
        AssetError: The certificate is of another asset, a format did not survive reading back (names the check), or
            the folder cannot be written.
    """
    from scenegen.assets.readback import read_back

    if certificate.asset_id != asset.asset_id:
        raise AssetError(f"the certificate is of asset {certificate.asset_id}, not of {asset.asset_id}")
    staged = stage_asset(asset, root)
    try:
        checks = read_back(staged)
        failed = [check.describe() for check in checks if check.verdict is not Verdict.PASS]
        if failed:
            raise AssetError(f"asset {asset.asset_id} of {asset.provenance.item_id}: {'; '.join(failed)}")
        full = replace(certificate, checks=certificate.checks + checks)
        (staged / full.file_name).write_bytes(certificate_bytes(full))
        digest = folder_digest(staged, full.file_name)
        return WrittenAsset(publish_asset(staged, asset_folder(root, asset.asset_id)), full, digest)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def folder_digest(folder: Path, certificate: str) -> str:
    """Return one SHA-256 over asset.json, which holds the hashes of the other files, and a certificate.

    Raises:
        AssetError: One of the two cannot be read.
    """
    sha = hashlib.sha256()
    for path in (folder / ASSET_JSON, folder / certificate):
        try:
            sha.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise AssetError(f"{path}: cannot be read: {error}") from error
    return sha.hexdigest()


def asset_folder(root: Path, asset_id: str) -> Path:
    """Return the folder of an asset below the output folder of a run."""
    return root / "assets" / asset_id[:2] / asset_id


def stage_asset(asset: Asset, root: Path) -> Path:
    """Write everything but the certificate into a temporary folder, which `publish_asset` renames.

    Raises:
        AssetError: The folder cannot be written.
    """
    parent = asset_folder(root, asset.asset_id).parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=STAGED, dir=parent))
    except OSError as error:
        raise AssetError(f"{parent}: asset {asset.asset_id} cannot be written: {error}") from error
    try:
        staged.chmod(0o755)
        files = _write_files(asset, staged)
        (staged / ASSET_JSON).write_bytes(_json_bytes(describe_asset(asset, files)))
    except BaseException as error:
        shutil.rmtree(staged, ignore_errors=True)
        if isinstance(error, OSError):
            raise AssetError(f"{parent}: asset {asset.asset_id} cannot be written: {error}") from error
        raise
    return staged


def publish_asset(staged: Path, folder: Path) -> Path:
    """Rename a staged folder into place.

    Where an intact folder with the same asset.json is, only the certificates join it. Any other folder there is
    replaced: it is damaged, or another item's account of the same body.

    Raises:
        AssetError: Others write to the same place all the time.
    """
    for _ in range(PUBLISH_ATTEMPTS):
        try:
            os.rename(staged, folder)
            return folder
        except OSError:
            if not folder.is_dir():
                raise
        if _holds_same(folder, staged):
            for certificate in sorted(staged.glob("certificate_*.json")):
                os.replace(certificate, folder / certificate.name)
            return folder
        remove_folder(folder)
    raise AssetError(f"{folder}: was put back by others {PUBLISH_ATTEMPTS} times; run one process per output folder")


def copy_asset(folder: Path, root: Path) -> Path:
    """Copy the folder of an asset, certificates included, to its place below another output folder.

    Args:
        folder: Folder of an asset whose files were verified.
        root: Output folder that takes it.

    Raises:
        AssetError: The copy cannot be written.
    """
    target = asset_folder(root, folder.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=STAGED, dir=target.parent))
        try:
            shutil.copytree(folder, staged, dirs_exist_ok=True)
            staged.chmod(0o755)
            return publish_asset(staged, target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise AssetError(f"{target}: {folder} cannot be copied there: {error}") from error


def _holds_same(folder: Path, staged: Path) -> bool:
    """Return whether a folder is intact and has the asset.json of another."""
    try:
        verify_files(folder)
        return (folder / ASSET_JSON).read_bytes() == (staged / ASSET_JSON).read_bytes()
    except (AssetError, OSError):
        return False


def remove_folder(folder: Path) -> None:
    """Remove a folder: away at once by renaming, so that nobody meets a half of it, or renames a half into place."""
    aside = Path(tempfile.mkdtemp(prefix=STAGED, dir=folder.parent))
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        os.rename(folder, aside / folder.name)
    shutil.rmtree(aside, ignore_errors=True)  # a killed worker's child may still write there; it is swept later


def verify_files(folder: Path) -> dict[str, Any]:
    """Return the content of asset.json after every file was found to have the hash that it states.

    Raises:
        AssetError: A file is missing, changed, or not listed.
    """
    try:
        record = json.loads((folder / ASSET_JSON).read_bytes())
    except (OSError, ValueError) as error:
        raise AssetError(f"{folder / ASSET_JSON}: cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or not isinstance(record.get("files"), dict):
        raise AssetError(f"{folder / ASSET_JSON}: not an asset of schema {SCHEMA}")
    stated = record.pop("digest", None)
    if stated != record_digest(record):
        raise AssetError(f"{folder / ASSET_JSON}: was changed after it was written; restore it or make the asset anew")
    for name, expected in record["files"].items():
        path = folder / _inside(name, folder)
        if not path.is_file():
            raise AssetError(f"{path}: is missing; restore it or make the asset anew")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != expected:
            raise AssetError(
                f"{path}: has sha256 {found[:16]}..., asset.json states {expected[:16]}...; it was changed after it "
                "was written. Restore it or make the asset anew."
            )
    held = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    unknown = sorted(held - set(record["files"]) - {ASSET_JSON, *(p.name for p in folder.glob("certificate_*.json"))})
    if unknown:
        raise AssetError(f"{folder}: holds {unknown[0]!r}, which asset.json does not list; take it out of the folder")
    return record


def load_asset(folder: Path) -> Asset:
    """Read the folder of an asset, every file verified, and the identity computed anew.

    Raises:
        AssetError: The folder is incomplete or was changed (names the file).
    """
    folder = Path(folder)
    record = verify_files(folder)
    try:
        asset = restore_asset(record, folder)
    except (KeyError, TypeError, ValueError, OverflowError, PhysicsError) as error:
        raise AssetError(f"{folder / ASSET_JSON}: {type(error).__name__}: {error}") from error
    if asset.asset_id != record["asset_id"]:
        raise AssetError(f"{folder}: content has identity {asset.asset_id}, asset.json states {record['asset_id']}")
    return asset


def _write_files(asset: Asset, folder: Path) -> dict[str, str]:
    from scenegen.reports.render import png_bytes, render_model

    model = asset.model
    for name in ("visual", "collision"):
        (folder / name).mkdir()
    for _, part, path in part_paths(model):
        write_obj(part.surface, folder / path)
    for _, hull, path in hull_paths(model):
        write_obj(hull.mesh, folder / path)
    upright = next((pose.X_WB for pose in asset.rest_poses if pose.upright), None)
    pose = upright or (asset.rest_poses[0].X_WB if asset.rest_poses else None)
    picture = render_model(model, X_WB=pose, width=THUMB_SIZE, height=THUMB_SIZE)
    contents = {
        VISUAL_GLB: glb_bytes(model),
        MODEL_XML: mjcf_bytes(model),
        MODEL_URDF: urdf_bytes(model),
        THUMB_PNG: png_bytes(picture.color),
    }
    if asset.volumes:
        contents[VOLUME_NPZ] = _volume_bytes(asset.volumes)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _volume_bytes(volumes: tuple[SparseVolume, ...]) -> bytes:
    """Return volumes as npz with a fixed date, so that equal volumes give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for number, volume in enumerate(volumes):
            arrays = {
                "coords": volume.coords,
                "values": volume.values,
                "voxel_size": np.array(volume.voxel_size),
                "origin": np.array(volume.origin),
            }
            for name, array in arrays.items():
                data = io.BytesIO()
                np.lib.format.write_array(data, np.asarray(array), allow_pickle=False)
                info = zipfile.ZipInfo(f"part_{number:03d}_{name}.npy", (1980, 1, 1, 0, 0, 0))
                info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
                archive.writestr(info, data.getvalue())
    return buffer.getvalue()


def _json_bytes(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _inside(name: str, folder: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise AssetError(f"{folder / ASSET_JSON}: file {name!r} leads out of the folder")
    return path
