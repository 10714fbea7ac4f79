"""Foreign meshes made solid: signed distance on a sparse band, with the sign from the generalised winding number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import igl
import numpy as np
from jaxtyping import Float64, Int64

from generators.errors import VolumeError
from generators.marching_table import CORNERS
from generators.volume import SparseVolume
from physics.mesh import Mesh

BLOCK_SIZES = (32, 8, 1)
"""Edge of the node blocks that are searched from coarse to fine [nodes]."""
BATCH = 1 << 20
"""Points asked at once; bounds the memory, not the result."""
LEAST_SHARE = 1e-3
"""Least distance of a node from the surface, as a share of a voxel; a node nearer than that counts as outside."""
LARGEST_RESOLUTION = 4096
"""Voxels along the longest side; more would not fit into memory."""
SMALLEST_BAND = 2.0
"""Least half width of the band [voxels]: every corner of a crossed cell is within sqrt(3) of the surface."""


def voxelize_mesh(
    mesh: Mesh, *, resolution: int, band_voxels: float = 3.0, winding_threshold: float = 0.5
) -> SparseVolume:
    """Return the narrow band of a solid from a mesh that need not be closed or free of overlaps.

    A node is inside when the mesh winds round it by more than the threshold. Overlapping parts are united, a hole is
    capped where the winding number crosses the threshold, and the faces must point outwards in the main. Distances are
    exact within the band; beside a cap they follow from the gradient of the winding number. Parts thinner than two
    voxels may be lost: measure `unresolved_area`.

    Args:
        mesh: Triangles wound outwards [m].
        resolution: Voxels along the longest side of the bounding box.
        band_voxels: Half width of the band [voxels], at least 2.
        winding_threshold: Winding number from which a node is inside.

    Raises:
        VolumeError: Options that mean nothing, nothing inside (a mesh turned inside out, or thinner than a voxel), or
            an opening so wide that the solid cannot be closed.

    References:
        Jacobson, Kavan, Sorkine-Hornung, "Robust inside-outside segmentation", SIGGRAPH 2013.
        Barill et al., "Fast winding numbers for soups and clouds", SIGGRAPH 2018.
    """
    if not 4 <= resolution <= LARGEST_RESOLUTION:
        raise VolumeError(f"resolution must be 4..{LARGEST_RESOLUTION} voxels, got {resolution}")
    if not band_voxels >= SMALLEST_BAND or not 0 < winding_threshold < 1:
        raise VolumeError(f"band_voxels {band_voxels} must be >= 2 and winding_threshold {winding_threshold} in (0, 1)")
    if not len(mesh.faces) or not mesh.extents.max() > 0:
        raise VolumeError("the mesh has no faces or no extent, so there is nothing to voxelize")
    size = float(mesh.extents.max()) / resolution
    # Half a voxel off: a flat side at the bounding box then lies between nodes, where its sign is never in doubt.
    margin = int(np.ceil(band_voxels)) + 2
    origin = mesh.bounds[0] - (margin + 0.5) * size
    shape = np.ceil(mesh.extents / size).astype(np.int64) + 2 * margin + 2
    probe = _Probe(mesh, size, origin, winding_threshold, shape)
    nodes = _near_nodes(probe, band_voxels)
    values, nodes = probe.signed_distance(nodes, band_voxels)
    nodes, values = _follow_caps(probe, nodes, values, band_voxels)
    if not (values < 0).any():
        raise VolumeError(
            f"no lattice node is inside: the mesh is turned inside out, or thinner than a voxel of {size:.4g} m"
        )
    x, y, z = origin.tolist()
    return SparseVolume(nodes.astype(np.int32), values.astype(np.float32), size, (x, y, z))


def mesh_distance(mesh: Mesh) -> Callable[[np.ndarray], np.ndarray]:
    """Return the signed distance of a closed mesh, points (N, 3) [m] to (N,) [m]; inside is where it winds round.

    Args:
        mesh: Triangles wound outwards, without holes; overlapping parts are united [m].
    """
    faces = mesh.faces.astype(np.int64)

    def distance(points: np.ndarray) -> np.ndarray:
        squared = igl.point_mesh_squared_distance(points, mesh.vertices, faces)[0]
        inside = np.asarray(igl.fast_winding_number(mesh.vertices, faces, points)) > 0.5
        return np.where(inside, -1.0, 1.0) * np.sqrt(np.asarray(squared))

    return distance


@dataclass(frozen=True)
class Unresolved:
    """What of the outer area of a mesh has no extracted surface near it."""

    walls: float
    """Share that lies outside of the extracted solid: a wall or rod that is lost [1]."""
    gaps: float
    """Share that lies within it: a gap that is closed, as between parts that almost touch [1]."""

    @property
    def share(self) -> float:
        """Both."""
        return self.walls + self.gaps


def unresolved_area(mesh: Mesh, surface: Mesh, *, reach: float) -> Unresolved:
    """Return the shares of the outer area of a mesh that have no extracted surface within a distance.

    Faces inside the solid, as where parts overlap, are left out. A clean round trip gives 0 up to sharp edges.

    Args:
        mesh: The mesh that was voxelized [m].
        surface: What `extract_surface` made of its volume [m].
        reach: Distance from which on a face is unresolved, such as a voxel [m].
    """
    faces = mesh.faces.astype(np.int64)
    centres = mesh.triangles.mean(axis=1)
    areas = np.linalg.norm(mesh.face_cross, axis=1)
    normals = mesh.face_cross / np.where(areas > 0, areas, 1)[:, None]
    outer = np.zeros(len(faces), dtype=bool)
    for side in (-1e-3, 1e-3):
        points = centres + side * reach * normals
        outer |= np.asarray(igl.fast_winding_number(mesh.vertices, faces, points)) < 0.5
    total = float(areas[outer].sum())
    if total == 0:
        return Unresolved(1.0, 0.0)
    found = surface.faces.astype(np.int64)
    squared = np.asarray(igl.point_mesh_squared_distance(centres, surface.vertices, found)[0])
    within = np.asarray(igl.fast_winding_number(surface.vertices, found, centres)) > 0.5
    away = outer & (squared > reach**2)
    return Unresolved(float(areas[away & ~within].sum()) / total, float(areas[away & within].sum()) / total)


class _Probe:
    """Distance and winding number of a mesh at lattice nodes."""

    def __init__(self, mesh: Mesh, size: float, origin: np.ndarray, threshold: float, shape: np.ndarray) -> None:
        # One unit is one voxel, so that nothing below depends on the size of the object.
        self.vertices = (mesh.vertices - origin) / size
        self.faces = mesh.faces.astype(np.int64)
        self.size, self.threshold, self.shape = size, threshold, shape

    def distance(self, points: np.ndarray) -> Float64[np.ndarray, "N"]:
        """Return unsigned distances [voxels] of points in voxel space."""
        found = [
            igl.point_mesh_squared_distance(points[k : k + BATCH], self.vertices, self.faces)[0]
            for k in range(0, len(points), BATCH)
        ]
        return np.sqrt(np.concatenate(found)) if found else np.zeros(0)

    def winding(self, points: np.ndarray) -> Float64[np.ndarray, "N"]:
        """Return winding numbers of points in voxel space."""
        found = [
            igl.fast_winding_number(self.vertices, self.faces, points[k : k + BATCH])
            for k in range(0, len(points), BATCH)
        ]
        return np.concatenate(found) if found else np.zeros(0)

    def signed_distance(self, nodes: Int64[np.ndarray, "N 3"], band: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Return values [m] and nodes, those beyond the band dropped unless it is None."""
        points = nodes.astype(np.float64)
        distance = self.distance(points)
        if band is not None:
            near = distance < band
            nodes, points, distance = nodes[near], points[near], distance[near]
        excess = self.winding(points) - self.threshold
        # Off the surface and yet between two whole numbers: beside a cap. The surface is at least 2 voxels off there,
        # so differences over one voxel do not step across it.
        open_side = np.flatnonzero((distance >= 2) & (np.abs(excess) < 0.9 * min(self.threshold, 1 - self.threshold)))
        slope = np.zeros((len(open_side), 3))
        for axis in range(3):
            step = np.eye(3)[axis]
            slope[:, axis] = self.winding(points[open_side] + step) - self.winding(points[open_side] - step)
        reach = np.abs(excess[open_side]) / np.maximum(np.linalg.norm(slope, axis=1) / 2, 1e-9)
        distance[open_side] = np.minimum(distance[open_side], reach)
        # A node on the surface has no winding number; taken as outside, all of a flat side agree.
        inside = (excess > 0) & (distance > LEAST_SHARE)
        distance = np.maximum(distance, LEAST_SHARE)
        return np.where(inside, -distance, distance) * self.size, nodes


def _near_nodes(probe: _Probe, band: float) -> Int64[np.ndarray, "N 3"]:
    """Return all nodes in blocks that can hold one within the band, in lexicographic order."""
    first = BLOCK_SIZES[0]
    corners = np.stack(np.meshgrid(*(np.arange(0, n, first) for n in probe.shape), indexing="ij"), axis=-1)
    corners = corners.reshape(-1, 3).astype(np.int64)
    for edge, finer in pairwise(BLOCK_SIZES):
        half = (edge - 1) / 2
        corners = corners[probe.distance(corners + half) <= band + np.sqrt(3) * half]
        steps = np.arange(0, edge, finer)
        inner = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
        corners = (corners[:, None] + inner).reshape(-1, 3)
    corners = corners[(corners < probe.shape).all(axis=1)]
    return corners[np.lexsort(corners.T[::-1])]


def _follow_caps(probe: _Probe, nodes: np.ndarray, values: np.ndarray, band: float) -> tuple[np.ndarray, np.ndarray]:
    """Add nodes until every edge that changes sign, and every cell at such an edge, has all its corners.

    The caps of holes leave the band at the rims; they are followed from there, a few voxels at a time.
    """
    while True:
        missing = _missing_nodes(probe, nodes, values, max(1, int(band)))
        if not len(missing):
            return nodes, values
        at_border = ((missing < 1) | (missing >= probe.shape - 1)).any(axis=1)
        more, _ = probe.signed_distance(missing, None)
        if (more[at_border] < 0).any():
            raise VolumeError("the mesh is open so widely that its inside reaches beyond its bounding box; close it")
        nodes, values = np.concatenate([nodes, missing]), np.concatenate([values, more])
        order = np.lexsort(nodes.T[::-1])
        nodes, values = nodes[order], values[order]


def _missing_nodes(probe: _Probe, nodes: np.ndarray, values: np.ndarray, reach: int) -> Int64[np.ndarray, "M 3"]:
    strides = np.array([probe.shape[1] * probe.shape[2], probe.shape[2], 1])
    keys, negative = nodes @ strides, values < 0

    def rows_at(wanted: np.ndarray) -> np.ndarray:
        rows = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[rows] == wanted, rows, -1)

    # Absent neighbours whose sign differs, which only the winding number there can tell.
    wanted = []
    for axis in range(3):
        for sign in (-1, 1):
            absent = rows_at(keys + sign * strides[axis]) < 0
            beside = nodes[absent] + sign * np.eye(3, dtype=np.int64)[axis]
            within = ((beside >= 0) & (beside < probe.shape)).all(axis=1)
            own = negative[absent][within]
            other = probe.winding(beside[within].astype(np.float64)) > probe.threshold
            wanted.append(beside[within][own != other])
        upper = rows_at(keys + strides[axis])
        crossed = np.flatnonzero((upper >= 0) & (negative != negative[upper]))
        offsets = CORNERS * 2 - 1
        offsets = np.unique(np.where(np.arange(3) == axis, 0, offsets), axis=0)
        for offset in np.concatenate([offsets, np.eye(3, dtype=np.int64)[np.arange(3) != axis] * [[1], [-1]]]):
            for end in (crossed, upper[crossed]):
                beside = nodes[end] + offset
                wanted.append(beside[rows_at(beside @ strides) < 0])
    found = np.unique(np.concatenate(wanted), axis=0)
    if not len(found):
        return found
    steps = np.arange(-reach, reach + 1)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    grown = np.unique((found[:, None] + cube).reshape(-1, 3), axis=0)
    grown = grown[((grown >= 0) & (grown < probe.shape)).all(axis=1)]
    return grown[rows_at(grown @ strides) < 0]
