"""How alike two sets of shapes are, by Chamfer distance between points on their surfaces: MMD, COV and 1-NNA.

Clouds are compared as they stand: in the body frame, with the longest side of each at 1, and not aligned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.spatial import KDTree

from generators.errors import ParameterError
from generators.process_map import OrderedMap
from physics.mesh import Mesh

Cloud = Float64[np.ndarray, "P 3"]
ROWS = 16
"""Rows of distances that one process finds at a time [1]."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval over redrawn sets of shapes."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SetMetrics:
    """How a set of samples stands to a set of references."""

    mmd: Estimate
    """Minimum matching distance: mean over references of the distance to the nearest sample (Achlioptas et al. 2018,
    section 4) [longest side]."""
    cov: Estimate
    """Coverage: share of the references that are nearest to some sample (the same) [1]."""
    nna: Estimate
    """1-NNA: accuracy of telling samples from references by their nearest neighbour (Lopez-Paz & Oquab 2017; Yang et
    al. 2019, section 4.2) [1]; 0.5 where nobody can, 1 where everybody can."""


def surface_cloud(mesh: Mesh, *, count: int = 2048) -> Cloud:
    """Return points spread evenly over the area of a mesh, its longest side scaled to 1, its base at the origin.

    Faces are taken at equal steps of the cumulative area, places in them from the R2 sequence (Roberts 2018) folded
    into the triangle: the same points on every run.
    """
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    cumulative = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    face = np.searchsorted(cumulative, (np.arange(count) + 0.5) / count * cumulative[-1])
    golden = 1.32471795724474602596  # the plastic number, root of x^3 = x + 1
    u, v = ((0.5 + np.arange(1, count + 1) / golden**k) % 1 for k in (1, 2))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    points = a[face] + u[:, None] * (b - a)[face] + v[:, None] * (c - a)[face]
    low, high = mesh.bounds
    origin = np.array([*(low + high)[:2] / 2, low[2]])
    return (points - origin) / float((high - low).max())


def chamfer_distances(
    left: Sequence[Cloud], right: Sequence[Cloud], *, apply: OrderedMap = map
) -> Float64[np.ndarray, "L R"]:
    """Return the mean distance from each point to the nearest of the other cloud, averaged over both directions.

    Args:
        left: Clouds of the rows.
        right: Clouds of the columns.
        apply: Maps over pieces of the rows, in any number of processes.
    """
    pieces = [(left[begin : begin + ROWS], right) for begin in range(0, len(left), ROWS)]
    return np.concatenate([np.zeros((0, len(right))), *apply(_chamfer_rows, pieces)])


def _chamfer_rows(piece: tuple[Sequence[Cloud], Sequence[Cloud]]) -> Float64[np.ndarray, "L R"]:
    trees = [[KDTree(cloud) for cloud in clouds] for clouds in piece]
    return np.array(
        [
            [
                (mine.query(b)[0].mean() + theirs.query(a)[0].mean()) / 2
                for theirs, b in zip(trees[1], piece[1], strict=True)
            ]
            for mine, a in zip(trees[0], piece[0], strict=True)
        ]
    )


def compare_sets(
    samples: Sequence[Cloud], references: Sequence[Cloud], *, redraws: int = 1000, apply: OrderedMap = map
) -> SetMetrics:
    """Return how samples stand to references; intervals from redrawing both sets with replacement.

    Args:
        samples: What is measured.
        references: What it is measured by.
        redraws: How often both are redrawn.
        apply: Maps over pieces of the distances, in any number of processes.

    Raises:
        ParameterError: A set has fewer than two shapes.
    """
    if min(len(samples), len(references)) < 2:
        raise ParameterError(f"{len(samples)} samples and {len(references)} references, at least 2 of each are needed")
    pairs = ((samples, references), (samples, samples), (references, references))
    across, within, among = (chamfer_distances(left, right, apply=apply) for left, right in pairs)
    n, m = across.shape
    rng = np.random.default_rng(0)
    draws = [(rng.integers(n, size=n), rng.integers(m, size=m)) for _ in range(redraws)]

    def estimate(figure: Callable[[np.ndarray, np.ndarray], float]) -> Estimate:
        spread = np.percentile([figure(i, j) for i, j in draws], [2.5, 97.5])
        return Estimate(figure(np.arange(n), np.arange(m)), float(spread[0]), float(spread[1]))

    right = _told_apart(across, within, among)
    return SetMetrics(
        mmd=estimate(lambda i, j: float(across[np.ix_(i, j)].min(axis=0).mean())),
        cov=estimate(lambda i, j: len(np.unique(j[across[np.ix_(i, j)].argmin(axis=1)])) / len(np.unique(j))),
        # Copies of one shape would be each other's neighbours, so the answers are redrawn and not the shapes.
        nna=estimate(lambda i, j: float(np.concatenate([right[0][i], right[1][j]]).mean())),
    )


def _told_apart(across: np.ndarray, within: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the nearest other shape of each sample and of each reference is of its own set; a tie is half."""

    def own(mine: np.ndarray, other: np.ndarray) -> np.ndarray:
        nearest = (mine + np.diag(np.full(len(mine), np.inf))).min(axis=1)
        return np.where(nearest == other, 0.5, nearest < other)

    return own(within, across.min(axis=1)), own(among, across.min(axis=0))
