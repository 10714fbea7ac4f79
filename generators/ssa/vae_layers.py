"""Layers of the autoencoder: a residual block on one scale, and residual steps between scales.

Normalisation is per cell, over its channels alone, and only inside residual blocks: statistics over a sample would make
a decoded tile depend on the rest of the object, and the steps between scales carry magnitudes, which are distances.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from generators.ssa.scales import Halving, channel_to_space, share_matrix, space_to_channel
from generators.ssa.sparse_conv import Rulebook, SubmanifoldConv3d
from generators.ssa.sparse_tensor import SparseTensor

EXPANSION = 4
"""Width of the hidden layer of a residual block over its channels [1]."""


class ResidualConv(nn.Module):
    """x + MLP(norm(conv(x))): the ConvNeXt block with a submanifold convolution; the identity at the start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = SubmanifoldConv3d(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, EXPANSION * channels)
        self.narrow = zeroed(nn.Linear(EXPANSION * channels, channels))

    def forward(self, x: SparseTensor, rulebook: Rulebook) -> SparseTensor:
        """Return the same cells with changed features."""
        h = self.norm(self.conv(x, rulebook).features)
        return x.with_features(x.features + self.narrow(nn.functional.silu(self.widen(h))))


class Downsample(nn.Module):
    """Children's features side by side -> parent: a learned map beside a fixed average of channels."""

    share: Tensor

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.mix = nn.Linear(8 * c_in, c_out)
        self.register_buffer("share", share_matrix(8 * c_in, c_out), persistent=False)

    def forward(self, x: SparseTensor, halving: Halving) -> SparseTensor:
        """Return the parents."""
        parent = space_to_channel(x, halving)
        return parent.with_features(parent.features @ self.share.to(parent.features.dtype) + self.mix(parent.features))


class Upsample(nn.Module):
    """Parent -> children: a learned map beside a fixed repetition of channels."""

    share: Tensor

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.mix = nn.Linear(c_in, 8 * c_out)
        self.register_buffer("share", share_matrix(c_in, 8 * c_out), persistent=False)

    def forward(self, x: SparseTensor, halving: Halving) -> SparseTensor:
        """Return the children that the halving names."""
        wide = x.features @ self.share.to(x.features.dtype) + self.mix(x.features)
        return channel_to_space(x.with_features(wide), halving)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """Return the layer with weight and bias at zero."""
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    return layer
