"""Whether holes and cavities of a solid stay open in its hulls (check H6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from physics.surface_distance import Surface


@dataclass(frozen=True)
class OpeningConfig:
    """Sampling and limits of the clear rays. Lengths are shares of L."""

    chords: int = 1500
    """Chords of the convex hull that are tried."""
    least_length: float = 0.1
    """A ray counts when it is clear over at least this length [L]."""
    clearance: float = 0.02
    """Of a clear ray the longest part that keeps this far from the solid is tried [L]. It is the warning level of H4:
    a hull that blocks a ray nearer to the solid has moved a surface by no more than H4 accepts. So an opening narrower
    than twice this has no ray; in a body thicker than that, H4 sees it closed, because its walls then lie deep inside
    the hulls. At half this value good hulls of mug, gear and pulley block 6 % of the rays by that accepted distance."""
    probes: int = 9
    """Points along a clear ray at which its distance from the solid is measured."""
    least_rays: int = 20
    """With fewer clear rays in all there is no opening to speak of."""
    cells: int = 3
    """Rays are also judged by the cell of a grid of this many per axis that holds their midpoint."""
    share_limit: float = 0.8
    """H6 fails when a smaller share of the clear rays is free."""
    share_warn: float = 0.95
    """H6 warns below this share."""
    seed: int = 0
    """Seed of the chords."""


def clear_share(
    vertices: np.ndarray,
    faces: np.ndarray,
    hulls: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    config: OpeningConfig,
) -> tuple[int, float]:
    """Count rays that are clear in the solid and the share of them that is clear of the hulls.

    Chords join random points of the solid's convex hull. Their stretches outside the solid are its openings:
    holes, cavities, and the space between legs.

    Args:
        vertices: Of the solid, scaled to unit size (V, 3).
        faces: Of the solid (F, 3).
        hulls: Vertices and faces of each convex piece.
        config: Sampling.

    Returns:
        Number of clear rays, and the smallest share that stays free over all rays and over those of any one cell.
    """
    starts, ends = _clear_stretches(vertices, faces, config)
    if len(starts) < config.least_rays:
        return len(starts), 1.0
    free = ~is_blocked(starts, ends, hulls)
    share = float(free.mean())
    middle = (starts + ends) / 2
    low, span = vertices.min(axis=0), np.maximum(np.ptp(vertices, axis=0), 1e-12)
    cell = np.clip((middle - low) / span * config.cells, 0, config.cells - 1).astype(int)
    key = cell @ np.array([1, config.cells, config.cells**2])
    count = np.bincount(key)
    open_ = np.bincount(key, weights=free)
    enough = count >= config.least_rays
    return len(starts), float(min([share, *(open_[enough] / count[enough])]))


def _clear_stretches(vertices: np.ndarray, faces: np.ndarray, config: OpeningConfig) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the stretches of chords that run outside the solid and clear of it."""
    from scipy.spatial import ConvexHull

    from physics.hull_error import surface_samples

    rng = np.random.default_rng(config.seed)
    # Qhull, since the faces of manifold3d's hull of many points come in an order that differs from run to run.
    shell = surface_samples(vertices, ConvexHull(vertices).simplices, 2 * config.chords)
    shell = shell[rng.permutation(len(shell))]
    origin, target = shell[: config.chords], shell[config.chords :]
    length = np.linalg.norm(target - origin, axis=1)
    keep = length > config.least_length
    origin, direction, length = origin[keep], ((target - origin)[keep] / length[keep, None]), length[keep]
    begins, ends, rays = _gaps(vertices, faces, origin, direction, length)
    long = ends - begins > config.least_length
    begins, ends, rays = begins[long], ends[long], rays[long]
    if not len(rays):
        return np.zeros((0, 3)), np.zeros((0, 3))
    places = np.linspace(0.0, 1.0, config.probes + 2)[1:-1]
    t = begins[:, None] + places * (ends - begins)[:, None]
    points = origin[rays, None] + t[:, :, None] * direction[rays, None]
    first, last = _longest_run(_are_clear(Surface(vertices, faces), points, config.clearance))
    row = np.flatnonzero(last > first)
    return points[row, first[row]], points[row, last[row]]


def _are_clear(surface: Surface, points: Float64[np.ndarray, "R P 3"], clearance: float) -> Bool[np.ndarray, "R P"]:
    """Whether points in rows keep clear of a surface.

    A point is as far as the one beside it, give or take their distance; most need not be measured for that.
    """
    rows, count = points.shape[:2]
    least, most = np.zeros((rows, count)), np.full((rows, count), np.inf)
    for place in np.argsort(np.abs(np.arange(count) - count // 2), kind="stable"):
        row = np.flatnonzero((least[:, place] <= clearance) & (most[:, place] > clearance))
        found = surface.distance(points[row, place])[:, None]
        apart = np.linalg.norm(points[row] - points[row, place, None], axis=2)
        least[row], most[row] = np.maximum(least[row], found - apart), np.minimum(most[row], found + apart)
    return least > clearance


def _longest_run(open_: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last column of the longest run of True in each row; last < first where there is none."""
    length = np.zeros(open_.shape, dtype=int)
    length[:, 0] = open_[:, 0]
    for column in range(1, open_.shape[1]):
        length[:, column] = np.where(open_[:, column], length[:, column - 1] + 1, 0)
    last = length.argmax(axis=1)
    return last - length.max(axis=1) + 1, last


def _gaps(
    vertices: np.ndarray, faces: np.ndarray, origin: np.ndarray, direction: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stretches outside the solid along chords of its hull: begin, end, and index of the chord.

    A chord starts on the hull, outside the solid or on it. The winding number of each stretch between two hits is
    followed from the faces' sides: a hit from the front enters the solid, one from behind leaves it.
    """
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(vertices[faces], dtype=np.float32))
    corner = vertices[faces[:, 0]]
    normal = np.cross(vertices[faces[:, 1]] - corner, vertices[faces[:, 2]] - corner)
    step, most_hits = 2e-6, 64
    # Started a little before the hull, so that a chord that begins on the solid enters it.
    origin, length = origin - 1e-4 * direction, length + 2e-4
    begin = np.zeros(len(origin))  # where the present stretch outside began; NaN inside
    at = np.zeros(len(origin))
    live = np.arange(len(origin))
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(most_hits):
        from_ = origin[live] + at[live, None] * direction[live]
        hit = scene.run(from_.astype(np.float32), direction[live].astype(np.float32))
        face = np.asarray(hit)
        none = face < 0
        out = live[none]
        found.append((begin[out], length[out], out))
        live, face = live[~none], face[~none]
        if not len(live):
            break
        d, n = direction[live], normal[face]
        across = np.einsum("ri,ri->r", n, d)
        t = np.einsum("ri,ri->r", n, corner[face] - origin[live]) / np.where(across == 0, 1.0, across)
        t = np.maximum(t, at[live])
        entering = across < 0
        found.append((begin[live[entering]], t[entering], live[entering]))
        begin[live] = np.where(entering, np.nan, t)
        at[live] = t + step
    begins, ends, rays = (np.concatenate(column) for column in zip(*found, strict=True))
    valid = np.isfinite(begins)
    return begins[valid], np.minimum(ends, length[rays])[valid], rays[valid]


def is_blocked(starts: np.ndarray, ends: np.ndarray, hulls: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Whether each segment passes through one of the convex hulls (Cyrus and Beck 1978), exactly."""
    blocked = np.zeros(len(starts), dtype=bool)
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    for vertices, faces in hulls:
        near = ~blocked & (high >= vertices.min(axis=0)).all(axis=1) & (low <= vertices.max(axis=0)).all(axis=1)
        if not near.any():
            continue
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        height = np.einsum("fi,fi->f", normal, a)
        s = starts[near] @ normal.T - height
        e = ends[near] @ normal.T - height
        with np.errstate(divide="ignore", invalid="ignore"):
            t = s / (s - e)
        enter = np.where((s > 0) & (e <= 0), t, 0.0).max(axis=1)
        leave = np.where((s <= 0) & (e > 0), t, 1.0).min(axis=1)
        outside = ((s > 0) & (e > 0)).any(axis=1)
        blocked[near] = ~outside & (enter < leave)
    return blocked
