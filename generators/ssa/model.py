"""LearnedModel: the three networks of the learned generator and what is needed to use them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from generators.errors import FamilyError, ParameterError
from generators.ssa.denoiser import LatentDenoiser
from generators.ssa.presets import Preset
from generators.ssa.structure import StructureDenoiser
from generators.ssa.transformer import Attention
from generators.ssa.vae import SparseVae


@dataclass(frozen=True, eq=False)
class LearnedModel:
    """Autoencoder and both denoisers of one preset, with the statistics of their training data."""

    preset: Preset
    families: tuple[str, ...]
    """Names of the families; the place in the tuple is the index in `Condition`."""
    vae: SparseVae
    structure: StructureDenoiser
    denoiser: LatentDenoiser
    latent_mean: Float[Tensor, "C"]
    """Mean of the latents of the training data, per channel."""
    latent_std: Float[Tensor, "C"]
    """Standard deviation of the latents of the training data, per channel."""
    boxes: Mapping[str, Float[np.ndarray, "n 3"]] = field(default_factory=dict)
    """Bounding boxes of the training objects of each family [m]."""
    materials: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the materials of the training objects of each family."""

    def __post_init__(self) -> None:
        channels = (self.preset.latent_channels,)
        if self.latent_mean.shape != channels or self.latent_std.shape != channels:
            raise ParameterError(
                f"latent mean {tuple(self.latent_mean.shape)} and deviation {tuple(self.latent_std.shape)}, "
                f"expected {channels} each"
            )
        if not bool((self.latent_std > 0).all()) or not bool(self.latent_mean.isfinite().all()):
            raise ParameterError("latent deviations must be positive and means finite; was the autoencoder trained?")
        if len(set(self.families)) != len(self.families):
            raise ParameterError(f"a family is named twice: {', '.join(self.families)}")

    @classmethod
    def new(
        cls,
        preset: Preset,
        families: tuple[str, ...],
        *,
        boxes: Mapping[str, Float[np.ndarray, "n 3"]] | None = None,
        materials: Mapping[str, tuple[str, ...]] | None = None,
        attention: Attention = "ssa",
    ) -> LearnedModel:
        """Return untrained networks; seed torch before for equal weights."""
        return cls(
            preset,
            families,
            SparseVae(preset),
            StructureDenoiser(preset, len(families), attention=attention),
            LatentDenoiser(preset, len(families), attention=attention),
            torch.zeros(preset.latent_channels),
            torch.ones(preset.latent_channels),
            dict(boxes or {}),
            dict(materials or {}),
        )

    @property
    def device(self) -> torch.device:
        """Where the networks lie."""
        return next(self.denoiser.parameters()).device

    def index_of(self, family: str) -> int:
        """Return the index of a family.

        Raises:
            FamilyError: the model was not trained on it.
        """
        if family in self.families:
            return self.families.index(family)
        near = difflib.get_close_matches(family, self.families, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise FamilyError(
            f"the learned model does not know {family!r}.{hint} "
            f"It was trained on: {', '.join(self.families) or 'nothing'}"
        )

    def normalise(self, latent: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """Return latents of zero mean and unit deviation, the data of stage 2."""
        return (latent - self.latent_mean.to(latent.device)) / self.latent_std.to(latent.device)

    def restore(self, data: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """Invert `normalise`."""
        return data * self.latent_std.to(data.device) + self.latent_mean.to(data.device)
