"""The three phases of training: what is drawn in a step, and what is minimised."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor, nn

from generators.errors import TrainingError
from generators.ssa.bands import Bands, Structures, gather_rows
from generators.ssa.condition import UNKNOWN, Condition
from generators.ssa.flow import data_of, expand, interpolate, logit_normal_times, velocity
from generators.ssa.presets import Preset
from generators.ssa.shards import Dataset
from generators.ssa.sparse_tensor import SparseTensor
from generators.ssa.structure import distance_at, expand_distance
from generators.ssa.train_config import DenoiserPhase, FlowPhase, PhaseConfig, VaePhase
from generators.ssa.vae import SparseVae
from generators.ssa.vae_loss import VaeLossConfig, vae_loss, with_margin

Terms = dict[str, Float[Tensor, ""]]
"""Losses by name; "total" is minimised."""


class Phase(Protocol):
    """One network and its loss. All chance of a step comes from the generator, which lies where the network does."""

    @property
    def name(self) -> str:
        """Name of the network."""
        ...

    @property
    def number(self) -> int:
        """Place among the phases; seeds its chance."""
        ...

    @property
    def config(self) -> PhaseConfig:
        """Settings of the optimisation."""
        ...

    @property
    def module(self) -> nn.Module:
        """The network."""
        ...

    def loss(self, module: nn.Module, rows: np.ndarray, generator: torch.Generator, *, test: bool = False) -> Terms:
        """Return the losses of a module (the phase's own, or its average) on some objects of a split."""
        ...

    def count(self, *, test: bool = False) -> int:
        """Return the number of objects of the split."""
        ...


def crop_band(band: SparseTensor, *, crop: int, preset: Preset, generator: torch.Generator) -> SparseTensor:
    """Return a cube of `crop` latent cells a side of each object, about a node of it drawn at random.

    The cube is moved to the corner of the lattice; it holds whole latent cells.
    """
    if crop >= preset.lattice:
        return band
    starts = band.starts
    share = torch.rand(band.batch_size, generator=generator, device=generator.device).to(starts.device)
    size = starts[1:] - starts[:-1]
    middle = starts[:-1] + (share * size).long().clamp(max=size - 1)
    factor = preset.downsampling
    corner = (band.coords[middle, 1:] // factor - crop // 2).clamp(0, preset.lattice - crop) * factor
    moved = band.coords[:, 1:] - corner[band.coords[:, 0].long()]
    held = ((moved >= 0) & (moved < crop * factor)).all(dim=1)
    coords = torch.cat([band.coords[held, :1], moved[held]], dim=1)
    return SparseTensor(coords, band.features[held], band.batch_size)


@dataclass(frozen=True, eq=False)
class VaeTraining:
    """Phase 1: the autoencoder on crops of bands."""

    module: SparseVae
    config: VaePhase
    preset: Preset
    train: Bands
    test: Bands
    name: str = "vae"
    number: int = 1

    def count(self, *, test: bool = False) -> int:
        """Return the number of objects of the split."""
        return len(self.test if test else self.train)

    def loss(self, module: nn.Module, rows: np.ndarray, generator: torch.Generator, *, test: bool = False) -> Terms:
        """Return the terms of `vae_loss`."""
        vae = cast(SparseVae, module)
        band = (self.test if test else self.train).batch(rows)
        if self.config.crop is not None:
            band = crop_band(band, crop=self.config.crop, preset=self.preset, generator=generator)
        pyramid = vae.pyramid(band.coords, band.batch_size)
        target = with_margin(
            band,
            downsampling=self.preset.downsampling,
            share=self.config.margin,
            generator=generator,
            rulebook=pyramid.rulebooks[0],
        )
        wanted = vae.pyramid(target.coords, target.batch_size)
        posterior = vae.encode(band, pyramid)
        decoded = vae.decode(posterior.sample(generator), wanted)
        loss = VaeLossConfig(kl=self.config.kl)
        return vae_loss(decoded, target, posterior, loss, rulebook=wanted.rulebooks[0])


def conditions(
    families: Int64[Tensor, "B"], extents: Float[Tensor, "B 3"], *, drop: float, generator: torch.Generator
) -> Condition:
    """Return conditions of which a share lacks everything, a share the family, and a share the box."""
    draw = torch.rand(len(families), generator=generator, device=generator.device).to(families.device)
    family = torch.where((draw < 2 * drop), UNKNOWN, families)
    without_box = (draw < drop) | ((draw >= 2 * drop) & (draw < 3 * drop))
    return Condition(family, extents.masked_fill(without_box[:, None], math.nan))


@dataclass(frozen=True, eq=False)
class Asked:
    """Family and bounding box of all objects of a split."""

    family: Int64[Tensor, "S"]
    extents: Float[Tensor, "S 3"]
    """Bounding boxes [m]."""

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device | str = "cpu") -> Asked:
        """Return them on a device."""
        return cls(*(torch.from_numpy(x).to(device) for x in (dataset.shard.family, dataset.shard.extents)))

    def batch(self, rows: np.ndarray, *, drop: float, generator: torch.Generator) -> Condition:
        """Return the conditions of some objects, a part of them dropped; see `conditions`."""
        chosen = torch.from_numpy(rows).to(self.family.device)
        return conditions(self.family[chosen], self.extents[chosen], drop=drop, generator=generator)


@dataclass(frozen=True, eq=False)
class Latents:
    """Latents of a split, one object after the other."""

    coords: Int32[Tensor, "N 3"]
    features: Float[Tensor, "N C"]
    """Means of the posterior."""
    offsets: Int64[Tensor, "S+1"]
    asked: Asked
    """Family and bounding box of the same objects."""
    structures: Structures
    """What stage 1 gives for them."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def batch(self, rows: np.ndarray) -> SparseTensor:
        """Return the latents of some objects."""
        place, sample = gather_rows(self.offsets, rows)
        coords = torch.cat([sample.int()[:, None], self.coords[place]], dim=1)
        return SparseTensor(coords, self.features[place], len(rows))


@torch.no_grad()
def encode_split(
    vae: SparseVae, bands: Bands, *, batch: int | None = None, observe: Callable[[int, int], None] | None = None
) -> dict[str, Tensor]:
    """Return coords, features and offsets of the latents of all objects of a split, on the CPU."""
    batch = batch or (32 if bands.coords.is_cuda else 8)
    coords, features, sizes = [], [], []
    for begin in range(0, len(bands), batch):
        rows = np.arange(begin, min(begin + batch, len(bands)))
        latent = vae.encode(bands.batch(rows)).latent()
        coords.append(latent.coords[:, 1:].cpu())
        features.append(latent.features.float().cpu())
        sizes.append(latent.starts.diff().cpu())
        if observe:
            observe(int(rows[-1]) + 1, len(bands))
    size = torch.cat(sizes)
    offsets = torch.cat([size.new_zeros(1), size.cumsum(0)])
    return {"coords": torch.cat(coords), "features": torch.cat(features), "offsets": offsets}


@dataclass(frozen=True, eq=False)
class StructureTraining:
    """Phase 2: occupancy and coarse distance by rectified flow."""

    module: nn.Module
    config: FlowPhase
    train: tuple[Structures, Asked]
    test: tuple[Structures, Asked]
    name: str = "structure"
    number: int = 2

    def count(self, *, test: bool = False) -> int:
        """Return the number of objects of the split."""
        return len((self.test if test else self.train)[0])

    def loss(self, module: nn.Module, rows: np.ndarray, generator: torch.Generator, *, test: bool = False) -> Terms:
        """Return the mean squared error of the velocity (Liu et al. 2022, equation 1), and that of each channel."""
        structures, asked = self.test if test else self.train
        x0 = structures.batch(rows)
        t = logit_normal_times(len(rows), generator, mean=self.config.time_mean, std=self.config.time_std)
        noise = torch.randn(x0.shape, generator=generator, device=generator.device)
        condition = asked.batch(rows, drop=self.config.drop, generator=generator)
        v = module(interpolate(x0, noise, expand(t, x0)), t, condition)
        error = (v.float() - velocity(x0, noise)).square().mean(dim=(0, 2, 3, 4))
        return {"total": error.mean(), "occupancy": error[0], "distance": error[1]}


@dataclass(frozen=True, eq=False)
class DenoiserTraining:
    """Phase 3: latents on the active cells by rectified flow, given the coarse distance with some noise."""

    module: nn.Module
    config: DenoiserPhase
    train: Latents
    test: Latents
    mean: Float[Tensor, "C"]
    std: Float[Tensor, "C"]
    structure: nn.Module
    """Stage 1, trained where its guesses are asked for."""
    name: str = "denoiser"
    number: int = 3

    def count(self, *, test: bool = False) -> int:
        """Return the number of objects of the split."""
        return len(self.test if test else self.train)

    def loss(self, module: nn.Module, rows: np.ndarray, generator: torch.Generator, *, test: bool = False) -> Terms:
        """Return the mean squared error of the velocity."""
        data = self.test if test else self.train
        latent = data.batch(rows)
        x0 = (latent.features - self.mean) / self.std
        t = logit_normal_times(len(rows), generator, mean=self.config.time_mean, std=self.config.time_std)
        noise = torch.randn(x0.shape, generator=generator, device=generator.device)
        condition = data.asked.batch(rows, drop=self.config.drop, generator=generator)
        noisy = latent.with_features(interpolate(x0, noise, t[latent.coords[:, 0].long()][:, None]))
        coarse = distance_at(latent.coords, self._distance(data, rows, condition, generator))
        error = torch.randn(coarse.shape, generator=generator, device=generator.device)
        v = module(noisy, t, condition, coarse + self.config.coarse_noise * error)
        return {"total": (v.float() - velocity(x0, noise)).square().mean()}

    @torch.no_grad()
    def _distance(
        self, data: Latents, rows: np.ndarray, condition: Condition, generator: torch.Generator
    ) -> Float[Tensor, "B G G G"]:
        """Return the coarse distance that stage 2 is given: the true one, or what stage 1 makes of it in noise."""
        low, high = self.config.coarse_times
        if not high:
            return data.structures.distance(rows)
        x0 = data.structures.batch(rows)
        t = low + (high - low) * torch.rand(len(rows), generator=generator, device=generator.device)
        x_t = interpolate(x0, torch.randn(x0.shape, generator=generator, device=generator.device), expand(t, x0))
        guess = data_of(x_t, self.structure(x_t, t, condition).float(), expand(t, x0))
        return expand_distance(guess[:, 1])


def latent_statistics(latents: Latents) -> tuple[Float[Tensor, "C"], Float[Tensor, "C"]]:
    """Return the mean of each channel over all cells, and one deviation for all of them, a copy for each.

    A channel that says little stays small beside the others: made as large as they are, it would be learned as well as
    they are, for nothing.

    Raises:
        TrainingError: a channel that never changes, or numbers that are not finite.
    """
    values = latents.features.double()
    mean, std = values.mean(dim=0), values.var(dim=0).mean().sqrt().expand(values.shape[1])
    if not bool(values.isfinite().all()) or not bool((std > 1e-6).all()):
        raise TrainingError(f"latents have deviations {std.tolist()}: the autoencoder has not learned to use them")
    return mean.float(), std.float().clone()
