"""Scales of a sparse lattice: parents and children, and features carried between them without loss.

A *parent* covers 2 x 2 x 2 cells, its *children*; the *octant* of a child counts them in lexicographic order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor

from generators.errors import VolumeError
from generators.ssa.sparse_conv import Rulebook
from generators.ssa.sparse_tensor import SIDE_LIMIT, SparseTensor, cell_keys


@dataclass(frozen=True, eq=False)
class Halving:
    """Which fine cells sit where in which coarse cells; every slot holds at most one cell."""

    fine: Int32[Tensor, "N 4"]
    """Children, sorted."""
    coarse: Int32[Tensor, "M 4"]
    """Parents, sorted."""
    slot: Int64[Tensor, "N"]
    """8 * (row of the parent) + octant, for every child."""
    batch_size: int

    @classmethod
    def of(cls, fine: Int32[Tensor, "N 4"], batch_size: int) -> Halving:
        """Return the parents of these cells."""
        keys, row = torch.unique(cell_keys(_parents(fine)), return_inverse=True)
        return cls(fine, cells_of_keys(keys), 8 * row + _octants(fine), batch_size)


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Cells, neighbours and parents at all scales, finest first; shared by encoder, decoder and loss."""

    coords: tuple[Int32[Tensor, "N 4"], ...]
    rulebooks: tuple[Rulebook, ...]
    halvings: tuple[Halving, ...]
    """From each scale to the next coarser one; one fewer than scales."""
    batch_size: int

    @classmethod
    def of(cls, coords: Int32[Tensor, "N 4"], batch_size: int, *, scales: int) -> Pyramid:
        """Build all scales above the finest cells."""
        cells, halvings = [coords], []
        for _ in range(scales - 1):
            halvings.append(Halving.of(cells[-1], batch_size))
            cells.append(halvings[-1].coarse)
        rulebooks = tuple(Rulebook.of(c, batch_size) for c in cells)
        return cls(tuple(cells), rulebooks, tuple(halvings), batch_size)


def space_to_channel(x: SparseTensor, halving: Halving) -> SparseTensor:
    """Return the parents with the features of their children side by side (M, 8 C), zero where a child is missing."""
    channels = x.features.shape[1]
    slots = x.features.new_zeros(8 * len(halving.coarse), channels).index_copy(0, halving.slot, x.features)
    return SparseTensor(halving.coarse, slots.view(-1, 8 * channels), x.batch_size)


def channel_to_space(x: SparseTensor, halving: Halving) -> SparseTensor:
    """Return the children, each with its share (C,) of the parent's features (8 C,)."""
    slots = x.features.reshape(8 * len(halving.coarse), x.features.shape[1] // 8)
    return SparseTensor(halving.fine, slots.index_select(0, halving.slot), x.batch_size)


def pool(x: SparseTensor, halving: Halving) -> SparseTensor:
    """Return the parents with the mean features of those children that are active (M, C)."""
    slots = space_to_channel(x, halving).features.view(len(halving.coarse), 8, -1)
    count = torch.bincount(halving.slot // 8, minlength=len(halving.coarse))
    return SparseTensor(halving.coarse, slots.sum(dim=1) / count.to(slots.dtype)[:, None], x.batch_size)


def subdivide(coarse: Int32[Tensor, "M 4"], keep: Bool[Tensor, "M 8"], batch_size: int) -> Halving:
    """Return the children that are kept, of parents of which some may keep none."""
    if keep.shape != (len(coarse), 8):
        raise VolumeError(f"the mask of children is {tuple(keep.shape)}, expected {(len(coarse), 8)}")
    slot = keep.reshape(-1).nonzero()[:, 0]
    octant = torch.stack([slot // 4 % 2, slot // 2 % 2, slot % 2], dim=1)
    parents = coarse[slot // 8]
    fine = torch.cat([parents[:, :1], 2 * parents[:, 1:] + octant.int()], dim=1)
    order = torch.argsort(cell_keys(fine))
    return Halving(fine[order], coarse, slot[order], batch_size)


def children_mask(coarse: Int32[Tensor, "M 4"], fine: Int32[Tensor, "N 4"]) -> Bool[Tensor, "M 8"]:
    """Return which children of the coarse cells are among the fine cells; fine cells elsewhere are passed over."""
    row, found = find_cells(coarse, _parents(fine))
    mask = torch.zeros(8 * len(coarse), dtype=torch.bool, device=coarse.device)
    mask[(8 * row + _octants(fine))[found]] = True
    return mask.view(-1, 8)


def find_cells(
    coords: Int32[Tensor, "N 4"], wanted: Int32[Tensor, "M 4"]
) -> tuple[Int64[Tensor, "M"], Bool[Tensor, "M"]]:
    """Return the row of each wanted cell in sorted `coords` (any row where it is absent), and whether it is there."""
    if not len(coords):
        nothing = torch.zeros(len(wanted), dtype=torch.int64, device=coords.device)
        return nothing, nothing.bool()
    keys, wanted_keys = cell_keys(coords), cell_keys(wanted)
    row = torch.searchsorted(keys, wanted_keys).clamp_(max=len(keys) - 1)
    return row, keys[row] == wanted_keys


def cells_of_keys(keys: Int64[Tensor, "N"]) -> Int32[Tensor, "N 4"]:
    """Invert `cell_keys`."""
    parts = [keys // SIDE_LIMIT**3, keys // SIDE_LIMIT**2 % SIDE_LIMIT, keys // SIDE_LIMIT % SIDE_LIMIT]
    return torch.stack([*parts, keys % SIDE_LIMIT], dim=1).int()


def share_matrix(inputs: int, outputs: int) -> Float[Tensor, "I O"]:
    """Return the fixed map of a shortcut between channel counts: neighbouring channels averaged, or repeated.

    Output o is the mean of the inputs over its share [o, o + 1) / outputs of the channel axis (the residual
    autoencoding of DC-AE, Chen et al. 2025, section 3.2, for any two counts).
    """
    left = torch.arange(inputs, dtype=torch.float64)[:, None] / inputs
    low = torch.arange(outputs, dtype=torch.float64)[None] / outputs
    overlap = torch.minimum(left + 1 / inputs, low + 1 / outputs) - torch.maximum(left, low)
    return (overlap.clamp(min=0) * outputs).float()


def _parents(fine: Int32[Tensor, "N 4"]) -> Int32[Tensor, "N 4"]:
    return torch.cat([fine[:, :1], fine[:, 1:] // 2], dim=1)


def _octants(fine: Int32[Tensor, "N 4"]) -> Int64[Tensor, "N"]:
    odd = fine[:, 1:].long() % 2
    return 4 * odd[:, 0] + 2 * odd[:, 1] + odd[:, 2]
