"""Convex pieces by greedy plane cuts: each cut is the one that most lowers the total volume of the hulls.

The hull of the part of a solid on one side of a plane is the hull of its vertices there and of the points where its
edges meet the plane. So a candidate cut is scored exactly by two hulls of points, without a boolean, and only
the chosen cut is made. Where no single cut gains much (a bowl: every half of it has the hull of half a ball), cuts are
judged by the best cuts that follow them.

A hull over a hollow stands off the wall by the sagitta of its chord. Its faces there are moved back by a share of
that, which turns an error on one side into a smaller one on both.

Compare CoACD (Wei et al., ACM Trans. Graph. 41(4), 2022, section 5), which searches axis-aligned cuts by a Monte-Carlo
tree and merges by concavity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from physics.convex import depths_in, hull_of, hull_planes, solid_arrays, sure_hull, volume_beyond
from physics.cut_directions import directions, flat_directions, flat_levels
from physics.fan_cuts import FanConfig, fan_planes
from physics.hull_standoff import face_standoff, farthest_standoff
from physics.surface_distance import Surface

LEAST_VOLUME = 1e-9
"""Smaller components of a cut are rounding [L^3]."""
LEAST_SHARE = 1e-3
"""Smaller shares of a volume are rounding [1]."""
LEAST_GAP = 0.001
"""Air that comes to lie deeper in a hull by less than this is not covered by it [L]."""
TOUCH = 1e-6
"""Points this near to a plane lie on it, boxes this near touch [L]."""


@dataclass(frozen=True)
class GapConfig:
    """How closed gaps are found and cut. Lengths are shares of L."""

    rounds: int = 6
    """How often hulls are measured and cut again."""
    cuts: int = 3
    """Cuts of one piece in one round."""
    steps: tuple[float, ...] = (0.0005, 0.002, 0.004)
    """Distances from a wall at which its air is looked at [L]."""
    most_points: int = 400
    """Walls are looked at in this many points, the deepest among them."""
    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Candidate planes lie at these quantiles of the air, and beside it [1]."""
    margins: tuple[float, ...] = (0.0005, 0.002)
    """Distances of the candidate planes beside the air from it [L]."""
    least_step: float = 0.1
    """Cutting ends when a round leaves more than all but this share of the air, as deep as before [1]."""
    width: float = 0.04
    """Air within this distance of the deepest is taken as of the same gap [L]."""
    merge_share: float = 0.2
    """Share of the budget of merging for the pieces of a hull that is opened [1]."""


@dataclass(frozen=True)
class CutConfig:
    """How pieces are cut and merged. Lengths are shares of L, the largest extent of the solid."""

    simplify_error: float = 0.0005
    """Error of the first simplification, which clears flat regions [L]."""
    simplify_retries: tuple[float, ...] = (0.002, 0.004)
    """Errors of the first when the result of the second is refused [L]."""
    faces: int = 1500
    """Faces that are left by the second, which collapses the edges of least quadric error."""
    simplify_distance: float = 0.008
    """The second is taken back when the surfaces before and after are farther apart than this [L]."""
    simplify_volume: float = 0.02
    """The same for the change of volume, as a share."""
    offsets: int = 7
    """Evenly spaced candidate planes per direction."""
    flats: int = 4
    """Candidate planes per direction through the largest flat faces across it."""
    flat_cosine: float = 0.98
    """A face is across a direction when its normal has at least this cosine with it."""
    refinements: int = 3
    """Halvings of the spacing about the best plane."""
    greedy_gain: float = 0.35
    """A cut that removes this share of a piece's excess volume is taken; below it, cuts are judged by the next one."""
    target_inflation: float = 0.005
    """Cutting goes on while excess volume over the area of the solid is above this [L]."""
    target_distance: float = 0.022
    """Cutting goes on while a hull stands off its piece by more than this [L]."""
    most_pieces: int = 240
    """Cutting stops at this many pieces; merging leaves about two of three."""
    merge_inflation: float = 0.0005
    """Merging pieces may add this much to the mean inflation in all [L]."""
    overlap: float = 0.0005
    """Pieces reach this far beyond their cuts, so that no seam stays open between them [L]."""
    set_back: float = 0.42
    """Share of its stand-off by which a face over a hollow is moved back [1]."""
    set_back_pays: float = 2.0
    """A face is moved back only when that removes this many times more excess than solid [1]."""
    least_set_back: float = 0.001
    """Faces are not moved by less than this [L]."""
    slab_share: float = 0.1
    """A convex part along flat walls is cut off where it has this share of the volume of a piece [1]."""
    slab_filled: float = 0.9
    """It is taken as convex when it fills this share of its hull [1]."""
    slab_hollow: float = 0.6
    """A piece that fills more of its hull has no slab worth a hull of its own [1]."""
    slab_margin: float = 0.0005
    """Cuts along a flat wall lie this far beside it, so that no film of it stays on the other side [L]."""
    fan: FanConfig | None = field(default_factory=FanConfig)
    """Cuts through an axis of rotation, where no single cut gains much; None for none."""
    gaps: GapConfig = field(default_factory=GapConfig)
    """Cuts of hulls that close a gap."""
    many_vertices: int = 400
    """Pieces of more vertices get half of the evenly spaced candidates: their cuts cost most and matter least."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A cut: the positive side is `normal . x > offset`."""

    normal: Float64[np.ndarray, "3"]
    offset: float


@dataclass(eq=False)
class Piece:
    """A part of the solid, with what is needed to score cuts of it."""

    solid: Any
    path: tuple[tuple[Plane, int], ...]
    """Cuts that made it, and the side on which it lies."""
    vertices: Float64[np.ndarray, "V 3"] = field(init=False)
    faces: Int64[np.ndarray, "F 3"] = field(init=False)
    edges: Int64[np.ndarray, "E 2"] = field(init=False)
    surface: Surface = field(init=False)
    hull: Any = field(init=False)
    excess: float = field(init=False)
    """Volume of the hull outside the piece [L^3]."""
    _standoff: float | None = None

    def __post_init__(self) -> None:
        self.vertices, self.faces = solid_arrays(self.solid)
        self.surface = Surface(self.vertices, self.faces)
        halves = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        self.edges = halves[halves[:, 0] < halves[:, 1]]
        self.hull = sure_hull(self.vertices)
        self.excess = max(self.hull.volume() - self.solid.volume(), 0.0)

    @cached_property
    def skin(self) -> Float64[np.ndarray, "S 3"]:
        """Vertices and middles of edges on the surface of the solid; those within a cut face are left out.

        The wall of a hole through a board has vertices on its two sides only; its middles are what a hull buries.
        """
        cut = np.zeros(len(self.faces), dtype=bool)
        for plane, _ in self.path:
            near = np.abs(self.vertices @ plane.normal - plane.offset) < TOUCH
            cut |= near[self.faces].all(axis=1)
        faces = self.faces[~cut]
        pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        ends = self.vertices[np.unique(pairs, axis=0)]
        return np.concatenate([self.vertices[np.unique(faces)], ends.mean(axis=1)])

    @property
    def standoff(self) -> float:
        """Largest distance of the hull from the piece, and of the solid's surface inside the hull [L]."""
        if self._standoff is None:
            self._standoff = max(farthest_standoff(self.hull, [self.surface]), _depth(self.hull, [self]))
        return self._standoff


@dataclass(eq=False)
class Group:
    """Pieces that one hull stands for."""

    points: Float64[np.ndarray, "N 3"]
    """Corners of that hull, before its faces are set back."""
    pieces: list[Piece]


@dataclass(frozen=True, eq=False)
class Cutting:
    """A solid with few faces, cut into pieces; a closer configuration goes on from them."""

    config: CutConfig
    coarse: Any
    """The simplified solid."""
    pieces: list[Piece]

    def groups(self) -> list[Group]:
        """Return groups of pieces whose hulls together stand for the solid."""
        return merged(self.pieces, self.config, budget=self.config.merge_inflation * self.coarse.surface_area())


def cut_solid(solid: Any, config: CutConfig, before: Cutting | None = None) -> Cutting:
    """Simplify a solid and cut it into pieces whose hulls are near enough.

    Args:
        solid: A manifold3d solid of unit size.
        config: Candidate planes, and where to stop.
        before: An earlier cutting of the same solid; its pieces are cut on where it was simplified alike.
    """
    if before is not None and _simplification(before.config) == _simplification(config):
        coarse, pieces = before.coarse, before.pieces
    else:
        coarse = simplified(solid, config)
        pieces = [Piece(component, ()) for component in _components(coarse)]
    return Cutting(config, coarse, _cut(pieces, coarse.surface_area(), config))


def _simplification(config: CutConfig) -> tuple[object, ...]:
    """All that decides how a solid is simplified."""
    return (
        config.simplify_error,
        config.simplify_retries,
        config.faces,
        config.simplify_distance,
        config.simplify_volume,
    )


def hull_corners(group: Group, solid: Any, config: CutConfig) -> Float64[np.ndarray, "N 3"]:
    """Return points whose hull stands for a group: its faces are set back, and it keeps to the solid's box."""
    low, high = np.reshape(solid.bounding_box(), (2, 3))
    return np.clip(_set_back(sure_hull(group.points), group.pieces, config), low, high)


def simplified(solid: Any, config: CutConfig) -> Any:
    """Return the solid with few faces, near enough to the original.

    Quadric error collapse (Garland and Heckbert 1997) leaves a third of the faces of manifold3d's at the same error,
    but promises nothing: on long thin faces it can leave a flap that stands off. So its result is checked both ways;
    where it is refused, more is cleared before, and then more faces are left.
    """
    faces, clear = config.faces, solid.simplify(config.simplify_error)
    cleared = [clear]  # the others are made when they are asked for
    while clear.num_tri() > faces:
        for k, error in enumerate((config.simplify_error, *config.simplify_retries)):
            if k == len(cleared):
                cleared.append(solid.simplify(error))
            coarse = _collapsed(cleared[k], faces)
            if coarse is not None and _is_near(coarse, clear, config):
                return coarse
        faces *= 2
    return clear


def _collapsed(solid: Any, faces: int) -> Any:
    """Return the solid after quadric error collapse to so many faces; None where that is no solid."""
    import igl
    from manifold3d import Error, Manifold, Mesh64

    if solid.num_tri() <= faces:
        return solid
    vertices, triangles = solid_arrays(solid)
    fewer, left, *_ = igl.qslim(np.asfortranarray(vertices), np.asfortranarray(triangles, dtype=np.int32), faces)
    coarse = Manifold(Mesh64(np.ascontiguousarray(fewer), np.ascontiguousarray(left, dtype=np.uint64)))
    return coarse if coarse.status() == Error.NoError else None


def _is_near(coarse: Any, solid: Any, config: CutConfig) -> bool:
    """Whether a coarse solid has the genus, the volume and nearly the surface of another, seen from both."""
    import igl

    if coarse.genus() != solid.genus() or abs(coarse.volume() / solid.volume() - 1) > config.simplify_volume:
        return False
    (v, f), (w, g) = solid_arrays(coarse), solid_arrays(solid)
    there = np.asarray(igl.point_mesh_squared_distance(w, v, f)[0])
    back = np.asarray(igl.point_mesh_squared_distance(np.concatenate([v, v[f].mean(axis=1)]), w, g)[0])
    return max(there.max(), back.max()) < config.simplify_distance**2


def _components(solid: Any) -> list[Any]:
    """Return the connected parts of a solid, each with the voids inside it, which are shells of negative volume."""
    shells = solid.decompose()
    parts = [shell for shell in shells if shell.volume() > LEAST_VOLUME]
    for void in (_turned(shell) for shell in shells if shell.volume() < -LEAST_VOLUME):
        volume = void.volume() * (1 - LEAST_SHARE)  # a part within a void is not cut by it
        parts = [part - void if (part ^ void).volume() > volume else part for part in parts]
    return parts


def _turned(solid: Any) -> Any:
    """Return a solid with its faces turned over."""
    from manifold3d import Manifold, Mesh64

    vertices, faces = solid_arrays(solid)
    return Manifold(Mesh64(vertices.copy(), np.ascontiguousarray(faces[:, ::-1], dtype=np.uint64)))


# ---- cutting --------------------------------------------------------------------------------------------------


def _cut(pieces: list[Piece], area: float, config: CutConfig) -> list[Piece]:
    """Cut the piece of largest excess volume until hulls are near enough; `area` is the surface of the solid [L^2]."""
    pieces, uncuttable = list(pieces), set[int]()
    while len(pieces) < config.most_pieces:
        open_ = [piece for piece in pieces if id(piece) not in uncuttable]
        far = [piece for piece in open_ if piece.standoff > config.target_distance]
        if not far and sum(piece.excess for piece in pieces) > config.target_inflation * area:
            far = open_
        if not far:
            break
        piece = max(far, key=lambda p: p.standoff * p.excess)  # the first of equals: order is that of cutting
        parts = [piece]
        for plane in best_planes(piece, config):
            parts = [half for part in parts for half in split(part, plane)]
        if len(parts) < 2:
            uncuttable.add(id(piece))
            continue
        at = pieces.index(piece)
        pieces[at : at + 1] = parts
    return pieces


def split(piece: Piece, plane: Plane) -> list[Piece]:
    """Return the connected parts of a piece on both sides of a plane."""
    halves = piece.solid.split_by_plane(tuple(plane.normal), plane.offset)
    return [
        Piece(component, (*piece.path, (plane, side)))
        for half, side in zip(halves, (1, -1), strict=True)
        for component in _components(half)
    ]


def best_planes(piece: Piece, config: CutConfig) -> list[Plane]:
    """Return the plane that lowers the hull volume most; where none gains much, a fan, or else a look further."""
    offsets = config.offsets // 2 if len(piece.vertices) > config.many_vertices else config.offsets
    found = _best_of_each_direction(piece, config, offsets)
    if not found:
        return []
    score, plane, step = found[0]
    if piece.hull.volume() - score < config.greedy_gain * piece.excess:
        if config.fan is not None and (fan := _fan(piece, config.fan)):
            return fan
        hollow = piece.solid.volume() < config.slab_hollow * piece.hull.volume()
        if hollow and (slab := _slab(piece, config)):
            return slab
        options = [(plane, step) for _, plane, step in found[:2]]
        for _, plane, step in found:
            heights = piece.vertices @ plane.normal
            options.append((Plane(plane.normal, float(heights.min() + heights.max()) / 2), step))
        totals = [_volume_after_next(piece, plane, config) for plane, _ in options]
        best = int(np.argmin(totals))
        plane, step = options[best]
        if best >= 2:
            return [plane] if np.isfinite(totals[best]) else []
    return [_refined(piece, plane, step, config)]


def _fan(piece: Piece, config: FanConfig) -> list[Plane]:
    a, b, c = (piece.vertices[piece.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    planes = fan_planes(piece.vertices, piece.faces, directions((a + b + c) / 3, area), config)
    return [Plane(normal, offset) for normal, offset in planes]


def _slab(piece: Piece, config: CutConfig) -> list[Plane]:
    """Return the one or two planes along flat walls that leave most of a piece as a convex slab; none for no slab.

    To take the floor off a box, or a wall off its frame, lowers the hull volume of the rest by nothing at first.
    """
    a, b, c = (piece.vertices[piece.faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1)
    whole = piece.solid.volume()
    best: tuple[float, list[Plane]] = (config.slab_share * whole, [])
    ways = directions((a + b + c) / 3, area)
    for direction in np.concatenate([ways, flat_directions(cross, ways)]):
        heights = piece.vertices @ direction
        low, span = float(heights.min()), float(np.ptp(heights))
        across = np.abs(cross @ direction) > config.flat_cosine * area
        flats = flat_levels((a[across] @ direction - low) / span, area[across], config.flats)
        levels = [-np.inf, *np.sort(low + span * flats).tolist(), np.inf]
        pairs = [(x - config.slab_margin, y + config.slab_margin) for x, y in combinations(levels, 2)]
        beyond = {
            x: volume_beyond(piece.vertices, piece.faces, direction, x)
            for pair in pairs
            for x in pair
            if np.isfinite(x)
        }
        beyond |= {-np.inf: whole, np.inf: 0.0}
        for bottom, top in pairs[: len(levels) - 2] + pairs[len(levels) - 1 :]:  # not the whole piece
            volume = beyond[bottom] - beyond[top]
            if volume <= best[0]:
                continue
            points = _between(piece, heights, bottom, top)
            if len(points) > 3 and volume > config.slab_filled * hull_of(points).volume():
                best = (volume, [Plane(direction, x) for x in (bottom, top) if np.isfinite(x)])
    return best[1]


def _between(piece: Piece, heights: np.ndarray, bottom: float, top: float) -> Float64[np.ndarray, "N 3"]:
    """Return points whose hull is that of the part of a piece between two heights."""
    points = [piece.vertices[(heights >= bottom) & (heights <= top)]]
    a, b = piece.edges[:, 0], piece.edges[:, 1]
    for level in (bottom, top):
        s = heights - level
        crossing = (s[a] < 0) != (s[b] < 0)
        i, j = a[crossing], b[crossing]
        if len(i):
            t = (s[i] / (s[i] - s[j]))[:, None]
            points.append(piece.vertices[i] * (1 - t) + piece.vertices[j] * t)
    return np.concatenate(points)


def _refined(piece: Piece, plane: Plane, step: float, config: CutConfig) -> Plane:
    """Search the offset of a plane by halving the spacing about it."""
    heights = piece.vertices @ plane.normal
    best = (_volume_after(piece, heights, plane), plane.offset)
    for _ in range(config.refinements):
        step /= 2
        near = [Plane(plane.normal, best[1] + shift) for shift in (-step, step)]
        best = min(best, *((_volume_after(piece, heights, p), p.offset) for p in near))
    return Plane(plane.normal, best[1])


def _volume_after(piece: Piece, heights: np.ndarray, plane: Plane) -> float:
    """Total hull volume of the two sides of a plane; infinite where one side is empty."""
    points = sides(piece, heights, plane)
    return sum(hull_of(side).volume() for side in points) if len(points) == 2 else np.inf


def sides(piece: Piece, heights: np.ndarray, plane: Plane) -> list[Float64[np.ndarray, "N 3"]]:
    """Return points whose hulls are those of the two sides of a plane; the piece itself where it is not cut."""
    s = heights - plane.offset
    a, b = piece.edges[:, 0], piece.edges[:, 1]
    crossing = (s[a] < 0) != (s[b] < 0)
    a, b = a[crossing], b[crossing]
    if not len(a):
        return [piece.vertices]
    t = (s[a] / (s[a] - s[b]))[:, None]
    section = piece.vertices[a] * (1 - t) + piece.vertices[b] * t
    return [np.concatenate([piece.vertices[side], section]) for side in (s >= 0, s <= 0)]


def _volume_after_next(piece: Piece, plane: Plane, config: CutConfig) -> float:
    """Total hull volume after a cut and the best cut of each part; infinite where nothing is cut."""
    parts = split(piece, plane)
    if len(parts) < 2:
        return np.inf
    total = 0.0
    for part in parts:
        volume = part.hull.volume()
        if part.excess > 0.02 * piece.excess:
            volume = min([volume, *(score for score, _, _ in _best_of_each_direction(part, config, 1)[:1])])
        total += volume
    return total


def _best_of_each_direction(piece: Piece, config: CutConfig, offsets: int) -> list[tuple[float, Plane, float]]:
    """Best plane of each direction, best first: (total hull volume, plane, spacing)."""
    a, b, c = (piece.vertices[piece.faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1)
    found = []
    ways = directions((a + b + c) / 3, area)
    for direction in np.concatenate([ways, flat_directions(cross, ways)]):
        heights = piece.vertices @ direction
        low, span = float(heights.min()), float(np.ptp(heights))
        if span < 100 * TOUCH:
            continue
        step = span / (offsets + 1)
        across = np.abs(cross @ direction) > config.flat_cosine * area
        flats = flat_levels((a[across] @ direction - low) / span, area[across], config.flats)
        planes = [Plane(direction, low + level) for level in (*(step * np.arange(1, offsets + 1)), *(span * flats))]
        scores = [_volume_after(piece, heights, plane) for plane in planes]
        best = int(np.argmin(scores))
        if np.isfinite(scores[best]):
            found.append((scores[best], planes[best], step))
    return sorted(found, key=lambda item: item[0])


# ---- merging and setting back ---------------------------------------------------------------------------------


def merged(
    pieces: list[Piece], config: CutConfig, *, budget: float, free: Float64[np.ndarray, "P 3"] | None = None
) -> list[Group]:
    """Merge the pieces whose common hull adds least volume, while the budget lasts and the hull stays near.

    Args:
        pieces: What is merged.
        config: How near a hull must stay, and how far pieces overlap.
        budget: Volume that merging may add in all [L^3].
        free: Points that must not lie deeper in a common hull than in those that it replaces.
    """
    groups = {k: (_overlapping(piece, config.overlap), [piece]) for k, piece in enumerate(pieces)}
    volumes = {k: hull_of(points).volume() for k, (points, _) in groups.items()}

    def price(i: int, j: int) -> float:
        p, q = groups[i][0], groups[j][0]
        if (p.min(axis=0) > q.max(axis=0) + TOUCH).any() or (q.min(axis=0) > p.max(axis=0) + TOUCH).any():
            return np.inf
        return hull_of(np.concatenate([p, q])).volume() - volumes[i] - volumes[j]

    prices = {(i, j): price(i, j) for j in groups for i in range(j)}
    while prices:
        i, j = min(prices, key=lambda pair: (prices[pair], pair))
        cost = prices.pop((i, j))
        if cost > budget:
            break
        hull = sure_hull(np.concatenate([groups[i][0], groups[j][0]]))
        members = [*groups[i][1], *groups[j][1]]
        if _depth(hull, members) > config.target_distance:
            continue
        far = config.target_distance
        if farthest_standoff(hull, [piece.surface for piece in members], least=far) > far:
            continue
        if free is not None and _covers_more(hull, (groups[i][0], groups[j][0]), free):
            continue
        budget -= max(cost, 0.0)
        new = max(groups) + 1
        del groups[i], groups[j]
        prices = {pair: value for pair, value in prices.items() if not {i, j} & set(pair)}
        groups[new], volumes[new] = (solid_arrays(hull)[0], members), hull.volume()
        prices |= {(k, new): price(k, new) for k in groups if k != new}
    return [Group(points, members) for points, members in groups.values()]


def _covers_more(hull: Any, parts: Sequence[np.ndarray], points: np.ndarray) -> bool:
    """Whether points lie deeper in a hull than in those of its parts, by more than these reach beyond their cuts."""
    before = np.max([depths_in(hull_of(part), points) for part in parts], axis=0)
    return bool((depths_in(hull, points) > before + LEAST_GAP).any())


def _overlapping(piece: Piece, overlap: float) -> Float64[np.ndarray, "N 3"]:
    """Return the corners of a piece's hull, those on cuts moved across them."""
    points = solid_arrays(piece.hull)[0]
    moved = points.copy()
    for plane, side in piece.path:
        moved[np.abs(points @ plane.normal - plane.offset) < TOUCH] -= side * overlap * plane.normal
    return moved


def _depth(hull: Any, pieces: Sequence[Piece]) -> float:
    """Largest depth of the solid's surface inside a hull that stands for pieces of it [L]."""
    return float(depths_in(hull, np.concatenate([piece.skin for piece in pieces]), deepest=True).max(initial=0.0))


def _set_back(hull: Any, pieces: Sequence[Piece], config: CutConfig) -> Float64[np.ndarray, "N 3"]:
    """Move the faces that stand off the solid back by a share of their stand-off.

    The tip of a thin sheet has little volume: where the faces together would take that much of it, none is moved.
    """
    least = config.least_set_back / config.set_back if config.set_back > 0 else np.inf
    distance = config.set_back * face_standoff(hull, [piece.surface for piece in pieces], least=least)
    whole, faces = solid_arrays(hull)
    vertices = whole
    for normal, height, k in zip(*hull_planes(hull), strict=True):
        if not distance[k] > config.least_set_back:
            continue
        level = float(height - distance[k])
        removed = volume_beyond(vertices, faces, normal, level)
        lost = sum(volume_beyond(piece.vertices, piece.faces, normal, level) for piece in pieces)
        if removed - lost > config.set_back_pays * lost:  # not where the face also lies on the solid
            hull = hull.trim_by_plane(tuple(-normal), -level)
            vertices, faces = solid_arrays(hull)
    if vertices is whole:
        return whole
    points = np.concatenate([piece.vertices for piece in pieces])
    normal, offset, _ = hull_planes(hull)
    bare = points[(points @ normal.T - offset).max(axis=1, initial=-np.inf) > config.least_set_back]
    far = Surface(vertices, faces).distance(bare).max(initial=0.0) if len(faces) else np.inf
    return vertices if far < config.target_distance else whole
