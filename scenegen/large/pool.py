"""The assets of a large scene: read once in each process, chosen by family, material and size."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.spatial import ConvexHull

from scenegen.assets.package import load_asset
from scenegen.errors import SceneError
from scenegen.large.options import MixConfig
from scenegen.scenes.place import hull_points
from scenegen.scenes.publish import scene_asset
from scenegen.scenes.scene import SceneAsset


@functools.cache
def read_asset(root: str, folder: str) -> SceneAsset:
    """Return an asset, whose files are verified when a process first asks for it.

    Args:
        root: Output folder of the run.
        folder: Folder of the asset, relative to it.
    """
    return scene_asset(load_asset(Path(root) / folder), folder)


@functools.cache
def shell_points(asset: SceneAsset) -> Float64[np.ndarray, "P 3"]:
    """Return the corners of the convex hull of an asset's collision hulls in its frame [m]."""
    points = hull_points(asset.model)
    return points[ConvexHull(points).vertices]


@functools.cache
def shell_volume(asset: SceneAsset) -> float:
    """Return the volume of the convex hull of an asset's collision hulls [m^3]."""
    return float(ConvexHull(hull_points(asset.model)).volume)


def choose_assets(assets: Sequence[SceneAsset], mix: MixConfig, largest: float) -> tuple[SceneAsset, ...]:
    """Return the assets that a mix allows up to a size, in the order of their identifiers.

    Raises:
        SceneError: There is none.
    """
    known = {asset.model.name for asset in assets}
    for family in mix.families:
        if family not in known:
            raise SceneError(f"mix.families: no asset is of family {family!r}; there are {', '.join(sorted(known))}")
    chosen = [
        asset
        for asset in sorted(assets, key=lambda asset: asset.asset_id)
        if mix.smallest <= asset.model.root.size <= largest
        and (not mix.families or asset.model.name in mix.families)
        and (not mix.materials or {part.material.name for part in asset.model.root.parts} <= set(mix.materials))
        and (mix.most_hulls is None or len(asset.model.root.hulls) <= mix.most_hulls)
        and not asset.model.joints
    ]
    if not chosen:
        raise SceneError(
            f"none of {len(assets)} certified assets is {mix.smallest:g} to {largest:g} m large and of the families, "
            "materials and number of hulls of 'mix'; make smaller ones, or widen 'mix'"
        )
    return tuple(chosen)


def weigh_assets(assets: Sequence[SceneAsset], mix: MixConfig) -> Float64[np.ndarray, "A"]:
    """Return the probability with which each asset is drawn: the weight of its family, shared by its assets."""
    counts = {name: sum(asset.model.name == name for asset in assets) for name in {a.model.name for a in assets}}
    weights = np.array([mix.families.get(a.model.name, 1.0) / counts[a.model.name] for a in assets])
    if not mix.families:
        weights = np.ones(len(assets))
    return weights / weights.sum()
