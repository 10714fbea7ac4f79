"""Sparse volumes: invariants, the dense oracle, signs everywhere, one lattice for several parts, round trip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from generators import sdf
from generators.errors import VolumeError
from generators.sampling import SamplingConfig, sample_volume
from generators.volume import SparseVolume, load_volume, save_volume

CUP = sdf.difference(sdf.cylinder(0.05, 0.0, 0.1), sdf.cylinder(0.04, 0.01, 0.2))


def cup(resolution: int = 40) -> SparseVolume:
    return sample_volume(CUP.distance, CUP.bounds, resolution=resolution)


def dense(volume: SparseVolume) -> tuple[np.ndarray, np.ndarray]:
    """All nodes about the band and the distance there, by brute force."""
    low, high = volume.coords.min(axis=0) - 3, volume.coords.max(axis=0) + 3
    nodes = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1).reshape(-1, 3)
    return nodes, CUP.distance(np.array(volume.origin) + volume.voxel_size * nodes)


def test_band_equals_the_dense_oracle() -> None:
    volume = cup()
    nodes, value = dense(volume)
    kept = np.abs(value) <= 3.0 * volume.voxel_size
    assert np.array_equal(volume.coords, nodes[kept])
    np.testing.assert_array_equal(volume.values, value[kept].astype(np.float32))


def test_sign_is_known_everywhere() -> None:
    volume = cup()
    nodes, value = dense(volume)
    assert np.array_equal(volume.sign_at(nodes), np.where(value < 0, -1, 1))
    assert volume.sign_at(np.array([[10**6, 0, 0]])).tolist() == [1]


def test_result_does_not_depend_on_the_search() -> None:
    volume = cup()
    other = sample_volume(
        CUP.distance, CUP.bounds, resolution=40, config=SamplingConfig(coarsest_block=16, finest_block=8, chunk=700)
    )
    assert np.array_equal(volume.coords, other.coords)
    assert np.array_equal(volume.values, other.values)


def test_work_grows_with_the_surface_and_not_with_the_volume() -> None:
    calls = {}
    for resolution in (64, 128):
        points = 0

        def counted(p: np.ndarray) -> np.ndarray:
            nonlocal points
            points += len(p)
            return CUP.distance(p)

        sample_volume(counted, CUP.bounds, resolution=resolution)
        calls[resolution] = points
    assert calls[128] < 5.5 * calls[64]  # 4 for a surface, 8 for a dense grid; bands of facing walls merge at 64


def test_flat_base_lies_between_nodes() -> None:
    """Trap: a base plane on a row of nodes gives exact zeros and slivers."""
    volume = cup()
    z = (0.0 - volume.origin[2]) / volume.voxel_size
    assert abs(z - np.floor(z) - 0.5) < 1e-9


def test_exact_zero_is_nudged_outside() -> None:
    plate = sdf.box((0.5, 0.5, 0.25))
    volume = sample_volume(
        plate.distance, plate.bounds + np.array([[-0.03125], [0.03125]]), voxel_size=0.0625, band_voxels=2
    )
    assert (volume.values != 0).all()
    on_surface = np.abs(plate.distance(volume.points)) == 0
    assert on_surface.any()
    assert (volume.values[on_surface] > 0).all()


def test_one_box_and_voxel_size_give_one_lattice() -> None:
    a, b = sdf.sphere(0.1), sdf.box((0.1, 0.1, 0.1), (0.05, 0.0, 0.1))
    bounds = np.array([[-0.2, -0.2, -0.2], [0.2, 0.2, 0.2]])
    first, second = (sample_volume(s.distance, bounds, voxel_size=0.01) for s in (a, b))
    assert first.origin == second.origin


def test_round_trip(tmp_path: Path) -> None:
    volume = cup()
    save_volume(volume, tmp_path / "cup.npz")
    again = load_volume(tmp_path / "cup.npz")
    assert np.array_equal(volume.coords, again.coords)
    assert np.array_equal(volume.values, again.values)
    assert (volume.voxel_size, volume.origin) == (again.voxel_size, again.origin)


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cup.npz"
    save_volume(cup(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(VolumeError, match="not a volume written by save_volume"):
        load_volume(path)
    np.savez(path, coords=np.zeros((1, 3)))
    with pytest.raises(VolumeError, match="not a volume written by save_volume"):
        load_volume(path)


def remade(volume: SparseVolume, keep: np.ndarray | None = None, values: np.ndarray | None = None) -> SparseVolume:
    keep = np.ones(len(volume.coords), dtype=bool) if keep is None else keep
    values = volume.values if values is None else values
    return SparseVolume(volume.coords[keep], values[keep], volume.voxel_size, volume.origin)


def test_every_missing_corner_of_a_crossed_cell_is_refused() -> None:
    """Remove single nodes: refused exactly when a crossed cell used them."""
    volume = cup(24)
    inside = {tuple(c): bool(v < 0) for c, v in zip(volume.coords.tolist(), volume.values, strict=True)}
    offsets = np.array(list(np.ndindex(2, 2, 2)))
    for row in np.random.default_rng(0).choice(len(volume.coords), 60, replace=False):
        node = volume.coords[row]
        needed = False
        for cell in node - offsets:
            signs = [inside.get(tuple(c), None) for c in (cell + offsets).tolist()]
            needed |= True in signs and False in signs
        keep = np.ones(len(volume.coords), dtype=bool)
        keep[row] = False
        if needed:
            with pytest.raises(VolumeError, match="not all of its corners are in the band"):
                remade(volume, keep)
        else:
            remade(volume, keep)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_negative_border_and_open_gap_are_refused(axis: int) -> None:
    volume = cup(24)
    values = volume.values.copy()
    values[volume.coords[:, axis] == volume.coords[:, axis].max()] = -1.0
    with pytest.raises(VolumeError, match="corners inside and outside"):
        remade(volume, values=values)


def test_array_refusals() -> None:
    volume = cup(24)
    with pytest.raises(VolumeError, match="not unique and sorted"):
        SparseVolume(volume.coords[::-1], volume.values[::-1], volume.voxel_size, volume.origin)
    bad = volume.values.copy()
    bad[5] = 0.0
    with pytest.raises(VolumeError, match="exactly 0"):
        remade(volume, values=bad)
    bad[5] = np.nan
    with pytest.raises(VolumeError, match="expected a finite distance"):
        remade(volume, values=bad)
    with pytest.raises(VolumeError, match="0 nodes"):
        SparseVolume(np.zeros((0, 3), np.int32), np.zeros(0, np.float32), 0.1, (0.0, 0.0, 0.0))
    with pytest.raises(VolumeError, match="must be finite"):
        SparseVolume(volume.coords, volume.values, float("nan"), volume.origin)


def test_sampling_refusals() -> None:
    with pytest.raises(VolumeError, match="either resolution or voxel_size"):
        sample_volume(CUP.distance, CUP.bounds)
    with pytest.raises(VolumeError, match=r"at least 1.75 are needed"):
        sample_volume(CUP.distance, CUP.bounds, resolution=32, band_voxels=1.0)
    with pytest.raises(VolumeError, match="no surface in the box"):
        sample_volume(CUP.distance, CUP.bounds + 5.0, resolution=32)


def test_arrays_are_read_only_and_the_givers_are_not() -> None:
    coords, values = np.array(cup(24).coords), np.array(cup(24).values)
    volume = SparseVolume(coords, values, 0.1, (0.0, 0.0, 0.0))
    assert not volume.coords.flags.writeable
    assert coords.flags.writeable and values.flags.writeable
