"""Solid to SparseVolume: evaluate a distance coarse to fine, on blocks near the surface only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32

from generators.errors import VolumeError
from generators.volume import SparseVolume, lattice_keys


@dataclass(frozen=True)
class SamplingConfig:
    """How the lattice is searched; the result does not depend on it."""

    coarsest_block: int = 64
    """Side of the first blocks [nodes], a power of 2."""
    finest_block: int = 4
    """Side of the blocks whose nodes are all evaluated [nodes], a power of 2."""
    chunk: int = 2**15
    """Points per call of the distance: temporaries of this size stay in the cache [1]."""
    nudge: float = 1e-6
    """Value that replaces an exact 0 at a node [voxel]."""


LEAST_BAND = 1.75
"""Corners of a cell that the surface crosses lie within sqrt(3) voxels of it [voxel]."""


def sample_volume(
    distance: Callable[[np.ndarray], np.ndarray],
    bounds: np.ndarray,
    *,
    resolution: int | None = None,
    voxel_size: float | None = None,
    band_voxels: float = 3.0,
    config: SamplingConfig | None = None,
) -> SparseVolume:
    """Return the band of a solid: all lattice nodes within `band_voxels` of its surface.

    The faces of the box at its low side lie halfway between nodes, so that flat bases meet no node. Solids
    sampled with the same bounds and voxel size share one lattice.

    Args:
        distance: 1-Lipschitz signed distance, points (N, 3) [m] to (N,) [m], negative inside.
        bounds: box (2, 3) [m] that holds the surface.
        resolution: voxels along the longest side of the box; give this or `voxel_size`.
        voxel_size: distance between nodes [m].
        band_voxels: half width of the band [voxel], at least 1.75.
        config: how to search.

    Raises:
        VolumeError: both or neither of resolution and voxel size given, or no surface in the box.
    """
    config = config or SamplingConfig()
    box = np.asarray(bounds, dtype=np.float64)
    if (resolution is None) == (voxel_size is None):
        raise VolumeError("give either resolution or voxel_size, not both and not neither")
    longest = float((box[1] - box[0]).max())
    size = longest / resolution if resolution is not None else float(voxel_size or 0.0)
    if not (np.isfinite(box).all() and longest > 0 and np.isfinite(size) and size > 0):
        raise VolumeError(f"cannot sample the box {box.tolist()} m with voxels of {size} m")
    if band_voxels < LEAST_BAND:
        raise VolumeError(f"band_voxels is {band_voxels}, at least {LEAST_BAND} are needed to hold every crossed cell")
    pad = int(np.ceil(band_voxels)) + 1
    origin = box[0] - (pad + 0.5) * size
    shape = np.ceil((box[1] - box[0]) / size).astype(np.int64) + 2 * pad + 2
    sampler = _Sampler(distance, origin, size, band_voxels * size, shape, config)
    coords, values = sampler.band()
    x, y, z = origin
    return SparseVolume(coords, values, size, (float(x), float(y), float(z)))


@dataclass(frozen=True, eq=False)
class _Sampler:
    distance: Callable[[np.ndarray], np.ndarray]
    origin: np.ndarray
    size: float
    band_width: float
    shape: np.ndarray
    config: SamplingConfig

    def band(self) -> tuple[Int32[np.ndarray, "N 3"], Float32[np.ndarray, "N"]]:
        """Return the nodes of the band in lexicographic order and their values."""
        blocks = self.near_blocks()
        if not len(blocks):
            raise VolumeError("no surface in the box: the solid is empty, or the bounds miss it")
        slabs = np.flatnonzero(np.diff(blocks[:, 0], prepend=-1))
        pieces = [self.slab(group) for group in np.split(blocks, slabs[1:])]
        return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces])

    def near_blocks(self) -> np.ndarray:
        """Return the finest blocks (M, 3) that may hold nodes of the band, sorted."""
        side = self.config.coarsest_block
        grid = np.ceil(self.shape / side).astype(np.int64)
        blocks = np.indices(tuple(grid)).reshape(3, -1).T
        children = np.indices((2, 2, 2)).reshape(3, -1).T
        while True:
            middle = (blocks + 0.5) * side - 0.5
            value = self.evaluate(self.origin + self.size * middle)
            reach = self.band_width + np.sqrt(3) / 2 * (side - 1) * self.size
            blocks = blocks[np.abs(value) <= reach]
            if side == self.config.finest_block or not len(blocks):
                return blocks[np.lexsort(blocks.T[::-1])]
            side //= 2
            blocks = (2 * blocks[:, None] + children).reshape(-1, 3)
            blocks = blocks[(blocks * side < self.shape).all(axis=1)]

    def slab(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the band nodes of all blocks of one slab along i, sorted, and their values."""
        side = self.config.finest_block
        inner = np.indices((side, side, side)).reshape(3, -1)
        per_call = max(1, self.config.chunk // side**3)
        coords, values = [], []
        for begin in range(0, len(blocks), per_call):
            nodes = (side * blocks[begin : begin + per_call].T[:, :, None] + inner[:, None]).reshape(3, -1)
            value = self.distance((self.origin[:, None] + self.size * nodes).T)
            kept = np.abs(value) <= self.band_width
            coords.append(nodes[:, kept].astype(np.int32))
            values.append(value[kept].astype(np.float32))
        nodes, value = np.concatenate(coords, axis=1), np.concatenate(values)
        order = np.argsort(lattice_keys(nodes.T, self.shape))
        value = value[order]
        value[value == 0] = self.config.nudge * self.size
        return np.ascontiguousarray(nodes[:, order].T), value

    def evaluate(self, points: np.ndarray) -> np.ndarray:
        """Return the distance at any number of points, a chunk at a time."""
        chunk = self.config.chunk
        return np.concatenate([self.distance(points[i : i + chunk]) for i in range(0, len(points), chunk)])
