"""Level boards of an asset, read off its hulls: where other objects can stand on it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64
from scipy.spatial import ConvexHull

from scenegen.errors import SceneError
from scenegen.large.demand import OPEN_AIR
from scenegen.large.options import MixConfig
from scenegen.large.pool import choose_assets
from scenegen.scenes.scene import SceneAsset
from scenegen.scenes.supports import Region

LEVEL_COSINE = float(np.cos(np.deg2rad(0.5)))
"""A face is level if its normal is at most half a degree off the vertical [1]."""
SAME_LEVEL = 1e-3
"""Level faces so close in height are one board [m]."""
CELLS = 64
"""Cells along the longer side of the asset, seen from above [1]."""
LEAST_SIDE = 0.1
"""Shortest side of a board that is used [m]."""
LEAST_HEIGHT = 0.08
"""Least free height above a board [m]."""


@functools.cache
def find_boards(asset: SceneAsset) -> tuple[Region, ...]:
    """Return the largest level rectangle of each board of an asset in its own frame, the lowest first.

    The asset stands upright: its z axis is the vertical. Hulls are what engines see, so that boards are read off them:
    on a lattice seen from above, each hull covers an interval of heights; a board is where hulls end at one height, in
    a level face, and nothing is close above.
    """
    hulls = [ConvexHull(hull.mesh.vertices) for hull in asset.model.root.hulls]
    lower, upper = (np.array(bound[:2]) for bound in asset.model.root.bounds)
    step = float((upper - lower).max()) / CELLS
    x, y = (np.arange(low + step / 2, high, step) for low, high in zip(lower, upper, strict=True))
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    spans = np.stack([_span(hull.equations, grid) for hull in hulls])
    regions = []
    for level in _levels(hulls):
        board = (np.abs(spans[..., 1] - level) <= SAME_LEVEL).any(axis=0)
        above = np.where(spans[..., 1] > level + SAME_LEVEL, spans[..., 0], np.inf).min(axis=0)
        free = np.minimum(above - level, OPEN_AIR)
        rows, columns = largest_rectangle(board & (free >= LEAST_HEIGHT))
        half = np.array([(rows.stop - rows.start - 1) * step, (columns.stop - columns.start - 1) * step]) / 2
        if half.min() < LEAST_SIDE / 2:
            continue
        centre = np.array([x[rows].mean(), y[columns].mean(), level])
        regions.append(Region(centre, half, float(free[rows, columns].min())))
    return tuple(regions)


def largest_rectangle(mask: Bool[np.ndarray, "X Y"]) -> tuple[slice, slice]:
    """Return rows and columns of the largest rectangle of true cells; empty slices where there is none.

    For each row the heights of the columns of true cells that end there are a histogram, whose largest rectangle a
    stack finds in one pass.
    """
    best, found = 0, (slice(0, 0), slice(0, 0))
    heights = np.zeros(mask.shape[1], dtype=np.int64)
    for row in range(mask.shape[0]):
        heights = np.where(mask[row], heights + 1, 0)
        stack: list[tuple[int, int]] = []
        for column, height in enumerate([*heights.tolist(), 0]):
            start = column
            while stack and stack[-1][1] >= height:
                start, tall = stack.pop()
                if tall * (column - start) > best:
                    best = tall * (column - start)
                    found = slice(row + 1 - tall, row + 1), slice(start, column)
            stack.append((start, height))
    return found


def _span(equations: Float64[np.ndarray, "F 4"], grid: Float64[np.ndarray, "X Y 2"]) -> Float64[np.ndarray, "X Y 2"]:
    """Return the lowest and highest point of a convex hull over each cell; an empty interval beside it [m]."""
    slope = equations[:, 2]
    rest = grid @ equations[:, :2].T + equations[:, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = -rest / slope
    top = np.where(slope > 1e-9, bound, np.inf).min(axis=-1)
    bottom = np.where(slope < -1e-9, bound, -np.inf).max(axis=-1)
    beside = ((np.abs(slope) <= 1e-9) & (rest > 0)).any(axis=-1) | (bottom > top)
    return np.where(beside[..., None], np.array([np.inf, -np.inf]), np.stack([bottom, top], axis=-1))


def _levels(hulls: list[ConvexHull]) -> list[float]:
    """Return the heights of the level faces that look up, from the lowest, those of one board once [m]."""
    heights = sorted(
        float(hull.points[simplex, 2].mean())
        for hull in hulls
        for simplex, plane in zip(hull.simplices, hull.equations, strict=True)
        if plane[2] >= LEVEL_COSINE
    )
    levels: list[float] = []
    for height in reversed(heights):  # the highest face of a board carries
        if not levels or levels[-1] - height > SAME_LEVEL:
            levels.append(height)
    return levels[::-1]


def choose_furniture(assets: Sequence[SceneAsset], mix: MixConfig) -> tuple[SceneAsset, ...]:
    """Return the assets of a mix that have a board and a rest pose in which it is level.

    Raises:
        SceneError: There is none.
    """
    known = {asset.model.name for asset in assets}
    families = {family: weight for family, weight in mix.families.items() if family in known}
    if mix.families and not families:
        raise SceneError(
            f"options.furniture: no certified asset is of {', '.join(mix.families)}; add some to 'objects'"
        )
    chosen = choose_assets(assets, replace(mix, families=families), mix.largest)
    found = tuple(asset for asset in chosen if asset.rest_poses and find_boards(asset))
    if not found:
        raise SceneError(f"options.furniture: none of {len(chosen)} assets has a level board that objects fit onto")
    return found
