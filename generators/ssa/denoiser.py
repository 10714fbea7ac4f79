"""LatentDenoiser: stage 2, the velocity of the latents on active cells, given the coarse distance of stage 1.

The coarse distance says where within its cell the surface passes, so stage 2 adds detail to a shape that is known, as
the upsamplers of a cascade do (Ho et al. 2022, Cascaded Diffusion Models, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generators.errors import VolumeError
from generators.ssa.blocks import Layouts
from generators.ssa.condition import Condition
from generators.ssa.packing import Packing
from generators.ssa.presets import Preset
from generators.ssa.sparse_tensor import SparseTensor
from generators.ssa.transformer import Attention
from generators.ssa.trunk import Trunk


@dataclass(frozen=True, eq=False)
class Tokens:
    """What a set of cells fixes: its packing and the blocks of the tokens; shared by all steps of a sampler."""

    packing: Packing
    layouts: Layouts


class LatentDenoiser(nn.Module):
    """A transformer on packed latent cells, with Spatial Sparse Attention or a baseline in its place."""

    def __init__(self, preset: Preset, families: int, *, attention: Attention = "ssa") -> None:
        super().__init__()
        self.channels = preset.latent_channels
        self.patch = preset.latent_patch
        self.trunk = Trunk(
            self.patch**3 * (self.channels + 2),
            preset.latent_width,
            preset.latent_depth,
            preset.latent_heads,
            preset.kv_heads,
            channels_out=self.patch**3 * self.channels,
            block=preset.block,
            top_k=preset.top_k,
            families=families,
            attention=attention,
        )

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
        count = len(x_t.coords)
        if (x_t.features.shape, t.shape, coarse.shape) != ((count, self.channels), (x_t.batch_size,), (count,)):
            raise VolumeError(
                f"latent features {tuple(x_t.features.shape)}, times {tuple(t.shape)} and coarse distances "
                f"{tuple(coarse.shape)}, expected ({count}, {self.channels}), ({x_t.batch_size},) and ({count},)"
            )
        tokens = tokens or self.tokens(x_t)
        packing = tokens.packing
        known = torch.cat([x_t.features, coarse.to(x_t.features.dtype)[:, None]], dim=1)
        v = self.trunk(packing.pack(known), packing.coords, tokens.layouts, t, condition)
        return packing.unpack(v)

    def tokens(self, x: SparseTensor) -> Tokens:
        """Return the packing of these cells and its blocks."""
        packing = Packing.of(x, self.patch)
        return Tokens(packing, Layouts.of(packing.coords, x.batch_size, self.trunk.block))
