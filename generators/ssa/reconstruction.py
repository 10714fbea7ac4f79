"""How well the autoencoder gives objects back: volumetric IoU of a solid and what becomes of its latent."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64

from generators.ssa.bands import Bands
from generators.ssa.field import SampledField, field_volume
from generators.ssa.generator import one_thread
from generators.ssa.model import LearnedModel
from generators.ssa.presets import BAND
from generators.ssa.shards import Dataset
from generators.ssa.sparse_tensor import SparseTensor
from generators.volume import SparseVolume


def reconstruction_iou(
    model: LearnedModel, data: Dataset, count: int, *, rng: np.random.Generator
) -> Float64[np.ndarray, "n"]:
    """Return the IoU of objects and their reconstructions, which see the latent alone; 0 where there is no solid.

    Args:
        model: A model on the CPU; pruning is the decoder's own.
        data: Objects that training has not seen.
        count: How many of them.
        rng: Draws which.
    """
    found = []
    for row in rng.choice(len(data), size=min(count, len(data)), replace=False):
        with torch.inference_mode(), one_thread():
            band = Bands.of(data).batch(np.array([row]))
            decoded = model.vae.decode(model.vae.encode(band).latent()).band
        volumes = [band_volume(x, data, int(row), model.preset.downsampling) for x in (band, decoded)]
        found.append(0.0 if None in volumes else volume_iou(*volumes, side=model.preset.resolution))  # pyright: ignore[reportArgumentType]
    return np.array(found)


def object_volume(data: Dataset, row: int, downsampling: int) -> SparseVolume | None:
    """Return the volume of an object of a data set, found as that of a sample is; None where it bounds no solid."""
    return band_volume(Bands.of(data).batch(np.array([row])), data, row, downsampling)


def band_volume(band: SparseTensor, data: Dataset, row: int, downsampling: int) -> SparseVolume | None:
    """Return the volume of a band that stands for an object of a data set; None where it bounds no solid."""
    x, y, z = (float(side) for side in data.shard.extents[row])
    coarse = data.shard.coarse[row].astype(np.float32)
    values = (BAND * band.features[:, 0]).float().numpy()
    return field_volume(SampledField(band.coords[:, 1:].numpy(), values, coarse, downsampling, (x, y, z))).volume


def volume_iou(a: SparseVolume, b: SparseVolume, *, side: int) -> float:
    """Return the intersection of two solids over their union, in nodes of one lattice of so many nodes a side [1]."""
    nodes = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inside_a, inside_b = a.sign_at(nodes) < 0, b.sign_at(nodes) < 0
    return float((inside_a & inside_b).sum() / (inside_a | inside_b).sum())
