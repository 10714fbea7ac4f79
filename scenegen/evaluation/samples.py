"""Samples for an evaluation: families in turn, boxes that training never saw, none chosen and none repaired."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from generators.blueprint import Blueprint
from generators.errors import VolumeError
from generators.process_map import OrderedMap
from generators.surface import extract_surface
from physics.mesh import Mesh

if TYPE_CHECKING:
    from generators.ssa.generator import LearnedConfig


@dataclass(frozen=True, eq=False)
class Sample:
    """One draw."""

    family: str
    asked: Float64[np.ndarray, "3"]
    """Sides of the box that was asked for [m]."""
    blueprint: Blueprint | None
    mesh: Mesh | None
    """Its surface, before any simplification."""
    reason: str
    """Why there is no solid."""
    seconds: float
    """CPU time of sampling, decoding, field and surface [s]."""

    @property
    def fault(self) -> str:
        """What became of a sample that bounds no solid, in few words."""
        return self.reason.split("bounds no solid: ")[-1]


@dataclass(frozen=True)
class Draw:
    """One sample to be drawn."""

    checkpoint: Path
    family: str
    box: tuple[float, float, float]
    """Sides that are asked for [m]."""
    chance: tuple[int, int]
    """Seed of the evaluation, and number of the sample."""
    config: LearnedConfig


def draw_samples(
    checkpoint: Path,
    asked: list[tuple[str, Float64[np.ndarray, "3"]]],
    *,
    seed: int,
    config: LearnedConfig,
    apply: OrderedMap,
) -> Iterator[Sample]:
    """Yield one sample for each family and box; its chance follows from the seed and its number."""
    draws = [
        Draw(checkpoint, family, (float(box[0]), float(box[1]), float(box[2])), (seed, number), config)
        for number, (family, box) in enumerate(asked)
    ]
    return apply(draw_sample, draws)


def draw_sample(draw: Draw) -> Sample:
    """Draw one sample; the checkpoint is kept by the process."""
    from generators.ssa.generator import SIDES, LearnedGenerator

    learned, box = LearnedGenerator(draw.checkpoint, draw.config), np.array(draw.box)
    resolution = learned.resolution  # reads the checkpoint, which is not part of the time
    begin = time.process_time()
    try:
        blueprint = learned.generate(
            draw.family,
            rng=np.random.default_rng(draw.chance),
            resolution=resolution,
            parameters=dict(zip(SIDES, draw.box, strict=True)),
        )
    except VolumeError as error:
        return Sample(draw.family, box, None, None, str(error), time.process_time() - begin)
    mesh = extract_surface(blueprint.bodies[0].parts[0].volume)
    return Sample(draw.family, box, blueprint, mesh, "", time.process_time() - begin)
