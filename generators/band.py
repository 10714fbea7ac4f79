"""BandIndex: which row of a volume holds a lattice node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

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
        """Index a volume, whose construction has checked that its nodes are unique and in order.

        Raises:
            VolumeError: The box around the band holds more nodes than there are keys.
        """
        low = volume.coords.min(axis=0).astype(np.int64) - 1
        shape = volume.coords.max(axis=0).astype(np.int64) + 2 - low
        if int(shape[0]) * int(shape[1]) * int(shape[2]) > LARGEST_KEY:
            raise VolumeError(f"the band spans {shape} nodes, more than 2^59 in its box; use a coarser voxel_size")
        strides = np.array([shape[1] * shape[2], shape[2], 1], dtype=np.int64)
        keys = np.full(len(volume.coords), -int(low @ strides), dtype=np.int64)
        for axis in range(3):
            keys += volume.coords[:, axis] * strides[axis]
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

    def neighbours(self, rows: np.ndarray, axis: int, sign: int) -> Int64[np.ndarray, "M"]:
        """Return the rows one step before (sign -1) or after (sign 1) along an axis, -1 outside the band."""
        wanted = self.keys[rows] + sign * self.strides[axis]
        if axis < 2:
            return self.rows_at(wanted)
        beside = np.clip(rows + sign, 0, len(self.keys) - 1)
        return np.where(self.keys[beside] == wanted, beside, -1)
