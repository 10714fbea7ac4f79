"""Submanifold convolution on sparse lattices: a rulebook of neighbours, applied in plain torch.

The rulebook lists for every active cell the rows of its kernel's neighbours. Applying it is one gather and one matrix
product, forward and backward: the transpose of a submanifold convolution is a gather too, with the kernel mirrored,
because cell a sees b exactly when b sees a. Nothing is scattered, so no two threads ever write to the same row and no
atomics are needed: equal bytes for equal threads on CPU, and on CUDA as far as its matrix product gives them.
spconv does the same with fused kernels on CUDA; its CPU kernels race between OpenMP threads and are refused.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from generators.errors import BackendError, VolumeError
from generators.ssa.sparse_tensor import SIDE_LIMIT, SparseTensor, cell_keys

Backend = Literal["auto", "torch", "spconv"]

GATHERED_CPU = 2**18
"""Most numbers gathered at a time on a CPU: 1 MiB stays in the cache; larger took up to four times longer [1]."""
GATHERED_GPU = 2**27
"""Most numbers gathered at a time on a GPU [1]."""


@dataclass(frozen=True, eq=False)
class Rulebook:
    """Rows of the neighbours of every active cell; built once per set of cells and shared by all layers on it."""

    neighbours: Int32[Tensor, "N K3"]
    """Row of the cell at coords + offset, offsets in lexicographic order; N where that cell is not active."""
    kernel: int
    """Side of the kernel, odd [1]."""
    spconv_pairs: list[Any] = field(default_factory=list)
    """spconv's own pairs of rows for these cells, filled by the first layer that uses that backend."""

    @classmethod
    def of(cls, coords: Int32[Tensor, "N 4"], batch_size: int, kernel: int = 3) -> Rulebook:
        """Find all neighbours by binary search among the sorted keys of the cells, on the device of `coords`.

        Raises:
            VolumeError: the kernel is even, or the cells are not unique and sorted by (sample, i, j, k).
        """
        if kernel < 1 or kernel % 2 == 0:
            raise VolumeError(f"kernel is {kernel} cells, an odd side is needed")
        SparseTensor(coords, coords, batch_size).check()
        keys, count, half = cell_keys(coords), len(coords), kernel // 2
        # One row more takes what is not there: counting what is would wait for a GPU.
        neighbours = torch.full((count + 1, kernel**3), count, dtype=torch.int32, device=coords.device)
        rows = torch.arange(count, dtype=torch.int32, device=coords.device)
        centre = kernel**3 // 2
        neighbours[:count, centre] = rows
        # Half of the offsets are searched; the other half is their mirror: a sees b exactly when b sees a.
        for index in range(centre):
            offset = (index // kernel**2 - half, index // kernel % kernel - half, index % kernel - half)
            seen, found = _neighbour(coords, keys, offset)
            seen = torch.where(found, seen, count)
            neighbours[:count, index] = seen
            neighbours[:, -1 - index].index_copy_(0, seen.long(), rows)
        return cls(neighbours[:count], kernel)


def _neighbour(
    coords: Int32[Tensor, "N 4"], keys: Int64[Tensor, "N"], offset: tuple[int, int, int]
) -> tuple[Int32[Tensor, "N"], Tensor]:
    """Return the row of the cell at `coords + offset` and whether it is active (N,)."""
    step = (offset[0] * SIDE_LIMIT + offset[1]) * SIDE_LIMIT + offset[2]
    moved = coords[:, 1:] + torch.tensor(offset, dtype=coords.dtype, device=coords.device)
    inside = ((moved >= 0) & (moved < SIDE_LIMIT)).all(dim=1)
    row = torch.searchsorted(keys, keys + step).clamp_(max=max(len(keys) - 1, 0))
    return row.int(), inside & (keys[row] == keys + step)


class SubmanifoldConv3d(nn.Module):
    """Convolution whose output lives on the cells of its input; missing neighbours count as zero.

    The weight has spconv's KRSC layout (out, kernel, kernel, kernel, in), which is also the layout in which
    neighbours are gathered.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int = 3, *, backend: Backend = "auto") -> None:
        super().__init__()
        self.kernel = kernel
        self.backend: Backend = backend
        self.weight = nn.Parameter(torch.empty(c_out, kernel, kernel, kernel, c_in))
        self.bias = nn.Parameter(torch.empty(c_out))
        bound = 1 / math.sqrt(c_in * kernel**3)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: SparseTensor, rulebook: Rulebook) -> SparseTensor:
        """Return the convolution on the cells of `x`; the rulebook must have been built from them."""
        if rulebook.kernel != self.kernel or len(rulebook.neighbours) != len(x.coords):
            raise VolumeError(
                f"a rulebook of {len(rulebook.neighbours)} cells with kernel {rulebook.kernel} was given to a layer "
                f"with kernel {self.kernel} on {len(x.coords)} cells; build it from the same cells"
            )
        features, weight = x.features, self.weight
        device = features.device.type
        if torch.is_autocast_enabled(device):
            features = features.to(torch.get_autocast_dtype(device))
            weight = weight.to(features.dtype)
        chosen = choose_backend(self.backend, device, features.dtype)
        if chosen == "spconv" and self.kernel > 1 and len(features):
            out = _convolve_spconv(x.with_features(features), weight, rulebook)
        else:
            out = _convolve(features, weight, rulebook.neighbours)
        return x.with_features(out + self.bias.to(out.dtype))

    def extra_repr(self) -> str:
        """Return the sizes for the printed module."""
        return f"{self.weight.shape[-1]}, {self.weight.shape[0]}, kernel={self.kernel}, backend={self.backend}"


def choose_backend(backend: Backend, device: str, dtype: torch.dtype = torch.float32) -> Literal["torch", "spconv"]:
    """Return the backend that will run: `auto` takes spconv on CUDA where it is installed and knows the type.

    spconv's kernels know float32 and float16; under autocast to bfloat16 `auto` stays with torch.

    Raises:
        BackendError: spconv is asked for on a CPU, for another type, or where it is not installed.
    """
    if backend not in ("auto", "torch", "spconv"):
        raise BackendError(f"backend is {backend!r}, known are 'auto', 'torch' and 'spconv'")
    known = dtype in (torch.float32, torch.float16)
    if backend == "torch" or (backend == "auto" and (device != "cuda" or not known)):
        return "torch"
    installed = importlib.util.find_spec("spconv") is not None
    if backend == "auto":
        return "spconv" if installed else "torch"
    if device != "cuda":
        raise BackendError(
            f"spconv was asked for on {device!r}: its CPU kernels race between threads and give wrong sums. "
            "Use backend 'torch', or a CUDA device."
        )
    if not known:
        raise BackendError(f"spconv was asked for in {dtype}; it computes in float32 or float16. Use backend 'torch'.")
    if not installed:
        raise BackendError("spconv was asked for but is not installed. Install 'scenegen[cuda]', or use 'torch'.")
    return "spconv"


class _Convolution(torch.autograd.Function):
    """`out[n] = sum_o W[:, o] x[neighbours[n, o]]`; neighbours are gathered again in the backward pass, not kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, neighbours: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, neighbours)
        return _apply(x, weight.flatten(1), neighbours)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        (grad,) = grads
        x, weight, neighbours = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            # The mirrored kernel: cell m reaches n at offset o, so n reaches m at -o.
            mirrored = weight.flatten(1, 3).flip(1).permute(2, 1, 0)
            grad_x = _apply(grad, mirrored.flatten(1), neighbours)
        if ctx.needs_input_grad[1]:
            grad_weight = torch.zeros(weight.shape[0], weight[0].numel(), dtype=_sum_type(x), device=x.device)
            padded = _pad(x)
            for rows in _chunks(neighbours, x):
                grad_weight += grad[rows].T @ _gather(padded, neighbours[rows])
            grad_weight = grad_weight.to(weight.dtype).view_as(weight)
        return grad_x, grad_weight, None


def _convolve(x: Float[Tensor, "N C"], weight: Tensor, neighbours: Int32[Tensor, "N K3"]) -> Float[Tensor, "N D"]:
    """Return the convolution of the features (N, C) with a KRSC weight (D, k, k, k, C), by the rulebook alone."""
    return cast(Tensor, _Convolution.apply(x, weight, neighbours))


def _apply(x: Tensor, weight: Tensor, neighbours: Tensor) -> Tensor:
    """Gather all neighbours of a run of rows (n, K3 * C) and multiply by the weight (D, K3 * C)."""
    padded = _pad(x)
    out = x.new_empty(len(neighbours), len(weight))
    for rows in _chunks(neighbours, x):
        torch.mm(_gather(padded, neighbours[rows]), weight.T, out=out[rows])
    return out


def _pad(x: Tensor) -> Tensor:
    """Append the row of zeros that stands for every inactive cell."""
    return torch.cat([x, x.new_zeros(1, x.shape[1])])


def _gather(padded: Tensor, neighbours: Tensor) -> Tensor:
    return padded.index_select(0, neighbours.reshape(-1)).view(len(neighbours), -1)


def _chunks(neighbours: Tensor, x: Tensor) -> list[slice]:
    """Cut the rows so that one gathered matrix stays within the limit of the device."""
    size = max(
        1, (GATHERED_CPU if x.device.type == "cpu" else GATHERED_GPU) // max(1, neighbours.shape[1] * x.shape[1])
    )
    return [slice(start, start + size) for start in range(0, len(neighbours), size)]


def _sum_type(x: Tensor) -> torch.dtype:
    """Return the type in which weight gradients are summed: at least single precision."""
    return torch.promote_types(x.dtype, torch.float32)


def _convolve_spconv(x: SparseTensor, weight: Tensor, rulebook: Rulebook) -> Tensor:
    """Run spconv's implicit-gemm kernels (spconv 2.3.8, `pytorch/functional.py`); their pairs stay in the rulebook.

    The functions are called directly: the layer would draw weights of its own, and keeps its pairs in a copy.
    """
    from spconv.core import ConvAlgo  # pyright: ignore[reportMissingImports]
    from spconv.pytorch import functional, ops  # pyright: ignore[reportMissingImports]

    if not rulebook.spconv_pairs:
        shape, side = [int(x.coords[:, 1:].max()) + 1] * 3, [rulebook.kernel] * 3
        ones, zeros = [1] * 3, [0] * 3
        pairs = ops.get_indice_pairs_implicit_gemm(
            x.coords, x.batch_size, shape, ConvAlgo.MaskImplicitGemm, side, ones, zeros, ones, zeros, subm=True
        )
        rulebook.spconv_pairs.extend(pairs[2:])
    *pairs, masks = rulebook.spconv_pairs
    with torch.autocast("cuda", enabled=False):  # it would cast to float16, whatever type was asked for
        return functional.implicit_gemm(x.features, weight, *pairs, len(x.coords), masks, True, True)
