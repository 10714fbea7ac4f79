"""How near a set of shapes is to objects that nobody trained on, and whether it only repeats the training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generators.process_map import OrderedMap
from scenegen.evaluation.real import RealObject, real_mesh

if TYPE_CHECKING:
    from generators.ssa.point_metrics import Cloud, SetMetrics


@dataclass(frozen=True)
class Novelty:
    """Distances to the nearest training object, of samples beside those of held-out objects."""

    ratio: float
    """Median of the samples over that of held-out objects; far below 1 where training objects are repeated [1]."""
    copies: float
    """Share of samples nearer to a training object than all but 1 % of held-out objects are [1]."""


@dataclass(frozen=True)
class Likeness:
    """One set of shapes against the held-out objects."""

    shapes: int
    against: SetMetrics
    novelty: Novelty | None
    """None for training objects themselves."""


def real_cloud(real: RealObject) -> Cloud | None:
    """Return points on the surface of an object; None where its volume bounds no solid."""
    from generators.ssa.point_metrics import surface_cloud

    mesh = real_mesh(real)
    return None if mesh is None else surface_cloud(mesh)


def real_clouds(objects: Sequence[RealObject], apply: OrderedMap) -> list[Cloud]:
    """Return the clouds of those objects that bound a solid."""
    return [cloud for cloud in apply(real_cloud, objects) if cloud is not None]


def measure_likeness(
    shapes: Sequence[Cloud], held_out: Sequence[Cloud], training: Sequence[Cloud] | None, *, apply: OrderedMap
) -> Likeness:
    """Compare shapes with held-out objects, and with training objects where those are given.

    Raises:
        ParameterError: fewer than two shapes on a side.
    """
    from generators.ssa.point_metrics import chamfer_distances, compare_sets

    novelty = None
    if training is not None:
        mine, theirs = (chamfer_distances(side, training, apply=apply).min(axis=1) for side in (shapes, held_out))
        copies = float((mine < np.percentile(theirs, 1)).mean())
        novelty = Novelty(float(np.median(mine) / np.median(theirs)), copies)
    return Likeness(len(shapes), compare_sets(shapes, held_out, apply=apply), novelty)
