"""SparseTensor: features on the active cells of a batch of lattices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from generators.errors import VolumeError

SIDE_LIMIT = 2**13
"""Most cells along one side: a sample number and three coordinates then fit a 64-bit key [1]."""


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """One feature vector per active cell; the cells of one sample are neighbours in memory.

    Cells are unique and in lexicographic order of (sample, i, j, k); `check` proves it. Samples may be empty.
    """

    coords: Int32[Tensor, "N 4"]
    """Sample number and cell ijk."""
    features: Float[Tensor, "N C"]
    """Features, row by row with coords."""
    batch_size: int
    """Number of samples."""

    @property
    def starts(self) -> Int64[Tensor, "B+1"]:
        """First row of each sample, and the number of rows."""
        counts = torch.bincount(self.coords[:, 0].long(), minlength=self.batch_size)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def with_features(self, features: Float[Tensor, "N D"]) -> SparseTensor:
        """Return the same cells with other features."""
        if len(features) != len(self.coords):
            raise VolumeError(f"{len(features)} feature rows for {len(self.coords)} cells")
        return SparseTensor(self.coords, features, self.batch_size)

    def check(self) -> SparseTensor:
        """Return self, or raise `VolumeError` where an invariant is broken; for tests and the edges of the package."""
        coords = self.coords
        if coords.ndim != 2 or coords.shape[1] != 4 or len(coords) != len(self.features):
            raise VolumeError(f"coords {tuple(coords.shape)} and features {tuple(self.features.shape)} do not match")
        if len(coords) and (int(coords[:, 0].max()) >= self.batch_size or int(coords.min()) < 0):
            raise VolumeError(f"cells lie outside of {self.batch_size} samples or have negative coordinates")
        if len(coords) and int(coords[:, 1:].max()) >= SIDE_LIMIT:
            raise VolumeError(f"a coordinate is {int(coords[:, 1:].max())}, at most {SIDE_LIMIT - 1} is possible")
        keys = cell_keys(coords)
        if len(keys) > 1 and bool((keys[1:] <= keys[:-1]).any()):
            raise VolumeError("cells are not unique and sorted by (sample, i, j, k)")
        return self


def cell_keys(coords: Int32[Tensor, "N 4"]) -> Int64[Tensor, "N"]:
    """Return one integer per cell, in lexicographic order."""
    sample, i, j, k = coords.long().unbind(dim=1)
    return ((sample * SIDE_LIMIT + i) * SIDE_LIMIT + j) * SIDE_LIMIT + k
