"""The objects of a scene in few bytes, for the plan and the list on its page: about 60 bytes an object."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from scenegen.reports.placed_asset import PlacedAsset
from scenegen.reports.scene_entry import SceneEntry

ALONE = 65535
"""Stands for no component; scenes have fewer bodies than that, since MuJoCo can number no more [1]."""
LEVELS = 32767
"""Quaternions and the points of an outline are whole numbers up to this along their largest value: 16 bits [1]."""


def scene_plan(entry: SceneEntry, placed: Mapping[str, PlacedAsset]) -> dict[str, Any] | None:
    """Return poses, names, families, components and furniture; None where the scene has no objects to show.

    The outlines are for the eye: 16 bits of the orientation, 24 of the position. poses.parquet holds the numbers.
    """
    poses = entry.poses
    if poses is None or not poses.names:
        return None
    assets = {asset: family for asset, family in zip(poses.asset_ids, poses.families, strict=True)}
    number = {asset: row for row, asset in enumerate(assets)}
    components = {name: row for row, name in enumerate(dict.fromkeys(name for name in poses.components if name))}
    owner = [components[name] if name else ALONE for name in poses.components]
    return {
        "names": list(poses.names),
        "assets": [_asset(family, placed.get(asset)) for asset, family in assets.items()],
        "components": list(components),
        "asset_of": _packed(np.array([number[asset] for asset in poses.asset_ids]), "<u2"),
        "component_of": _packed(np.array(owner), "<u2"),
        "positions": _packed(poses.positions, "<f4"),
        "quaternions": _packed(np.round(poses.quaternions * LEVELS), "<i2"),
        "furniture": _packed(_seen_from_above(entry.furniture), "<f4"),
    }


def _asset(family: str, placed: PlacedAsset | None) -> dict[str, Any]:
    """Return family, page and outline of an asset; without a page it is a dot."""
    if placed is None:
        return {"family": family, "page": None, "scale": 0.0, "points": ""}
    scale = float(np.abs(placed.points).max()) / LEVELS or 1.0
    return {
        "family": family,
        "page": placed.page,
        "scale": scale,
        "points": _packed(np.round(placed.points / scale), "<i2"),
    }


def _seen_from_above(boxes: np.ndarray) -> np.ndarray:
    """Return x and y of both corners of boxes (F, 2, 3), the lowest first, each rectangle once [m]."""
    ordered = boxes[np.argsort(boxes[:, 1, 2], kind="stable")]
    flat = ordered[:, :, :2].reshape(-1, 4)
    _, first = np.unique(flat.astype("<f4"), axis=0, return_index=True)
    return flat[np.sort(first)]


def _packed(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode("ascii")
