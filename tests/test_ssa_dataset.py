"""Training data: the lattice of the brief, closed-form distances, equal bytes for any number of processes, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from generators.errors import DatasetError, FamilyError
from generators.sdf import box, sphere
from generators.ssa.dataset import DatasetConfig, MeshClass, MeshSource, make_dataset
from generators.ssa.field_sampling import lattice_surface, sample_mesh, sample_solid, thickened_bounds
from generators.ssa.presets import BAND, COARSE_REACH, FILL
from generators.ssa.shards import COARSE_STEPS, VALUE_STEPS, Shard, load_dataset, read_shard, write_shard
from physics import truth as solids
from physics.errors import MeshError
from physics.mesh import Mesh
from physics.mesh_io import read_mesh, write_obj
from physics.thin_sheet import find_thin_sheet
from physics.wall import WallConfig, thinnest_wall

LATTICE = {"resolution": 64, "downsampling": 4}
MESHES = MeshSource(read_mesh, find_thin_sheet)
CENTRE = 31.5
"""Coordinate of the centre of the lattice [voxel]."""
SMALL = DatasetConfig(families=("gear", "hex_nut"), per_family=6, shard_objects=3, test_share=0.3, seed=2)


def ball(radius: float = 0.05) -> tuple:
    return sphere(radius, (0.3, 0.0, radius)), radius


def test_a_ball_fills_the_lattice_as_asked():
    solid, radius = ball()
    field = sample_solid([solid.distance], solid.bounds, **LATTICE)
    r = FILL * 64 / 2
    exact = np.linalg.norm(field.coords - CENTRE, axis=1) - r
    np.testing.assert_allclose(field.values, exact, atol=2e-5)
    assert field.extents == pytest.approx((2 * radius,) * 3)
    assert field.voxel_size == pytest.approx(2 * radius / (FILL * 64))
    every = np.argwhere(np.ones((64, 64, 64), dtype=bool))
    assert len(field.coords) == (np.abs(np.linalg.norm(every - CENTRE, axis=1) - r) < BAND).sum()
    assert (np.lexsort(field.coords.T[::-1]) == np.arange(len(field.coords))).all()


def test_coarse_distance_of_a_ball():
    solid, _ = ball()
    field = sample_solid([solid.distance], solid.bounds, **LATTICE)
    centres = 4 * np.indices((16, 16, 16)) + 1.5
    exact = (np.linalg.norm(centres - CENTRE, axis=0) - FILL * 32) / 4
    # Beyond the band the way to the nearest node of the band is up to half a voxel too long.
    np.testing.assert_allclose(field.coarse, np.clip(exact, -COARSE_REACH, COARSE_REACH), atol=0.5 / 4)
    assert field.coarse.min() == -COARSE_REACH  # the middle is inside, deeper than the reach


def test_the_union_of_parts_is_what_is_sampled():
    low, high = box((0.1, 0.1, 0.05), (0, 0, 0.025)), box((0.04, 0.04, 0.05), (0, 0, 0.075))
    bounds = np.array([[-0.05, -0.05, 0], [0.05, 0.05, 0.1]])
    field = sample_solid([low.distance, high.distance], bounds, **LATTICE)
    joint = np.abs(field.coords - [CENTRE, CENTRE, CENTRE]).max(axis=1) < 3  # where the parts touch, deep inside
    assert not joint.any() or (field.values[joint] < 0).all()


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("sides", [(0.08, 0.05, 0.12), (0.2, 0.03, 0.03)])
def test_a_mesh_gives_the_field_of_the_solid_it_bounds(sides, closed):
    mesh = solids.box(sides).mesh
    field = sample_mesh(mesh, closed=closed, **LATTICE)
    solid = box(sides)
    exact = sample_solid([solid.distance], solid.bounds, **LATTICE)
    places = {tuple(node): value for node, value in zip(exact.coords.tolist(), exact.values.tolist(), strict=True)}
    pairs = np.array(
        [(v, places[tuple(n)]) for n, v in zip(field.coords.tolist(), field.values, strict=True) if tuple(n) in places]
    )
    assert len(pairs) > 0.97 * len(exact.coords)
    error = np.abs(pairs[:, 0] - pairs[:, 1])
    assert np.quantile(error, 0.99) < 0.15 and error.max() < 0.5  # voxels; the most beside edges
    assert not closed or error.max() < 1e-4  # of a closed mesh nothing is interpolated
    surface = lattice_surface(field, mesh.bounds)
    np.testing.assert_allclose(surface.bounds, mesh.bounds, atol=0.5 * field.voxel_size)


def test_equal_bytes_for_any_number_of_processes_and_after_a_stop(tmp_path):
    alone = make_dataset(SMALL, tmp_path / "alone").index
    for name in ("train-00001.npz", "train-00001.npz.json", "dataset.json"):
        (tmp_path / "alone" / name).unlink()
    kept = (tmp_path / "alone" / "train-00000.npz").stat().st_mtime_ns
    assert make_dataset(SMALL, tmp_path / "alone").index == alone
    assert (tmp_path / "alone" / "train-00000.npz").stat().st_mtime_ns == kept  # not made again
    assert make_dataset(SMALL, tmp_path / "two", workers=2).index == alone


def test_a_shard_is_read_back_as_it_was_written_and_no_sign_is_lost(tmp_path):
    fields = [sample_solid([one.distance], one.bounds, **LATTICE) for one in (ball(0.05)[0], box((0.1, 0.06, 0.03)))]
    shard = Shard.of(fields, [1, 0])
    digest = write_shard(shard, tmp_path / "a.npz", resolution=64)
    assert write_shard(shard, tmp_path / "b.npz", resolution=64) == digest
    read = read_shard(tmp_path / "a.npz", digest)
    for name in Shard.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(read, name), getattr(shard, name), err_msg=name)
    exact = np.concatenate([field.values for field in fields])
    assert np.abs(shard.values - exact).max() <= 0.5 / VALUE_STEPS + 1e-6
    assert ((shard.values < 0) == (exact < 0)).all() and np.abs(shard.values).max() < BAND
    coarse = np.stack([field.coarse for field in fields])
    assert np.abs(shard.coarse - coarse).max() <= 0.5 / COARSE_STEPS + 1e-6


def test_objects_are_taken_from_a_shard():
    fields = [
        sample_solid([box((0.1, 0.06, h)).distance], box((0.1, 0.06, h)).bounds, **LATTICE) for h in (0.02, 0.05, 0.1)
    ]
    shard = Shard.of(fields, [2, 0, 1])
    joined = Shard.join([shard.take([2]), shard.take([]), shard.take([0, 1])])
    for name in Shard.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(joined.take([1, 2, 0]), name), getattr(shard, name), err_msg=name)


def test_splits_are_disjoint_and_the_held_out_region_is_not_in_training(tmp_path):
    index = make_dataset(SMALL, tmp_path).index
    splits = {name: load_dataset(tmp_path, name).shard for name in ("train", "held_out")}
    boxes = np.concatenate([shard.extents for shard in splits.values()])
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    for number, family in enumerate(index["families"]):
        low, high = index["held_out_aspects"][family]
        for name, shard in splits.items():
            own = shard.extents[shard.family == number]
            aspect = own[:, 2] / own[:, :2].max(axis=1)
            within = (aspect >= low * (1 - 1e-6)) & (aspect <= high * (1 + 1e-6))
            assert within.all() if name == "held_out" else not within.any()


def test_the_first_objects_of_each_family_are_taken(tmp_path):
    make_dataset(SMALL, tmp_path)
    whole = load_dataset(tmp_path, "train")
    few = whole.first(2)
    assert few.shard.family.tolist() == [0, 0, 1, 1]
    rows = [int(np.flatnonzero(whole.shard.family == family)[number]) for family in (0, 1) for number in (0, 1)]
    for one, (got, kept) in enumerate(zip(few.shard.extents, whole.shard.extents[rows], strict=True)):
        assert (got == kept).all()
        assert (few.nodes([one])[1] == whole.nodes([rows[one]])[1]).all()


def test_thin_members_are_drawn_again_or_refused(tmp_path):
    with pytest.raises(DatasetError, match="none of 5 draws has walls of 2 voxels"):
        make_dataset(DatasetConfig(families=("plate",), per_family=1, attempts=5), tmp_path)


def test_meshes_are_made_or_listed(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    whole = solids.box((1.0, 2.0, 1.0)).mesh
    write_obj(whole, folder / "a_box.obj")
    write_obj(Mesh(whole.vertices, whole.faces[1:]), folder / "b_open.obj")
    (folder / "c_broken.obj").write_text("v 0 0\nf 1 2 3\n")
    write_obj(solids.box((1.0, 2.0, 0.001)).mesh, folder / "d_sheet.obj")
    scans = MeshClass("scans", str(folder), scale=0.1, thicken=False)
    config = DatasetConfig(meshes=(scans,), test_share=0.0, held_out_share=0.0)
    made = make_dataset(config, tmp_path / "out", meshes=MESHES)
    split = load_dataset(tmp_path / "out", "train")
    np.testing.assert_allclose(split.shard.extents, [[0.1, 0.2, 0.1]] * 2, rtol=1e-5)
    assert [note[0][-10:] for note in made.index["notes"]] == ["b_open.obj"]
    assert sorted(file[-8:] for file, _ in made.refused) == ["heet.obj", "oken.obj"]


def test_walls_too_thin_for_the_lattice_are_thickened_and_listed(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    write_obj(solids.box((0.1, 0.06, 0.04)).mesh, folder / "a_block.obj")
    write_obj(solids.box((0.1, 0.06, 0.0002)).mesh, folder / "b_sheet.obj")
    scans = MeshClass("scans", str(folder))
    config = DatasetConfig(meshes=(scans,), least_wall_voxels=2.5, test_share=0.0, held_out_share=0.0)
    made = make_dataset(config, tmp_path / "out", meshes=MESHES)
    assert not made.refused
    ((file, note),) = made.index["notes"]
    # Under both sides, but not under the four edges.
    assert file.endswith("b_sheet.obj") and note.startswith("thickened to 2.5 voxels under 99.")
    block, sheet = load_dataset(tmp_path / "out", "train").shard.extents
    np.testing.assert_allclose(block, [0.1, 0.06, 0.04], rtol=1e-5)
    voxel = 0.1 / (FILL * 64 - 2.5)
    np.testing.assert_allclose(sheet, [0.1 + 2.5 * voxel, 0.06 + 2.5 * voxel, 2.5 * voxel], rtol=0.01)
    again = make_dataset(config, tmp_path / "out", meshes=MESHES)  # read back from the notes of the shard
    assert again.index == made.index


@pytest.mark.parametrize("closed", [False, True])
def test_a_thickened_tray_is_as_thick_as_asked_and_stays_where_it_was(closed):
    wall = 0.0008  # half a voxel
    boards = [((0.1, 0.1, wall), (0, 0, wall / 2 - 0.02))]
    boards += [((wall, 0.1, 0.04), (side * (0.05 - wall / 2), 0, 0)) for side in (-1, 1)]
    boards += [((0.1, wall, 0.04), (0, side * (0.05 - wall / 2), 0)) for side in (-1, 1)]
    parts = [(solids.box(size).mesh, place) for size, place in boards]  # they overlap at the corners
    thin = Mesh(
        np.concatenate([mesh.vertices + place for mesh, place in parts]),
        np.concatenate([mesh.faces + 8 * number for number, (mesh, _) in enumerate(parts)]),
    )
    asked = 2.5 * 0.1 / (FILL * 64 - 2.5)
    sheet = find_thin_sheet(thin, wall=asked)
    assert sheet is not None and sheet.share > 0.95 and sheet.thinnest == pytest.approx(wall, rel=0.05)
    field = sample_mesh(thin, closed=closed, sheet=sheet, **LATTICE)
    surface = lattice_surface(field, thickened_bounds(thin, sheet))
    found = thinnest_wall(surface.vertices, surface.faces.astype(np.int64), WallConfig())
    assert 0.85 * asked < found.thickness < 1.05 * asked  # least at a round rim: sides 30 degrees apart count
    np.testing.assert_allclose(surface.bounds, thin.bounds + np.array([[-1], [1]]) * asked / 2, atol=field.voxel_size)
    floor = surface.vertices[np.linalg.norm(surface.vertices[:, :2], axis=1) < 0.02, 2] - (wall / 2 - 0.02)
    np.testing.assert_allclose(np.abs(floor), asked / 2, atol=0.2 * field.voxel_size)


def test_a_thick_solid_has_no_thin_sheet():
    assert find_thin_sheet(solids.box((0.1, 0.06, 0.03)).mesh, wall=0.02) is None


@pytest.mark.parametrize("gap", [1e-6, 0.0, -5e-4])
def test_a_board_that_lies_on_a_block_is_no_thin_wall(gap):
    block = solids.box((0.06, 0.06, 0.03)).mesh
    board = solids.box((0.06, 0.06, 0.001)).mesh.translated(np.array([0, 0, 0.015 + 0.0005 + gap]))
    both = Mesh(np.concatenate([block.vertices, board.vertices]), np.concatenate([block.faces, board.faces + 8]))
    assert find_thin_sheet(both, wall=0.0013) is None


def test_a_mesh_of_too_much_area_is_refused_and_not_perforated():
    with pytest.raises(MeshError, match=r"too much for walls of .* set thicken to false"):
        find_thin_sheet(solids.box((1.0, 1.0, 1.0)).mesh, wall=1e-3)


def test_what_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="neither"):
        DatasetConfig()
    with pytest.raises(FamilyError, match="Did you mean 'mug'"):
        DatasetConfig(families=("mugg",))
    with pytest.raises(DatasetError, match="named twice"):
        DatasetConfig(families=("mug", "mug"))
    with pytest.raises(DatasetError, match="holds no mesh"):
        make_dataset(DatasetConfig(meshes=(MeshClass("x", str(tmp_path)),)), tmp_path / "a", meshes=MESHES)
    with pytest.raises(DatasetError, match="is no folder"):
        make_dataset(DatasetConfig(meshes=(MeshClass("x", str(tmp_path / "no")),)), tmp_path / "b", meshes=MESHES)


def test_damage_and_other_configurations_are_refused(tmp_path):
    config = DatasetConfig(families=("hex_nut",), per_family=2, test_share=0.0, held_out_share=0.0)
    make_dataset(config, tmp_path)
    with pytest.raises(DatasetError, match="another configuration"):
        make_dataset(dataclasses.replace(config, seed=9), tmp_path)
    with pytest.raises(DatasetError, match="no objects of split 'test'"):
        load_dataset(tmp_path, "test")
    path = tmp_path / "train-00000.npz"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DatasetError, match="wrong hash"):
        load_dataset(tmp_path, "train")
    with pytest.raises(DatasetError, match="is not a shard"):
        read_shard(path)
