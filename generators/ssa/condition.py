"""Condition: what an object shall be (family and bounding box), and its embedding together with the flow's time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from generators.errors import ParameterError

UNKNOWN = -1
"""Index of a family that is not named."""
TIME_SCALE = 1000.0
"""Factor on the time before its sines and cosines, as in the networks whose time counts 0 to 1000 [1]."""
TIME_WAVES = 64
"""Sines, and as many cosines, that embed the time [1]."""
SLOWEST_WAVE = 10000.0
"""Period of the slowest sine over that of the fastest (Vaswani et al. 2017, section 3.5) [1]."""


@dataclass(frozen=True, eq=False)
class Condition:
    """Family and size asked for, one row per sample; a null row asks for nothing in particular."""

    family: Int64[Tensor, "B"]
    """Index of the family, `UNKNOWN` where it is not named."""
    extents: Float[Tensor, "B 3"]
    """Bounding box along x, y, z [m]; a row of NaN where it is not given."""

    @classmethod
    def of(cls, family: Sequence[int], extents: Sequence[Sequence[float]]) -> Condition:
        """Return the condition of these families and boxes [m], checked."""
        rows = torch.tensor(extents, dtype=torch.float32).reshape(-1, 3)
        return cls(torch.tensor(family, dtype=torch.int64), rows).check()

    @classmethod
    def null(cls, batch_size: int, device: torch.device | str = "cpu") -> Condition:
        """Return rows that ask for nothing."""
        family = torch.full((batch_size,), UNKNOWN, dtype=torch.int64, device=device)
        return cls(family, torch.full((batch_size, 3), math.nan, device=device))

    def drop(self, rows: Bool[Tensor, "B"]) -> Condition:
        """Return the condition with the given rows nulled (classifier-free guidance, Ho & Salimans 2022, section 3)."""
        family = torch.where(rows, UNKNOWN, self.family)
        return Condition(family, self.extents.masked_fill(rows[:, None], math.nan))

    def to(self, device: torch.device | str) -> Condition:
        """Return the condition on a device."""
        return Condition(self.family.to(device), self.extents.to(device))

    def check(self, families: int | None = None) -> Condition:
        """Return self.

        Raises:
            ParameterError: a box is not positive and finite, or a family index is not below `families`.
        """
        if self.extents.shape != (len(self.family), 3):
            raise ParameterError(
                f"{len(self.family)} families for extents {tuple(self.extents.shape)}, expected (B, 3)"
            )
        given = ~self.extents.isnan().all(dim=1)
        good = (self.extents > 0).all(dim=1) & self.extents.isfinite().all(dim=1)
        if bool((given & ~good).any()):
            row = int((given & ~good).long().argmax())
            raise ParameterError(
                f"extents of sample {row} are {self.extents[row].tolist()} m, expected positive lengths"
            )
        most = int(self.family.max()) if len(self.family) else UNKNOWN
        least = int(self.family.min()) if len(self.family) else UNKNOWN
        if least < UNKNOWN or (families is not None and most >= families):
            raise ParameterError(f"family indices are {least} to {most}, expected -1 (unknown) to {families}")
        return self


class ConditionEmbedding(nn.Module):
    """Family and box as one vector: a learned row per family plus an MLP of logarithms of the box."""

    def __init__(self, families: int, width: int) -> None:
        super().__init__()
        self.families = families
        self.family = nn.Embedding(families + 1, width)  # the last row is the unknown family
        self.box = nn.Sequential(nn.Linear(7, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, condition: Condition) -> Float[Tensor, "B C"]:
        """Return the embedding of each sample."""
        family = torch.where(condition.family < 0, self.families, condition.family)
        return self.family(family) + self.box(box_features(condition.extents))


def box_features(extents: Float[Tensor, "B 3"]) -> Float[Tensor, "B 7"]:
    """Return log sides, log ratios to the longest side, and 1; all 0 where the box is not given."""
    given = ~extents.isnan().any(dim=1, keepdim=True)
    logs = torch.where(given, extents, 1.0).log()
    ratios = logs - logs.amax(dim=1, keepdim=True)
    return torch.cat([logs, ratios, torch.ones_like(logs[:, :1])], dim=1) * given


class TimeEmbedding(nn.Module):
    """Time of the flow in [0, 1] as sines and cosines, then an MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(2 * TIME_WAVES, width)
        self.leave = nn.Linear(width, width)

    def forward(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B C"]:
        """Return the embedding of each time."""
        order = torch.arange(TIME_WAVES, device=t.device, dtype=torch.float32) / TIME_WAVES
        angles = TIME_SCALE * t.float()[:, None] * torch.exp(-math.log(SLOWEST_WAVE) * order)
        waves = torch.cat([angles.cos(), angles.sin()], dim=1).to(self.enter.weight.dtype)
        return self.leave(nn.functional.silu(self.enter(waves)))
