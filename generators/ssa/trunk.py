"""Trunk: the transformer that both denoisers share, from tokens with places to velocities."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from generators.ssa.blocks import Layouts
from generators.ssa.condition import Condition, ConditionEmbedding, TimeEmbedding
from generators.ssa.spread import spread
from generators.ssa.transformer import Attention, TransformerBlock


class Trunk(nn.Module):
    """Tokens in, tokens out: linear, place, blocks modulated by time and condition, norm, linear that starts at zero.

    One modulation serves all blocks (adaLN-single: Chen et al. 2023, section 2.3). Both it and the last layer start at
    zero, so an untrained trunk predicts zero (Peebles & Xie 2023, section 3.2).
    """

    def __init__(
        self,
        channels: int,
        width: int,
        depth: int,
        heads: int,
        kv_heads: int,
        *,
        channels_out: int | None = None,
        block: int,
        top_k: int,
        families: int,
        attention: Attention,
    ) -> None:
        super().__init__()
        self.width = width
        self.block = block
        self.enter = nn.Linear(channels, width)
        self.time = TimeEmbedding(width)
        self.condition = ConditionEmbedding(families, width)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(
            TransformerBlock(
                width,
                heads,
                kv_heads,
                block,
                top_k,
                shifted=index % 2 == 1,
                condition_width=width,
                attention=attention,
            )
            for index in range(depth)
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.last_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.leave = nn.Linear(width, channels_out or channels)
        for layer in (self.modulation[1], self.last_modulation[1], self.leave):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        tokens: Float[Tensor, "N K"],
        coords: Int32[Tensor, "N 4"],
        layouts: Layouts,
        t: Float[Tensor, "B"],
        condition: Condition,
    ) -> Float[Tensor, "N Q"]:
        """Return the velocity of every token, `channels_out` numbers each (as many as came in, where not given)."""
        sample = coords[:, 0].long()
        signal = self.time(t) + self.condition(condition)
        modulation = self.modulation(signal)
        x = self.enter(tokens) + place_waves(coords, self.width).to(tokens.dtype)
        for block in self.blocks:
            x = block(x, layouts, modulation, sample)
        shift, scale = spread(self.last_modulation(signal), sample).chunk(2, dim=1)
        return self.leave(self.norm(x) * (1 + scale) + shift)


def place_waves(coords: Int32[Tensor, "N 4"], width: int) -> Float[Tensor, "N C"]:
    """Return sines and cosines of the place of each cell along three axes; channels that do not divide by 6 are 0.

    Absolute, once at the input (Vaswani et al. 2017, section 3.5, along each axis); periods 2 pi to 2 pi * 10^4 cells.
    """
    count = width // 6
    order = torch.arange(count, device=coords.device, dtype=torch.float32) / max(count, 1)
    angles = coords[:, 1:, None].float() * torch.exp(-math.log(1e4) * order)
    waves = torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)
    return nn.functional.pad(waves, (0, width - 6 * count))
