"""Poses of a scene as a table, one row an object."""

from __future__ import annotations

from pathlib import Path

from scenegen.scenes.scene import Scene


def write_poses(scene: Scene, path: Path) -> Path:
    """Write `poses.parquet`: name, asset, position [m] and quaternion (w, x, y, z) of every object at rest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "scene": scene.name,
            "object": one.name,
            "asset_id": one.asset.asset_id,
            "category": one.asset.model.name,
            **dict(zip("xyz", one.X_WB.position.tolist(), strict=True)),
            **dict(zip(("qw", "qx", "qy", "qz"), one.X_WB.quaternion.tolist(), strict=True)),
        }
        for one in scene.objects
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
