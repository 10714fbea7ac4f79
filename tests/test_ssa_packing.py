"""Packing of cells into cubes: nothing is lost, and every cell knows its place."""

from __future__ import annotations

import torch

from generators.ssa.packing import Packing
from generators.ssa.sparse_tensor import SparseTensor


def cells(share: float) -> SparseTensor:
    chance = torch.Generator().manual_seed(0)
    coords = (torch.rand(2, 6, 6, 6, generator=chance) < share).nonzero().int()
    return SparseTensor(coords, torch.randn(len(coords), 3, generator=chance), 2).check()


def test_cubes_are_those_that_hold_a_cell_in_order() -> None:
    x = cells(0.1)
    packing = Packing.of(x, 2)
    held = {(b, i // 2, j // 2, k // 2) for b, i, j, k in x.coords.tolist()}
    assert [tuple(row) for row in packing.coords.tolist()] == sorted(held)
    where = 2 * packing.coords[packing.owner][:, 1:]
    offset = torch.stack([packing.place // 4, packing.place // 2 % 2, packing.place % 2], dim=1)
    assert torch.equal(where + offset, x.coords[:, 1:].long())


def test_features_come_back_and_presence_is_told() -> None:
    x = cells(0.4)
    packing = Packing.of(x, 2)
    packed = packing.pack(x.features)
    assert packed.shape == (len(packing.coords), 8 * 4)
    assert torch.equal(packing.unpack(packed[:, : 8 * 3]), x.features)
    assert int(packed[:, 8 * 3 :].sum()) == len(x.coords)
    absent = packed[:, 8 * 3 :] == 0
    assert not bool(packed[:, : 8 * 3].unflatten(1, (8, 3))[absent].any())


def test_packing_by_one_keeps_the_cells() -> None:
    x = cells(0.3)
    packing = Packing.of(x, 1)
    assert torch.equal(packing.coords, x.coords) and torch.equal(packing.pack(x.features)[:, :3], x.features)
