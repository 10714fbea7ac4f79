"""SparseVae: the autoencoder between a band of signed distance and latents on the cells that hold it.

Encoder: residual sparse convolutions, halved twice (or thrice) with space-to-channel shortcuts, then attention in a
plain and a shifted window of latent cells. Decoder: the mirror image of the convolutions; every parent names with 8
logits the children that live on, so empty space is pruned before it is computed. The decoder has no attention, sees a
bounded neighbourhood and normalises cell by cell, hence decoding in tiles gives the same field.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from generators.errors import ParameterError, VolumeError
from generators.ssa.blocks import Layouts
from generators.ssa.presets import Preset
from generators.ssa.scales import Pyramid, children_mask, find_cells, subdivide
from generators.ssa.sparse_conv import Rulebook
from generators.ssa.sparse_tensor import SparseTensor, cell_keys
from generators.ssa.transformer import TransformerBlock
from generators.ssa.vae_layers import Downsample, ResidualConv, Upsample

LOGVAR_RANGE = (-20.0, 10.0)
"""Limits of the logarithm of the posterior's variance; exp stays finite in half precision too [1]."""
LOGVAR_START = -6.0
"""Logarithm of the posterior's variance before training: little noise, so that training starts from a signal [1]."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """A normal distribution of latents on every latent cell that holds a node of the band."""

    coords: Int32[Tensor, "N 4"]
    mean: Float[Tensor, "N C"]
    logvar: Float[Tensor, "N C"]
    batch_size: int

    def latent(self) -> SparseTensor:
        """Return the mean: the latent without noise."""
        return SparseTensor(self.coords, self.mean, self.batch_size)

    def sample(self, generator: torch.Generator) -> SparseTensor:
        """Return a draw from the distribution (reparametrised)."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype, device=generator.device)
        deviation = (0.5 * self.logvar).exp()
        return SparseTensor(self.coords, self.mean + deviation * noise.to(self.mean.device), self.batch_size)


@dataclass(frozen=True, eq=False)
class Subdivision:
    """What the decoder thinks of the children of one scale's cells."""

    coords: Int32[Tensor, "M 4"]
    keep_logits: Float[Tensor, "M 8"]
    """Positive where a child holds a node of the band, in order of octants."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded band and the choices that led to its cells."""

    band: SparseTensor
    """Signed distance over `presets.BAND`, in (-1, 1), one channel."""
    subdivisions: tuple[Subdivision, ...]
    """From the latent cells to the parents of the nodes."""

    @property
    def keep_logits(self) -> tuple[Float[Tensor, "M 8"], ...]:
        """Logits alone, coarsest scale first."""
        return tuple(level.keep_logits for level in self.subdivisions)


class SparseEncoder(nn.Module):
    """Band -> mean and log variance on latent cells."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        widths, self.block = preset.vae_widths, preset.block
        self.enter = nn.Linear(1, widths[0])
        self.blocks = nn.ModuleList(ResidualConv(width) for width in widths)
        self.downs = nn.ModuleList(Downsample(a, b) for a, b in pairwise(widths))
        heads = widths[-1] // preset.head_width
        self.attention = nn.ModuleList(
            TransformerBlock(widths[-1], heads, 1, preset.block, preset.top_k, shifted=shifted, attention="window")
            for shifted in (False, True)
        )
        self.norm = nn.LayerNorm(widths[-1])
        self.leave = nn.Linear(widths[-1], 2 * preset.latent_channels)
        with torch.no_grad():
            self.leave.bias[preset.latent_channels :] = LOGVAR_START

    def forward(self, band: SparseTensor, pyramid: Pyramid) -> Posterior:
        """Return the posterior of a band whose scales are given."""
        x = self.blocks[0](band.with_features(self.enter(band.features)), pyramid.rulebooks[0])
        for down, block, halving, rulebook in zip(
            self.downs, self.blocks[1:], pyramid.halvings, pyramid.rulebooks[1:], strict=True
        ):
            x = block(down(x, halving), rulebook)
        layouts = Layouts.of(x.coords, x.batch_size, self.block)
        h = x.features
        for attention in self.attention:
            h = attention(h, layouts)
        mean, logvar = self.leave(self.norm(h)).chunk(2, dim=1)
        return Posterior(x.coords, mean, logvar.clamp(*LOGVAR_RANGE), x.batch_size)


class SparseDecoder(nn.Module):
    """Latent cells -> band; children that no parent keeps are never computed."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        widths = preset.vae_widths
        self.enter = nn.Linear(preset.latent_channels, widths[-1])
        self.blocks = nn.ModuleList(ResidualConv(width) for width in reversed(widths))
        self.prune = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 8)) for width in reversed(widths[1:])
        )
        self.ups = nn.ModuleList(Upsample(b, a) for a, b in reversed(list(pairwise(widths))))
        self.leave = nn.Linear(widths[0], 1)

    @property
    def receptive_cells(self) -> int:
        """Latent cells around a node that its value can depend on, per side [1]."""
        reach = 0
        for _ in self.blocks:  # finest first: one convolution reaches one cell, parents cover two
            reach = (reach + 1) // 2 + 1
        return reach

    def forward(self, latent: SparseTensor, target: Pyramid | None) -> Decoded:
        """Decode; with a target its cells are computed, whatever the logits say (teacher forcing)."""
        x = latent.with_features(self.enter(latent.features))
        scale = len(self.ups)
        rulebook = Rulebook.of(x.coords, x.batch_size)
        subdivisions = []
        for block, prune, up in zip(self.blocks, self.prune, self.ups, strict=False):
            scale -= 1
            x = block(x, rulebook)
            logits = prune(x.features)
            subdivisions.append(Subdivision(x.coords, logits))
            keep = logits > 0 if target is None else children_mask(x.coords, target.coords[scale])
            x = up(x, subdivide(x.coords, keep, x.batch_size))
            rulebook = Rulebook.of(x.coords, x.batch_size) if target is None else target.rulebooks[scale]
        x = self.blocks[-1](x, rulebook)
        return Decoded(x.with_features(torch.tanh(self.leave(x.features))), tuple(subdivisions))


class SparseVae(nn.Module):
    """The autoencoder of one preset; `encode`, `decode`, and `decode_tiled` for lattices that do not fit."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.scales = len(preset.vae_widths)
        if 2 ** (self.scales - 1) != preset.downsampling:
            raise ParameterError(
                f"preset {preset.name} has {self.scales} widths and downsampling {preset.downsampling}; "
                f"{self.scales} scales halve the lattice to 1 / {2 ** (self.scales - 1)}"
            )
        self.preset = preset
        self.encoder = SparseEncoder(preset)
        self.decoder = SparseDecoder(preset)

    def pyramid(self, coords: Int32[Tensor, "N 4"], batch_size: int) -> Pyramid:
        """Return all scales above these nodes; give it to `encode` and `decode` to build it once."""
        return Pyramid.of(coords, batch_size, scales=self.scales)

    def encode(self, band: SparseTensor, pyramid: Pyramid | None = None) -> Posterior:
        """Return the latent distribution of a band (features (N, 1): signed distance over BAND)."""
        if band.features.shape[1:] != (1,):
            raise VolumeError(f"a band has one channel, got features {tuple(band.features.shape)}")
        return self.encoder(band, pyramid or self.pyramid(band.coords, band.batch_size))

    def decode(self, latent: SparseTensor, target: Int32[Tensor, "N 4"] | Pyramid | None = None) -> Decoded:
        """Return the band of a latent; in training `target` names the nodes (or their pyramid) to compute.

        Raises:
            VolumeError: the latent has other channels than the preset, or target nodes lie outside of its cells.
        """
        if latent.features.shape[1:] != (self.preset.latent_channels,):
            raise VolumeError(
                f"latent features are {tuple(latent.features.shape)}, expected {self.preset.latent_channels} channels"
            )
        if isinstance(target, Tensor):
            target = self.pyramid(target, latent.batch_size)
        if target is not None:
            _, found = find_cells(latent.coords, target.coords[-1])
            if not bool(found.all()):
                raise VolumeError(f"{int((~found).sum())} latent cells of the target are missing in the latent")
        return self.decoder(latent, target)

    def decode_tiled(self, latent: SparseTensor, tile: int, halo: int | None = None) -> Decoded:
        """Decode cube by cube of latent cells and join the results; memory follows the tile, not the object.

        A tile is decoded with a halo as wide as the decoder sees, so the field is that of `decode`: the same nodes
        (unless a logit is within rounding of 0), values within 1e-5, because a matrix product rounds differently
        for different numbers of rows.

        Args:
            latent: Latent cells with features (N, C).
            tile: Side of a tile [latent cells].
            halo: Width of the halo [latent cells]; the reach of the decoder if None.

        Raises:
            VolumeError: the halo is narrower than the reach of the decoder, or the tile is empty.
        """
        reach = self.decoder.receptive_cells
        halo = reach if halo is None else halo
        if halo < reach or tile < 1:
            raise VolumeError(f"tile {tile} and halo {halo} cells: the decoder needs a halo of at least {reach}")
        corners = torch.unique(latent.coords[:, 1:] // tile, dim=0) * tile
        parts = [self._decode_tile(latent, corner, tile, halo) for corner in corners]
        return _join(parts, latent) if parts else self.decode(latent)

    def _decode_tile(self, latent: SparseTensor, corner: Int32[Tensor, "3"], tile: int, halo: int) -> Decoded:
        """Decode one tile of every sample with its halo, and keep what lies in the tile."""
        near = _within(latent.coords, corner - halo, corner + tile + halo)
        whole = self.decode(SparseTensor(latent.coords[near], latent.features[near], latent.batch_size))
        factor = self.preset.downsampling
        kept = _within(whole.band.coords, corner * factor, (corner + tile) * factor)
        levels = []
        for scale, level in enumerate(whole.subdivisions):
            mine = _within(level.coords, corner * 2**scale, (corner + tile) * 2**scale)
            levels.append(Subdivision(level.coords[mine], level.keep_logits[mine]))
        band = SparseTensor(whole.band.coords[kept], whole.band.features[kept], latent.batch_size)
        return Decoded(band, tuple(levels))


def _within(coords: Int32[Tensor, "N 4"], low: Tensor, high: Tensor) -> Tensor:
    """Return which cells lie in the box [low, high) (N,)."""
    return ((coords[:, 1:] >= low) & (coords[:, 1:] < high)).all(dim=1)


def _join(parts: list[Decoded], latent: SparseTensor) -> Decoded:
    """Put disjoint tiles together in the order of cells."""
    coords, features = _merge([part.band.coords for part in parts], [part.band.features for part in parts])
    levels = zip(*(part.subdivisions for part in parts), strict=True)
    merged = (_merge([x.coords for x in level], [x.keep_logits for x in level]) for level in levels)
    band = SparseTensor(coords, features, latent.batch_size)
    return Decoded(band, tuple(Subdivision(c, logits) for c, logits in merged))


def _merge(coords: list[Tensor], features: list[Tensor]) -> tuple[Tensor, Tensor]:
    cells = torch.cat(coords)
    order = torch.argsort(cell_keys(cells))
    return cells[order], torch.cat(features)[order]
