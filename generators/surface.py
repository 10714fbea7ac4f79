"""Surface of a sparse volume as a closed, oriented, manifold triangle mesh, in work proportional to the band."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8

from generators.band import BandIndex, check_signs
from generators.errors import VolumeError
from generators.marching_table import CENTRE, CORNERS, PatchTable, cube_table, tetrahedra_table
from generators.volume import SparseVolume
from physics.mesh import Mesh

EDGE_MARGIN = 0.02
"""Least distance of a vertex from the ends of its lattice edge, as a share of the edge: no two vertices coincide."""

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
    thinner than two voxels and sharp edges are rounded off by about one voxel.

    Args:
        volume: Narrow band of signed distance [m].
        method: CUBES, or TETRAHEDRA with three times the triangles and no ambiguous cells at all.

    Returns:
        Mesh in the frame of the volume [m]; every normal is a finite unit vector.

    Raises:
        VolumeError: The band breaks an invariant of `SparseVolume`, or nothing is inside.
    """
    index = BandIndex.of(volume)
    check_signs(volume, index)
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
    faces, middles = _faces(cells, table, numbers, len(slots))
    del numbers, slots, lower, upper, start
    points = np.concatenate([points, *(_middles(points, middles))])
    vertices = points * volume.voxel_size + np.asarray(volume.origin)
    mesh = Mesh(vertices, faces)
    return Mesh(mesh.vertices, mesh.faces, _unit(_gradients(volume, index, points), mesh))


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
    found = []
    for axis in range(3):
        upper = index.rows_at(index.keys + index.strides[axis])
        rows = np.flatnonzero((upper >= 0) & (negative != negative[upper]))
        u, v = (index.strides[a] for a in range(3) if a != axis)
        keys = index.keys[rows]
        found += [keys, keys - u, keys - v, keys - u - v]
    keys = np.unique(np.concatenate(found))
    if not len(keys):
        raise VolumeError("no lattice edge changes sign: the volume holds no surface")
    corners = np.empty((8, len(keys)), dtype=np.int32)
    patterns = np.zeros(len(keys), dtype=np.uint8)
    for n, offset in enumerate(CORNERS):
        rows = index.rows_at(keys + offset @ index.strides)
        if (rows < 0).any():
            bad = index.nodes(keys[rows < 0][:1])[0]
            raise VolumeError(
                f"the surface crosses the cell at node {bad}, whose corner {bad + offset} is not in the band "
                f"({int((rows < 0).sum())} such cells); widen the band"
            )
        corners[n] = rows
        patterns |= negative[rows].astype(np.uint8) << np.uint8(n)
    return _Cells(corners, patterns)


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


def _middles(points: Float64[np.ndarray, "V 3"], loops: list[np.ndarray]) -> list[Float64[np.ndarray, "M 3"]]:
    return [points[loop].mean(axis=1) for loop in loops]


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
            near, place = np.unique(keys, return_inverse=True)
            out[begin + use] += weight[use, None] * _node_gradients(volume, index, near)[place.reshape(-1)]
    return out


def _node_gradients(volume: SparseVolume, index: BandIndex, keys: np.ndarray) -> Float64[np.ndarray, "M 3"]:
    """Return central differences at nodes, one-sided at the rim of the band, zero outside it [per voxel]."""
    rows = index.rows_at(keys)
    here = volume.values[rows].astype(np.float64)
    out = np.zeros((len(keys), 3))
    for axis in range(3):
        after, before = (index.rows_at(keys + sign * index.strides[axis]) for sign in (1, -1))
        high = np.where(after >= 0, volume.values[after], here)
        low = np.where(before >= 0, volume.values[before], here)
        steps = (after >= 0).astype(int) + (before >= 0)
        out[:, axis] = np.where(rows >= 0, (high - low) / np.maximum(steps, 1), 0)
    return out


def _unit(gradients: Float64[np.ndarray, "V 3"], mesh: Mesh) -> Float64[np.ndarray, "V 3"]:
    """Return unit normals; where the field is flat (the middle of a thin sheet) the mean of the faces around."""
    length = np.linalg.norm(gradients, axis=1)
    floor = 1e-6 * float(length.max())
    flat = np.flatnonzero(~(length > floor))
    if len(flat):
        sums = np.zeros_like(gradients)
        touching = np.isin(mesh.faces, flat).any(axis=1)
        faces = mesh.faces[touching]
        for side in range(3):
            np.add.at(sums, faces[:, side], mesh.face_cross[touching])
        gradients[flat] = sums[flat]
        length = np.linalg.norm(gradients, axis=1)
        if not (length > 0).all():
            bad = int(np.argmin(length))
            raise VolumeError(f"vertex {bad} at {mesh.vertices[bad]} m has neither a gradient nor a face normal")
    return gradients / length[:, None]
