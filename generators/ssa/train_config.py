"""Settings of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from generators.errors import TrainingError
from generators.ssa.presets import PRESETS


@dataclass(frozen=True)
class PhaseConfig:
    """Optimisation of one network."""

    steps: int = 2000
    """Optimiser steps; 0 takes the network of `start` as it is [1]."""
    start: str | None = None
    """Checkpoint whose network training starts from, with fresh moments: a folder `model/`, or its JSON file. Random
    weights where none is given."""
    batch: int = 8
    """Objects per step [1]."""
    rate: float = 5e-4
    """Learning rate after the warm-up [1]."""
    last_rate: float = 5e-5
    """Learning rate at the end of the cosine [1]."""
    warmup: int = 100
    """Steps of linear warm-up [1]."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Moments of AdamW (Loshchilov & Hutter 2019) [1]."""
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of the gradient [1]."""
    ema: float = 0.999
    """Decay of the average of the weights; shorter at the start: (1 + n) / (10 + n) [1]."""

    def __post_init__(self) -> None:
        if self.steps < (self.start is None) or self.batch < 1 or self.warmup < 0:
            raise TrainingError(
                f"steps {self.steps} and batch {self.batch} must be >= 1, warmup {self.warmup} >= 0; steps may be 0 "
                "where a checkpoint to start from is given"
            )
        if not (0 < self.last_rate <= self.rate and self.clip > 0 and 0 <= self.ema < 1 and self.weight_decay >= 0):
            raise TrainingError(
                f"expected 0 < last_rate <= rate, clip > 0, ema in [0, 1) and weight_decay >= 0, got rate {self.rate}, "
                f"last_rate {self.last_rate}, clip {self.clip}, ema {self.ema}, weight_decay {self.weight_decay}"
            )


@dataclass(frozen=True)
class VaePhase(PhaseConfig):
    """Training of the autoencoder."""

    crop: int | None = 8
    """Side of the cube that is cut out of each object [latent cells]; None takes whole objects."""
    margin: float = 0.1
    """Share of the nodes just beyond the band that the decoder is trained on, at +-1; drawn anew each step [1]."""
    kl: float = 0.04
    """Weight of the divergence from the unit normal [1].

    Measured on nano, thin-walled objects, noise of 0.3 deviations on the latents: at 3e-4 the decoded solids have 40
    handles too many, at 0.01 13, at 0.04 3.5; reconstruction is nearly as good (IoU 0.979, 0.974, 0.963)."""
    keep_encoder: bool = False
    """Whether the decoder alone is trained on from `start`: latents stay those that its denoiser knows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_encoder and self.start is None:
            raise TrainingError("vae.keep_encoder needs vae.start, the checkpoint whose encoder is kept")
        if (self.crop is not None and self.crop < 1) or not 0 <= self.margin <= 1 or self.kl < 0:
            raise TrainingError(
                f"expected crop >= 1 or none, margin in [0, 1], kl >= 0; got {self.crop}, {self.margin}, {self.kl}"
            )


@dataclass(frozen=True)
class FlowPhase(PhaseConfig):
    """Training of a denoiser by rectified flow."""

    time_mean: float = field(default=0.5, metadata={"signed": True})
    """Mean of the logit of the time (Esser et al. 2024, equation 19) [1]."""
    time_std: float = 1.0
    drop: float = 0.1
    """Share of rows without any condition; as many lack the family only, and as many the box only [1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.drop <= 1 / 3 or not self.time_std > 0:
            raise TrainingError(f"expected drop in [0, 1/3] and time_std > 0, got {self.drop} and {self.time_std}")


@dataclass(frozen=True)
class DenoiserPhase(FlowPhase):
    """Training of stage 2, which is given the coarse distance of stage 1."""

    coarse_noise: float = 0.1
    """Deviation of the noise on that distance, so that errors of stage 1 are survived (Ho et al. 2022, Cascaded
    Diffusion Models, section 4.1) [latent cell]."""
    coarse_times: tuple[float, float] = (0.0, 0.0)
    """Range of times: a trained stage 1 guesses the distance from as much noise on the true structure, and stage 2 is
    given that, as its errors are like those of a sample and not like noise. (0, 0) gives the true distance [1].

    Measured on small, trained without (`benchmarks/stages.py`): on their true structure 11 of 12 crates, brackets and
    elbows have their handles, on one that stage 1 drew again from 30 % noise 4, its distances off by 0.09 cells."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.coarse_times[0] <= self.coarse_times[1] <= 1:
            raise TrainingError(f"coarse_times are {self.coarse_times}, expected 0 <= low <= high <= 1")
        if not 0 <= self.coarse_noise < float("inf"):
            raise TrainingError(f"coarse_noise is {self.coarse_noise} latent cells, expected at least 0")


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    preset: str = "nano"
    seed: int = 0
    device: str = "cpu"
    """cpu or cuda; has no part in the identity of a run."""
    attention: Literal["ssa", "window", "full"] = "ssa"
    per_family: int | None = None
    """Objects of each family that are trained on, the first ones [1]; all of the data set when not given. Boxes and
    materials that the model draws from are those of all."""
    vae: VaePhase = field(default_factory=VaePhase)
    structure: FlowPhase = field(default_factory=FlowPhase)
    denoiser: DenoiserPhase = field(default_factory=DenoiserPhase)

    log_every: int = 20
    """Steps between two lines of the log [1]."""
    test_every: int = 200
    """Steps between two losses on the test split, with averaged weights [1]."""
    precision: Literal["auto", "single", "bfloat16"] = "auto"
    """Of matrix products; auto is bfloat16 on CUDA and single on a CPU, where bfloat16 pays off only with AMX."""
    half: bool = True
    """Whether the model is written in half precision."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise TrainingError(f"preset {self.preset!r} is none of {', '.join(PRESETS)}")
        if min(self.log_every, self.test_every) < 1 or self.seed < 0:
            raise TrainingError("log_every and test_every must be at least 1, and seed at least 0")
        if self.per_family is not None and self.per_family < 1:
            raise TrainingError(f"per_family is {self.per_family}, expected >= 1, or none for all objects")

    def needs(self, phase: str) -> tuple[str, ...]:
        """Return the phases whose settings decide the weights of a phase, itself the last."""
        if phase != "denoiser":
            return (phase,)
        return ("structure", "vae", "denoiser") if self.denoiser.coarse_times[1] else ("vae", "denoiser")
