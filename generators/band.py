"""BandIndex: which row holds a lattice node, and the proof that a narrow band leaves no sign open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from generators.errors import VolumeError
from generators.volume import SparseVolume

LARGEST_KEY = 2**59
"""Nodes in the padded bounding box of a band; leaves room for seven edges per node in 64 bits."""


@dataclass(frozen=True, eq=False)
class BandIndex:
    """Rows of a volume by 64-bit node keys, which grow in lexicographic order of ijk.

    The box is padded by one node on each side, so the keys of a node's neighbours never wrap into another row.
    """

    keys: Int64[np.ndarray, "N"]
    """Key of each row, strictly increasing."""
    low: Int64[np.ndarray, "3"]
    """Node with key 0."""
    strides: Int64[np.ndarray, "3"]
    """Key difference of one step along i, j, k; the last is 1."""

    @classmethod
    def of(cls, volume: SparseVolume) -> BandIndex:
        """Index a volume.

        Raises:
            VolumeError: Arrays of wrong shape or type, values that are zero or not finite, nodes out of order.
        """
        _check_arrays(volume)
        low = volume.coords.min(axis=0).astype(np.int64) - 1
        shape = volume.coords.max(axis=0).astype(np.int64) + 2 - low
        if int(shape[0]) * int(shape[1]) * int(shape[2]) > LARGEST_KEY:
            raise VolumeError(f"the band spans {shape} nodes, more than 2^59 in its box; use a coarser voxel_size")
        strides = np.array([shape[1] * shape[2], shape[2], 1], dtype=np.int64)
        keys = np.full(len(volume.coords), -int(low @ strides), dtype=np.int64)
        for axis in range(3):
            keys += volume.coords[:, axis] * strides[axis]
        order = np.flatnonzero(keys[1:] <= keys[:-1])
        if len(order):
            at = volume.coords[order[0] + 1]
            raise VolumeError(f"row {order[0] + 1}, node {at}: coords must be unique and in lexicographic order")
        return cls(keys, low, strides)

    def nodes(self, keys: np.ndarray) -> Int64[np.ndarray, "M 3"]:
        """Return the nodes ijk that belong to keys (M,)."""
        i, rest = np.divmod(keys, self.strides[0])
        j, k = np.divmod(rest, self.strides[1])
        return np.stack([i, j, k], axis=1) + self.low

    def keys_at(self, nodes: Int64[np.ndarray, "M 3"]) -> Int64[np.ndarray, "M"]:
        """Return the keys of nodes ijk; -1 for a node outside the padded box."""
        local = nodes - self.low
        shape = self.shape
        keys = local @ self.strides
        return np.where(((local >= 0) & (local < shape)).all(axis=1), keys, -1)

    @property
    def shape(self) -> Int64[np.ndarray, "3"]:
        """Padded box in nodes; the first entry is an upper bound that the last key needs."""
        return np.array([self.keys[-1] // self.strides[0] + 2, self.strides[0] // self.strides[1], self.strides[1]])

    def rows_at(self, keys: np.ndarray) -> Int64[np.ndarray, "M"]:
        """Return the row of each key (M,), -1 for a node outside the band."""
        rows = np.searchsorted(self.keys, keys)
        rows[rows == len(self.keys)] = 0
        rows[self.keys[rows] != keys] = -1
        return rows

    def inside_at(self, keys: np.ndarray, negative: Bool[np.ndarray, "N"]) -> Bool[np.ndarray, "M"]:
        """Return the sign of any node: that of the nearest band node at or before it in its row, else outside."""
        before = np.searchsorted(self.keys, keys, side="right") - 1
        same = (before >= 0) & (self.keys[before] // self.strides[1] == keys // self.strides[1])
        return same & negative[before]


def check_signs(volume: SparseVolume, index: BandIndex) -> None:
    """Raise unless every lattice edge that changes sign has both ends in the band.

    Along k the sign rule itself decides; a band node is compared with its absent neighbours along i and j; of a run of
    absent inside nodes the first is enough, since each later change in the next row is a band node, compared already.

    Raises:
        VolumeError: The first node at which the surface would leave the band.
    """
    negative = volume.values < 0
    keys, column = index.keys, index.strides[1]
    row = keys // column
    new = np.flatnonzero(row[1:] != row[:-1])
    for name, ends in (("first", np.append(0, new + 1)), ("last", np.append(new, len(keys) - 1))):
        bad = ends[negative[ends]]
        if len(bad):
            raise VolumeError(
                f"node {volume.coords[bad[0]]} is inside but the {name} band node of its row: the solid is open there; "
                "the band must close the surface with outside nodes"
            )
    gap = np.flatnonzero((row[1:] == row[:-1]) & (keys[1:] - keys[:-1] > 1))
    _refuse(volume, gap[negative[gap] != negative[gap + 1]])
    starts = gap[negative[gap]]
    for step in index.strides[:2]:
        for sign in (-1, 1):
            _refuse(volume, starts[~index.inside_at(keys[starts] + 1 + sign * step, negative)])
            differs = index.inside_at(keys + sign * step, negative) != negative
            rows = np.flatnonzero(differs)
            _refuse(volume, rows[index.rows_at(keys[rows] + sign * step) < 0])


def _refuse(volume: SparseVolume, bad: np.ndarray) -> None:
    if len(bad):
        raise VolumeError(
            f"the surface leaves the band beside node {volume.coords[bad[0]]} ({len(bad)} such places): both ends of "
            "every lattice edge that changes sign must be in the band; widen the band"
        )


def _check_arrays(volume: SparseVolume) -> None:
    coords, values = volume.coords, volume.values
    if coords.ndim != 2 or coords.shape[1] != 3 or not np.issubdtype(coords.dtype, np.integer):
        raise VolumeError(f"coords need shape (N, 3) and integers, got {coords.shape} of {coords.dtype}")
    if values.shape != (len(coords),):
        raise VolumeError(f"values need shape ({len(coords)},), got {values.shape}")
    if not len(coords):
        raise VolumeError("the volume is empty: no lattice node is near a surface")
    if not (np.isfinite(volume.voxel_size) and volume.voxel_size > 0 and np.isfinite(volume.origin).all()):
        raise VolumeError(f"voxel_size {volume.voxel_size} m must be positive and origin {volume.origin} finite")
    bad = np.flatnonzero(~np.isfinite(values) | (values == 0))
    if len(bad):
        raise VolumeError(f"node {coords[bad[0]]} has value {values[bad[0]]}: distances must be finite and not 0")
