"""Directions across which a piece is cut, and the levels at which its flat faces lie."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

SAME_MOMENT = 0.02
"""Moments that differ by this share of the largest are of no axis of their own [1]."""
FLAT_SHARE = 0.06
"""A flat wall gives a direction when it has this share of the area of a piece [1]; a round one has 0.04 at most."""
FLAT_COSINE = 0.998
"""Faces are of the same flat walls when their normals have at least this cosine (3.6 degrees) [1]."""
KNOWN_COSINE = 0.98
"""Directions with at least this cosine are one [1]."""
MOST_FLATS, FLAT_SEEDS = 2, 100
"""So many directions of flat walls at most, looked for about so many of the largest faces."""


def directions(centres: np.ndarray, area: np.ndarray) -> Float64[np.ndarray, "D 3"]:
    """Axes, and the principal axes of the surface where they differ and are any.

    Moments that are nearly equal, as of a square or a ring, leave the axes that belong to them to chance.
    """
    deviation = centres - np.average(centres, axis=0, weights=area)
    moments, vectors = np.linalg.eigh((area[:, None] * deviation).T @ deviation)
    apart = np.diff(moments) > SAME_MOMENT * moments[-1]
    sure = np.array([apart[0], apart[0] and apart[1], apart[1]])
    vectors = vectors.T[sure]
    return np.concatenate([np.eye(3)[::-1], vectors[np.abs(vectors).max(axis=1) < 0.995]])


def flat_directions(cross: Float64[np.ndarray, "F 3"], known: Float64[np.ndarray, "D 3"]) -> Float64[np.ndarray, "K 3"]:
    """Normals of flat walls that are across none of the known directions, those with most area first.

    Ribs and gussets run aslant of all axes, and so few of them have much effect on the principal axes.

    Args:
        cross: Cross products of two edges of each face: its normal, as long as twice its area.
        known: Unit vectors of the directions there are.
    """
    area = np.linalg.norm(cross, axis=1)
    least = FLAT_SHARE * float(area.sum())
    normal = cross / area.clip(min=1e-300)[:, None]
    left = np.where(np.abs(normal @ known.T).max(axis=1) < KNOWN_COSINE, area, 0.0)
    found: list[np.ndarray] = []
    while len(found) < MOST_FLATS and left.sum() > least:
        largest = np.argsort(-left, kind="stable")[:FLAT_SEEDS]
        alike = np.abs(normal[largest] @ normal.T) > FLAT_COSINE
        weight = alike @ left
        best = int(weight.argmax())
        if weight[best] < least:
            break
        seed = normal[largest[best]]
        wall = np.flatnonzero(alike[best] & (left > 0))
        mean = (np.sign(normal[wall] @ seed) * left[wall]) @ normal[wall]
        found.append(mean / np.linalg.norm(mean))
        left = np.where(np.abs(normal @ found[-1]) < KNOWN_COSINE, left, 0.0)
    return np.array(found).reshape(-1, 3)


def flat_levels(levels: np.ndarray, area: np.ndarray, count: int) -> Float64[np.ndarray, "L"]:
    """Levels, as shares of the span, that hold most of the area across a direction; the two ends are left out."""
    bins = 200
    index = np.clip(np.round(levels * bins).astype(int), 0, bins)
    weight = np.bincount(index, weights=area, minlength=bins + 1)
    weight[:2] = weight[-2:] = 0.0
    best = [k for k in np.argsort(-weight, kind="stable")[:count] if weight[k] > 0]
    return np.array([np.average(levels[index == k], weights=area[index == k]) for k in best])
