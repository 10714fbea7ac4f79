"""Numerics of attention and sparse convolution on a device, against their definitions in double precision.

    python -m generators.ssa.numerics [--device cuda]

prints every comparison and exits with 1 where one fails; nothing but torch and numpy is needed.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

from generators.errors import VolumeError
from generators.ssa.attention import (
    Backend,
    SpatialSparseAttention,
    fold_keys,
    fold_queries,
    folded_attention,
    segment_attention,
    triton_installed,
    unfold_queries,
)
from generators.ssa.blocks import Layouts, Segments
from generators.ssa.condition import Condition
from generators.ssa.denoiser import LatentDenoiser
from generators.ssa.presets import PRESETS
from generators.ssa.sparse_conv import Rulebook, SubmanifoldConv3d
from generators.ssa.sparse_tensor import SparseTensor

SINGLE, HALF = 1e-5, 1e-2
"""Largest norm of the difference over the norm, by precision [1]."""
SHORT = 6e-3
"""The same for products whose operands lose 13 bits (TF32, cut and not rounded): where a token has one key, gradients
of scores are small differences, and cutting alone makes 4.6e-3 of them, by the same formulas on a CPU [1]."""
LAYER = 1e-3
"""The same for a whole layer in single precision; where a token has one key, gradients of scores cancel [1]."""
CURVE = 1e-3
"""Largest difference of a loss within the first steps of training, over the first loss [1]."""
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
LAYERS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "one token": ((1,), 8, 4),
    "one block": ((20,), 4, 4),
    "blocks of 512 tokens": ((1000,), 10, 8),
    "fewer blocks than are chosen": ((9, 30), 5, 4),
    "samples of 1, 7 and 2000 tokens": ((1, 7, 2000), 16, 4),
}
"""Tokens of each sample, drawn from a cube of that side, in blocks of that side."""
STEPS = 20
"""Steps of training whose losses are compared [1]."""


@dataclass(frozen=True)
class NumericsCheck:
    """One comparison."""

    name: str
    error: float
    """Norm of the difference over the norm of what is expected (1 at least); NaN fails [1]."""
    limit: float
    trouble: str = ""
    """What was raised instead, if anything."""

    @property
    def passed(self) -> bool:
        """Whether the error is within its limit."""
        return self.error <= self.limit

    @property
    def finding(self) -> str:
        """What came out, in words."""
        return self.trouble or f"off by {self.error:.2g} (limit {self.limit:.0e})"


def check_numerics(device: torch.device) -> Iterator[NumericsCheck]:
    """Yield all comparisons, on every backend that the device has; one that raises anything has failed."""
    backends: list[Backend] = ["ref", "tiles"]
    if device.type == "cuda" and triton_installed():
        backends.append("triton")
    for backend in backends:
        yield from _guarded(f"{backend}, attention", check_attention(device, backend))
        if backend != "ref":
            yield from _guarded(f"{backend}, chosen blocks", _each(partial(check_choice, device, backend)))
        if backend == "triton":
            yield from _guarded("triton, tf32", check_short_products(device))
        for case in LAYERS:
            yield from _guarded(f"{backend}, layer, {case}", _each(partial(check_layer, device, backend, case)))
        if device.type == "cpu" or backend == "triton":  # on a GPU, `tiles` adds by atomics
            yield from _guarded(f"{backend}, equal bytes", _each(partial(check_repetition, device, backend)))
        yield from _guarded(f"{backend}, training", _each(partial(check_training, device, backend)))
    yield from _guarded("empty sample", _each(partial(check_refusal, device)))
    yield from _guarded("sparse convolution", check_convolution(device))


def _each(check: Callable[[], NumericsCheck]) -> Iterator[NumericsCheck]:
    yield check()


def _guarded(name: str, checks: Iterable[NumericsCheck]) -> Iterator[NumericsCheck]:
    """Yield comparisons up to the first that raises something, which is yielded as one that has failed.

    Whatever is raised counts: this looks for machines on which kernels do not even compile.
    """
    try:
        yield from checks
    except Exception as error:
        yield NumericsCheck(name, float("nan"), 0.0, f"{type(error).__name__}: {str(error)[:300]}")


def check_attention(device: torch.device, backend: Backend) -> Iterator[NumericsCheck]:
    """Yield the worst error of o, lse, dq, dk and dv of each case, in single and half precision."""
    for name, rows in CASES.items():
        for heads, kv_heads, width in SIZES:
            exact = _operands(rows, heads, kv_heads, width)
            for dtype, limit in ((torch.float32, SINGLE), (torch.bfloat16, HALF)):
                title = f"{backend}, {name}, {heads} heads of {width}, {str(dtype).removeprefix('torch.')}"
                yield from _guarded(title, _each(partial(_compare, title, exact, rows, backend, device, dtype, limit)))


def _compare(
    title: str,
    exact: list[Tensor],
    rows: list[list[tuple[int, int]]],
    backend: Backend,
    device: torch.device,
    dtype: torch.dtype,
    limit: float,
) -> NumericsCheck:
    inputs = [x.to(dtype) for x in exact]
    expected = _attend(inputs, rows, "ref", torch.device("cpu"), torch.float64)
    return NumericsCheck(title, _worst(_attend(inputs, rows, backend, device, dtype), expected), limit)


def check_short_products(device: torch.device) -> Iterator[NumericsCheck]:
    """Yield the same of Triton's kernels with the operands of single-precision products cut to TF32."""
    for name, rows in CASES.items():
        for heads, kv_heads, width in SIZES:
            title = f"triton, {name}, {heads} heads of {width}, tf32"
            exact = [x.float() for x in _operands(rows, heads, kv_heads, width)]
            yield from _guarded(title, _each(partial(_compare_short, title, exact, rows, kv_heads, device)))


def _compare_short(
    title: str, exact: list[Tensor], rows: list[list[tuple[int, int]]], kv_heads: int, device: torch.device
) -> NumericsCheck:
    expected = _attend(exact, rows, "ref", torch.device("cpu"), torch.float64)
    return NumericsCheck(title, _worst(_attend_short(exact, rows, kv_heads, device), expected), SHORT)


def _attend_short(
    inputs: list[Tensor], rows: list[list[tuple[int, int]]], kv_heads: int, device: torch.device
) -> list[Tensor]:
    """Do what `_attend` does, past the dispatch, which asks for exact products."""
    from generators.ssa.attention_triton import TritonAttention

    leaves = [x.to(device).requires_grad_() for x in inputs]
    lists = _lists(rows, device).per_head(kv_heads, len(leaves[1]))
    folded = fold_queries(leaves[0], kv_heads), fold_keys(leaves[1]), fold_keys(leaves[2])
    o, lse, _ = TritonAttention.apply(*folded, lists, 0, "tf32")  # pyright: ignore[reportGeneralTypeIssues]
    o, lse = unfold_queries(o, kv_heads), unfold_queries(lse[..., None], kv_heads)[..., 0]
    return [o, lse, *torch.autograd.grad((o, lse), leaves, _pulls(o, lse))]


def _operands(rows: list[list[tuple[int, int]]], heads: int, kv_heads: int, width: int) -> list[Tensor]:
    keys = max(end for row in rows for _, end in row)
    shapes = ((len(rows), heads, width), (keys, kv_heads, width), (keys, kv_heads, width))
    return [_random(*shape, seed=seed) for seed, shape in enumerate(shapes)]


def _pulls(o: Tensor, lse: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients that output and lse are given."""
    return _random(*o.shape, seed=7).to(o), _random(*lse.shape, seed=8).to(lse)


def _attend(
    inputs: list[Tensor], rows: list[list[tuple[int, int]]], backend: Backend, device: torch.device, dtype: torch.dtype
) -> list[Tensor]:
    """Return output, lse and the gradients of both with respect to q, k and v."""
    q, k, v = (x.to(device, dtype).requires_grad_() for x in inputs)
    o, lse = segment_attention(q, k, v, _lists(rows, device), backend=backend)
    return [o, lse, *torch.autograd.grad((o, lse), (q, k, v), _pulls(o, lse))]


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


def check_layer(device: torch.device, backend: Backend, case: str, *, kv_heads: int = 2) -> NumericsCheck:
    """Return the worst error of a whole layer, of its values and all gradients."""
    lengths, side, block = LAYERS[case]
    coords, layer = _cells(*lengths, side=side), _layer(block, kv_heads)
    x = _random(len(coords), 128, seed=1)
    expected = _run_layer(layer, x, coords, "ref")
    made = _run_layer(layer.to(device, torch.float32), x.to(device, torch.float32), coords.to(device), backend)
    return NumericsCheck(f"{backend}, layer, {case}", _worst(made, expected), LAYER)


def check_repetition(device: torch.device, backend: Backend) -> NumericsCheck:
    """Return how much values and gradients of a layer differ from one run to the next: not at all."""
    coords, layer = _cells(3, 900, side=14).to(device), _layer(4, 2).to(device, torch.float32)
    x = _random(len(coords), 128, seed=1).to(device, torch.float32)
    first, second = (_run_layer(layer, x, coords, backend) for _ in range(2))
    differences = [(a.double() - b.double()).abs().max() for a, b in zip(first, second, strict=True)]
    return NumericsCheck(f"{backend}, equal bytes", float(torch.stack(differences).max()), 0.0)


def _layer(block: int, kv_heads: int) -> SpatialSparseAttention:
    """A layer of 4 heads of 32 in double precision with every parameter drawn."""
    layer = SpatialSparseAttention(128, 4, kv_heads, block, 5, shifted=True).double()
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters()):
            parameter.copy_(0.1 * _random(*parameter.shape, seed=seed))
    return layer


def _run_layer(layer: SpatialSparseAttention, x: Tensor, coords: Tensor, backend: Backend) -> list[Tensor]:
    layer.backend = backend
    leaf = x.clone().requires_grad_()
    out = layer(leaf, Layouts.of(coords, int(coords[-1, 0]) + 1, layer.block))
    pull = _random(*out.shape, seed=9).to(out)
    leaves = [leaf, *layer.parameters()]
    gradients = torch.autograd.grad(out, leaves, pull, allow_unused=True)  # one token has but one block to choose
    return [out.detach(), *(torch.zeros_like(y) if g is None else g for g, y in zip(gradients, leaves, strict=True))]


def check_training(device: torch.device, backend: Backend) -> NumericsCheck:
    """Return the largest difference of a loss of the latent network, from that of `ref` on a CPU, over the first."""
    preset = replace(PRESETS["nano"], latent_depth=2, latent_patch=1, top_k=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = LatentDenoiser(preset, 2)
    with torch.no_grad():
        for seed, parameter in enumerate(network.parameters()):
            parameter.add_(0.02 * _random(*parameter.shape, seed=seed).float())
    expected = _losses(copy.deepcopy(network), torch.device("cpu"), "ref")
    made = _losses(network, device, backend)
    difference = max(abs(a - b) for a, b in zip(made, expected, strict=True))
    return NumericsCheck(f"{backend}, {STEPS} steps of training", difference / expected[0], CURVE)


def _losses(network: LatentDenoiser, device: torch.device, backend: Backend) -> list[float]:
    network.to(device)
    for module in network.modules():
        if isinstance(module, SpatialSparseAttention):
            module.backend = backend
    coords = _cells(60, 300, side=12)
    shape = (len(coords), network.channels)
    data, noise, coarse = (_random(*s, seed=i).float() for i, s in enumerate((shape, shape, shape[:1])))
    x = SparseTensor(coords.to(device), (0.5 * data + 0.5 * noise).to(device), 2)
    target, coarse = (noise - data).to(device), coarse.to(device)
    condition, t = Condition.of([0, 1], [[0.1, 0.2, 0.3]] * 2).to(device), torch.full((2,), 0.5, device=device)
    tokens, optimizer = network.tokens(x), torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(STEPS):
        loss = F.mse_loss(network(x, t, condition, coarse, tokens), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def check_refusal(device: torch.device) -> NumericsCheck:
    """Return 0 where a batch with an empty sample is refused."""
    try:
        Layouts.of(_cells(5, side=4).to(device), 2, 4)
    except VolumeError:
        return NumericsCheck("an empty sample is refused", 0.0, 0.0)
    return NumericsCheck("an empty sample is refused", float("inf"), 0.0)


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


def _cells(*lengths: int, side: int) -> Tensor:
    """That many random cells of a cube in each sample, in lexicographic order."""
    samples = []
    for sample, length in enumerate(lengths):
        chosen = _random(side**3, seed=sample).argsort()[:length].sort().values
        ijk = [chosen // side**2, chosen // side % side, chosen % side]
        samples.append(torch.stack([torch.full_like(chosen, sample), *ijk], dim=1))
    return torch.cat(samples).int()


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def main() -> int:
    """Print every comparison; return 1 where one fails."""
    parser = argparse.ArgumentParser(description="Numerics of the learned generator's kernels on a device.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(parser.parse_args().device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}, Triton {'there' if triton_installed() else 'missing'}", flush=True)
    failed = count = 0
    for check in check_numerics(device):
        count, failed = count + 1, failed + (not check.passed)
        print(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.finding}", flush=True)
    print(f"{count - failed} of {count} comparisons hold")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
