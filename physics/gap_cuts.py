"""Cuts that open again what hulls close: holes, slots and voids whose walls came to lie deep inside the hulls.

A hull stands off the pieces that it stands for by little, and yet it may close a gap narrower than that, alone or
together with another hull. Where the gap is deep, check H4 finds its wall far from the surface of the hulls. So the
air before such walls is looked for, the hulls that cover it are told apart again, and their pieces are cut where
that air is best uncovered. All other hulls stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from physics.convex import depths_in, hull_of, hull_planes
from physics.cut_directions import directions
from physics.hull_error import arrays, surface_samples
from physics.plane_cuts import (
    TOUCH,
    CutConfig,
    GapConfig,
    Group,
    Piece,
    Plane,
    best_planes,
    merged,
    sides,
    split,
)
from physics.surface_distance import Surface

TRIED = 2
"""So many of the best planes by each measure are tried."""
CUT_COSINE = 1 - 1e-9
"""A face of a hull lies in a cut when its normal has at least this cosine with that of the cut [1]."""
FARTHEST = 1.0
"""Air is no deeper than this [L]."""
LEAST_GAIN = 0.02
"""A cut that uncovers a smaller share of the air is not worth a hull [1]."""


def covered_air(
    solid: Any, union: Any, *, farthest: float, percentile: float, samples: int, config: GapConfig
) -> tuple[Float64[np.ndarray, "P 3"], float]:
    """Return points outside a solid, before walls of it that lie too deep inside its hulls, and the largest depth [L].

    Args:
        solid: A manifold3d solid of unit size.
        union: That of its hulls.
        farthest: Walls that lie deeper than this are looked for [L].
        percentile: The same where more than 5 % of the surface lie deeper than this [L].
        samples: Points on the surface, beside its vertices.
        config: Where the air is looked at.
    """
    surface = Surface(*arrays(solid))
    points = np.concatenate([surface_samples(surface.vertices, surface.faces, samples), surface.vertices])
    depth = -Surface(*arrays(union)).signed_distance(points)
    limit = percentile if np.percentile(np.abs(depth[:samples]), 95) > percentile else farthest
    order = np.argsort(-depth, kind="stable")
    order = order[depth[order] > limit]
    order = order[:: max(1, -(-len(order) // config.most_points))]
    if not len(order):
        return np.zeros((0, 3)), float(depth.max())
    _, face, place = surface.nearest(points[order])
    # Along a wall's own normal the air of an inner edge lies on the wall beside it; that of the corner leads away.
    normals = (surface.normals[face], surface.corner_normals[surface.nearest_corner(face, place)])
    air = np.concatenate([points[order] + step * normal for normal in normals for step in config.steps])
    outside = surface.signed_distance(air) > 0.5 * config.steps[0]
    return air[outside], float(depth.max())


def open_gaps(
    groups: Sequence[Group], hulls: Sequence[Sequence[Any]], air: np.ndarray, budget: float, cut: CutConfig
) -> list[Group]:
    """Return groups whose hulls cover less of the air; those that are not opened are the same objects.

    Args:
        groups: Groups of pieces.
        hulls: The hulls that stand for each group.
        air: Points that hulls should not cover (P, 3).
        budget: Volume that merging may add in all [L^3].
        cut: How pieces are merged, and `cut.gaps`.
    """
    opened: list[Group] = []
    for group, parts in zip(groups, hulls, strict=True):
        covered = np.zeros(len(air), dtype=bool)
        for hull in parts:
            covered |= depths_in(hull, air) > 0
        if not covered.any():
            opened.append(group)
            continue
        free = air[covered]
        pieces = [part for piece in group.pieces for part in _opened(piece, free, cut)]
        if len(pieces) == 1:
            opened.append(group)
            continue
        opened += merged(pieces, cut, budget=cut.gaps.merge_share * budget, free=free)
    return opened


def _opened(piece: Piece, air: np.ndarray, cut: CutConfig) -> list[Piece]:
    """Cut a piece where that uncovers most of the air that its hull covers."""
    pieces, done = [piece], []
    for _ in range(cut.gaps.cuts):
        costs = [_cost(part, air) for part in pieces]
        worst = int(np.argmax(costs))
        if not costs[worst] > 0:
            break
        part = pieces.pop(worst)
        covered = air[depths_in(part.hull, air) > 0]
        halves = [part]
        # What lies on the surface of a hull is inside by one way of rounding and not by another.
        for plane in _opening_planes(part, covered, cut) if len(covered) else ():
            halves = [half for whole in halves for half in split(whole, plane)]
        if len(halves) < 2:
            done.append(part)
        else:
            pieces += halves
        if not pieces:
            break
    return [*done, *pieces]


def _cost(piece: Piece, air: np.ndarray) -> float:
    """How much of the air the hull of a piece covers, and how deep below its faces that are no cuts.

    Beyond a cut lies the hull of another piece: air beside it is as deep in the union as before.
    """
    return _cost_within(piece.hull, air, [plane for plane, _ in piece.path])


def _cost_within(hull: Any, air: np.ndarray, cuts: Sequence[Plane]) -> float:
    normal, offset, _ = hull_planes(hull)
    if not len(normal) or not len(air):
        return 0.0
    height = offset - air @ normal.T
    depth = height.min(axis=1)
    outer = np.ones(len(normal), dtype=bool)
    for plane in cuts:
        along = normal @ plane.normal
        outer &= (np.abs(along) < CUT_COSINE) | (np.abs(offset * np.sign(along) - plane.offset) > TOUCH)
    below = height[:, outer].min(axis=1, initial=FARTHEST)
    return float((np.where(depth > 0, below, 0.0) ** 2).sum())


def _opening_planes(piece: Piece, air: np.ndarray, cut: CutConfig) -> list[Plane]:
    """Return the plane after which the hulls of both sides cover least air, or two where one gains nothing.

    Both sides may fall into several pieces, so the planes that seem best are tried.
    """
    a, b, c = (piece.vertices[piece.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    ways = list(directions((a + b + c) / 3, area))
    if len(air) > 3:
        ways += [way for way in directions(air, np.ones(len(air)))[3:] if np.abs(np.array(ways) @ way).max() < 0.995]
    seen, bare, planes = [], [], []
    for way in ways:
        heights, at = piece.vertices @ way, air @ way
        low, high = float(at.min()), float(at.max())
        beside = [level for margin in cut.gaps.margins for level in (low - margin, high + margin)]
        for level in (*np.quantile(at, cut.gaps.levels), *beside):
            planes.append(Plane(way, float(level)))
            hulls = [hull_of(points) for points in sides(piece, heights, planes[-1])]
            seen.append(sum(_cost_within(hull, air, [planes[-1], *(p for p, _ in piece.path)]) for hull in hulls))
            bare.append(sum(_cost_within(hull, air, []) for hull in hulls))
    now = _cost(piece, air)
    limit = (1 - LEAST_GAIN) * now
    best: tuple[float, list[Plane]] = (limit, [])
    for k in dict.fromkeys([*np.argsort(seen, kind="stable")[:TRIED], *np.argsort(bare, kind="stable")[:TRIED]]):
        parts = split(piece, planes[k])
        cost = sum(_cost(part, air) for part in parts) if len(parts) > 1 else np.inf
        best = min(best, (cost, [planes[k]]), key=lambda found: found[0])
    return best[1] or _best_cross(piece, air, ways, limit, cut)


def _best_cross(piece: Piece, air: np.ndarray, ways: list[np.ndarray], limit: float, cut: CutConfig) -> list[Plane]:
    """Return two planes through the middle of a gap after which hulls cover less of its air.

    One cut across a hole in a thin plate uncovers nothing: each half of the hole is closed by the hull of its half.
    Where two uncover nothing either, the cut is that which lowers the hull volume most.
    """
    deepest = air[depths_in(piece.hull, air).argmax()]
    gap = air[np.linalg.norm(air - deepest, axis=1) < cut.gaps.width]
    middle = (gap.min(axis=0) + gap.max(axis=0)) / 2
    planes = [Plane(way, float(way @ middle)) for way in ways]
    best: tuple[float, list[Plane]] = (limit, [])
    for k, first in enumerate(planes):
        halves = split(piece, first)
        for second in planes[k + 1 :] if len(halves) > 1 else ():
            cost = 0.0
            for half in halves:
                cuts = [second, *(plane for plane, _ in half.path)]
                points = sides(half, half.vertices @ second.normal, second)
                cost += sum(_cost_within(hull_of(part), air, cuts) for part in points)
            best = min(best, (cost, [first, second]), key=lambda found: found[0])
    return best[1] or best_planes(piece, cut)
