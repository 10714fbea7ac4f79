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
from scenegen.errors import ConfigError

if TYPE_CHECKING:
    from generators.ssa.generator import LearnedConfig
    from generators.ssa.shards import Dataset


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


def unseen_objects(held_out: Dataset, test: Dataset) -> Dataset:
    """Return the held-out objects, and the test objects of families of one shape, which have no range to hold out."""
    from generators.ssa.shards import Dataset, Shard

    missing = ~np.isin(test.shard.family, held_out.shard.family)
    return Dataset(Shard.join([held_out.shard, test.shard.take(np.flatnonzero(missing))]), held_out.index)


def held_out_boxes(data: Dataset, families: tuple[str, ...], count: int) -> list[tuple[str, Float64[np.ndarray, "3"]]]:
    """Return families in turn, each with a held-out box of its own [m].

    Raises:
        ConfigError: the data set holds no object of a family.
    """
    asked = []
    rows = {family: _rows(data, family) for family in families}
    for number in range(count):
        family = families[number % len(families)]
        mine = rows[family]
        asked.append((family, np.asarray(data.shard.extents[mine[number // len(families) % len(mine)]], dtype=float)))
    return asked


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


def real_meshes(data: Dataset, families: tuple[str, ...], per_family: int, downsampling: int) -> Iterator[Mesh]:
    """Return objects of a data set, so many of each family, surfaced as samples are."""
    from generators.ssa.reconstruction import object_volume

    rows = [int(row) for family in families for row in _rows(data, family)[:per_family]]
    return _surfaces(object_volume(data, row, downsampling) for row in rows)


def retrieved_meshes(
    data: Dataset, asked: list[tuple[str, Float64[np.ndarray, "3"]]], downsampling: int
) -> Iterator[Mesh]:
    """Return, for each family and box, the training object of that family whose box is nearest."""
    from generators.ssa.reconstruction import object_volume

    found = []
    for family, box in asked:
        rows = _rows(data, family)
        away = np.abs(np.log(data.shard.extents[rows] / box)).max(axis=1)
        found.append(int(rows[away.argmin()]))
    return _surfaces(object_volume(data, row, downsampling) for row in found)


def _surfaces(volumes: Iterator) -> Iterator[Mesh]:
    return (extract_surface(volume) for volume in volumes if volume is not None)


def _rows(data: Dataset, family: str) -> np.ndarray:
    rows = np.flatnonzero(data.shard.family == data.families.index(family)) if family in data.families else np.zeros(0)
    if not len(rows):
        raise ConfigError(
            f"the data set holds no {family} to compare with, which the checkpoint knows; "
            "give the data set that it was trained on"
        )
    return rows
