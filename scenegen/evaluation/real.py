"""Real objects for an evaluation: those that training saw, and those that it never did, surfaced as samples are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float64

from generators.surface import extract_surface
from physics.mesh import Mesh
from scenegen.errors import ConfigError

if TYPE_CHECKING:
    from generators.ssa.shards import Dataset

Side = Literal["seen", "unseen"]
"""What was trained on; what was held out."""


@dataclass(frozen=True)
class RealObject:
    """One object of a data set on disk; light enough to travel between processes."""

    data: Path
    side: Side
    row: int
    downsampling: int
    """Nodes per latent cell and side, as the model has them [1]."""


@lru_cache(maxsize=2)
def real_objects(data: Path, side: Side) -> Dataset:
    """Return one side of a data set, read once by a process.

    Unseen are the objects of held-out boxes, and the test objects of families of one shape, which have no range to hold
    out.

    Raises:
        DatasetError: the data set is missing or damaged.
    """
    from generators.ssa.shards import Dataset, Shard, load_dataset

    if side == "seen":
        return load_dataset(data, "train")
    held_out, test = load_dataset(data, "held_out"), load_dataset(data, "test")
    missing = ~np.isin(test.shard.family, held_out.shard.family)
    return Dataset(Shard.join([held_out.shard, test.shard.take(np.flatnonzero(missing))]), held_out.index)


def held_out_boxes(data: Path, families: tuple[str, ...], count: int) -> list[tuple[str, Float64[np.ndarray, "3"]]]:
    """Return families in turn, each with an unseen box of its own [m].

    Raises:
        ConfigError: the data set holds no object of a family.
    """
    unseen = real_objects(data, "unseen")
    asked = []
    rows = {family: _rows(unseen, family) for family in families}
    for number in range(count):
        family = families[number % len(families)]
        mine = rows[family]
        asked.append((family, np.asarray(unseen.shard.extents[mine[number // len(families) % len(mine)]], dtype=float)))
    return asked


def first_objects(
    data: Path, side: Side, families: tuple[str, ...], per_family: int, downsampling: int
) -> list[RealObject]:
    """Return the first so many objects of each family.

    Raises:
        ConfigError: the data set holds no object of a family.
    """
    found = real_objects(data, side)
    rows = [int(row) for family in families for row in _rows(found, family)[:per_family]]
    return [RealObject(data, side, row, downsampling) for row in rows]


def nearest_objects(
    data: Path, asked: list[tuple[str, Float64[np.ndarray, "3"]]], downsampling: int
) -> list[RealObject]:
    """Return, for each family and box, the training object of that family whose box is nearest.

    Raises:
        ConfigError: the data set holds no object of a family.
    """
    seen, found = real_objects(data, "seen"), []
    for family, box in asked:
        rows = _rows(seen, family)
        away = np.abs(np.log(seen.shard.extents[rows] / box)).max(axis=1)
        found.append(RealObject(data, "seen", int(rows[away.argmin()]), downsampling))
    return found


def real_mesh(real: RealObject) -> Mesh | None:
    """Return the surface of an object, found as that of a sample is; None where its volume bounds no solid."""
    from generators.ssa.reconstruction import object_volume

    volume = object_volume(real_objects(real.data, real.side), real.row, real.downsampling)
    return None if volume is None else extract_surface(volume)


def _rows(data: Dataset, family: str) -> np.ndarray:
    rows = np.flatnonzero(data.shard.family == data.families.index(family)) if family in data.families else np.zeros(0)
    if not len(rows):
        raise ConfigError(
            f"the data set holds no {family} to compare with, which the checkpoint knows; "
            "give the data set that it was trained on"
        )
    return rows
