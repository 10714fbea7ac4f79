"""Directions across which a piece is cut, and the levels at which its flat faces lie."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64


def directions(centres: np.ndarray, area: np.ndarray) -> Float64[np.ndarray, "D 3"]:
    """Axes, and the principal axes of the surface where they differ."""
    deviation = centres - np.average(centres, axis=0, weights=area)
    vectors = np.linalg.eigh((area[:, None] * deviation).T @ deviation)[1].T
    return np.concatenate([np.eye(3)[::-1], vectors[np.abs(vectors).max(axis=1) < 0.995]])


def flat_levels(levels: np.ndarray, area: np.ndarray, count: int) -> Float64[np.ndarray, "L"]:
    """Levels, as shares of the span, that hold most of the area across a direction; the two ends are left out."""
    bins = 200
    index = np.clip(np.round(levels * bins).astype(int), 0, bins)
    weight = np.bincount(index, weights=area, minlength=bins + 1)
    weight[:2] = weight[-2:] = 0.0
    best = [k for k in np.argsort(-weight, kind="stable")[:count] if weight[k] > 0]
    return np.array([np.average(levels[index == k], weights=area[index == k]) for k in best])
