"""StructureDenoiser: stage 1, the velocity of occupancy and coarse signed distance on the whole latent lattice.

A leg or the rim of a hole is one cell wide, and a patch is several: attention over patches places them, convolutions
over cells on either side of it join them without gaps. Larger lattices have coarser scales of convolution between the
two: a U-Net with a transformer at its coarsest scale (Hoogeboom et al. 2023, Simple Diffusion, section 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Bool, Float, Int32
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
"""Residual blocks of convolution before the transformer, and as many after it, at each scale [1]."""


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
        h = self._convolved(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return x + self.narrow(nn.functional.silu(self.widen(self.norm(h))))

    def _convolved(self, x: Float[Tensor, "B C G G G"]) -> Float[Tensor, "B C G G G"]:
        if len(x) > 1 or torch.is_grad_enabled() or x.device.type != "cpu" or not torch.backends.mkldnn.is_available():
            return self.conv(x)
        # conv3d leaves one small sample to a general loop, three times slower (torch 2.13 asks whether B C G G exceeds
        # 20,480).
        return torch.mkldnn_convolution(x, self.conv.weight, self.conv.bias, (1,) * 3, (1,) * 3, (1,) * 3, 1)


class CoarserScale(nn.Module):
    """Cells of twice the size: convolutions on the way to the transformer, and on the way back."""

    def __init__(self, fine: int, channels: int) -> None:
        super().__init__()
        self.down = nn.Linear(8 * fine, channels)
        self.before = nn.Sequential(*(DenseResidualConv(channels) for _ in range(CONVOLUTIONS)))
        self.after = nn.Sequential(*(DenseResidualConv(channels) for _ in range(CONVOLUTIONS)))
        self.up = nn.Linear(channels, 8 * fine)

    def coarsen(self, fine: Float[Tensor, "B G G G F"]) -> Float[Tensor, "B M M M C"]:
        """Return features of this scale."""
        return self.before(self.down(space_to_depth(fine)))

    def refine(self, coarse: Float[Tensor, "B M M M C"]) -> Float[Tensor, "B G G G F"]:
        """Return what this scale adds to the finer one."""
        return depth_to_space(self.up(self.after(coarse)))


class StructureDenoiser(nn.Module):
    """Convolution on cells, a transformer with Spatial Sparse Attention on patches of them, convolution on cells."""

    def __init__(self, preset: Preset, families: int, *, attention: Attention = "ssa") -> None:
        super().__init__()
        cell, *coarser = preset.structure_cells
        whole = preset.structure_patch * 2 ** len(coarser)
        if preset.lattice % whole:
            raise ParameterError(
                f"preset {preset.name}: patches of {whole} latent cells do not divide {preset.lattice} cells"
            )
        self.side = preset.lattice
        self.patch = preset.structure_patch
        self.patches = preset.lattice // whole
        self._tokens: tuple[tuple[int, torch.device], Tensor, Layouts] | None = None
        self.enter = nn.Linear(CHANNELS, cell)
        self.time = TimeEmbedding(cell)
        self.before = nn.Sequential(*(DenseResidualConv(cell) for _ in range(CONVOLUTIONS)))
        self.scales = nn.ModuleList(CoarserScale(fine, coarse) for fine, coarse in pairwise(preset.structure_cells))
        self.trunk = Trunk(
            preset.structure_cells[-1] * self.patch**3,
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
        """Return the velocity at x_t.

        Raises:
            VolumeError: The lattice has another size.
        """
        return self.velocity(self.features(x_t, t), t, condition)

    def features(self, x_t: Float[Tensor, "B 2 G G G"], t: Float[Tensor, "B"]) -> list[Float[Tensor, "B M M M C"]]:
        """Return what the convolutions before the transformer see at each scale, finest first, whatever is asked for.

        Raises:
            VolumeError: The lattice has another size.
        """
        if x_t.shape[1:] != (CHANNELS, *[self.side] * 3):
            raise VolumeError(f"structure is {tuple(x_t.shape)}, expected (B, {CHANNELS}, {self.side}, ...) cubed")
        near = [self.before(self.enter(x_t.permute(0, 2, 3, 4, 1)) + self._time(t))]
        for scale in cast("Sequence[CoarserScale]", self.scales):
            near.append(scale.coarsen(near[-1]))
        return near

    def velocity(
        self, near: list[Float[Tensor, "B M M M C"]], t: Float[Tensor, "B"], condition: Condition
    ) -> Float[Tensor, "B 2 G G G"]:
        """Return the velocity where the features are these."""
        h = near[-1] + self._attended(near[-1], t, condition)
        scales = cast("Sequence[CoarserScale]", self.scales)
        for scale, finer in zip(reversed(scales), reversed(near[:-1]), strict=True):
            h = finer + scale.refine(h)
        shift, scale = self.modulation(self._time(t)).chunk(2, dim=-1)
        return self.leave(self.norm(self.after(h)) * (1 + scale) + shift).permute(0, 4, 1, 2, 3)

    def _time(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B 1 1 1 C"]:
        return self.time(t)[:, None, None, None]

    def _attended(
        self, x: Float[Tensor, "B M M M C"], t: Float[Tensor, "B"], condition: Condition
    ) -> Float[Tensor, "B M M M C"]:
        """Run the transformer on patches of the coarsest cells."""
        coords, layouts = self.tokens(len(x), x.device)
        patches = patchify(x.permute(0, 4, 1, 2, 3), self.patch)
        far = self.trunk(patches, coords, layouts, t, condition)
        return unpatchify(far, len(x), x.shape[1], self.patch).permute(0, 2, 3, 4, 1)

    def tokens(self, batch: int, device: torch.device) -> tuple[Int32[Tensor, "N 4"], Layouts]:
        """Return the patches of a batch and their blocks; those of the last batch size are kept."""
        if self._tokens is None or self._tokens[0] != (batch, device):
            coords = dense_cells(batch, self.patches, device)
            self._tokens = ((batch, device), coords, Layouts.of(coords, batch, self.trunk.block))
        return self._tokens[1:]


def dense_cells(batch: int, side: int, device: torch.device) -> Int32[Tensor, "N 4"]:
    """Return all cells of a batch of cubes, in lexicographic order."""
    ranges = [torch.arange(count, dtype=torch.int32, device=device) for count in (batch, side, side, side)]
    return torch.cartesian_prod(*ranges)


def space_to_depth(x: Float[Tensor, "B G G G C"]) -> Float[Tensor, "B M M M 8C"]:
    """Put the 8 cells of each cube side by side, in lexicographic order."""
    cut = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)


def depth_to_space(x: Float[Tensor, "B M M M 8C"]) -> Float[Tensor, "B G G G C"]:
    """Invert `space_to_depth`."""
    cut = x.unflatten(4, (2, 2, 2, -1)).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return cut.flatten(5, 6).flatten(3, 4).flatten(1, 2)


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


def structure_of(active: Bool[Tensor, "B G G G"], coarse: Float[Tensor, "B G G G"]) -> Float[Tensor, "B 2 G G G"]:
    """Return the data of stage 1: active cells and their coarse signed distance [latent cells]."""
    return torch.stack([2.0 * active - 1.0, compand(coarse)], dim=1)


def distance_at(cells: Int32[Tensor, "N 4"], distance: Float[Tensor, "B G G G"]) -> Float[Tensor, "N"]:
    """Return the coarse signed distance of each cell, clamped to its reach [latent cell]."""
    sample, i, j, k = cells.long().unbind(dim=1)
    return distance[sample, i, j, k].clamp(-COARSE_REACH, COARSE_REACH)


def active_cells(structure: Float[Tensor, "B 2 G G G"]) -> Int32[Tensor, "N 4"]:
    """Return the cells whose occupancy is positive, in lexicographic order."""
    return (structure[:, 0] > 0).nonzero().int()
