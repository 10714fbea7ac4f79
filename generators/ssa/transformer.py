"""The transformer block of both denoisers: attention and MLP, each modulated by the condition (adaLN-single)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from generators.errors import ParameterError, VolumeError
from generators.ssa.attention import FullAttention, SpatialSparseAttention
from generators.ssa.blocks import Layouts
from generators.ssa.spread import spread

Attention = Literal["ssa", "window", "full"]


class TransformerBlock(nn.Module):
    """x + gate * attention(norm(x)), then x + gate * MLP(norm(x)).

    With a condition, shift, scale and gate of both halves come from one modulation shared by all blocks plus an offset
    of this block (adaLN-single: PixArt-alpha, Chen et al. 2023, section 2.3); the offset starts at zero. Without a
    condition the norms have their own weights and there are no gates.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        block: int,
        top_k: int,
        *,
        shifted: bool,
        mlp: int = 4,
        condition_width: int | None = None,
        attention: Attention = "ssa",
    ) -> None:
        super().__init__()
        self.modulated = condition_width is not None
        self.width = width
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=not self.modulated, eps=1e-6)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=not self.modulated, eps=1e-6)
        self.attention = _attention(attention, width, heads, kv_heads, block, top_k, shifted=shifted)
        self.mlp = nn.Sequential(nn.Linear(width, mlp * width), nn.GELU("tanh"), nn.Linear(mlp * width, width))
        if self.modulated:
            self.offset = nn.Parameter(torch.zeros(6 * width))

    def forward(
        self,
        x: Float[Tensor, "N C"],
        layouts: Layouts,
        modulation: Float[Tensor, "B 6C"] | None = None,
        sample: Int64[Tensor, "N"] | None = None,
    ) -> Float[Tensor, "N C"]:
        """Return the tokens after both halves; `sample` names the row of `modulation` of each token."""
        if self.modulated != (modulation is not None) or self.modulated != (sample is not None):
            raise VolumeError(f"modulation and samples are {'needed' if self.modulated else 'not taken'} by this block")
        if modulation is None or sample is None:
            x = x + self.attention(self.norm_attention(x), layouts)
            return x + self.mlp(self.norm_mlp(x))
        if modulation.shape[1:] != (6 * self.width,):
            raise VolumeError(f"modulation is {tuple(modulation.shape)}, expected (B, {6 * self.width})")
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = spread(modulation + self.offset, sample).chunk(6, dim=1)
        x = x + gate_a * self.attention(self.norm_attention(x) * (1 + scale_a) + shift_a, layouts)
        return x + gate_m * self.mlp(self.norm_mlp(x) * (1 + scale_m) + shift_m)


def _attention(
    kind: Attention, width: int, heads: int, kv_heads: int, block: int, top_k: int, *, shifted: bool
) -> nn.Module:
    if kind == "full":
        return FullAttention(width, heads, kv_heads)
    if kind == "ssa":
        return SpatialSparseAttention(width, heads, kv_heads, block, top_k, shifted=shifted)
    if kind == "window":
        return SpatialSparseAttention(width, heads, kv_heads, block, top_k, shifted=shifted, branches=("window",))
    raise ParameterError(f"attention '{kind}' does not exist, choose ssa, window or full")
