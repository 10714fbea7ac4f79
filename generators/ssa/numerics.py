"""Numerics of attention and sparse convolution on a device, against their definitions in double precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

from generators.ssa.attention import Backend, folded_attention, segment_attention
from generators.ssa.blocks import Layouts, Segments
from generators.ssa.sparse_conv import Rulebook, SubmanifoldConv3d
from generators.ssa.sparse_tensor import SparseTensor

SINGLE, HALF = 1e-5, 1e-2
"""Largest norm of the difference over the norm, by precision [1]."""
TIE = 1e-5
"""Shares of two blocks that differ by less may be chosen either way [1]."""
SIZES = ((4, 1, 32), (16, 2, 64))
"""Heads, heads of keys, and width of a head."""
CASES: dict[str, list[list[tuple[int, int]]]] = {
    "one token": [[(0, 1)]],
    "one range of all": [[(0, 700)]] * 300,
    "lonely keys": [[(i, i + 1)] for i in range(50)],
    "lists of several ranges": [[(0, 9), (9, 521)] if i % 3 else [(521, 530)] for i in range(200)],
}
"""Key ranges of each row: one key, ranges longer than any tile, many short ranges, lists of different lengths."""


@dataclass(frozen=True)
class NumericsCheck:
    """One comparison."""

    name: str
    error: float
    """Norm of the difference over the norm of what is expected (1 at least); NaN fails [1]."""
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the error is within its limit."""
        return self.error <= self.limit


def check_numerics(device: torch.device) -> Iterator[NumericsCheck]:
    """Yield all comparisons: attention, chosen blocks and convolution, on every backend that the device has."""
    backends: list[Backend] = ["tiles"]
    if device.type == "cuda" and find_spec("triton") is not None:
        backends.append("triton")
    for backend in backends:
        yield from check_attention(device, backend)
        yield check_choice(device, backend)
    yield from check_convolution(device)


def check_attention(device: torch.device, backend: Backend) -> Iterator[NumericsCheck]:
    """Yield the worst error of o, lse, dq, dk and dv of each case, in single and half precision."""
    for name, rows in CASES.items():
        for heads, kv_heads, width in SIZES:
            keys = max(end for row in rows for _, end in row)
            shapes = ((len(rows), heads, width), (keys, kv_heads, width), (keys, kv_heads, width))
            exact = [_random(*shape, seed=seed) for seed, shape in enumerate(shapes)]
            for dtype, limit in ((torch.float32, SINGLE), (torch.bfloat16, HALF)):
                inputs = [x.to(dtype) for x in exact]
                expected = _attend(inputs, rows, "ref", torch.device("cpu"), torch.float64)
                made = _attend(inputs, rows, backend, device, dtype)
                title = f"{backend}, {name}, {heads} heads of {width}, {str(dtype).removeprefix('torch.')}"
                yield NumericsCheck(title, _worst(made, expected), limit)


def _attend(
    inputs: list[Tensor], rows: list[list[tuple[int, int]]], backend: Backend, device: torch.device, dtype: torch.dtype
) -> list[Tensor]:
    """Return output, lse and the gradients of both with respect to q, k and v."""
    q, k, v = (x.to(device, dtype).requires_grad_() for x in inputs)
    o, lse = segment_attention(q, k, v, _lists(rows, device), backend=backend)
    pull = (_random(*o.shape, seed=7).to(o), _random(*lse.shape, seed=8).to(lse))
    return [o, lse, *torch.autograd.grad((o, lse), (q, k, v), pull)]


def check_choice(device: torch.device, backend: Backend, *, top_k: int = 4) -> NumericsCheck:
    """Return the largest gap in share between a chosen block and one that should have been chosen in its place."""
    coords = torch.cartesian_prod(torch.arange(2), *[torch.arange(0, 20, 2)] * 3).int()
    layouts = Layouts.of(coords, 2, 4)
    segments, blocks = layouts.compression(1), len(layouts.plain.starts) - 1
    q, k = _random(len(coords), 4, 32, seed=1), _random(blocks, 32, seed=2)
    _, lse, expected = folded_attention(q, k, k, segments, top_k=top_k, backend="ref")
    there = Layouts.of(coords.to(device), 2, 4).compression(1)
    queries, keys = q.to(device).float(), k.to(device).float()
    chosen = folded_attention(queries, keys, keys, there, top_k=top_k, backend=backend)[2].cpu()
    shares = torch.exp(torch.einsum("rgd,kd->rgk", q * q.shape[2] ** -0.5, k) - lse[..., None]).sum(dim=1)
    missed = shares.gather(1, expected).sum(dim=1) - shares.gather(1, chosen.clamp(min=0)).sum(dim=1)
    lost = torch.where((chosen < 0).any(dim=1), torch.inf, missed.abs())
    return NumericsCheck(f"{backend}, chosen blocks", float(lost.max()), TIE)


def check_convolution(device: torch.device) -> Iterator[NumericsCheck]:
    """Yield the worst error of sparse convolution against `conv3d`: values and gradients, in single precision."""
    side, c_in, c_out = 6, 16, 24
    coords = torch.cartesian_prod(torch.arange(2), *[torch.arange(side)] * 3).int()
    features = _random(len(coords), c_in, seed=3)
    layer = SubmanifoldConv3d(c_in, c_out, 3)
    with torch.no_grad():
        layer.weight.copy_(_random(*layer.weight.shape, seed=4))
        layer.bias.copy_(_random(c_out, seed=5))
    pull = _random(len(coords), c_out, seed=6)

    def dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        grid = x.view(2, side, side, side, c_in).permute(0, 4, 1, 2, 3)
        return F.conv3d(grid, weight.permute(0, 4, 1, 2, 3), bias, padding=1).permute(0, 2, 3, 4, 1).flatten(0, 3)

    def sparse(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        there = coords.to(device)
        book = Rulebook.of(there, 2)
        return torch.func.functional_call(
            layer.to(device), {"weight": weight, "bias": bias}, (SparseTensor(there, x, 2), book)
        ).features

    inputs = (features, layer.weight.detach().double(), layer.bias.detach().double())
    expected = _with_gradients(dense, inputs, pull)
    made = _with_gradients(sparse, tuple(x.to(device).float() for x in inputs), pull.to(device).float())
    yield NumericsCheck("sparse convolution, single precision", _worst(made, expected), SINGLE)


def _with_gradients(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], pull: Tensor) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = function(*leaves)
    return [out, *torch.autograd.grad(out, leaves, pull)]


def _worst(made: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest relative error; NaN where there is one."""
    errors = []
    for mine, theirs in zip(made, expected, strict=True):
        exact = theirs.detach().double().cpu()
        errors.append((mine.detach().double().cpu() - exact).norm() / exact.norm().clamp(min=1))
    return float(torch.stack(errors).max())


def _lists(rows: list[list[tuple[int, int]]], device: torch.device) -> Segments:
    ranges = sorted({r for row in rows for r in row})
    place = {r: i for i, r in enumerate(ranges)}
    offsets = [0, *accumulate(len(row) for row in rows)]
    starts, ends = torch.tensor(ranges, device=device).unbind(1)
    listed = torch.tensor([place[r] for row in rows for r in row], device=device)
    return Segments(starts, ends, torch.tensor(offsets, device=device), listed)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
