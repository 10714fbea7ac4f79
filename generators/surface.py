"""Surface of a sparse volume as a closed, oriented, manifold triangle mesh, in work proportional to the band."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8

from generators.band import BandIndex
from generators.errors import VolumeError
from generators.marching_table import CENTRE, CORNERS, PatchTable, cube_table, tetrahedra_table
from generators.volume import SparseVolume
from physics.mesh import Mesh

EDGE_MARGIN = 0.02
"""Least distance of a vertex from the ends of its lattice edge, as a share of the edge: no two vertices coincide."""

FLAT_SHARE = 1e-6
"""A gradient shorter than this share of the longest one has no direction worth using."""

CHUNK = 1 << 19
"""Vertices whose normals are taken at once; bounds the memory, not the result."""


class SurfaceMethod(StrEnum):
    """How a cell is cut."""

    CUBES = "cubes"
    TETRAHEDRA = "tetrahedra"


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells that the surface crosses."""

    corners: Int32[np.ndarray, "8 C"]
    """Rows of the corners."""
    patterns: UInt8[np.ndarray, "C"]
    """Bit n is set when corner n is inside."""


def extract_surface(volume: SparseVolume, *, method: SurfaceMethod = SurfaceMethod.CUBES) -> Mesh:
    """Return the surface where the signed distance is zero, with normals from its gradient.

    A vertex is named by its lattice edge, so that cells share it exactly and no tolerance is needed to weld. Closed,
    manifold, oriented and free of self-intersections by construction (see `marching_table`), for any values. Features
    thinner than two voxels and sharp edges are rounded off by about one voxel. Never open, whatever the band: each cell
    at a crossed lattice edge is cut or refused, and a face of the mesh ends only on sides of cells with such an edge.

    Args:
        volume: Narrow band of signed distance [m].
        method: CUBES, or TETRAHEDRA with three times the triangles and no ambiguous cells at all.

    Returns:
        Mesh in the frame of the volume [m]; every normal is a finite unit vector.

    Raises:
        VolumeError: A crossed cell lacks a corner in the band, or the volume holds no surface.
    """
    index = BandIndex.of(volume)
    cells = _crossed_cells(volume, index)
    table = cube_table() if method is SurfaceMethod.CUBES else tetrahedra_table()
    slots = _vertex_slots(cells, table, volume)
    numbers = np.full(len(volume.values) * len(table.directions), -1, dtype=np.int32)
    numbers[slots] = np.arange(len(slots), dtype=np.int32)
    lower, upper = _edge_ends(slots, numbers, cells, table)
    inner = volume.values[lower].astype(np.float64)
    share = inner / (inner - volume.values[upper])
    share = np.clip(share, EDGE_MARGIN, 1 - EDGE_MARGIN)[:, None]
    start = volume.coords[lower]
    points = start + share * (volume.coords[upper] - start)
    faces, loops = _faces(cells, table, numbers, len(slots))
    del numbers, slots, start
    gradients = _edge_gradients(volume, index, lower, upper, share)
    middles = np.concatenate([np.empty((0, 3)), *(points[loop].mean(axis=1) for loop in loops)])
    points = np.concatenate([points, middles])
    gradients = np.concatenate([gradients, _gradients(volume, index, middles)])
    vertices = points * volume.voxel_size + np.asarray(volume.origin)
    return Mesh(vertices, faces, _unit(gradients, vertices, faces))


def field_normals(volume: SparseVolume, vertices: Float64[np.ndarray, "V 3"]) -> Float64[np.ndarray, "V 3"]:
    """Return outward unit normals at points near the surface, from the interpolated gradient of the distance.

    Args:
        volume: Narrow band of signed distance [m].
        vertices: Points within the band, such as the vertices of a simplified mesh [m].

    Raises:
        VolumeError: A point has no band node around it, or the gradient vanishes there.
    """
    index = BandIndex.of(volume)
    points = (np.asarray(vertices, dtype=np.float64) - np.asarray(volume.origin)) / volume.voxel_size
    gradients = _gradients(volume, index, points)
    length = np.linalg.norm(gradients, axis=1, keepdims=True)
    if not (length > 0).all():
        bad = int(np.argmin(length[:, 0]))
        raise VolumeError(f"vertex {bad} at {vertices[bad]} m: the volume has no gradient there; is it off the band?")
    return gradients / length


def _crossed_cells(volume: SparseVolume, index: BandIndex) -> _Cells:
    negative = volume.values < 0
    lowest = np.zeros(len(negative), dtype=bool)
    everything = np.arange(len(negative))
    for axis in range(3):
        upper = index.neighbours(everything, axis, 1)
        edges = index.keys[(upper >= 0) & (negative != negative[upper])]
        u, v = (int(index.strides[a]) for a in range(3) if a != axis)
        for back in (0, u, v, u + v):
            rows = index.rows_at(edges - back)
            _refuse(index, edges[rows < 0] - back, CORNERS[0])
            lowest[rows] = True
    keys = index.keys[lowest]
    if not len(keys):
        raise VolumeError("no lattice edge changes sign: the volume holds no surface")
    corners = np.empty((8, len(keys)), dtype=np.int32)
    patterns = np.zeros(len(keys), dtype=np.uint8)
    for n, offset in enumerate(CORNERS):
        rows = index.rows_at(keys + offset @ index.strides)
        _refuse(index, keys[rows < 0], offset)
        corners[n] = rows
        patterns |= negative[rows].astype(np.uint8) << np.uint8(n)
    return _Cells(corners, patterns)


def _refuse(index: BandIndex, cells: np.ndarray, corner: np.ndarray) -> None:
    if len(cells):
        bad = index.nodes(cells[:1])[0]
        raise VolumeError(
            f"the surface crosses the cell at node {bad}, whose corner {bad + corner} is not in the band "
            f"({len(cells)} such cells); widen the band"
        )


def _vertex_slots(cells: _Cells, table: PatchTable, volume: SparseVolume) -> Int64[np.ndarray, "V"]:
    """Return the crossed edges as keys row * T + kind, in increasing order: the order of the vertices."""
    crossed = np.zeros(len(volume.values) * len(table.directions), dtype=bool)
    for (a, b), kind in zip(table.edges, table.kinds, strict=True):
        rows = cells.corners[a][_differs(cells, a, b)].astype(np.int64)
        crossed[rows * len(table.directions) + kind] = True
    return np.flatnonzero(crossed)


def _differs(cells: _Cells, a: int, b: int) -> np.ndarray:
    return ((cells.patterns >> np.uint8(a)) ^ (cells.patterns >> np.uint8(b))) & 1 == 1


def _edge_ends(
    slots: np.ndarray, numbers: np.ndarray, cells: _Cells, table: PatchTable
) -> tuple[Int64[np.ndarray, "V"], Int32[np.ndarray, "V"]]:
    """Return the rows of both ends of each vertex's edge."""
    upper = np.empty(len(slots), dtype=np.int32)
    for (a, b), kind in zip(table.edges, table.kinds, strict=True):
        use = _differs(cells, a, b)
        rows = cells.corners[a][use].astype(np.int64)
        upper[numbers[rows * len(table.directions) + kind]] = cells.corners[b][use]
    return slots // len(table.directions), upper


def _faces(
    cells: _Cells, table: PatchTable, numbers: np.ndarray, vertex_count: int
) -> tuple[Int32[np.ndarray, "F 3"], list[Int32[np.ndarray, "M n"]]]:
    """Return the faces, and the loops of the middle vertices that follow the edge vertices in that order."""
    starts = table.starts.astype(np.int64)
    count = np.diff(starts)[cells.patterns]
    cell = np.repeat(np.arange(len(count), dtype=np.int32), count)
    ends = np.cumsum(count)
    row = np.arange(len(cell)) - np.repeat(ends - count - starts[cells.patterns], count)
    middle, loops = _middle_numbers(cells, table, numbers, vertex_count)
    faces = np.empty((len(cell), 3), dtype=np.int32)
    for side in range(3):
        edge = table.triangles[row, side]
        faces[:, side] = _edge_numbers(cells, table, numbers, cell, np.maximum(edge, 0))
        at = np.flatnonzero(edge == CENTRE)
        faces[at, side] = middle[cell[at]]
    return faces, loops


def _edge_numbers(cells: _Cells, table: PatchTable, numbers: np.ndarray, cell: np.ndarray, edge: np.ndarray):
    rows = cells.corners[table.edges[edge, 0], cell].astype(np.int64)
    return numbers[rows * len(table.directions) + table.kinds[edge]]


def _middle_numbers(cells: _Cells, table: PatchTable, numbers: np.ndarray, vertex_count: int):
    """Number the middle vertices by the length of their loop and then by cell."""
    middle = np.full(len(cells.patterns), -1, dtype=np.int32)
    length = np.array([len(loop) for loop in table.centres])
    loops = []
    for n in sorted(set(length[length > 0].tolist())):
        at = np.flatnonzero(length[cells.patterns] == n)
        if not len(at):
            continue
        edges = np.array([loop if len(loop) == n else (0,) * n for loop in table.centres])[cells.patterns[at]]
        middle[at] = vertex_count + np.arange(len(at))
        vertex_count += len(at)
        loops.append(_edge_numbers(cells, table, numbers, at[:, None], edges))
    return middle, loops


def _edge_gradients(
    volume: SparseVolume, index: BandIndex, lower: np.ndarray, upper: np.ndarray, share: Float64[np.ndarray, "V 1"]
) -> Float64[np.ndarray, "V 3"]:
    """Return the gradient at points on lattice edges, between those at both ends [per voxel]."""
    used = np.zeros(len(volume.values), dtype=bool)
    used[lower], used[upper] = True, True
    rows = np.flatnonzero(used)
    place = np.cumsum(used, dtype=np.int32) - 1
    gradients = _node_gradients(volume, index, rows)
    low, high = gradients[place[lower]], gradients[place[upper]]
    return low + share * (high - low)


def _gradients(volume: SparseVolume, index: BandIndex, points: Float64[np.ndarray, "P 3"]) -> np.ndarray:
    """Return the gradient (P, 3) at points in voxel space, by linear interpolation over the band nodes around."""
    out = np.zeros((len(points), 3))
    for begin in range(0, len(points), CHUNK):
        part = points[begin : begin + CHUNK]
        base = np.floor(part).astype(np.int64)
        share = part - base
        for offset in CORNERS:
            weight = np.prod(np.where(offset == 1, share, 1 - share), axis=1)
            use = np.flatnonzero(weight > 0)
            keys = index.keys_at(base[use] + offset)
            rows = index.rows_at(keys)
            use, rows = use[rows >= 0], rows[rows >= 0]
            out[begin + use] += weight[use, None] * _node_gradients(volume, index, rows)
    return out


def _node_gradients(volume: SparseVolume, index: BandIndex, rows: np.ndarray) -> Float64[np.ndarray, "M 3"]:
    """Return central differences at band nodes, one-sided at the rim of the band [per voxel]."""
    here = volume.values[rows]
    out = np.empty((len(rows), 3))
    for axis in range(3):
        after, before = (index.neighbours(rows, axis, sign) for sign in (1, -1))
        high = np.where(after >= 0, volume.values[after], here)
        low = np.where(before >= 0, volume.values[before], here)
        steps = (after >= 0).astype(np.int8) + (before >= 0)
        out[:, axis] = (high.astype(np.float64) - low) / np.maximum(steps, 1)
    return out


def _unit(gradients: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Float64[np.ndarray, "V 3"]:
    """Return unit normals; where the field is flat (the middle of a thin sheet) the mean of the faces around."""
    length = np.sqrt(np.einsum("vi,vi->v", gradients, gradients))
    flat = np.flatnonzero(~(length > FLAT_SHARE * float(length.max())))
    if len(flat):
        around = faces[np.isin(faces, flat).any(axis=1)]
        a, b, c = (vertices[around[:, side]] for side in range(3))
        cross = np.cross(b - a, c - a)
        sums = np.zeros_like(gradients)
        for side in range(3):
            np.add.at(sums, around[:, side], cross)
        gradients[flat] = sums[flat]
        length = np.linalg.norm(gradients, axis=1)
        if not (length > 0).all():
            bad = int(np.argmin(length))
            raise VolumeError(f"vertex {bad} at {vertices[bad]} m has neither a gradient nor a face normal")
    gradients /= length[:, None]
    return gradients
