"""The support polygon: how far a projected centre of mass lies inside the convex hull of contact points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64


def support_polygon(points: np.ndarray) -> Float64[np.ndarray, "K 2"]:
    """Return the corners of the convex hull of points (N, 2), counter-clockwise; fewer than 3 when degenerate.

    References:
        Andrew, "Another efficient algorithm for convex hulls in two dimensions", Inf. Proc. Letters 9(5), 1979.
    """
    ordered = np.unique(np.asarray(points, dtype=np.float64).reshape(-1, 2), axis=0)
    if len(ordered) < 3:
        return ordered

    def chain(rows: np.ndarray) -> list[np.ndarray]:
        hull: list[np.ndarray] = []
        for p in rows:
            while len(hull) >= 2 and _cross(hull[-1] - hull[-2], p - hull[-2]) <= 0:
                hull.pop()
            hull.append(p)
        return hull[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def support_margin(points: np.ndarray, point: np.ndarray) -> float:
    """Return the distance from a point (2,) to the border of the convex hull of points (N, 2) [m].

    Positive inside, negative outside; a single contact or a line has no inside. Without any contact
    the body is not supported at all: minus infinity.
    """
    polygon = support_polygon(points)
    if not len(polygon):
        return -np.inf
    point = np.asarray(point, dtype=np.float64)
    edges = np.roll(polygon, -1, axis=0) - polygon
    offsets = point - polygon
    lengths = np.einsum("ki,ki->k", edges, edges)
    share = np.clip(np.einsum("ki,ki->k", offsets, edges) / np.where(lengths > 0, lengths, 1.0), 0.0, 1.0)
    distance = float(np.linalg.norm(offsets - share[:, None] * edges, axis=1).min())
    inside = len(polygon) >= 3 and bool((edges[:, 0] * offsets[:, 1] - edges[:, 1] * offsets[:, 0] >= 0).all())
    return distance if inside else -distance


def _cross(a: np.ndarray, b: np.ndarray) -> float:
    return float(a[0] * b[1] - a[1] * b[0])
