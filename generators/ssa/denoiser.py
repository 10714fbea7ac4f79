"""LatentDenoiser: stage 2, the velocity of the latents on active cells."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from generators.errors import VolumeError
from generators.ssa.blocks import Layouts
from generators.ssa.condition import Condition
from generators.ssa.presets import Preset
from generators.ssa.sparse_tensor import SparseTensor
from generators.ssa.transformer import Attention
from generators.ssa.trunk import Trunk


class LatentDenoiser(nn.Module):
    """A transformer on active latent cells, with Spatial Sparse Attention or a baseline in its place."""

    def __init__(self, preset: Preset, families: int, *, attention: Attention = "ssa") -> None:
        super().__init__()
        self.channels = preset.latent_channels
        self.trunk = Trunk(
            preset.latent_channels,
            preset.latent_width,
            preset.latent_depth,
            preset.latent_heads,
            preset.kv_heads,
            block=preset.block,
            top_k=preset.top_k,
            families=families,
            attention=attention,
        )

    def forward(
        self, x_t: SparseTensor, t: Float[Tensor, "B"], condition: Condition, layouts: Layouts | None = None
    ) -> Float[Tensor, "N C"]:
        """Return the velocity of each cell's latent; `layouts` of the same cells saves building them.

        Raises:
            VolumeError: the latent has other channels, or a time is missing, or a sample has no cell.
        """
        if x_t.features.shape[1:] != (self.channels,) or t.shape != (x_t.batch_size,):
            raise VolumeError(
                f"latent features {tuple(x_t.features.shape)} and times {tuple(t.shape)}, expected "
                f"(N, {self.channels}) and ({x_t.batch_size},)"
            )
        layouts = layouts or self.layouts(x_t)
        return self.trunk(x_t.features, x_t.coords, layouts, t, condition)

    def layouts(self, x: SparseTensor) -> Layouts:
        """Return the blocks of these cells, to be shared by all steps of a sampler."""
        return Layouts.of(x.coords, x.batch_size, self.trunk.block)
