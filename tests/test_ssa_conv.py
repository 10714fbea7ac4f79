"""Sparse convolution against dense `conv3d`: values, gradients, threads; rulebooks against brute force; refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from generators.errors import BackendError, VolumeError
from generators.ssa.sparse_conv import Rulebook, SubmanifoldConv3d, choose_backend
from generators.ssa.sparse_tensor import SIDE_LIMIT, SparseTensor

SIDE = 9


def random_tensor(*, fill: float, channels: int, batch_size: int = 3, dtype: torch.dtype = torch.float64):
    """Random cells of a batch in which one sample is empty."""
    generator = torch.Generator().manual_seed(5)
    active = torch.rand(batch_size, SIDE, SIDE, SIDE, generator=generator) < fill
    active[1] = False
    coords = active.nonzero().int()
    features = torch.randn(len(coords), channels, generator=generator, dtype=dtype)
    return SparseTensor(coords, features, batch_size).check()


def dense_oracle(x: SparseTensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Dense convolution of the scattered features, read off at the active cells."""
    s, i, j, k = x.coords.long().unbind(1)
    dense = x.features.new_zeros(x.batch_size, SIDE, SIDE, SIDE, x.features.shape[1])
    dense = dense.index_put((s, i, j, k), x.features).permute(0, 4, 1, 2, 3)
    out = F.conv3d(dense, weight.permute(0, 4, 1, 2, 3), bias, padding=weight.shape[1] // 2)
    return out.permute(0, 2, 3, 4, 1)[s, i, j, k]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("fill", [0.3, 1.0])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_values_and_gradients_equal_the_dense_convolution(threads: int, fill: float, kernel: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = random_tensor(fill=fill, channels=5)
        x.features.requires_grad_()
        layer = SubmanifoldConv3d(5, 7, kernel).double()
        out = layer(x, Rulebook.of(x.coords, x.batch_size, kernel)).features
        pull = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
        inputs = (x.features, layer.weight, layer.bias)
        grads = torch.autograd.grad(out, inputs, pull)
        expected = dense_oracle(x, layer.weight, layer.bias)
        oracle_grads = torch.autograd.grad(expected, inputs, pull)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(grads, oracle_grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


def test_gradients_equal_finite_differences() -> None:
    x = random_tensor(fill=0.05, channels=2)
    rulebook = Rulebook.of(x.coords, x.batch_size)
    layer = SubmanifoldConv3d(2, 3).double()

    def convolve(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"weight": weight}, (x.with_features(features), rulebook)).features

    assert torch.autograd.gradcheck(convolve, (x.features.requires_grad_(), layer.weight))


def test_long_inputs_are_cut_into_chunks_of_equal_result(monkeypatch: pytest.MonkeyPatch) -> None:
    x = random_tensor(fill=0.5, channels=5)
    x.features.requires_grad_()
    rulebook = Rulebook.of(x.coords, x.batch_size)
    layer = SubmanifoldConv3d(5, 7).double()
    results = []
    for gathered in (1, 27 * 5 * 100, 2**30):
        monkeypatch.setattr("generators.ssa.sparse_conv.GATHERED_CPU", gathered)
        out = layer(x, rulebook).features
        results.append((out, *torch.autograd.grad(out.square().sum(), (x.features, layer.weight))))
    for other in results[1:]:
        for mine, theirs in zip(other, results[0], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_two_threads_give_equal_bytes_every_time() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        generator = torch.Generator().manual_seed(0)
        coords = (torch.rand(2, 14, 14, 14, generator=generator) < 0.5).nonzero().int()
        x = SparseTensor(coords, torch.randn(len(coords), 16, generator=generator, requires_grad=True), 2)
        layer, rulebook = SubmanifoldConv3d(16, 16), Rulebook.of(coords, 2)
        results = set()
        for _ in range(4):
            out = layer(x, rulebook).features
            grads = torch.autograd.grad(out.square().sum(), (x.features, layer.weight))
            results.add(b"".join(t.detach().numpy().tobytes() for t in (out, *grads)))
    finally:
        torch.set_num_threads(before)
    assert len(results) == 1


def test_rulebook_equals_brute_force_up_to_the_border_of_the_lattice() -> None:
    # Cells at both ends of the lattice: a wrapped key would join the end of one row to the start of the next.
    ends = [0, 1, SIDE_LIMIT - 2, SIDE_LIMIT - 1]
    generator = torch.Generator().manual_seed(3)
    cells = [(s, i, j, k) for s in range(2) for i in ends for j in ends for k in ends]
    coords = torch.tensor(cells, dtype=torch.int32)[torch.rand(len(cells), generator=generator) < 0.7]
    rows = {tuple(cell): row for row, cell in enumerate(coords.tolist())}
    steps = [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]
    expected = [
        [rows.get((s, i + di, j + dj, k + dk), len(coords)) for di, dj, dk in steps] for s, i, j, k in coords.tolist()
    ]
    assert Rulebook.of(coords, 2).neighbours.tolist() == expected


def test_no_cells_give_no_cells() -> None:
    empty = SparseTensor(torch.empty(0, 4, dtype=torch.int32), torch.empty(0, 4, requires_grad=True), 2)
    layer = SubmanifoldConv3d(4, 6)
    out = layer(empty, Rulebook.of(empty.coords, 2))
    assert out.features.shape == (0, 6)
    out.features.sum().backward()
    assert layer.weight.grad is not None and not layer.weight.grad.any()


def test_autocast_runs_in_half_precision() -> None:
    x = random_tensor(fill=0.3, channels=8, dtype=torch.float32)
    layer, rulebook = SubmanifoldConv3d(8, 8), Rulebook.of(x.coords, x.batch_size)
    full = layer(x, rulebook).features
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(x, rulebook).features
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).norm() < 1e-2 * full.norm()
    half.float().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32


def test_wrong_inputs_are_refused() -> None:
    x = random_tensor(fill=0.3, channels=4)
    layer = SubmanifoldConv3d(4, 4).double()
    with pytest.raises(VolumeError, match="odd side is needed"):
        Rulebook.of(x.coords, 3, kernel=2)
    with pytest.raises(VolumeError, match="not unique and sorted"):
        Rulebook.of(x.coords.flip(0), 3)
    with pytest.raises(VolumeError, match="build it from the same cells"):
        layer(x, Rulebook.of(x.coords[:-1], 3))
    with pytest.raises(VolumeError, match="build it from the same cells"):
        layer(x, Rulebook.of(x.coords, 3, kernel=5))


def test_spconv_is_refused_on_a_cpu() -> None:
    x = random_tensor(fill=0.3, channels=4)
    with pytest.raises(BackendError, match="race between threads"):
        SubmanifoldConv3d(4, 4, backend="spconv").double()(x, Rulebook.of(x.coords, 3))
    with pytest.raises(BackendError, match="known are"):
        choose_backend("cudnn", "cpu")  # pyright: ignore[reportArgumentType]
    assert choose_backend("auto", "cpu") == "torch"
    assert choose_backend("torch", "cuda") == "torch"


def test_spconv_is_taken_on_cuda_only_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_backend("auto", "cuda") == "torch"
    with pytest.raises(BackendError, match="not installed"):
        choose_backend("spconv", "cuda")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert choose_backend("auto", "cuda") == choose_backend("spconv", "cuda") == "spconv"
    assert choose_backend("auto", "cuda", torch.bfloat16) == "torch"
    with pytest.raises(BackendError, match="float32 or float16"):
        choose_backend("spconv", "cuda", torch.bfloat16)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["torch", "spconv"])
def test_cuda_equals_the_cpu(backend: str) -> None:
    if backend == "spconv":
        pytest.importorskip("spconv")
    x = random_tensor(fill=0.4, channels=16, dtype=torch.float32)
    layer = SubmanifoldConv3d(16, 24)
    results = []
    for device, kind in (("cpu", "torch"), ("cuda", backend)):
        moved = replace(x, coords=x.coords.to(device), features=x.features.detach().to(device).requires_grad_())
        layer = layer.to(device)
        layer.backend = kind  # pyright: ignore[reportAttributeAccessIssue]
        out = layer(moved, Rulebook.of(moved.coords, x.batch_size)).features
        results.append([out, *torch.autograd.grad(out.square().sum(), (moved.features, layer.weight))])
    for mine, theirs in zip(results[1], results[0], strict=True):
        assert (mine.cpu() - theirs).norm() < 1e-4 * theirs.norm()
