"""Tokens on which attention is timed: the cells that the surface of a torus passes through."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def torus_cells(tokens: int, device: str = "cpu") -> Tensor:
    """Return about `tokens` cells (0, i, j, k) whose centres lie within half a cell diagonal of a torus."""
    low, high = 16, 512
    while high - low > 1:
        side = (low + high) // 2
        low, high = (low, side) if len(_torus(side, device)) > tokens else (side, high)
    near = min((_torus(low, device), _torus(high, device)), key=lambda cells: abs(len(cells) - tokens))
    return torch.cat([near.new_zeros(len(near), 1), near], dim=1)


def _torus(side: int, device: str) -> Tensor:
    centre = torch.arange(side, device=device) - (side - 1) / 2
    ring = (centre[:, None].square() + centre.square()).sqrt() - 0.3 * side
    distance = (ring.square()[..., None] + centre.square()).sqrt() - 0.15 * side
    return (distance.abs() < math.sqrt(3) / 2).nonzero().int()


def features(coords: Tensor, width: int) -> Tensor:
    """Return sines and cosines of the coordinates with some noise (N, width), as the tokens of a network have.

    Noise alone would make selection prefer blocks of one or two tokens, whose mean is largest, and so seem too cheap.
    """
    frequency = 2 ** torch.linspace(0, -5, width // 6, device=coords.device)
    phase = (coords[:, 1:, None] * frequency).flatten(1)
    waves = F.pad(torch.cat([phase.sin(), phase.cos()], dim=1), (0, width - 6 * (width // 6)))
    generator = torch.Generator(coords.device).manual_seed(0)
    noise = torch.randn(waves.shape, generator=generator, device=coords.device)
    return F.layer_norm(waves + 0.3 * noise, (width,))
