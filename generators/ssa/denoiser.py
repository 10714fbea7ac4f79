"""LatentDenoiser: stage 2, the velocity of the latents on active cells, given the coarse distance of stage 1.

The coarse distance says where within its cell the surface passes, so stage 2 adds detail to a shape that is known, as
the upsamplers of a cascade do (Ho et al. 2022, Cascaded Diffusion Models, section 4). What neighbours must agree on is
left to a convolution on either side of the transformer, with a skip between them (Xiang et al. 2024, TRELLIS, section
3.3): attention over cubes of cells sees the whole object and no single cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generators.errors import VolumeError
from generators.ssa.blocks import Layouts
from generators.ssa.condition import Condition, TimeEmbedding
from generators.ssa.packing import Packing
from generators.ssa.presets import Preset
from generators.ssa.sparse_conv import Rulebook
from generators.ssa.sparse_tensor import SparseTensor
from generators.ssa.spread import spread
from generators.ssa.transformer import Attention
from generators.ssa.trunk import Trunk
from generators.ssa.vae_layers import ResidualConv, zeroed


@dataclass(frozen=True, eq=False)
class Tokens:
    """What a set of cells fixes: neighbours, packing and the blocks of the tokens; shared by all steps of a sampler."""

    rulebook: Rulebook
    packing: Packing
    layouts: Layouts


class LatentDenoiser(nn.Module):
    """Convolution on cells, a transformer with Spatial Sparse Attention on packed cells, convolution on cells."""

    def __init__(self, preset: Preset, families: int, *, attention: Attention = "ssa") -> None:
        super().__init__()
        self.channels = preset.latent_channels
        self.patch = preset.latent_patch
        cell = preset.latent_cell
        self.enter = nn.Linear(self.channels + 1, cell)
        self.time = TimeEmbedding(cell)
        self.before = ResidualConv(cell)
        self.trunk = Trunk(
            self.patch**3 * (cell + 1),
            preset.latent_width,
            preset.latent_depth,
            preset.latent_heads,
            preset.kv_heads,
            channels_out=self.patch**3 * cell,
            block=preset.block,
            top_k=preset.top_k,
            families=families,
            attention=attention,
        )
        self.after = ResidualConv(cell)
        self.norm = nn.LayerNorm(cell, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(cell, 2 * cell)))
        self.leave = zeroed(nn.Linear(cell, self.channels))

    def forward(
        self,
        x_t: SparseTensor,
        t: Float[Tensor, "B"],
        condition: Condition,
        coarse: Float[Tensor, "N"],
        tokens: Tokens | None = None,
    ) -> Float[Tensor, "N C"]:
        """Return the velocity of each cell's latent.

        Args:
            x_t: Noisy latents.
            t: Times of the samples.
            condition: What is asked for.
            coarse: Signed distance at the centre of each cell [latent cell].
            tokens: `tokens` of the same cells, which saves building them.

        Raises:
            VolumeError: the latent has other channels, or a time or a distance is missing, or a sample has no cell.
        """
        tokens = tokens or self.tokens(x_t)
        return self.velocity(self.features(x_t, t, coarse, tokens), t, condition, tokens)

    def features(
        self, x_t: SparseTensor, t: Float[Tensor, "B"], coarse: Float[Tensor, "N"], tokens: Tokens
    ) -> SparseTensor:
        """Return what the convolutions before the transformer see, whatever is asked for; errors as in `forward`."""
        count = len(x_t.coords)
        if (x_t.features.shape, t.shape, coarse.shape) != ((count, self.channels), (x_t.batch_size,), (count,)):
            raise VolumeError(
                f"latent features {tuple(x_t.features.shape)}, times {tuple(t.shape)} and coarse distances "
                f"{tuple(coarse.shape)}, expected ({count}, {self.channels}), ({x_t.batch_size},) and ({count},)"
            )
        known = torch.cat([x_t.features, coarse.to(x_t.features.dtype)[:, None]], dim=1)
        placed = self.enter(known) + spread(self.time(t), x_t.coords[:, 0].long())
        return self.before(x_t.with_features(placed), tokens.rulebook)

    def velocity(
        self, near: SparseTensor, t: Float[Tensor, "B"], condition: Condition, tokens: Tokens
    ) -> Float[Tensor, "N C"]:
        """Return the velocity of each cell's latent where the features are these."""
        packing = tokens.packing
        far = self.trunk(packing.pack(near.features), packing.coords, tokens.layouts, t, condition)
        h = self.after(near.with_features(near.features + packing.unpack(far)), tokens.rulebook)
        shift, scale = spread(self.modulation(self.time(t)), near.coords[:, 0].long()).chunk(2, dim=1)
        return self.leave(self.norm(h.features) * (1 + scale) + shift)

    def tokens(self, x: SparseTensor) -> Tokens:
        """Return the neighbours of these cells, their packing and its blocks."""
        packing = Packing.of(x, self.patch)
        layouts = Layouts.of(packing.coords, x.batch_size, self.trunk.block)
        return Tokens(Rulebook.of(x.coords, x.batch_size), packing, layouts)
