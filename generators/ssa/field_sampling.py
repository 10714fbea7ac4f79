"""Solids and meshes on the training lattice: the band of signed distance, and the coarse distance of latent cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Float64, Int16
from scipy import ndimage

from generators.errors import VolumeError
from generators.sampling import sample_volume
from generators.ssa.presets import BAND, COARSE_REACH, FILL
from generators.surface import extract_surface
from generators.volume import SparseVolume
from generators.voxelize import mesh_distance, voxelize_mesh
from physics.mesh import Mesh

LEAST_VALUE = 1e-4
"""Distance that stands for exactly 0, on the outside [voxel]."""
OVERSAMPLING = 2
"""Voxels of a mesh's first lattice per voxel of the training lattice and side [1]."""


class Sheet(Protocol):
    """The middle of walls that are too thin, with the balls that make them thick enough; see `physics.thin_sheet`."""

    @property
    def radius(self) -> float:
        """Of the balls [m]."""
        ...

    @property
    def share(self) -> float:
        """Share of the outer area that bounds such walls [1]."""
        ...

    @property
    def thinnest(self) -> float:
        """Thickness of the thinnest [m]."""
        ...

    def distance(self, points: Float64[np.ndarray, "P 3"]) -> Float64[np.ndarray, "P"]:
        """Return the signed distance of the balls [m]."""
        ...

    @property
    def bounds(self) -> Float64[np.ndarray, "2 3"]:
        """Box of the balls [m]."""
        ...


@dataclass(frozen=True, eq=False)
class LatticeField:
    """One object on the training lattice of R nodes a side, its box centred, z up."""

    coords: Int16[np.ndarray, "N 3"]
    """Nodes with |s| < BAND, in lexicographic order."""
    values: Float32[np.ndarray, "N"]
    """Signed distance [voxel]."""
    coarse: Float32[np.ndarray, "G G G"]
    """Signed distance at the centres of the latent cells, truncated [latent cell]."""
    extents: tuple[float, float, float]
    """Bounding box [m]."""
    voxel_size: float
    """Distance of nodes [m]."""

    @property
    def resolution(self) -> int:
        """Nodes along a side of the lattice [1]."""
        return round(max(self.extents) / (FILL * self.voxel_size))


def sample_solid(
    distances: Sequence[Callable[[np.ndarray], np.ndarray]],
    bounds: Float64[np.ndarray, "2 3"],
    *,
    resolution: int,
    downsampling: int,
) -> LatticeField:
    """Return the union of solids on the training lattice.

    Args:
        distances: Signed distances of the parts, points (N, 3) [m] to (N,) [m], 1-Lipschitz.
        bounds: Box (2, 3) that just holds the union [m].
        resolution: Nodes along a side of the lattice.
        downsampling: Nodes per latent cell and side.

    Raises:
        VolumeError: no surface in the box.
    """
    extents = bounds[1] - bounds[0]
    size = float(extents.max()) / (FILL * resolution)
    origin = bounds.mean(axis=0) - (resolution - 1) / 2 * size

    def union(points: np.ndarray) -> np.ndarray:
        return np.min([distance(points) for distance in distances], axis=0)

    # sample_volume puts node 0 (pad + 1/2) voxels below its box and adds as many above.
    pad = int(np.ceil(BAND)) + 1
    low = origin + (pad + 0.5) * size
    box = np.stack([low, low + (resolution - 2 * pad - 2.5) * size])
    volume = sample_volume(union, box, voxel_size=size, band_voxels=BAND)
    return _lattice_field(_dense(volume, resolution), extents, size, downsampling)


def sample_mesh(
    mesh: Mesh, *, resolution: int, downsampling: int, closed: bool = False, sheet: Sheet | None = None
) -> LatticeField:
    """Return a mesh on the training lattice, solid by its winding number (see `voxelize_mesh`).

    Of a closed mesh the distance is evaluated at the nodes. That of any other is found on a lattice twice as fine, on
    which its holes are capped, and read between its nodes linearly: ten times slower.

    Args:
        mesh: Triangles wound outwards [m].
        resolution: Nodes along a side of the lattice.
        downsampling: Nodes per latent cell and side.
        closed: Whether each of its edges joins two triangles.
        sheet: What is to be thickened.

    Raises:
        VolumeError: the mesh encloses nothing at this resolution.
    """
    bounds = thickened_bounds(mesh, sheet)
    if closed:
        distances = [mesh_distance(mesh), *([sheet.distance] if sheet else [])]
        return sample_solid(distances, bounds, resolution=resolution, downsampling=downsampling)
    fine = OVERSAMPLING * round(FILL * resolution)
    volume = voxelize_mesh(mesh, resolution=fine, band_voxels=OVERSAMPLING * (BAND + 1))
    extents = bounds[1] - bounds[0]
    size = float(extents.max()) / (FILL * resolution)
    centre = bounds.mean(axis=0)
    shape = int(volume.coords.max()) + 2
    values = _dense(volume, shape, limit=OVERSAMPLING * (BAND + 1)) * (volume.voxel_size / size)
    ticks = (np.arange(resolution) - (resolution - 1) / 2) * size
    places = [(ticks + centre[a] - volume.origin[a]) / volume.voxel_size for a in range(3)]
    grid = np.stack(np.meshgrid(*places, indexing="ij"))
    read = ndimage.map_coordinates(values, grid, order=1, mode="nearest")
    if sheet:
        nodes = np.stack(np.meshgrid(*[ticks + centre[a] for a in range(3)], indexing="ij"), axis=-1)
        balls = sheet.distance(nodes.reshape(-1, 3)) / size
        read = np.minimum(read, balls.reshape(read.shape).astype(np.float32))
    return _lattice_field(np.clip(read, -BAND, BAND), extents, size, downsampling)


def thickened_bounds(mesh: Mesh, sheet: Sheet | None) -> Float64[np.ndarray, "2 3"]:
    """Return the box of a mesh and of what is added to it [m]."""
    bounds = mesh.bounds.astype(np.float64)
    if sheet is None:
        return bounds
    added = sheet.bounds
    return np.stack([np.minimum(bounds[0], added[0]), np.maximum(bounds[1], added[1])])


def lattice_surface(field: LatticeField, bounds: Float64[np.ndarray, "2 3"]) -> Mesh:
    """Return the surface of a mesh's field, where the mesh lies: at the centre of its box [m]."""
    low = bounds.mean(axis=0) - (field.resolution - 1) / 2 * field.voxel_size
    x, y, z = low.tolist()
    values = field.values * np.float32(field.voxel_size)
    return extract_surface(SparseVolume(field.coords.astype(np.int32), values, field.voxel_size, (x, y, z)))


def _dense(volume: SparseVolume, side: int, *, limit: float = BAND) -> Float32[np.ndarray, "R R R"]:
    """Return signed distance on the whole lattice [voxel], clipped; beyond the band the sign runs on along rows."""
    shape = (side, side, side)
    nodes = np.argwhere(np.ones(shape, dtype=bool))
    values = (volume.sign_at(nodes) * np.float32(limit)).reshape(shape)
    held = ((volume.coords >= 0) & (volume.coords < side)).all(axis=1)
    values[tuple(volume.coords[held].T)] = volume.values[held] / volume.voxel_size
    return np.clip(values, -limit, limit).astype(np.float32)


def _lattice_field(
    values: Float32[np.ndarray, "R R R"], extents: np.ndarray, size: float, downsampling: int
) -> LatticeField:
    """Return band and coarse distance of a dense lattice of signed distance [voxel]."""
    if not (values < 0).any():
        raise VolumeError("no node is inside: the object is thinner than a voxel of the training lattice")
    values = np.where(values == 0, np.float32(LEAST_VALUE), values)
    near = np.abs(values) < BAND
    coords = np.argwhere(near).astype(np.int16)
    x, y, z = extents.tolist()
    return LatticeField(coords, values[near], coarse_distance(values, downsampling), (x, y, z), size)


def coarse_distance(values: Float32[np.ndarray, "R R R"], downsampling: int) -> Float32[np.ndarray, "G G G"]:
    """Return signed distance at the centres of latent cells [latent cell], truncated at COARSE_REACH.

    Beyond the band it is the distance to the nearest band node plus what that node says, at most half a voxel too
    long; the centre is the mean of the 8 nodes around it.

    Args:
        values: Signed distance at nodes, clipped to BAND [voxel].
        downsampling: Nodes per latent cell and side, even.
    """
    inside = values < 0
    near = np.abs(values) < BAND
    nearest = ndimage.distance_transform_edt(~near, return_distances=False, return_indices=True)
    nearest = np.asarray(nearest)
    gap = np.linalg.norm(nearest - np.indices(values.shape), axis=0)
    total = gap + np.abs(values[tuple(nearest)])
    signed = np.where(near, values, np.where(inside, -total, total))
    for axis in range(3):
        low = np.arange(downsampling // 2 - 1, values.shape[axis], downsampling)
        signed = (signed.take(low, axis) + signed.take(low + 1, axis)) / 2
    return np.clip(signed / downsampling, -COARSE_REACH, COARSE_REACH).astype(np.float32)
