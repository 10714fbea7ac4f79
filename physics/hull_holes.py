"""Narrow holes of a solid, and whether its hulls close them (check H6).

The rays of `hull_openings` keep clear of the solid by the distance that H4 accepts, so a hole narrower than twice
that has none. In a thick body H4 sees it closed, because its wall then lies deep inside the hulls; in a thin sheet
nothing does. Here such holes are looked for at their own scale: across the gap before each face, at the place that is
farthest from the solid all about, along lines that pass on both sides, in a plane in which the solid lies all around.
Grooves and slots that are open to a side are none. A hole that is bent within the length of a line is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from physics.surface_distance import Surface


@dataclass(frozen=True)
class HoleConfig:
    """How narrow holes are looked for. Lengths are shares of L."""

    clearance: float = 0.02
    """Holes that hold a ball of this radius have rays of their own [L]; see `OpeningConfig.clearance`."""
    passes: float = 0.05
    """A line through a hole is clear of the solid for this length on either side [L]."""
    lines: int = 24
    """Directions of lines that are tried before each face, over half a turn."""
    around: int = 16
    """Directions in which the solid must lie about a line."""
    cell: float = 0.004
    """Gaps whose middles share a cell of this size are one [L]."""
    climbs: int = 16
    """Steps towards the middle of a hole."""
    fit: float = 0.005
    """Narrower gaps of a body of several parts are fits of two surfaces that touch [L]; see `PartFitConfig.gap`."""


@dataclass(frozen=True)
class NarrowHoles:
    """Narrow holes of a solid and what hulls leave of them."""

    found: int
    closed: int
    """Of those, how many the hulls close."""
    widest_closed: float
    """Diameter of the largest ball in a closed one [L]; 0 where none is closed."""


def narrow_holes(
    vertices: Float64[np.ndarray, "V 3"],
    faces: np.ndarray,
    hulls: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    config: HoleConfig,
    parts: int = 1,
) -> NarrowHoles:
    """Find the narrow holes of a solid and count those that hulls close.

    Args:
        vertices: Of the solid, scaled to unit size.
        faces: Of the solid (F, 3).
        hulls: Vertices and faces of each convex piece.
        config: Where holes are looked for.
        parts: Number of parts of the body whose union the solid is.
    """
    from physics.hull_openings import is_blocked

    solid = _Solid(vertices, faces)
    middles, lines = _lines_through(solid, *_gaps(solid, config), config)
    middles, lines, radius = _climbed(solid, middles, lines, config)
    least = config.fit if parts > 1 else 0.0
    keep = (2 * radius > least) & ~solid.holds(middles)
    keep &= _passes(solid, middles, lines, config) & _is_enclosed(solid, middles, lines, config)
    middles, lines, radius = middles[keep], lines[keep], radius[keep]
    if not len(middles):
        return NarrowHoles(0, 0, 0.0)
    reach = config.passes * lines
    free = ~is_blocked(middles - reach, middles + reach, hulls)
    holes = _grouped(middles, lines, radius, config)
    closed = [hole for hole in holes if free[hole].mean() < 0.5]
    return NarrowHoles(len(holes), len(closed), max((2 * float(radius[hole[0]]) for hole in closed), default=0.0))


def _grouped(middles: np.ndarray, lines: np.ndarray, radius: np.ndarray, config: HoleConfig) -> list[list[int]]:
    """Indices of the lines through each hole, the widest place first."""
    holes: list[list[int]] = []
    for k in np.lexsort((np.arange(len(radius)), -radius)).tolist():
        for hole in holes:
            apart = middles[k] - middles[hole[0]]
            along = float(apart @ lines[hole[0]])
            if abs(along) < config.passes and apart @ apart - along**2 < (2.5 * radius[hole[0]]) ** 2:
                hole.append(k)
                break
        else:
            holes.append([k])
    return holes


class _Solid:
    """A surface that rays are shot at."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray):
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._surface = Surface(vertices, faces)
        self.vertices, self.faces = vertices, faces
        self._scene: Any = EmbreeScene()
        TriangleMesh(self._scene, np.ascontiguousarray(vertices[faces], dtype=np.float32))

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> Float64[np.ndarray, "R"]:
        """Distance to the first hit of each ray [L]; very large where there is none."""
        shape = np.broadcast_shapes(origins.shape, directions.shape)
        rays = [
            np.ascontiguousarray(np.broadcast_to(x, shape).reshape(-1, 3), np.float32) for x in (origins, directions)
        ]
        if not len(rays[0]):
            return np.zeros(shape[:-1])
        return np.asarray(self._scene.run(*rays, query="DISTANCE"), dtype=np.float64).reshape(shape[:-1])

    def holds(self, points: Float64[np.ndarray, "P 3"]) -> Bool[np.ndarray, "P"]:
        """Whether points lie inside: a ray from a face may begin beyond a gap that is narrower than its first step."""
        return self._surface.signed_distance(points) < 0

    def clearance(self, points: np.ndarray) -> Float64[np.ndarray, "P"]:
        """Distance of points from the surface [L]."""
        return self._surface.distance(points.reshape(-1, 3)).reshape(points.shape[:-1])


def _gaps(solid: _Solid, config: HoleConfig) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the narrow gaps before the faces, and the normals along which they were found."""
    a, b, c = (solid.vertices[solid.faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    length = np.linalg.norm(cross, axis=1)
    valid = length > 0
    a, b, c, normal = a[valid], b[valid], c[valid], cross[valid] / length[valid, None]
    weights = np.array([[2, 2, 2], [4, 1, 1], [1, 4, 1], [1, 1, 4]]) / 6
    points = np.concatenate([u * a + v * b + w * c for u, v, w in weights])
    normal = np.tile(normal, (len(weights), 1))
    width = solid.hit(points + 1e-5 * normal, normal)
    narrow = width < 2 * config.clearance
    middles, normal = points[narrow] + 0.5 * width[narrow, None] * normal[narrow], normal[narrow]
    key = np.round(np.concatenate([middles / config.cell, np.abs(normal) * 2], axis=1)).astype(int)
    first = np.sort(np.unique(key, axis=0, return_index=True)[1])
    return middles[first], normal[first]


def _lines_through(
    solid: _Solid, middles: np.ndarray, normals: np.ndarray, config: HoleConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Of each gap the line across its normal that passes and that the solid encloses most narrowly."""
    if not len(middles):
        return middles, normals
    angles = np.pi * np.arange(config.lines) / config.lines
    e1, e2 = _across(normals)
    lines = np.cos(angles)[:, None] * e1[:, None] + np.sin(angles)[:, None] * e2[:, None]
    gap, line = np.nonzero(_passes(solid, middles[:, None], lines, config))
    distance = _hits_around(solid, middles[gap], lines[gap, line], config)
    enclosed = (distance < 2.0).all(axis=1)
    gap, line, mean = gap[enclosed], line[enclosed], distance[enclosed].mean(axis=1)
    order = np.lexsort((line, mean, gap))
    first = order[np.unique(gap[order], return_index=True)[1]]
    return middles[gap[first]], lines[gap[first], line[first]]


def _passes(solid: _Solid, middles: np.ndarray, lines: np.ndarray, config: HoleConfig) -> Bool[np.ndarray, "..."]:
    """Whether lines are clear of the solid on both sides."""
    return np.minimum(solid.hit(middles, lines), solid.hit(middles, -lines)) > config.passes


def _hits_around(solid: _Solid, middles: np.ndarray, lines: np.ndarray, config: HoleConfig) -> np.ndarray:
    """Distances to the solid in the plane across each line (N, around) [L]."""
    return solid.hit(middles[:, None], _spokes(lines, config.around))


def _is_enclosed(solid: _Solid, middles: np.ndarray, lines: np.ndarray, config: HoleConfig) -> np.ndarray:
    return _hits_around(solid, middles, lines, config).max(axis=1) < 2.0


def _climbed(
    solid: _Solid, middles: np.ndarray, lines: np.ndarray, config: HoleConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move to where the solid is farthest in the plane across each line; those that leave for wide places go."""
    spokes = _spokes(lines, 8)
    radius = solid.clearance(middles)
    for step in range(config.climbs):
        share = (0.6, 0.2)[step % 2]
        tried = middles[:, None] + share * radius[:, None, None] * spokes
        reached = solid.clearance(tried)
        best = reached.argmax(axis=1)
        row = np.arange(len(middles))
        better = reached[row, best] > radius
        middles = np.where(better[:, None], tried[row, best], middles)
        radius = np.where(better, reached[row, best], radius)
        narrow = radius < config.clearance
        middles, lines, radius, spokes = middles[narrow], lines[narrow], radius[narrow], spokes[narrow]
    return middles, lines, radius


def _spokes(lines: np.ndarray, count: int) -> Float64[np.ndarray, "N count 3"]:
    """Unit vectors across each line, evenly over a turn."""
    e1, e2 = _across(lines)
    angles = 2 * np.pi * np.arange(count) / count
    return np.cos(angles)[:, None] * e1[:, None] + np.sin(angles)[:, None] * e2[:, None]


def _across(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors across each of the unit vectors (N, 3)."""
    helper = np.eye(3)[np.argmin(np.abs(vectors), axis=1)]
    e1 = np.cross(vectors, helper)
    e1 /= np.linalg.norm(e1, axis=1, keepdims=True)
    return e1, np.cross(vectors, e1)
