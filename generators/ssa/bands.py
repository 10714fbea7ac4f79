"""Bands and structures of a data set where the training runs: a batch is a gather, on a GPU as on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int16, Int64
from torch import Tensor

from generators.ssa.presets import BAND
from generators.ssa.shards import Dataset
from generators.ssa.sparse_tensor import SparseTensor
from generators.ssa.structure import structure_of


def gather_rows(offsets: Int64[Tensor, "S+1"], rows: np.ndarray) -> tuple[Int64[Tensor, "N"], Int64[Tensor, "N"]]:
    """Return, for runs of rows laid one after the other, the place and the number within the batch of every row.

    Args:
        offsets: First row of each object, and the number of rows.
        rows: Objects of the batch.
    """
    chosen = torch.from_numpy(rows).to(offsets.device)
    size = offsets[chosen + 1] - offsets[chosen]
    sample = torch.repeat_interleave(torch.arange(len(chosen), device=offsets.device), size)
    first = size.cumsum(0) - size
    return torch.arange(len(sample), device=offsets.device) + (offsets[chosen] - first)[sample], sample


@dataclass(frozen=True, eq=False)
class Bands:
    """Bands of signed distance of all objects of a split, one after the other."""

    coords: Int16[Tensor, "N 3"]
    values: Float16[Tensor, "N"]
    """Signed distance [voxel]."""
    offsets: Int64[Tensor, "S+1"]

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device | str = "cpu") -> Bands:
        """Return the bands of a split on a device; on a CPU they share the memory of the split."""
        shard = dataset.shard
        return cls(*(torch.from_numpy(x).to(device) for x in (shard.coords, shard.values, shard.offsets)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def batch(self, rows: np.ndarray) -> SparseTensor:
        """Return the bands of some objects, signed distance over BAND."""
        place, sample = gather_rows(self.offsets, rows)
        coords = torch.cat([sample.int()[:, None], self.coords[place].int()], dim=1)
        return SparseTensor(coords, self.values[place].float()[:, None] / BAND, len(rows))


@dataclass(frozen=True, eq=False)
class Structures:
    """What stage 1 learns of all objects of a split: occupancy and coarse signed distance of latent cells."""

    active: Bool[Tensor, "S G G G"]
    """Whether a cell holds a node of the band."""
    coarse: Float16[Tensor, "S G G G"]
    """Signed distance at the centres of cells [latent cell]."""

    @classmethod
    def of(cls, dataset: Dataset, downsampling: int, device: torch.device | str = "cpu") -> Structures:
        """Return the structures of a split on a device."""
        shard = dataset.shard
        active = np.zeros(shard.coarse.shape, dtype=bool)
        for row, (begin, end) in enumerate(zip(shard.offsets[:-1], shard.offsets[1:], strict=True)):
            active[row][tuple((shard.coords[begin:end] // downsampling).T)] = True
        return cls(torch.from_numpy(active).to(device), torch.from_numpy(shard.coarse).to(device))

    def __len__(self) -> int:
        return len(self.active)

    def distance(self, rows: np.ndarray) -> Float[Tensor, "B G G G"]:
        """Return the coarse signed distance of some objects [latent cell]."""
        return self.coarse[torch.from_numpy(rows).to(self.coarse.device)].float()

    def batch(self, rows: np.ndarray) -> Float[Tensor, "B 2 G G G"]:
        """Return the data of stage 1 of some objects: +-1 where a cell is active or not, and companded distance."""
        return structure_of(self.active[torch.from_numpy(rows).to(self.active.device)], self.distance(rows))
