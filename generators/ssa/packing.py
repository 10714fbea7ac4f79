"""Packing: cubes of cells as one token each, so that a transformer sees fewer and longer tokens.

A band of signed distance is several latent cells thick, so its cells come in clumps: packed by two along each axis,
a fifth of the tokens is left (Xiang et al. 2024, TRELLIS, section 3.3, packs its structured latents the same way).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from generators.ssa.sparse_tensor import SIDE_LIMIT, SparseTensor, cell_keys


@dataclass(frozen=True, eq=False)
class Packing:
    """Which cube of cells each cell lies in, and where."""

    coords: Int32[Tensor, "M 4"]
    """Sample number and ijk of each cube that holds a cell, in lexicographic order."""
    owner: Int64[Tensor, "N"]
    """Cube of each cell."""
    place: Int64[Tensor, "N"]
    """Place of each cell within its cube, lexicographic; below side^3."""
    side: int
    """Cells along a side of a cube [1]."""

    @classmethod
    def of(cls, x: SparseTensor, side: int) -> Packing:
        """Return the packing of these cells."""
        cube = x.coords.clone()
        cube[:, 1:] = x.coords[:, 1:] // side
        keys, owner = torch.unique(cell_keys(cube), return_inverse=True)
        within = (x.coords[:, 1:] % side).long()
        place = (within[:, 0] * side + within[:, 1]) * side + within[:, 2]
        places = [keys // SIDE_LIMIT**power for power in (3, 2, 1, 0)]
        columns = [places[0], *(p % SIDE_LIMIT for p in places[1:])]
        return cls(torch.stack(columns, dim=1).int(), owner, place, side)

    @property
    def cells(self) -> int:
        """Cells of a cube, present or not [1]."""
        return self.side**3

    def pack(self, features: Float[Tensor, "N C"]) -> Float[Tensor, "M P"]:
        """Return one row per cube: the features of its cells (0 where there is none), then which cells there are."""
        packed = features.new_zeros(len(self.coords), self.cells, features.shape[1] + 1)
        packed[self.owner, self.place, :-1] = features
        packed[self.owner, self.place, -1] = 1
        return torch.cat([packed[..., :-1].flatten(1), packed[..., -1]], dim=1)

    def unpack(self, packed: Float[Tensor, "M Q"]) -> Float[Tensor, "N C"]:
        """Return the features of the cells; those of cells that are not there are dropped."""
        return packed.unflatten(1, (self.cells, -1))[self.owner, self.place]
