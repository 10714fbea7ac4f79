"""Plane regions bounded by straight lines and circular arcs, with exact signed distance.

Profiles are written as a draughtsman writes them: corner points and a fillet radius at each corner. A fillet
becomes a tangent arc, so that a turned bowl is round and not faceted, at the price of a few edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from generators.errors import ParameterError

COINCIDENT = 1e-12
"""Corners nearer than this are one corner [m]."""

Plane = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps coordinates u (N,) and v (N,) [m] to signed distance (N,) [m]."""


@dataclass(frozen=True, eq=False)
class Region:
    """A plane region: its signed distance, negative inside, and the box that holds it."""

    distance: Plane
    bounds: Float64[np.ndarray, "2 2"]
    """Smallest and largest u, v [m]."""


@dataclass(frozen=True)
class Edge:
    """A line, or an arc when `radius` is not 0, from `start` to `end`, the inside on its left."""

    start: tuple[float, float]
    end: tuple[float, float]
    centre: tuple[float, float] = (0.0, 0.0)
    radius: float = 0.0
    """Radius of the arc [m]; 0 for a line."""
    turn: float = 0.0
    """+1 where the arc runs counter-clockwise, -1 clockwise."""

    def normal(self, point: tuple[float, float]) -> np.ndarray:
        """Return the unit normal to the right of the edge (outward) at one of its points."""
        if self.radius:
            return self.turn * (np.array(point) - self.centre) / self.radius
        along = np.subtract(self.end, self.start)
        return np.array([along[1], -along[0]]) / np.hypot(*along)


def fillet_chain(points: np.ndarray, radii: Sequence[float] | np.ndarray | float, *, closed: bool) -> list[Edge]:
    """Return lines through corner points (n, 2) [m] with each corner rounded by a tangent arc.

    Args:
        points: corners in order.
        radii: fillet radius of each corner, or of all [m]. A radius that does not fit its sides is reduced so
            that no arc uses more than half of a side it shares with another arc.
        closed: whether the last corner joins the first. The ends of an open chain keep no fillet.

    Raises:
        ParameterError: fewer than two corners, or two consecutive corners coincide.
    """
    points = np.asarray(points, dtype=np.float64)
    count = len(points)
    wanted = np.broadcast_to(np.asarray(radii, dtype=np.float64), (count,)).copy()
    if not closed:
        wanted[[0, -1]] = 0.0
    sides = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)[: count if closed else count - 1]
    if count < 2 or (sides < COINCIDENT).any():
        raise ParameterError(f"a profile needs at least 2 distinct consecutive corners, got {points.tolist()}")
    arcs: list[tuple[np.ndarray, np.ndarray, np.ndarray, float, float]] = []
    for i in range(count):
        before, corner, after = points[i - 1], points[i], points[(i + 1) % count]
        if wanted[i] <= 0.0:
            arcs.append((corner, corner, corner, 0.0, 0.0))
            continue
        inward, outward = (corner - before), (after - corner)
        a, b = np.hypot(*inward), np.hypot(*outward)
        inward, outward = inward / a, outward / b
        cross = inward[0] * outward[1] - inward[1] * outward[0]
        bend = np.arctan2(abs(cross), float(inward @ outward))
        if bend < 1e-6:
            arcs.append((corner, corner, corner, 0.0, 0.0))
            continue
        room = min(
            a * (0.5 if wanted[i - 1] > 0 else 1.0),
            b * (0.5 if wanted[(i + 1) % count] > 0 else 1.0),
        )
        cut = min(wanted[i] * np.tan(bend / 2), room)
        radius, turn = cut / np.tan(bend / 2), float(np.sign(cross))
        start = corner - cut * inward
        centre = start + radius * turn * np.array([-inward[1], inward[0]])
        arcs.append((start, corner + cut * outward, centre, radius, turn))
    edges: list[Edge] = []
    for i, (start, end, centre, radius, turn) in enumerate(arcs):
        if radius:
            edges.append(Edge(_pair(start), _pair(end), _pair(centre), radius, turn))
        if i + 1 < count or closed:
            goal = arcs[(i + 1) % count][0]
            if np.hypot(*(goal - end)) > COINCIDENT:
                edges.append(Edge(_pair(end), _pair(goal)))
    return edges


def outline(points: Sequence[Sequence[float]], radii: Sequence[float] | float = 0.0, *, axis: bool = False) -> Region:
    """Return the region inside a closed profile of corner points (n, 2) [m] with fillets; exact distance.

    The sign comes from the nearest edge, at a corner from the sum of the two normals there (Baerentzen and Aanaes,
    "Signed distance computation using the angle weighted pseudonormal", 2005; in the plane the weights are equal).

    Args:
        points: corners, in either sense of turn.
        radii: fillet radius of each corner, or of all [m].
        axis: the profile is to be turned about u = 0, and edges on that axis are no surface.
    """
    corners = np.asarray(points, dtype=np.float64)
    widths = np.broadcast_to(np.asarray(radii, dtype=np.float64), (len(corners),))
    u, v = corners.T
    if np.sum(u * np.roll(v, -1) - v * np.roll(u, -1)) < 0:
        corners, widths = corners[::-1], widths[::-1]
    edges = fillet_chain(corners, widths, closed=True)
    after, before = np.roll(np.arange(len(edges)), -1), np.roll(np.arange(len(edges)), 1)
    on_axis = [axis and abs(e.start[0]) < COINCIDENT and abs(e.end[0]) < COINCIDENT for e in edges]
    mirrored = np.array([-1.0, 1.0])
    terms: list[tuple[Edge, np.ndarray, np.ndarray]] = []
    for i, edge in enumerate(edges):
        if on_axis[i]:
            continue
        first, last = edge.normal(edge.start), edge.normal(edge.end)
        at_start = first * mirrored if on_axis[before[i]] else edges[before[i]].normal(edge.start)
        at_end = last * mirrored if on_axis[after[i]] else edges[after[i]].normal(edge.end)
        terms.append((edge, first + at_start, last + at_end))

    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        best, side = _signed_edge(*terms[0], u, v)
        for term in terms[1:]:
            squared, s = _signed_edge(*term, u, v)
            nearer = squared < best
            np.copyto(best, squared, where=nearer)
            np.copyto(side, s, where=nearer)
        return np.copysign(np.sqrt(best), side)

    return Region(distance, edge_bounds(edges))


def stroke(
    points: Sequence[Sequence[float]], radii: Sequence[float] | float, width: float, *, closed: bool = False
) -> Region:
    """Return the band of constant `width` [m] about a chain of corner points (n, 2) [m], with round ends.

    Turned about an axis it is a vessel of even wall with a round rim. Exact where the band does not meet itself.
    """
    edges = fillet_chain(np.asarray(points, dtype=np.float64), radii, closed=closed)

    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        best = _squared_edge(edges[0], u, v)
        for edge in edges[1:]:
            np.minimum(best, _squared_edge(edge, u, v), out=best)
        return np.sqrt(best) - width / 2

    bounds = edge_bounds(edges)
    return Region(distance, bounds + np.array([[-width / 2], [width / 2]]))


def edge_bounds(edges: Sequence[Edge]) -> Float64[np.ndarray, "2 2"]:
    """Return the box of a chain [m]; arcs of fillets turn by less than half a circle and are bounded exactly."""
    points = [np.array([p for e in edges for p in (e.start, e.end)])]
    for edge in edges:
        if edge.radius:
            extremes = np.array(edge.centre) + edge.radius * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
            points.append(extremes[_in_sector(edge, *(extremes - edge.centre).T)])
    stacked = np.concatenate(points)
    return np.stack([stacked.min(axis=0), stacked.max(axis=0)])


def _pair(point: np.ndarray) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _in_sector(edge: Edge, du: np.ndarray, dv: np.ndarray) -> np.ndarray:
    """Whether offsets from the centre lie in the wedge of an arc of at most half a circle."""
    (su, sv), (eu, ev) = np.subtract(edge.start, edge.centre), np.subtract(edge.end, edge.centre)
    return (edge.turn * (su * dv - sv * du) >= 0) & (edge.turn * (du * ev - dv * eu) >= 0)


def _squared_edge(edge: Edge, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Squared distance to an edge [m^2]."""
    if edge.radius:
        return _squared_arc(edge, u, v)[0]
    (au, av), (du, dv) = edge.start, np.subtract(edge.end, edge.start)
    pu, pv = u - au, v - av
    t = np.clip((pu * du + pv * dv) / (du * du + dv * dv), 0.0, 1.0)
    pu -= t * du
    pv -= t * dv
    return pu * pu + pv * pv


def _squared_arc(edge: Edge, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared distance to an arc [m^2], height above its circle [m], and whether the wedge holds the point."""
    du, dv = u - edge.centre[0], v - edge.centre[1]
    above = np.sqrt(du * du + dv * dv) - edge.radius
    inside = _in_sector(edge, du, dv)
    ends = np.minimum(
        (u - edge.start[0]) ** 2 + (v - edge.start[1]) ** 2, (u - edge.end[0]) ** 2 + (v - edge.end[1]) ** 2
    )
    return np.where(inside, above * above, ends), above, inside


def _signed_edge(
    edge: Edge, start_normal: np.ndarray, end_normal: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance to an edge [m^2] and a number with the sign of the side (positive outside)."""
    pu, pv = u - edge.start[0], v - edge.start[1]
    qu, qv = u - edge.end[0], v - edge.end[1]
    at_start = pu * start_normal[0] + pv * start_normal[1]
    at_end = qu * end_normal[0] + qv * end_normal[1]
    if edge.radius:
        squared, above, inside = _squared_arc(edge, u, v)
        nearer_start = pu * pu + pv * pv <= qu * qu + qv * qv
        return squared, np.where(inside, edge.turn * above, np.where(nearer_start, at_start, at_end))
    du, dv = np.subtract(edge.end, edge.start)
    t = (pu * du + pv * dv) / (du * du + dv * dv)
    side = np.where(t <= 0.0, at_start, np.where(t >= 1.0, at_end, pu * dv - pv * du))
    t = np.clip(t, 0.0, 1.0)
    return (pu - t * du) ** 2 + (pv - t * dv) ** 2, side
