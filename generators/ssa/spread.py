"""Spread: one row per sample given to all tokens of the sample, with a gradient that a GPU sums without atomics."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class _Spread(torch.autograd.Function):
    """Rows by number. The gradient of indexing adds every token to the same few rows, one after the other on CUDA."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sample: Tensor) -> Tensor:
        ctx.save_for_backward(sample)
        ctx.count = len(x)
        return x.index_select(0, sample)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (sample,), gradient = ctx.saved_tensors, gradients[0]
        return _sums(gradient, sample, ctx.count, by_product=gradient.is_cuda), None


def spread(x: Float[Tensor, "B C"], sample: Int64[Tensor, "N"]) -> Float[Tensor, "N C"]:
    """Return the row of each token's sample."""
    return _Spread.apply(x, sample)  # pyright: ignore[reportReturnType]


def _sums(x: Float[Tensor, "N C"], sample: Int64[Tensor, "N"], count: int, *, by_product: bool) -> Float[Tensor, "B C"]:
    """Return the sum over the tokens of each sample, by a matrix product or by adding up."""
    if by_product:
        return (sample == torch.arange(count, device=x.device)[:, None]).to(x.dtype) @ x
    return x.new_zeros(count, x.shape[1]).index_add(0, sample, x)
