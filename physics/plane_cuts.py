"""Convex pieces by greedy plane cuts: each cut is the one that most lowers the total volume of the hulls.

The hull of the part of a solid on one side of a plane is the hull of its vertices there and of the points where its
edges meet the plane. So a candidate cut is scored exactly by two hulls of points, without a boolean, and only
the chosen cut is made. Where no single cut gains (a bowl: every half of it has the hull of half a ball), the
piece is halved across its longest direction, after which the next cuts gain.

The cuts are chosen on a simplified mesh and made again on the full one, so that nothing of it is lost.
Compare CoACD (Wei et al., ACM Trans. Graph. 41(4), 2022, section 5), which searches axis-aligned cuts by a Monte-Carlo tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class CutConfig:
    """How pieces are cut and merged. Lengths are shares of L, the largest extent of the solid."""

    simplify_errors: tuple[float, ...] = (0.0002, 0.0005, 0.001, 0.002)
    """Errors of simplification that are tried, smallest first [L]."""
    faces: int = 1500
    """Simplification stops at the first error that leaves no more faces than this."""
    offsets: int = 7
    """Evenly spaced candidate planes per direction."""
    flats: int = 4
    """Candidate planes per direction through the largest flat faces across it."""
    refinements: int = 3
    """Halvings of the spacing about the best plane."""
    flat_cosine: float = 0.98
    """A face is across a direction when its normal has at least this cosine with it."""
    greedy_gain: float = 0.35
    """A cut that removes this share of a piece's excess volume is taken; below it, cuts are judged by the next one."""
    target_inflation: float = 0.0015
    """Cutting stops when excess volume over the area of the solid is below this [L]."""
    target_distance: float = 0.012
    """Cutting goes on while a hull stands off the solid by more than this [L]."""
    overlap: float = 0.0005
    """Pieces reach this far beyond their cuts, so that no seam stays open between them [L]."""
    most_pieces: int = 40
    """Cutting stops at this many pieces."""
    merge_inflation: float = 0.0003
    """Merging pieces may add this much to the mean inflation in all [L]."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A cut: the positive side is `normal . x > offset`."""

    normal: Float64[np.ndarray, "3"]
    offset: float


@dataclass(eq=False)
class Piece:
    """A part of the solid, with what is needed to score cuts of it."""

    solid: Any
    vertices: np.ndarray
    faces: np.ndarray
    edges: np.ndarray
    volume: float
    hull: Any
    hull_volume: float
    path: tuple[tuple[Plane, int], ...]
    closed_for_cuts: bool = False

    @property
    def excess(self) -> float:
        """Volume of the hull that is not in the piece."""
        return max(self.hull_volume - self.volume, 0.0)


def make_piece(solid: Any, path: tuple[tuple[Plane, int], ...]) -> Piece:
    import manifold3d

    mesh = solid.to_mesh64()
    vertices = np.ascontiguousarray(mesh.vert_properties[:, :3])
    faces = np.asarray(mesh.tri_verts, dtype=np.int64)
    halves = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = halves[halves[:, 0] < halves[:, 1]]
    hull = manifold3d.Manifold.hull_points(vertices)
    return Piece(solid, vertices, faces, edges, solid.volume(), hull, hull.volume(), path)


def hull_volumes(piece: Piece, heights: np.ndarray, offset: float) -> float:
    """Total hull volume of the two sides of a plane; infinite where one side is empty."""
    import manifold3d

    s = heights - offset
    a, b = piece.edges[:, 0], piece.edges[:, 1]
    sa, sb = s[a], s[b]
    cross = (sa < 0) != (sb < 0)
    a, b, sa, sb = a[cross], b[cross], sa[cross], sb[cross]
    if not len(a):
        return np.inf
    t = (sa / (sa - sb))[:, None]
    section = piece.vertices[a] * (1 - t) + piece.vertices[b] * t
    total = 0.0
    for side in (s >= 0, s <= 0):
        total += manifold3d.Manifold.hull_points(np.concatenate([piece.vertices[side], section])).volume()
    return total


def directions(piece: Piece) -> np.ndarray:
    """Axes, and principal axes of the piece's surface where they differ."""
    tri = piece.vertices[piece.faces]
    cross = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    area = np.linalg.norm(cross, axis=1)
    centre = tri.mean(axis=1)
    mean = (area[:, None] * centre).sum(0) / area.sum()
    d = centre - mean
    _, vectors = np.linalg.eigh((area[:, None] * d).T @ d)
    extra = [v for v in vectors.T if np.abs(v).max() < 0.995]
    return np.concatenate([np.eye(3), np.array(extra).reshape(-1, 3)])


def flat_levels(piece: Piece, direction: np.ndarray, low: float, span: float, config: CutConfig) -> list[float]:
    """Offsets of the largest flat faces across a direction."""
    tri = piece.vertices[piece.faces]
    cross = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    area = np.linalg.norm(cross, axis=1)
    across = np.abs(cross @ direction) > config.flat_cosine * area
    if not across.any():
        return []
    heights = tri[across, 0] @ direction
    level = np.clip(np.round((heights - low) / span * 200).astype(int), 0, 200)
    weight = np.bincount(level, weights=area[across], minlength=201)
    weight[:2] = weight[-2:] = 0
    best = [k for k in np.argsort(-weight, kind="stable")[: config.flats] if weight[k] > 0]
    return [float(np.average(heights[level == k], weights=area[across][level == k])) for k in best]


def one_cut(piece: Piece, config: CutConfig, offsets: int) -> list[tuple[float, np.ndarray, float, float]]:
    """Best plane of each direction: (total hull volume, direction, offset, spacing)."""
    found = []
    for direction in directions(piece):
        heights = piece.vertices @ direction
        low, span = heights.min(), np.ptp(heights)
        if span < 1e-4:
            continue
        step = span / (offsets + 1)
        levels = [*(low + step * np.arange(1, offsets + 1)), *flat_levels(piece, direction, low, span, config)]
        score, offset = min((hull_volumes(piece, heights, o), o) for o in levels)
        if np.isfinite(score):
            found.append((score, direction, float(offset), step))
    return sorted(found, key=lambda f: f[0])


def best_cut(piece: Piece, config: CutConfig) -> Plane | None:
    """Return the plane that lowers the hull volume most, looking one cut further where no cut gains much."""
    found = one_cut(piece, config, config.offsets)
    if not found:
        return None
    score, direction, offset, step = found[0]
    if piece.hull_volume - score < config.greedy_gain * piece.excess:
        options = [(d, o, st) for _, d, o, st in found[:2]]
        for _, d, _, st in found:
            heights = piece.vertices @ d
            options.append((d, float(heights.min() + heights.max()) / 2, st))
        scored = []
        for k, (d, o, st) in enumerate(options):
            total = 0.0
            for half in piece.solid.split_by_plane(tuple(d), o):
                if half.num_tri() == 0:
                    total = np.inf
                    break
                for c in components(half):
                    child = make_piece(c, ())
                    further = one_cut(child, config, 1) if child.excess > 0.02 * piece.excess else []
                    total += min(child.hull_volume, further[0][0]) if further else child.hull_volume
            scored.append((total, k))
        total, k = min(scored)
        if np.isfinite(total):
            direction, offset, step = options[k]
            if k >= 2:
                return Plane(direction, offset)
            score = found[k][0]
    heights = piece.vertices @ direction
    for _ in range(config.refinements):
        step /= 2
        score, offset = min((score, offset), *((hull_volumes(piece, heights, o), o) for o in (offset - step, offset + step)))
    return Plane(direction, offset)


def components(solid: Any) -> list[Any]:
    return [c for c in solid.decompose() if c.volume() > 1e-9]


def split(piece: Piece, plane: Plane) -> list[Piece]:
    made = []
    halves = piece.solid.split_by_plane(tuple(plane.normal), plane.offset)
    for k, side in enumerate((1, -1)):
        for component in components(halves[k]):
            made.append(make_piece(component, (*piece.path, (plane, side))))
    return made


def simplified(solid: Any, config: CutConfig) -> Any:
    """Return the solid with few enough faces, at the smallest error that gives them."""
    coarse = solid
    for error in config.simplify_errors:
        coarse = solid.simplify(error)
        if coarse.num_tri() <= config.faces:
            break
    return coarse


def cut_pieces(solid: Any, config: CutConfig) -> list[Piece]:
    coarse = simplified(solid, config)
    area = coarse.surface_area()
    pieces = [make_piece(c, ()) for c in components(coarse)]
    while len(pieces) < config.most_pieces:
        total = sum(p.excess for p in pieces)
        order = sorted((p for p in pieces if not p.closed_for_cuts), key=lambda p: -p.excess)
        if total <= config.target_inflation * area:
            order = [p for p in order if standoff(p) > config.target_distance]
        if not order:
            break
        piece = order[0]
        plane = best_cut(piece, config)
        halves = split(piece, plane) if plane is not None else []
        if len(halves) < 2:
            piece.closed_for_cuts = True
            continue
        at = pieces.index(piece)
        pieces[at : at + 1] = halves
    return pieces


def fine_hull(piece: Piece, overlap: float) -> Any:
    import manifold3d

    points = np.asarray(piece.hull.to_mesh64().vert_properties)[:, :3].copy()
    moved = points.copy()
    for plane, side in piece.path:
        on = np.abs(points @ plane.normal - plane.offset) < 1e-6
        moved[on] -= side * overlap * plane.normal
    return manifold3d.Manifold.hull_points(np.ascontiguousarray(moved))


def standoff(piece: Piece) -> float:
    import igl
    if not hasattr(piece, "_standoff"):
        mesh = piece.hull.to_mesh64()
        tri = mesh.vert_properties[:, :3][mesh.tri_verts]
        points = np.concatenate([tri.mean(axis=1), (tri[:, 0] + tri[:, 1]) / 2, (tri[:, 1] + tri[:, 2]) / 2, (tri[:, 2] + tri[:, 0]) / 2])
        piece._standoff = float(np.sqrt(igl.point_mesh_squared_distance(np.ascontiguousarray(points), piece.vertices, piece.faces)[0].max()))
    return piece._standoff


def cut_hulls(solid: Any, config: CutConfig) -> list[np.ndarray]:
    """Return the points of convex pieces that together cover a solid.

    Args:
        solid: A manifold3d solid of unit size.
        config: Where to stop.
    """
    pieces = cut_pieces(solid, config)
    hulls = [fine_hull(piece, config.overlap) for piece in pieces]
    return merge_pieces(hulls, config.merge_inflation * solid.surface_area())


def merge_pieces(hulls: list[Any], budget: float, pieces=None) -> list[Any]:
    """Merge the hulls whose common hull adds least, while the budget of added volume lasts."""
    import manifold3d
    M = manifold3d.Manifold
    points = [np.ascontiguousarray(h.to_mesh64().vert_properties[:, :3]) for h in hulls]
    volumes = [h.volume() for h in hulls]
    alive = set(range(len(hulls)))
    cost = {}

    def price(i, j):
        if np.any(points[i].min(0) > points[j].max(0) + 1e-6) or np.any(points[j].min(0) > points[i].max(0) + 1e-6):
            return np.inf
        return M.hull_points(np.concatenate([points[i], points[j]])).volume() - volumes[i] - volumes[j]

    for i in sorted(alive):
        for j in sorted(alive):
            if i < j:
                c = price(i, j)
                if c < budget:
                    cost[i, j] = c
    while cost:
        (i, j), c = min(cost.items(), key=lambda kv: (kv[1], kv[0]))
        if c > budget:
            break
        budget -= max(c, 0.0)
        h = M.hull_points(np.concatenate([points[i], points[j]]))
        alive -= {i, j}
        cost = {k: v for k, v in cost.items() if not {i, j} & set(k)}
        points.append(np.ascontiguousarray(h.to_mesh64().vert_properties[:, :3]))
        volumes.append(h.volume())
        new = len(points) - 1
        for k in sorted(alive):
            c = price(k, new)
            if c < budget:
                cost[k, new] = c
        alive.add(new)
    return [points[i] for i in sorted(alive)]
