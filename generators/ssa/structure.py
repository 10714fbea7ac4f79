"""StructureDenoiser: stage 1, the velocity of occupancy and coarse signed distance on the whole latent lattice."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from generators.errors import ParameterError, VolumeError
from generators.ssa.blocks import Layouts
from generators.ssa.condition import Condition
from generators.ssa.presets import COARSE_REACH, Preset
from generators.ssa.transformer import Attention
from generators.ssa.trunk import Trunk

CHANNELS = 2
"""Occupancy (+1 active, -1 not) and coarse signed distance over COARSE_REACH [1]."""


class StructureDenoiser(nn.Module):
    """A transformer on patches of the latent lattice."""

    def __init__(self, preset: Preset, families: int, *, attention: Attention = "ssa") -> None:
        super().__init__()
        if preset.lattice % preset.structure_patch:
            raise ParameterError(
                f"preset {preset.name}: patches of {preset.structure_patch} cells do not divide {preset.lattice} cells"
            )
        self.side = preset.lattice
        self.patch = preset.structure_patch
        self._tokens: tuple[tuple[int, torch.device], Tensor, Layouts] | None = None
        self.trunk = Trunk(
            CHANNELS * self.patch**3,
            preset.structure_width,
            preset.structure_depth,
            preset.structure_heads,
            preset.kv_heads,
            block=preset.block,
            top_k=preset.top_k,
            families=families,
            attention=attention,
        )

    def forward(
        self, x_t: Float[Tensor, "B 2 G G G"], t: Float[Tensor, "B"], condition: Condition
    ) -> Float[Tensor, "B 2 G G G"]:
        """Return the velocity at x_t."""
        if x_t.shape[1:] != (CHANNELS, *[self.side] * 3):
            raise VolumeError(f"structure is {tuple(x_t.shape)}, expected (B, {CHANNELS}, {self.side}, ...) cubed")
        batch = len(x_t)
        coords, layouts = self.tokens(batch, x_t.device)
        v = self.trunk(patchify(x_t, self.patch), coords, layouts, t, condition)
        return unpatchify(v, batch, self.side, self.patch)

    def tokens(self, batch: int, device: torch.device) -> tuple[Int32[Tensor, "N 4"], Layouts]:
        """Return the patches of a batch and their blocks; those of the last batch size are kept."""
        if self._tokens is None or self._tokens[0] != (batch, device):
            coords = dense_cells(batch, self.side // self.patch, device)
            self._tokens = ((batch, device), coords, Layouts.of(coords, batch, self.trunk.block))
        return self._tokens[1:]


def dense_cells(batch: int, side: int, device: torch.device) -> Int32[Tensor, "N 4"]:
    """Return all cells of a batch of cubes, in lexicographic order."""
    ranges = [torch.arange(count, dtype=torch.int32, device=device) for count in (batch, side, side, side)]
    return torch.cartesian_prod(*ranges)


def patchify(x: Float[Tensor, "B K G G G"], patch: int) -> Float[Tensor, "N P"]:
    """Return one token per patch, patches in lexicographic order, channels before places within a token."""
    batch, channels, side = x.shape[:3]
    m = side // patch
    cut = x.reshape(batch, channels, m, patch, m, patch, m, patch)
    return cut.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(batch * m**3, channels * patch**3)


def unpatchify(tokens: Float[Tensor, "N P"], batch: int, side: int, patch: int) -> Float[Tensor, "B K G G G"]:
    """Invert `patchify`."""
    m = side // patch
    cut = tokens.reshape(batch, m, m, m, -1, patch, patch, patch)
    return cut.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(batch, -1, side, side, side)


def structure_of(cells: Int32[Tensor, "N 4"], coarse: Float[Tensor, "B G G G"]) -> Float[Tensor, "B 2 G G G"]:
    """Return the data of stage 1: active cells and their coarse signed distance [latent cells]."""
    occupancy = torch.full_like(coarse, -1.0)
    sample, i, j, k = cells.long().unbind(dim=1)
    occupancy[sample, i, j, k] = 1.0
    return torch.stack([occupancy, coarse.clamp(-COARSE_REACH, COARSE_REACH) / COARSE_REACH], dim=1)


def distance_at(
    cells: Int32[Tensor, "N 4"], distance: Float[Tensor, "B G G G"], *, unit: float = 1.0
) -> Float[Tensor, "N"]:
    """Return the coarse signed distance of each cell, clamped to its reach [latent cell].

    Args:
        cells: Cells of the samples.
        distance: Coarse signed distance of the samples.
        unit: Latent cells per unit of `distance` [1].
    """
    sample, i, j, k = cells.long().unbind(dim=1)
    return (unit * distance[sample, i, j, k]).clamp(-COARSE_REACH, COARSE_REACH)


def active_cells(structure: Float[Tensor, "B 2 G G G"]) -> Int32[Tensor, "N 4"]:
    """Return the cells whose occupancy is positive, in lexicographic order."""
    return (structure[:, 0] > 0).nonzero().int()
