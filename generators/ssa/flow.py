"""Rectified flow: the straight path between data and noise, its velocity, and the Euler sampler along it.

x_t = (1 - t) x_0 + t eps and v = eps - x_0 (Liu et al. 2022, equation 1; Esser et al. 2024, section 2). Time 0 is data,
time 1 is noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from generators.errors import ParameterError
from generators.ssa.condition import Condition

VelocityField = Callable[[Tensor, float], Tensor]
"""v(x_t, t): a network with its condition bound, or a closed form."""
ConditionalField = Callable[[Tensor, float], Callable[[Condition], Tensor]]
"""What a network sees of x_t at t whatever is asked for, and then v for a condition."""


@dataclass(frozen=True)
class SamplerConfig:
    """How the flow is followed from noise to data."""

    steps: int = 12
    """Euler steps [1]."""
    guidance: float = 1.5
    """Classifier-free guidance; 1 is the plain conditional field [1]."""
    interval: tuple[float, float] = (0.1, 0.95)
    """Times within which guidance acts (Kynkaanniemi et al. 2024: not near noise, not near data) [1]."""
    shift: float = 3.0
    """Shift of the times of the steps towards noise (Esser et al. 2024, equation 23) [1]."""

    def __post_init__(self) -> None:
        low, high = self.interval
        if self.steps < 1 or not (np.isfinite(self.guidance) and self.guidance >= 0) or not self.shift > 0:
            raise ParameterError(
                f"steps is {self.steps}, guidance {self.guidance}, shift {self.shift}; "
                "expected at least 1 step, guidance >= 0 and shift > 0"
            )
        if not 0 <= low <= high <= 1:
            raise ParameterError(f"the interval of guidance is {self.interval}, expected 0 <= low <= high <= 1")


def expand(t: Float[Tensor, "B"], x: Tensor) -> Tensor:
    """Return one time per sample in the shape that broadcasts over a dense batch (B, ...)."""
    return t.view(-1, *[1] * (x.ndim - 1))


def interpolate(x0: Tensor, noise: Tensor, t: Tensor | float) -> Tensor:
    """Return x_t = (1 - t) x_0 + t eps; `t` broadcasts over x."""
    return (1 - t) * x0 + t * noise


def velocity(x0: Tensor, noise: Tensor) -> Tensor:
    """Return v = eps - x_0 = d x_t / d t."""
    return noise - x0


def data_of(x_t: Tensor, v: Tensor, t: Tensor | float) -> Tensor:
    """Return x_0 = x_t - t v, the end of the straight path."""
    return x_t - t * v


def shifted(t: Tensor, shift: float) -> Tensor:
    """Return shift t / (1 + (shift - 1) t): more time near noise for shift > 1 (Esser et al. 2024, equation 23)."""
    return shift * t / (1 + (shift - 1) * t)


def logit_normal_times(
    count: int, generator: torch.Generator, *, mean: float = 0.0, std: float = 1.0, shift: float = 1.0
) -> Float[Tensor, "B"]:
    """Draw times in (0, 1) whose logit is normal (Esser et al. 2024, equation 19)."""
    normal = torch.randn(count, generator=generator, device=generator.device)
    return shifted(torch.sigmoid(mean + std * normal), shift)


def schedule(steps: int, shift: float) -> list[float]:
    """Return steps + 1 times from 1 (noise) to 0 (data)."""
    return shifted(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift).tolist()


def euler_sample(field: VelocityField, noise: Tensor, times: list[float]) -> Tensor:
    """Follow dx/dt = v from the first time to the last by Euler steps, exact where the paths are straight."""
    x = noise
    for now, following in pairwise(times):
        x = x + (following - now) * field(x, now)
    return x


def guided(
    field_at: ConditionalField, condition: Condition, null: Condition, *, guidance: float, interval: tuple[float, float]
) -> VelocityField:
    """Return v_u + guidance (v_c - v_u) within the interval of times, and v_c outside of it or where guidance is 1.

    Classifier-free guidance (Ho & Salimans 2022, equation 6) on an interval (Kynkaanniemi et al. 2024, equation 5).
    """

    def field(x: Tensor, t: float) -> Tensor:
        velocity_for = field_at(x, t)
        v = velocity_for(condition)
        if guidance == 1 or not interval[0] <= t <= interval[1]:
            return v
        base = velocity_for(null)
        return base + guidance * (v - base)

    return field


def lattice_noise(seed: int, stream: int, side: int, channels: int) -> Float[Tensor, "G G G C"]:
    """Return normal noise on a whole lattice that depends on the seed and the stream alone.

    Noise of a sparse cell is read at its place, so it depends neither on the batch nor on the other cells. It is drawn
    on the CPU, so that a GPU starts from the same numbers.
    """
    sequence = np.random.SeedSequence([seed, stream])
    generator = torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0]) >> 1)
    return torch.randn(side, side, side, channels, generator=generator)
