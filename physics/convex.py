"""Convex solids: hulls of points, their faces, the depth of points in them, and volumes beyond planes."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

LEAST_NOTCH = 1e-6
"""A hull with corners farther out of its faces is not convex [L]."""
GRID_DECIMALS = 6
"""Points on a grid of so many decimals are hulled where all else fails [L]."""
LEAST_HEIGHT = 1e-7
"""Faces of less height over their longest edge have no normal [L]."""
FEW_PLANES, BLOCK = 48, 256
"""Depths are bounded by this many planes first, and found for this many points at once."""


def solid_arrays(solid: Any) -> tuple[Float64[np.ndarray, "V 3"], Int64[np.ndarray, "F 3"]]:
    """Return vertices and faces of a manifold3d solid."""
    mesh = solid.to_mesh64()
    vertices = np.ascontiguousarray(np.asarray(mesh.vert_properties)[:, :3], dtype=np.float64)
    return vertices, np.ascontiguousarray(mesh.tri_verts, dtype=np.int64)


def hull_of(points: np.ndarray) -> Any:
    """Return the hull of points as a manifold3d solid; right for all but a few sets of points (see `sure_hull`)."""
    from manifold3d import Manifold

    return Manifold.hull_points(np.ascontiguousarray(points))


def sure_hull(points: Float64[np.ndarray, "N 3"]) -> Any:
    """Return the hull of points as a manifold3d solid that is convex.

    Seen: with many points nearly in a plane, manifold3d 3.5 leaves a notch 0.1 L deep, in any order of the points.
    It does not when it gets the corners that Qhull finds, or points on a grid.
    """
    hull = hull_of(points)
    if _is_convex(hull):
        return hull
    from scipy.spatial import ConvexHull, QhullError

    try:
        points = points[np.sort(ConvexHull(points).vertices)]
    except QhullError:
        return hull  # flat
    again = hull_of(points)
    return again if _is_convex(again) else hull_of(np.round(points, GRID_DECIMALS))


def _is_convex(hull: Any) -> bool:
    normal, offset, _ = hull_planes(hull)
    return not len(normal) or float((solid_arrays(hull)[0] @ normal.T - offset).max()) < LEAST_NOTCH


def depths_in(hull: Any, points: Float64[np.ndarray, "P 3"], *, deepest: bool = False) -> Float64[np.ndarray, "P"]:
    """Depth of points inside a convex solid, 0 outside [L].

    Args:
        hull: A convex manifold3d solid.
        points: Where the depth is wanted.
        deepest: Only the largest is wanted; others may be given as 0.
    """
    normal, offset, _ = hull_planes(hull)
    if not len(points) or not len(normal):
        return np.zeros(len(points))
    depths = np.zeros(len(points))
    few = np.linspace(0, len(normal) - 1, min(FEW_PLANES, len(normal))).astype(int)
    bound = (offset[few] - points @ normal[few].T).min(axis=1)  # no point lies deeper than this
    order = np.argsort(-bound, kind="stable")
    order = order[bound[order] > 0]
    for block in np.array_split(order, max(1, -(-len(order) // BLOCK))):
        if deepest and len(block) and bound[block[0]] <= depths.max():
            break
        depths[block] = (offset - points[block] @ normal.T).min(axis=1).clip(min=0.0) if len(block) else 0.0
    return depths


def hull_planes(hull: Any) -> tuple[Float64[np.ndarray, "K 3"], Float64[np.ndarray, "K"], Int64[np.ndarray, "K"]]:
    """Normals, offsets and numbers of the faces of a convex solid that are wide enough to have a normal.

    Hulls have slivers between points in line; what comes out as their normal is rounding and points anywhere.
    """
    vertices, faces = solid_arrays(hull)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    u, v = b - a, c - a
    # Thousands of small hulls are asked for this: sums written out take a third of the time of `np.cross` and `norm`.
    normal = u[:, (1, 2, 0)] * v[:, (2, 0, 1)] - u[:, (2, 0, 1)] * v[:, (1, 2, 0)]
    longest = np.sqrt(np.max([np.einsum("fi,fi->f", e, e) for e in (u, v, c - b)], axis=0))
    length = np.sqrt(np.einsum("fi,fi->f", normal, normal))
    wide = np.flatnonzero(length > LEAST_HEIGHT * longest)
    normal = normal[wide] / length[wide, None]
    return normal, np.einsum("fi,fi->f", normal, a[wide]), wide


def volume_beyond(
    vertices: Float64[np.ndarray, "V 3"],
    faces: Int64[np.ndarray, "F 3"],
    normal: Float64[np.ndarray, "3"],
    level: float,
) -> float:
    """Return the volume of a solid beyond a plane, where `normal . x > level`.

    By the divergence theorem it is the flux of max(h, 0) n through the boundary, h being the height over the plane:
    that field has divergence 1 beyond the plane and 0 before it. Over a triangle max(h, 0) is integrated exactly.

    Args:
        vertices: Corners of the closed boundary.
        faces: Its triangles, outward.
        normal: Unit normal n of the plane.
        level: Offset of the plane.
    """
    height = vertices @ normal - level
    reaching = faces[(height > 0)[faces].any(axis=1)]
    if not len(reaching):
        return 0.0
    a, b, c = (vertices[reaching[:, k]] for k in range(3))
    u, v = b - a, c - a
    across = 0.5 * ((u[:, (1, 2, 0)] * v[:, (2, 0, 1)] - u[:, (2, 0, 1)] * v[:, (1, 2, 0)]) @ normal)
    low, middle, high = np.sort(height[reaching], axis=1).T
    mean = (low + middle + high) / 3
    with np.errstate(divide="ignore", invalid="ignore"):
        one = high**3 / (3 * (high - low) * (high - middle))  # only the highest corner is beyond
        two = mean - low**3 / (3 * (middle - low) * (high - low))  # all but the lowest corner are
    return float(across @ np.where(low >= 0, mean, np.where(middle <= 0, one, two)))
