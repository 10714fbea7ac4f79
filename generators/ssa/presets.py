"""Sizes of the learned generator: one line per preset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Sizes of the autoencoder and of both denoisers."""

    name: str
    resolution: int
    """Nodes along a side of the signed-distance lattice [1]."""
    downsampling: int
    """Nodes per latent cell and side, a power of two [1]."""
    latent_channels: int
    vae_widths: tuple[int, ...]
    """Channels at each scale of the autoencoder, finest first."""
    block: int
    """Side of the blocks of SSA: compression, selection and window alike [latent cells]."""
    top_k: int
    """Blocks that a token selects [1]."""
    head_width: int
    structure_depth: int
    structure_width: int
    structure_heads: int
    structure_patch: int
    """Side of the patches of stage 1 [cells of its coarsest scale]."""
    structure_cells: tuple[int, ...]
    """Channels of the convolutions before and after the transformer of stage 1, latent cells first; each scale is half
    as fine as the one before [1]."""
    latent_depth: int
    latent_width: int
    latent_heads: int
    latent_cell: int
    """Channels of a cell in the convolutions before and after the transformer of stage 2 [1]."""
    latent_patch: int
    """Side of the cubes of active cells that are one token of stage 2 [latent cells]."""
    kv_heads: int

    @property
    def lattice(self) -> int:
        """Latent cells along a side [1]."""
        return self.resolution // self.downsampling


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("nano", 64, 4, 16, (16, 32, 64), 4, 8, 32, 4, 128, 4, 2, (32,), 6, 128, 4, 32, 2, 1),
        Preset("small", 128, 4, 16, (16, 32, 96), 4, 8, 32, 6, 192, 6, 2, (32, 64), 6, 192, 6, 64, 2, 1),
        Preset(
            "large", 512, 8, 16, (32, 64, 128, 512), 8, 8, 32, 24, 1024, 32, 2, (32, 64, 128), 24, 1024, 32, 128, 1, 2
        ),
    )
}
"""Presets by name: nano trains on a CPU, small is meant to ship, large is for many GPUs."""

BAND = 3.0
"""Half width of the band of signed distance that is generated [voxels]."""
FILL = 0.9
"""Longest side of an object over the side of the lattice [1]."""
COARSE_REACH = 4.0
"""Truncation of the coarse signed distance of stage 1 [latent cells]."""
