"""Inputs and comparisons that tests of attention share."""

from __future__ import annotations

import itertools

import torch

from generators.ssa.attention import SpatialSparseAttention
from generators.ssa.blocks import Layouts, Segments

F64 = torch.float64


def cells(*lengths: int, side: int, seed: int = 0) -> torch.Tensor:
    """That many random cells of a lattice in each sample."""
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for sample, length in enumerate(lengths):
        chosen = torch.randperm(side**3, generator=generator)[:length].sort().values
        ijk = torch.stack([chosen // side**2, chosen // side % side, chosen % side], dim=1)
        samples.append(torch.cat([torch.full((length, 1), sample), ijk], dim=1))
    return torch.cat(samples).int()


def lonely(*, side: int = 9, block: int = 4) -> torch.Tensor:
    """Cells of which no two share a block."""
    ijk = torch.cartesian_prod(*[torch.arange(0, side, block)] * 3)
    return torch.cat([torch.zeros(len(ijk), 1), ijk], dim=1).int()


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def lists_of(rows: list[list[tuple[int, int]]]) -> Segments:
    """Key ranges of each row, written out."""
    ranges = sorted({r for row in rows for r in row})
    flat = [ranges.index(r) for row in rows for r in row]
    offsets = [0, *itertools.accumulate(len(row) for row in rows)]
    starts, ends = torch.tensor(ranges).unbind(1)
    return Segments(starts, ends, torch.tensor(offsets), torch.tensor(flat))


def layer(width: int = 64, *, heads: int = 2, kv_heads: int = 1, block: int = 4, top_k: int = 3, **options):
    """A layer in double precision with every parameter drawn."""
    torch.manual_seed(1)
    made = SpatialSparseAttention(width, heads, kv_heads, block, top_k, **({"shifted": False} | options)).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def run(module, x: torch.Tensor, layouts: Layouts, backend: str) -> tuple[torch.Tensor, ...]:
    """Output and all gradients."""
    module.backend = backend
    x = x.clone().requires_grad_()
    out = module(x, layouts)
    grads = torch.autograd.grad(out, [x, *module.parameters()], random(*out.shape).to(out.dtype), allow_unused=True)
    return out, *(torch.zeros(()) if g is None else g for g in grads)


def assert_near(mine, theirs, bound: float) -> None:
    """Norm of the difference over the norm (1 at least, as some gradients are zero) of each tensor; NaN fails."""
    for a, b in zip(mine, theirs, strict=True):
        assert (a.double() - b.double()).norm() <= bound * b.double().norm().clamp(min=1)


CASES = {
    "one token": (cells(1, side=8), 1, 4),
    "one block": (cells(20, side=4), 1, 4),
    "lonely tokens": (lonely(), 1, 4),
    "blocks of 512 tokens": (cells(1000, side=10), 1, 8),
    "fewer blocks than k": (cells(9, 30, side=5), 2, 4),
    "lengths 1, 7, 2000": (cells(1, 7, 2000, side=16), 3, 4),
}
