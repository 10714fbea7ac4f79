"""The 256 sign patterns of a lattice cell and the triangles that separate inside from outside in each.

Nothing is typed in: the cube table follows from one rule per face, the tetrahedral table from the tetrahedra.

Why the cube patches never cross, whatever the positions of the vertices on their edges:

- A loop of 3 is a triangle; one of 4 or 5 projects to a strictly convex polygon along a lattice axis or a face
  diagonal, so every triangulation of it is a graph over that plane.
- A longer loop gets a vertex in the middle. It lies strictly inside the cell, the loop on the surface of the cell,
  which is convex: a cone over a simple curve seen from inside is embedded.
- Two loops in one cell are split by a plane: a lone corner has all its vertices nearer than 1 (in the sum of the
  coordinate differences) and every other vertex is at 1 or further; two opposite edges likewise.

Why the whole is a closed manifold: the segments in a face depend on the four signs of that face only, so both cells
at it draw the same ones; a crossed edge lies in one loop of each of its four cells; no inner edge joins two vertices of
one face.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from jaxtyping import Int8, Int32, Int64

CORNERS = np.array([[n >> 2 & 1, n >> 1 & 1, n & 1] for n in range(8)], dtype=np.int64)
"""Offsets (8, 3) of the corners of a cell; bit n of a sign pattern is set when corner n is inside."""

CENTRE = -1
"""Stands for the vertex in the middle of the cell."""

LONGEST_FAN = 5
"""Loops up to this length are triangulated as a fan; longer ones get a vertex in the middle (see above)."""

Loop = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PatchTable:
    """Triangles of each sign pattern, in terms of the edges of the cell."""

    edges: Int64[np.ndarray, "E 2"]
    """Corners at the ends of each edge; the first has the smaller offsets."""
    kinds: Int64[np.ndarray, "E"]
    """Direction of each edge as an index into `directions`."""
    directions: Int64[np.ndarray, "T 3"]
    """Distinct edge vectors in lattice steps."""
    starts: Int32[np.ndarray, "257"]
    """Pattern p owns the rows starts[p]:starts[p + 1] of `triangles`."""
    triangles: Int8[np.ndarray, "R 3"]
    """Edges that carry the corners of a triangle, counter-clockwise seen from outside; CENTRE for the middle."""
    centres: tuple[Loop, ...]
    """Per pattern the loop whose mean is the middle vertex, empty where there is none."""


@cache
def cube_table() -> PatchTable:
    """Return the marching-cubes table that separates the inside corners of an ambiguous face.

    Inside is then connected through lattice edges only, outside also through diagonals: thin diagonal contacts become
    two parts, never a pinch.

    References:
        Lorensen, Cline, "Marching cubes", SIGGRAPH 1987.
        Nielson, Hamann, "The asymptotic decider", Visualization 1991 (the ambiguous faces).
    """
    edges = [(a, b) for a in range(8) for b in range(8) if a < b and bin(a ^ b).count("1") == 1]
    loops = [pattern_loops(pattern, edges) for pattern in range(256)]
    triangles = [[triangle for loop in found for triangle in _triangulate(loop)] for found in loops]
    centres = tuple(next((loop for loop in found if len(loop) > LONGEST_FAN), ()) for found in loops)
    return _pack(edges, triangles, centres)


@cache
def tetrahedra_table() -> PatchTable:
    """Return the table of Kuhn's six tetrahedra around the main diagonal of the cell.

    A tetrahedron has no ambiguous pattern and one patch: closed and manifold by structure,
    with three times the triangles.

    References:
        Kuhn, "Some combinatorial lemmas in topology", IBM J. Res. Dev. 4 (1960).
    """
    chains = [(0, *np.cumsum([1 << axis for axis in order]).tolist()) for order in permutations(range(3))]
    edges = sorted({(a, b) for chain in chains for a in chain for b in chain if a < b})
    triangles = [[t for chain in chains for t in _tetrahedron(pattern, chain, edges)] for pattern in range(256)]
    return _pack(edges, triangles, ((),) * 256)


def pattern_loops(pattern: int, edges: list[tuple[int, int]]) -> list[Loop]:
    """Return the closed loops of crossed edges of a pattern, with the inside on their left seen from outside."""
    follow: dict[int, int] = {}
    for corners in _faces():
        follow.update(_segments(pattern, corners, edges))
    loops = []
    while follow:
        loop = [min(follow)]
        while (step := follow.pop(loop[-1])) != loop[0]:
            loop.append(step)
        loops.append(tuple(loop))
    return loops


def _faces() -> Iterator[tuple[int, ...]]:
    """Yield the corners of the six faces, counter-clockwise seen from outside the cell."""
    for axis in range(3):
        u, v = 1 << (2 - (axis + 1) % 3), 1 << (2 - (axis + 2) % 3)
        yield 0, v, u | v, u
        high = 1 << (2 - axis)
        yield high, high | u, high | u | v, high | v


def _segments(pattern: int, corners: tuple[int, ...], edges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the directed segments of a face: each cuts off one run of inside corners.

    Going round the face, a run of inside corners is entered by one crossed edge and left by another. The segment runs
    from the second to the first or back, the same way for all; the cell on the other side goes round the other way.
    """
    inside = [bool(pattern >> corner & 1) for corner in corners]
    for k in range(4):
        if inside[k] and not inside[k - 1]:
            last = next(m for m in range(k, k + 4) if not inside[(m + 1) % 4])
            entry = _edge(edges, corners[k - 1], corners[k])
            yield entry, _edge(edges, corners[last % 4], corners[(last + 1) % 4])


def _edge(edges: list[tuple[int, int]], a: int, b: int) -> int:
    return edges.index((min(a, b), max(a, b)))


def _triangulate(loop: Loop) -> list[Loop]:
    if len(loop) > LONGEST_FAN:
        return [(CENTRE, a, b) for a, b in zip(loop, loop[1:] + loop[:1], strict=True)]
    return [(loop[0], loop[k], loop[k + 1]) for k in range(1, len(loop) - 1)]


def _tetrahedron(pattern: int, chain: tuple[int, ...], edges: list[tuple[int, int]]) -> list[Loop]:
    """Return the triangles of one tetrahedron, wound by the sign of a determinant at the middle of the edges."""
    inside = [corner for corner in chain if pattern >> corner & 1]
    outside = [corner for corner in chain if corner not in inside]
    if not inside or not outside:
        return []
    pairs = [(a, b) for a in inside for b in outside]
    if len(pairs) == 4:  # two against two: walk round the quadrilateral
        pairs = [pairs[0], pairs[1], pairs[3], pairs[2]]
    middle = np.array([CORNERS[a] + CORNERS[b] for a, b in pairs]) / 2
    normal = np.cross(middle[1] - middle[0], middle[2] - middle[0])
    if normal @ (CORNERS[outside].mean(axis=0) - CORNERS[inside].mean(axis=0)) < 0:
        pairs.reverse()
    ids = [_edge(edges, a, b) for a, b in pairs]
    return [(ids[0], ids[k], ids[k + 1]) for k in range(1, len(ids) - 1)]


def _pack(edges: list[tuple[int, int]], triangles: list[list[Loop]], centres: tuple[Loop, ...]) -> PatchTable:
    ends = np.array(edges, dtype=np.int64)
    vectors = CORNERS[ends[:, 1]] - CORNERS[ends[:, 0]]
    directions, kinds = np.unique(vectors, axis=0, return_inverse=True)
    return PatchTable(
        edges=ends,
        kinds=kinds.reshape(-1).astype(np.int64),
        directions=directions,
        starts=np.cumsum([0, *map(len, triangles)]).astype(np.int32),
        triangles=np.array([t for rows in triangles for t in rows], dtype=np.int8),
        centres=centres,
    )
