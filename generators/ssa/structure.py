"""StructureDenoiser: stage 1, the velocity of occupancy and coarse signed distance on the whole latent lattice.

A leg or the rim of a hole is one cell wide, and a patch is several: attention over patches places them, convolutions
over cells on either side of it join them without gaps, as a U-Net with a transformer at its coarsest scale does
(Hoogeboom et al. 2023, Simple Diffusion, section 3.3).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from generators.errors import ParameterError, VolumeError
from generators.ssa.blocks import Layouts
from generators.ssa.condition import Condition, TimeEmbedding
from generators.ssa.presets import COARSE_REACH, Preset
from generators.ssa.transformer import Attention
from generators.ssa.trunk import Trunk
from generators.ssa.vae_layers import EXPANSION, zeroed

CHANNELS = 2
"""Occupancy (+1 active, -1 not) and companded coarse signed distance [1]."""
KNEE = 0.25
"""Distance from which on companding is more logarithmic than linear [latent cell].

Holes and walls are told by tenths of a cell, beside noise of one. Measured on nano: with the distance over COARSE_REACH
instead, samples err by 0.1 cells at the surface, and 27 of 48 have the handles of their family; companded, 30 have."""
CONVOLUTIONS = 2
"""Residual blocks of convolution before the transformer, and as many after it [1]."""


class DenseResidualConv(nn.Module):
    """x + MLP(norm(conv(x))) on a whole lattice, channels last: `ResidualConv` where every cell is active."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, EXPANSION * channels)
        self.narrow = zeroed(nn.Linear(EXPANSION * channels, channels))

    def forward(self, x: Float[Tensor, "B G G G C"]) -> Float[Tensor, "B G G G C"]:
        """Return changed features."""
        h = self.conv(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return x + self.narrow(nn.functional.silu(self.widen(self.norm(h))))


class StructureDenoiser(nn.Module):
    """Convolution on cells, a transformer with Spatial Sparse Attention on patches of them, convolution on cells."""

    def __init__(self, preset: Preset, families: int, *, attention: Attention = "ssa") -> None:
        super().__init__()
        if preset.lattice % preset.structure_patch:
            raise ParameterError(
                f"preset {preset.name}: patches of {preset.structure_patch} cells do not divide {preset.lattice} cells"
            )
        self.side = preset.lattice
        self.patch = preset.structure_patch
        self._tokens: tuple[tuple[int, torch.device], Tensor, Layouts] | None = None
        cell = preset.structure_cell
        self.enter = nn.Linear(CHANNELS, cell)
        self.time = TimeEmbedding(cell)
        self.before = nn.Sequential(*(DenseResidualConv(cell) for _ in range(CONVOLUTIONS)))
        self.trunk = Trunk(
            cell * self.patch**3,
            preset.structure_width,
            preset.structure_depth,
            preset.structure_heads,
            preset.kv_heads,
            block=preset.block,
            top_k=preset.top_k,
            families=families,
            attention=attention,
        )
        self.after = nn.Sequential(*(DenseResidualConv(cell) for _ in range(CONVOLUTIONS)))
        self.norm = nn.LayerNorm(cell, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(cell, 2 * cell)))
        self.leave = zeroed(nn.Linear(cell, CHANNELS))

    def forward(
        self, x_t: Float[Tensor, "B 2 G G G"], t: Float[Tensor, "B"], condition: Condition
    ) -> Float[Tensor, "B 2 G G G"]:
        """Return the velocity at x_t."""
        if x_t.shape[1:] != (CHANNELS, *[self.side] * 3):
            raise VolumeError(f"structure is {tuple(x_t.shape)}, expected (B, {CHANNELS}, {self.side}, ...) cubed")
        batch, time = len(x_t), self.time(t)[:, None, None, None]
        coords, layouts = self.tokens(batch, x_t.device)
        near = self.before(self.enter(x_t.permute(0, 2, 3, 4, 1)) + time)
        patches = patchify(near.permute(0, 4, 1, 2, 3), self.patch)
        far = unpatchify(self.trunk(patches, coords, layouts, t, condition), batch, self.side, self.patch)
        h = self.after(near + far.permute(0, 2, 3, 4, 1))
        shift, scale = self.modulation(time).chunk(2, dim=-1)
        return self.leave(self.norm(h) * (1 + scale) + shift).permute(0, 4, 1, 2, 3)

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


def compand(distance: Tensor) -> Tensor:
    """Return signed distances [latent cell] as -1..1, the smallest spread widest: the mu-law (ITU-T G.711)."""
    size = distance.abs().clamp(max=COARSE_REACH)
    return distance.sign() * torch.log1p(size / KNEE) / math.log1p(COARSE_REACH / KNEE)


def expand_distance(companded: Tensor) -> Tensor:
    """Invert `compand`, within the reach [latent cell]."""
    size = companded.abs().clamp(max=1.0)
    return companded.sign() * KNEE * torch.expm1(size * math.log1p(COARSE_REACH / KNEE))


def structure_of(cells: Int32[Tensor, "N 4"], coarse: Float[Tensor, "B G G G"]) -> Float[Tensor, "B 2 G G G"]:
    """Return the data of stage 1: active cells and their coarse signed distance [latent cells]."""
    occupancy = torch.full_like(coarse, -1.0)
    sample, i, j, k = cells.long().unbind(dim=1)
    occupancy[sample, i, j, k] = 1.0
    return torch.stack([occupancy, compand(coarse)], dim=1)


def distance_at(cells: Int32[Tensor, "N 4"], distance: Float[Tensor, "B G G G"]) -> Float[Tensor, "N"]:
    """Return the coarse signed distance of each cell, clamped to its reach [latent cell]."""
    sample, i, j, k = cells.long().unbind(dim=1)
    return distance[sample, i, j, k].clamp(-COARSE_REACH, COARSE_REACH)


def active_cells(structure: Float[Tensor, "B 2 G G G"]) -> Int32[Tensor, "N 4"]:
    """Return the cells whose occupancy is positive, in lexicographic order."""
    return (structure[:, 0] > 0).nonzero().int()
