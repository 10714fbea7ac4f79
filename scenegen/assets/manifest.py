"""Tables of a run: one row per asset, one row per rejection, as parquet files with the same bytes every time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physics.check import Check, overall_verdict
from scenegen.assets.asset import Asset
from scenegen.assets.certificate import Certificate
from scenegen.errors import AssetError
from scenegen.pipeline.stage import Rejection

MANIFEST, REJECTIONS = "manifest.parquet", "rejections.parquet"
"""Names of the two files."""

SCHEMA_VERSION = 1
"""Version of the columns."""


@dataclass(frozen=True)
class RejectionRow:
    """A rejection and the item that it ended."""

    item_id: str
    family: str
    seed: int
    rejection: Rejection


def asset_row(asset: Asset, certificate: Certificate, folder: str) -> dict[str, Any]:
    """Return the row of one asset.

    Args:
        asset: The asset.
        certificate: Evidence about it.
        folder: Its folder, relative to the manifest.
    """
    root = asset.model.root
    parts = [part for body in asset.model.bodies for part in body.parts]
    hulls = [hull for body in asset.model.bodies for hull in body.hulls]
    volume = sum(part.surface.volume for part in parts)
    i = root.inertial.inertia
    return {
        "asset_id": asset.asset_id,
        "schema_version": SCHEMA_VERSION,
        "item_id": asset.provenance.item_id,
        "seed": asset.provenance.seed,
        "category": asset.family,
        "generator": asset.provenance.generator,
        "licence": asset.licence,
        "folder": folder,
        "bbox_min_m": root.bounds[0].tolist(),
        "bbox_max_m": root.bounds[1].tolist(),
        "volume_m3": float(volume),
        "mass_kg": float(sum(body.inertial.mass for body in asset.model.bodies)),
        "com_m": root.inertial.com.tolist(),
        "inertia_kg_m2": [float(v) for v in (i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2])],
        "materials": sorted({part.material.name for part in parts}),
        "body_count": len(asset.model.bodies),
        "face_count": sum(len(part.surface.faces) for part in parts),
        "hull_count": len(hulls),
        "hull_vertices_max": max(len(hull.mesh.vertices) for hull in hulls),
        "hull_volume_ratio": float(sum(hull.mesh.volume for hull in hulls) / volume),
        "rest_pose_count": len(asset.rest_poses),
        "verdict": certificate.verdict.value,
        "verdict_mujoco": _verdict_in(certificate, "mujoco"),
        "verdict_pybullet": _verdict_in(certificate, "pybullet"),
        "settle_s": _worst(certificate.checks, "D3"),
        "penetration_rel": _worst(certificate.checks, "D4"),
        "creep_rel": _worst(certificate.checks, "D7"),
        "fallbacks": list(certificate.fallbacks),
        "engines": [f"{name} {version}" for name, version in certificate.engines],
        "checks_version": certificate.checks_version,
        "config_digest": asset.provenance.config_digest,
    }


def write_manifest(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write the manifest, rows ordered by item and asset.

    Args:
        rows: What `asset_row` returned.
        path: The parquet file.
    """
    import pyarrow as pa

    text, number, whole = pa.string(), pa.float64(), pa.int64()
    vector, texts = pa.list_(pa.float64()), pa.list_(pa.string())
    kinds = {
        "asset_id": text, "schema_version": whole, "item_id": text, "seed": whole, "category": text,
        "generator": text, "licence": text, "folder": text, "bbox_min_m": vector, "bbox_max_m": vector,
        "volume_m3": number, "mass_kg": number, "com_m": vector, "inertia_kg_m2": vector, "materials": texts,
        "body_count": whole, "face_count": whole, "hull_count": whole, "hull_vertices_max": whole,
        "hull_volume_ratio": number, "rest_pose_count": whole, "verdict": text, "verdict_mujoco": text,
        "verdict_pybullet": text, "settle_s": number, "penetration_rel": number, "creep_rel": number,
        "fallbacks": texts, "engines": texts, "checks_version": text, "config_digest": text,
    }  # fmt: skip
    return _write(sorted(rows, key=lambda row: (row["item_id"], row["asset_id"])), kinds, path)


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a manifest.

    Raises:
        AssetError: The file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise AssetError(f"{path}: cannot be read: {error}") from error


def write_rejections(rows: Sequence[RejectionRow], path: Path) -> Path:
    """Write one row per rejection, in the order of items."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    kinds = {
        "item_id": text, "category": text, "seed": pa.int64(), "stage": text, "reason": text,
        "value": number, "limit": number, "unit": text, "message": text,
    }  # fmt: skip
    table = [
        {
            "item_id": row.item_id,
            "category": row.family,
            "seed": row.seed,
            "stage": row.rejection.stage,
            "reason": row.rejection.reason,
            "value": row.rejection.value,
            "limit": row.rejection.limit,
            "unit": row.rejection.unit,
            "message": row.rejection.message,
        }
        for row in rows
    ]
    return _write(sorted(table, key=lambda row: (row["item_id"], row["stage"])), kinds, path)


def _write(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Any], path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(list(kinds.items()))
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(table, temporary, compression="zstd", store_schema=False)
    os.replace(temporary, path)
    return path


def _verdict_in(certificate: Certificate, engine: str) -> str:
    return overall_verdict(check for check in certificate.checks if check.engine == engine).value


def _worst(checks: Sequence[Check], identifier: str) -> float | None:
    values = [check.value for check in checks if check.id == identifier and check.unit in ("1", "s")]
    return float(np.max(values)) if values else None
