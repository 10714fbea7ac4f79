"""Samples of the learned generator: structure, then latents on its cells, then the decoded band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor

from generators.errors import ParameterError
from generators.ssa.condition import Condition
from generators.ssa.field import FieldConfig, FieldVolume, SampledField, field_volume
from generators.ssa.flow import SamplerConfig, euler_sample, guided, lattice_noise, schedule
from generators.ssa.model import LearnedModel
from generators.ssa.presets import BAND
from generators.ssa.sparse_tensor import SparseTensor
from generators.ssa.structure import CHANNELS, active_cells, distance_at, expand_distance

__all__ = ["FieldConfig", "FieldVolume", "SampledField", "field_volume", "sample_fields", "sample_volume"]

STRUCTURE_STREAM, LATENT_STREAM = 1, 2
"""Streams of noise of one seed."""


def sample_volume(
    model: LearnedModel,
    *,
    family: str,
    extents: Sequence[float],
    seed: int,
    steps: int = 25,
    guidance: float = 1.5,
) -> SampledField:
    """Return one sample; `field_volume` makes a volume of it.

    Args:
        model: Trained networks.
        family: Name of a family that the model knows.
        extents: Bounding box that is asked for [m].
        seed: All chance of this sample, at least 0; equal seeds give equal bytes on one CPU thread.
        steps: Euler steps of each stage.
        guidance: Classifier-free guidance; 1 is the conditional model.

    Raises:
        FamilyError: The model does not know the family.
        ParameterError: The box, the seed or a setting of the sampler is impossible.
    """
    config = replace(SamplerConfig(), steps=steps, guidance=guidance)
    return sample_fields(model, families=[family], extents=[extents], seeds=[seed], config=config)[0]


@torch.no_grad()  # not inference mode: what the networks keep of the lattice must serve training too
def sample_fields(
    model: LearnedModel,
    *,
    families: Sequence[str],
    extents: Sequence[Sequence[float]],
    seeds: Sequence[int],
    config: SamplerConfig,
) -> list[SampledField]:
    """Return one sample per seed, drawn as a batch; the noise of a sample depends on its own seed alone."""
    if not len(families) == len(extents) == len(seeds) or not seeds or min(seeds) < 0:
        raise ParameterError(f"{len(families)} families, {len(extents)} boxes, {len(seeds)} seeds (at least 0 each)")
    if any(len(box) != 3 or not all(0 < side < np.inf for side in box) for box in extents):
        raise ParameterError(f"extents are {list(extents)} m, expected three positive lengths per sample")
    condition = Condition.of([model.index_of(family) for family in families], extents).to(model.device)
    structure = follow_structure(model, structure_noise(model, seeds), condition, config)
    return fields_of_structure(model, structure, condition, families, extents, seeds, config)


def structure_noise(model: LearnedModel, seeds: Sequence[int]) -> Float[Tensor, "B 2 G G G"]:
    """Return what stage 1 starts from."""
    noise = torch.stack([lattice_noise(seed, STRUCTURE_STREAM, model.preset.lattice, CHANNELS) for seed in seeds])
    return noise.permute(0, 4, 1, 2, 3).contiguous().to(model.device)


@torch.no_grad()
def follow_structure(
    model: LearnedModel,
    start: Float[Tensor, "B 2 G G G"],
    condition: Condition,
    config: SamplerConfig,
    *,
    begin: float = 1.0,
) -> Float[Tensor, "B 2 G G G"]:
    """Stage 1: follow the flow to occupancy and coarse signed distance on the whole latent lattice.

    Args:
        model: Trained networks.
        start: Where it begins.
        condition: What is asked for.
        config: Times and guidance.
        begin: Time of the start; the steps before it are left out.
    """
    count = len(start)

    def field_at(x: Tensor, t: float) -> Callable[[Condition], Tensor]:
        times = _times(x, count, t)
        near = model.structure.features(x, times)
        return lambda asked: model.structure.velocity(near, times, asked)

    null = Condition.null(count, model.device)
    field = guided(field_at, condition, null, guidance=config.guidance, interval=config.interval)
    times = [begin, *(t for t in schedule(config.steps, config.shift) if t < begin)]
    return euler_sample(field, start, times)


@torch.no_grad()
def fields_of_structure(
    model: LearnedModel,
    structure: Float[Tensor, "B 2 G G G"],
    condition: Condition,
    families: Sequence[str],
    extents: Sequence[Sequence[float]],
    seeds: Sequence[int],
    config: SamplerConfig,
) -> list[SampledField]:
    """Stage 2 on a structure, decoded: one field per seed."""
    cells = active_cells(structure)
    distance = expand_distance(structure[:, 1])
    known = distance_at(cells, distance)
    latent = _sample_latent(model, cells, known, condition, seeds, config)
    nodes, values = _decoded(model, latent)
    coarse = distance.cpu().numpy()
    bounds = np.searchsorted(nodes[:, 0], np.arange(len(seeds) + 1))
    return [
        SampledField(
            nodes[bounds[b] : bounds[b + 1], 1:],
            values[bounds[b] : bounds[b + 1]],
            coarse[b],
            model.preset.downsampling,
            (float(extents[b][0]), float(extents[b][1]), float(extents[b][2])),
            families[b],
            seeds[b],
        )
        for b in range(len(seeds))
    ]


def _sample_latent(
    model: LearnedModel,
    cells: Int32[Tensor, "N 4"],
    coarse: Float[Tensor, "N"],
    condition: Condition,
    seeds: Sequence[int],
    config: SamplerConfig,
) -> SparseTensor:
    """Stage 2: latents on the active cells; samples without cells are left out of the networks and stay empty."""
    side, channels = model.preset.lattice, model.preset.latent_channels
    if not len(cells):
        return SparseTensor(cells, torch.zeros(0, channels, device=cells.device), len(seeds))
    held, sample = torch.unique(cells[:, 0].long(), return_inverse=True)
    noise = torch.stack([lattice_noise(seeds[b], LATENT_STREAM, side, channels) for b in held.tolist()])
    i, j, k = cells[:, 1:].long().unbind(dim=1)
    start = noise.to(cells.device)[sample, i, j, k]
    packed = torch.cat([sample.int()[:, None], cells[:, 1:]], dim=1)
    blank = SparseTensor(packed, start, len(held))
    tokens = model.denoiser.tokens(blank)
    asked = Condition(condition.family[held], condition.extents[held])

    def field_at(x: Tensor, t: float) -> Callable[[Condition], Tensor]:
        times = _times(x, len(held), t)
        near = model.denoiser.features(blank.with_features(x), times, coarse, tokens)
        return lambda condition: model.denoiser.velocity(near, times, condition, tokens)

    null = Condition.null(len(held), model.device)
    field = guided(field_at, asked, null, guidance=config.guidance, interval=config.interval)
    data = euler_sample(field, start, schedule(config.steps, config.shift))
    return SparseTensor(cells, model.restore(data), len(seeds))


def _decoded(model: LearnedModel, latent: SparseTensor) -> tuple[Int32[np.ndarray, "N 4"], Float[np.ndarray, "N"]]:
    """Return nodes and signed distance [voxel] of the decoded band."""
    if not len(latent.coords):
        return np.zeros((0, 4), dtype=np.int32), np.zeros(0, dtype=np.float32)
    band = model.vae.decode(latent).band
    return band.coords.cpu().numpy(), (BAND * band.features[:, 0]).float().cpu().numpy()


def _times(x: Tensor, count: int, t: float) -> Float[Tensor, "B"]:
    return torch.full((count,), t, dtype=x.dtype, device=x.device)
