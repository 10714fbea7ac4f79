"""SparseVolume: a narrow band of signed distance on a sparse lattice, with the sign known everywhere.

Three spaces: *voxel* space counts lattice nodes (ijk, integer); *world* space is the body frame B [m],
`p = origin + voxel_size * ijk`; *index* space is the row of a node in the arrays.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from generators.errors import VolumeError

NODE_LIMIT = 2**20
"""Most nodes along one side of a lattice: three coordinates then fit a 64-bit key [1]."""


@dataclass(frozen=True, eq=False)
class SparseVolume:
    """Signed distance near the surface of a solid, negative inside.

    Every lattice edge whose ends have different signs has both ends in the band, and so has every corner
    of a cell that the surface crosses. Hence the sign of a node outside the band is that of the nearest
    band node before it in its row (the row runs along k), and positive where there is none. Construction
    checks all of this and raises `VolumeError`.
    """

    coords: Int32[np.ndarray, "N 3"]
    """Lattice nodes ijk of the band, unique, in lexicographic order."""
    values: Float32[np.ndarray, "N"]
    """Signed distance at the nodes [m], never exactly 0."""
    voxel_size: float
    """Distance between neighbouring nodes [m]."""
    origin: tuple[float, float, float]
    """Position of node (0, 0, 0) in B [m]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "coords", _read_only(self.coords, np.int32))
        object.__setattr__(self, "values", _read_only(self.values, np.float32))
        object.__setattr__(self, "origin", tuple(float(x) for x in self.origin))
        object.__setattr__(self, "voxel_size", float(self.voxel_size))
        _check_arrays(self)
        _check_cells(self)

    @property
    def points(self) -> Float64[np.ndarray, "N 3"]:
        """Positions of the band nodes in B [m]."""
        return np.array(self.origin) + self.voxel_size * self.coords

    def sign_at(self, ijk: np.ndarray) -> Int32[np.ndarray, "M"]:
        """Return -1 inside and +1 outside at any lattice nodes (M, 3)."""
        nodes = np.asarray(ijk, dtype=np.int64).reshape(-1, 3)
        low = self.coords.min(axis=0).astype(np.int64)
        span = self.coords.max(axis=0) - low + 1
        local = nodes - low
        held = ((local >= 0) & (local < span)).all(axis=1)
        clipped = np.clip(local, 0, span - 1)
        keys = lattice_keys(self.coords - low, span)
        wanted = lattice_keys(clipped, span)
        before = np.searchsorted(keys, wanted, side="right") - 1
        row_of_before = keys[np.maximum(before, 0)] // span[2]
        known = held & (before >= 0) & (row_of_before == wanted // span[2])
        inside = known & (self.values[np.maximum(before, 0)] < 0)
        return np.where(inside, -1, 1).astype(np.int32)


def lattice_keys(coords: np.ndarray, shape: np.ndarray) -> Int64[np.ndarray, "N"]:
    """Return one integer per node (N, 3) of a lattice of `shape` (3,), in lexicographic order."""
    i, j, k = (coords[:, axis].astype(np.int64) for axis in range(3))
    return (i * int(shape[1]) + j) * int(shape[2]) + k


def save_volume(volume: SparseVolume, path: Path) -> None:
    """Write a volume as npz, compressed."""
    np.savez_compressed(
        path, coords=volume.coords, values=volume.values, voxel_size=volume.voxel_size, origin=np.array(volume.origin)
    )


def load_volume(path: Path) -> SparseVolume:
    """Read a volume and check its invariants.

    Raises:
        VolumeError: the file is no npz, lacks an array, or holds a volume that breaks its invariants.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            x, y, z = data["origin"]
            return SparseVolume(data["coords"], data["values"], float(data["voxel_size"]), (x, y, z))
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise VolumeError(f"{path}: not a volume written by save_volume ({error}). Make it again.") from error


def _read_only(array: np.ndarray, dtype: type) -> np.ndarray:
    """Return the array read-only, copied only when it must be: a band of 512 nodes a side holds 10^7 nodes."""
    given = np.asarray(array)
    result = np.ascontiguousarray(given, dtype=dtype)
    if result is given and result.flags.writeable:
        result = result.view()
    result.setflags(write=False)
    return result


def _check_arrays(volume: SparseVolume) -> None:
    coords, values = volume.coords, volume.values
    if coords.ndim != 2 or coords.shape[1] != 3 or values.shape != (len(coords),):
        raise VolumeError(f"a volume needs coords (N, 3) and values (N,), got {coords.shape} and {values.shape}")
    if not len(coords):
        raise VolumeError("a volume needs a band, got 0 nodes: the solid is smaller than a voxel, or empty")
    if not (np.isfinite(volume.voxel_size) and volume.voxel_size > 0 and np.isfinite(volume.origin).all()):
        raise VolumeError(f"voxel_size is {volume.voxel_size} m at origin {volume.origin} m, both must be finite")
    low, high = coords.min(axis=0).astype(np.int64), coords.max(axis=0).astype(np.int64)
    if (high - low).max() >= NODE_LIMIT:
        raise VolumeError(f"the lattice spans {high - low + 1} nodes, at most {NODE_LIMIT} a side are possible")
    step = np.diff(lattice_keys(coords - low.astype(np.int32), high - low + 1))
    if (step <= 0).any():
        row = int(np.argmax(step <= 0)) + 1
        raise VolumeError(f"coords are not unique and sorted: node {coords[row]} follows {coords[row - 1]}")
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise VolumeError(f"value at node {coords[row]} is {values[row]}, expected a finite distance")
    if (values == 0).any():
        raise VolumeError(f"value at node {coords[int(np.argmax(values == 0))]} is exactly 0; nudge it off the surface")


def _check_cells(volume: SparseVolume) -> None:
    """Refuse a volume where a cell with corners of both signs lacks a corner in the band.

    Walks the lattice one slice i at a time, so that no more than two slices are ever dense.
    """
    coords, negative = volume.coords, volume.values < 0
    low = coords.min(axis=0)
    shape = coords.max(axis=0) - low + 3  # one node of outside all round
    starts = np.searchsorted(coords[:, 0], np.arange(low[0], low[0] + shape[0] - 1))
    blank = np.zeros((shape[1] - 1, shape[2] - 1), dtype=bool)
    some_before, all_before, band_before = blank, blank, blank
    flat = (coords[:, 1] - (low[1] - 1)).astype(np.int64) * int(shape[2]) + (coords[:, 2] - (low[2] - 1))
    for i in range(shape[0] - 1):
        begin, end = (int(starts[i]), int(starts[i + 1])) if i < shape[0] - 2 else (0, 0)
        some, every, band = _slice_cells(flat[begin:end], negative[begin:end], (int(shape[1]), int(shape[2])))
        bad = (some | some_before) & ~(every & all_before) & ~(band & band_before)
        if bad.any():
            j, k = np.unravel_index(int(np.argmax(bad)), bad.shape)
            cell = low + np.array([i - 1, j - 1, k - 1])
            raise VolumeError(
                f"cell {cell.tolist()} has corners inside and outside, but not all of its corners are in the band; "
                "widen the band or pad the lattice"
            )
        some_before, all_before, band_before = some, every, band


def _slice_cells(
    flat: np.ndarray, negative: np.ndarray, shape: tuple[int, int]
) -> tuple[Bool[np.ndarray, "J K"], Bool[np.ndarray, "J K"], Bool[np.ndarray, "J K"]]:
    """For each square of four nodes in a slice: any inside, all inside, all in the band."""
    change = np.zeros(shape[0] * shape[1], dtype=np.int8)
    if flat.size:
        new_row = np.concatenate([[True], flat[1:] // shape[1] != flat[:-1] // shape[1]])
        previous = np.concatenate([[False], negative[:-1]]) & ~new_row
        change[flat] = negative.astype(np.int8) ^ previous.astype(np.int8)
    inside = np.bitwise_xor.accumulate(change.reshape(shape), axis=1).astype(bool)
    band = np.zeros(shape[0] * shape[1], dtype=bool)
    band[flat] = True
    band = band.reshape(shape)
    pairs_some, pairs_all = inside[1:] | inside[:-1], inside[1:] & inside[:-1]
    pairs_band = band[1:] & band[:-1]
    return (
        pairs_some[:, 1:] | pairs_some[:, :-1],
        pairs_all[:, 1:] & pairs_all[:, :-1],
        pairs_band[:, 1:] & pairs_band[:, :-1],
    )
