"""Fields to volumes: exact round trips of analytic solids, counted defects, refusals; and the sampler's determinism."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from ssa_shapes import box, distances, lattice, sphere, torus

from generators.errors import FamilyError, ParameterError, VolumeError
from generators.ssa.condition import Condition
from generators.ssa.denoiser import LatentDenoiser
from generators.ssa.field import SampledField, field_volume
from generators.ssa.flow import SamplerConfig
from generators.ssa.generator import SIDES, draw_extents, family_genus, sample_blueprint
from generators.ssa.model import LearnedModel
from generators.ssa.presets import BAND, COARSE_REACH, PRESETS
from generators.ssa.sample import sample_fields, sample_volume
from generators.ssa.sparse_tensor import SparseTensor, cell_keys
from generators.ssa.structure import StructureDenoiser, structure_of
from generators.ssa.vae import Decoded, SparseVae
from generators.surface import extract_surface
from generators.volume import SparseVolume
from physics.wall import WallConfig, thinnest_wall

SIDE, FACTOR = 64, 4


def field_of(solid, extents: tuple[float, float, float] = (0.1, 0.1, 0.1)) -> SampledField:
    """The true band and the true coarse distance of a solid given as a function of places [voxel]."""
    nodes = lattice(SIDE)
    values = solid(nodes.float())
    near = values.abs() < BAND
    centres = FACTOR * lattice(SIDE // FACTOR).float() + (FACTOR - 1) / 2
    coarse = (solid(centres) / FACTOR).clamp(-COARSE_REACH, COARSE_REACH).reshape([SIDE // FACTOR] * 3)
    return SampledField(nodes[near].int().numpy(), values[near].numpy(), coarse.numpy(), FACTOR, extents)


SOLIDS = {
    "ball": lambda p: sphere(p, 31.5, 26.2),
    "small ball": lambda p: sphere(p, 31.5, 4.1),
    "box": lambda p: box(p, 31.5, (26, 18, 9)),
    "plate": lambda p: box(p, 31.5, (26, 26, 2)),
    "ring": lambda p: torus(p, 31.5, 19, 7),
    "two balls": lambda p: torch.minimum(sphere(p + torch.tensor([14, 0, 0]), 31.5, 9.1), sphere(p - 13, 31.5, 9.1)),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_true_band_and_coarse_distance_give_the_volume_back(name: str) -> None:
    field = field_of(SOLIDS[name])
    found = field_volume(field)
    assert found.reason is None and found.volume is not None
    assert (found.conflicts, found.jumps, found.filled, found.specks, found.voids) == (0, 0, 0, 0, 0)
    assert found.pieces == (2 if name == "two balls" else 1)
    volume = found.volume
    assert np.array_equal(volume.coords, field.coords)
    np.testing.assert_allclose(volume.values / volume.voxel_size, field.values, rtol=1e-5, atol=1e-4)
    nodes = lattice(SIDE)
    assert np.array_equal(volume.sign_at(nodes.numpy()) < 0, (SOLIDS[name](nodes.float()) < 0).numpy())


@pytest.mark.parametrize("name", ["ball", "box", "ring"])
def test_longest_side_is_the_one_asked_for_and_the_base_is_at_the_origin(name: str) -> None:
    found = field_volume(field_of(SOLIDS[name], extents=(0.08, 0.3, 0.1)))
    assert found.volume is not None
    mesh = extract_surface(found.volume)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert (high - low).max() == pytest.approx(0.3, rel=1e-5)
    np.testing.assert_allclose(high - low, found.extents, rtol=1e-5)
    np.testing.assert_allclose([low[0] + high[0], low[1] + high[1], low[2]], 0, atol=1e-6)


def test_voxel_size_of_a_box_is_exact() -> None:
    found = field_volume(field_of(SOLIDS["box"], extents=(0.2 * 52.46, 0.2 * 36.46, 0.2 * 18.46)))
    assert found.volume is not None and found.volume.voxel_size == pytest.approx(0.2, rel=1e-5)
    np.testing.assert_allclose(found.extents, (0.2 * 52.46, 0.2 * 36.46, 0.2 * 18.46), rtol=1e-5)


@pytest.mark.parametrize("deep", [False, True])
def test_wrong_signs_at_the_rim_of_the_band_are_counted(deep: bool) -> None:
    field = field_of(SOLIDS["ball"])
    radius = np.linalg.norm(field.coords - 31.5, axis=1)
    rim = np.flatnonzero((radius < 23.4) if deep else (radius > 29.0))[::97]
    values = field.values.copy()
    values[rim] *= -1
    found = field_volume(replace(field, values=values))
    assert found.volume is not None and len(rim) > 5
    assert found.conflicts == len(rim)
    if deep:
        assert found.pores == found.pore_nodes == len(rim) and found.voids == found.specks == 0
    else:
        assert found.specks == found.speck_nodes == len(rim) and found.voids == 0


def test_a_hole_in_the_band_is_filled_from_the_coarse_distance_and_counted() -> None:
    field = field_of(SOLIDS["ball"])
    hole = np.linalg.norm(field.coords - np.array([31, 31, 57]), axis=1) < 3.5
    found = field_volume(replace(field, coords=field.coords[~hole], values=field.values[~hole]))
    assert found.volume is not None and 0 < found.filled <= hole.sum()
    inside = found.volume.sign_at(lattice(SIDE).numpy()) < 0
    truth = (SOLIDS["ball"](lattice(SIDE).float()) < 0).numpy()
    assert (inside != truth).sum() < 40 and found.pieces == 1


def test_a_band_with_too_many_defects_has_no_volume() -> None:
    field = field_of(SOLIDS["ball"])
    half = field.coords[:, 2] < 31
    found = field_volume(replace(field, coords=field.coords[half], values=field.values[half]))
    assert found.volume is None and found.reason is not None and "limit 5.0%" in found.reason


def test_hollow_solids_keep_their_hollow() -> None:
    found = field_volume(field_of(lambda p: torch.maximum(sphere(p, 31.5, 26.2), -sphere(p, 31.5, 12.3))))
    assert found.volume is not None and found.voids == 1 and found.pores == found.conflicts == 0


def test_a_network_can_be_trained_after_it_was_sampled() -> None:
    torch.manual_seed(0)
    model = LearnedModel.new(PRESETS["nano"], ("mug",))
    box = (0.1, 0.1, 0.1)
    sample_fields(model, families=["mug"], extents=[box], seeds=[0], config=SamplerConfig(steps=1))
    x = torch.randn(1, 2, *[model.structure.side] * 3)
    model.structure(x, torch.tensor([0.5]), Condition.of([0], [box])).sum().backward()


def test_bubbles_are_filled_and_counted() -> None:
    bubbly = field_of(lambda p: torch.maximum(sphere(p, 31.5, 26.2), -sphere(p - 6, 31.5, 2.2)))
    found = field_volume(bubbly)
    assert found.volume is not None and found.pores == 1 and found.pore_nodes > 10 and found.voids == 0
    inside = found.volume.sign_at(lattice(SIDE).numpy()) < 0
    assert np.array_equal(inside, (sphere(lattice(SIDE).float(), 31.5, 26.2) < 0).numpy())


def test_crumbs_are_removed_and_counted_but_real_pieces_stay() -> None:
    crumb = field_of(lambda p: torch.minimum(sphere(p + 6, 31.5, 20.1), sphere(p - 17, 31.5, 2.2)))
    found = field_volume(crumb)
    assert found.specks == 1 and found.pieces == 1 and found.speck_nodes > 10 and found.conflicts == 0


def test_empty_and_cut_fields_are_named() -> None:
    field = field_of(SOLIDS["ball"])
    empty = replace(field, coords=np.zeros((0, 3), np.int32), values=np.zeros(0, np.float32))
    assert "empty" in str(field_volume(empty).reason)
    assert "no node is inside" in str(field_volume(replace(field, values=np.abs(field.values))).reason)
    assert "border" in str(field_volume(field_of(lambda p: sphere(p, 31.5, 34.0))).reason)


def test_broken_fields_are_refused() -> None:
    field = field_of(SOLIDS["small ball"])
    with pytest.raises(VolumeError, match="finite"):
        field_volume(replace(field, values=np.full_like(field.values, np.nan)))
    with pytest.raises(VolumeError, match="leave a lattice"):
        field_volume(replace(field, coords=field.coords + 60))
    with pytest.raises(VolumeError, match="up to 256"):
        field_volume(replace(field, downsampling=32))


def loose_model() -> LearnedModel:
    """Untrained networks whose weights are not zero where training would start at zero."""
    torch.manual_seed(0)
    model = LearnedModel.new(PRESETS["nano"], ("mug", "box"), boxes={"mug": np.array([[0.1, 0.08, 0.12]])})
    for network in (model.structure, model.denoiser):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
    with torch.no_grad():
        model.structure.leave.bias[0] += 1.5  # towards occupancy -1.5, so that few cells are active
    return model


def test_equal_seeds_give_equal_bytes_and_noise_ignores_the_batch() -> None:
    model = loose_model()
    torch.set_num_threads(1)
    config = SamplerConfig(steps=2)
    alone = sample_volume(model, family="mug", extents=(0.1, 0.08, 0.12), seed=5, steps=2)
    again = sample_volume(model, family="mug", extents=(0.1, 0.08, 0.12), seed=5, steps=2)
    assert alone.coords.tobytes() == again.coords.tobytes() and alone.values.tobytes() == again.values.tobytes()
    other, batched = sample_fields(
        model, families=["box", "mug"], extents=[(0.2, 0.1, 0.1), (0.1, 0.08, 0.12)], seeds=[9, 5], config=config
    )
    np.testing.assert_allclose(batched.coarse, alone.coarse, atol=1e-3)
    assert abs(len(batched.coords) - len(alone.coords)) <= 0.01 * len(alone.coords)
    assert not np.allclose(other.coarse, alone.coarse, atol=0.1)
    assert alone.resolution == 64 and alone.seed == 5 and alone.family == "mug"


def test_samples_without_cells_stay_empty_beside_others() -> None:
    model = loose_model()
    bias = model.structure.leave.bias
    with torch.no_grad():
        bias[0] += 40.0  # velocity towards occupancy -40
    fields = sample_fields(
        model, families=["mug", "mug"], extents=[(1, 1, 1)] * 2, seeds=[1, 2], config=SamplerConfig(steps=1)
    )
    assert [len(field.coords) for field in fields] == [0, 0]
    assert all("empty" in str(field_volume(field).reason) for field in fields)


def test_impossible_requests_are_refused() -> None:
    model = loose_model()
    with pytest.raises(FamilyError, match="does not know 'chair'"):
        sample_volume(model, family="chair", extents=(1, 1, 1), seed=0)
    for box_asked, seed, steps in [((1, 1, 1), -1, 2), ((1, 0, 1), 0, 2), ((1, 1), 0, 2), ((1, 1, np.nan), 0, 2)]:
        with pytest.raises(ParameterError, match=r"expected|at least"):
            sample_volume(model, family="mug", extents=box_asked, seed=seed, steps=steps)
    with pytest.raises(ParameterError, match="at least 1 step"):
        sample_volume(model, family="mug", extents=(1, 1, 1), seed=0, steps=0)


def test_shapes_of_the_preset_survive_the_round_trip() -> None:
    """The eight solids that the autoencoder is tested with, without a coarse distance to lean on."""
    nodes = lattice(SIDE)
    for values in distances(SIDE):
        near = values.abs() < BAND
        flat = np.zeros([SIDE // FACTOR] * 3, dtype=np.float32)
        field = SampledField(nodes[near].int().numpy(), values[near].numpy(), flat, FACTOR, (1.0, 1.0, 1.0))
        found = field_volume(field)
        assert found.volume is not None and found.conflicts == found.filled == found.jumps == 0


class PointFlow(torch.nn.Module):
    """The exact velocity towards one point: v = (x - x_0) / t."""

    def __init__(self, x0: torch.Tensor) -> None:
        super().__init__()
        self.x0 = torch.nn.Parameter(x0)

    def features(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x

    def velocity(self, near: torch.Tensor, t: torch.Tensor, condition: Condition) -> torch.Tensor:
        return (near - self.x0) / t.view(-1, 1, 1, 1, 1)


class PointLatentFlow(torch.nn.Module):
    def __init__(self, x0: torch.Tensor) -> None:
        super().__init__()
        self.x0 = torch.nn.Parameter(x0)

    def tokens(self, x: SparseTensor) -> None:
        return None

    def features(self, x: SparseTensor, t: torch.Tensor, coarse: torch.Tensor, tokens: None) -> SparseTensor:
        return x

    def velocity(self, near: SparseTensor, t: torch.Tensor, condition: Condition, tokens: None) -> torch.Tensor:
        i, j, k = near.coords[:, 1:].long().unbind(dim=1)
        return (near.features - self.x0[i, j, k]) / t[near.coords[:, 0].long()][:, None]


class NodesInChannels:
    """An exact autoencoder: the latent of a cell is its 64 nodes."""

    def decode(self, latent: SparseTensor) -> Decoded:
        octants = lattice(FACTOR).int()
        places = (FACTOR * latent.coords[:, None, 1:] + octants).reshape(-1, 3)
        sample = latent.coords[:, :1].repeat_interleave(FACTOR**3, dim=0)
        values = latent.features.reshape(-1)
        near = values.abs() < 1
        coords = torch.cat([sample, places], dim=1)[near]
        order = torch.argsort(cell_keys(coords))
        band = SparseTensor(coords[order], values[near][order][:, None], latent.batch_size).check()
        return Decoded(band, ())


def exact_model(solid: Callable[[torch.Tensor], torch.Tensor]) -> LearnedModel:
    """A model whose flows end exactly at one solid."""
    preset = replace(PRESETS["nano"], latent_channels=FACTOR**3)
    side = SIDE // FACTOR
    cut = solid(lattice(SIDE).float()).reshape([side, FACTOR] * 3).permute(0, 2, 4, 1, 3, 5).reshape([side] * 3 + [-1])
    cells = (cut.abs() < BAND).any(dim=3)
    structure = structure_of(cells[None], torch.from_numpy(field_of(solid).coarse)[None])
    return LearnedModel(
        preset,
        ("mug",),
        cast("SparseVae", NodesInChannels()),
        cast("StructureDenoiser", PointFlow(structure)),
        cast("LatentDenoiser", PointLatentFlow(cut / BAND / 2 - 0.1)),
        torch.full((FACTOR**3,), 0.2),
        torch.full((FACTOR**3,), 2.0),
        {"mug": np.array([[0.1, 0.2, 0.05], [0.2, 0.1, 0.05]])},
        {"mug": ("wood", "steel")},
    )


def test_exact_flows_end_at_the_exact_blueprint() -> None:
    """Noise to blueprint with closed forms for all three networks: the stages hand the right things on."""
    solid = SOLIDS["box"]
    model = exact_model(solid)
    blueprint = sample_blueprint(model, "mug", rng=np.random.default_rng(3), resolution=58)
    (part,) = blueprint.bodies[0].parts
    x, y, z = (blueprint.parameters[name] for name in SIDES)
    wanted = field_volume(field_of(solid, extents=(x, y, z))).volume
    assert wanted is not None and blueprint.generator == "learned" and part.material in ("wood", "steel")
    assert part.genus == (1,)  # a mug has one handle, so a sample of a mug with another number is refused
    truth = (solid(lattice(SIDE).float()) < 0).numpy()
    assert np.array_equal(part.volume.sign_at(lattice(SIDE).numpy()) < 0, truth)
    assert part.volume.voxel_size == pytest.approx(wanted.voxel_size, rel=1e-4)
    assert blueprint.parameters["field_conflicts"] == blueprint.parameters["field_filled"] == 0
    again = sample_blueprint(model, "mug", rng=np.random.default_rng(3), resolution=58)
    assert again.bodies[0].parts[0].volume.values.tobytes() == part.volume.values.tobytes()
    assert again.parameters == blueprint.parameters


def test_learned_generator_draws_boxes_of_its_family_and_takes_given_sides() -> None:
    model = exact_model(SOLIDS["ball"])
    drawn = {draw_extents(model, "mug", np.random.default_rng(seed), {}) for seed in range(20)}
    assert drawn == {(0.1, 0.2, 0.05), (0.2, 0.1, 0.05)}
    given = draw_extents(model, "mug", np.random.default_rng(0), {"extent_z": 0.3})
    assert given[2] == 0.3 and given[:2] in {(0.1, 0.2), (0.2, 0.1)}


def test_a_sample_must_have_the_handles_of_its_family() -> None:
    assert family_genus("mug") == (1,) and family_genus("bowl") == (0,)
    assert family_genus("shelf") == (2, 3, 4, 5)  # one opening less than boards
    assert family_genus("hammer") is None  # two parts
    assert family_genus("duck") is None  # learned from meshes


def test_learned_generator_refuses_what_it_cannot_make() -> None:
    model, rng = exact_model(SOLIDS["ball"]), np.random.default_rng(0)
    with pytest.raises(FamilyError, match="trained on: mug"):
        sample_blueprint(model, "chair", rng=rng, resolution=58)
    with pytest.raises(ParameterError, match="makes 58"):
        sample_blueprint(model, "mug", rng=rng, resolution=128)
    with pytest.raises(ParameterError, match="'height' is no parameter"):
        sample_blueprint(model, "mug", rng=rng, resolution=58, parameters={"height": 0.1})
    with pytest.raises(ParameterError, match="positive length"):
        sample_blueprint(model, "mug", rng=rng, resolution=58, parameters={"extent_x": -0.1})
    with pytest.raises(FamilyError, match="no material"):
        sample_blueprint(replace(model, materials={}), "mug", rng=rng, resolution=58)
    with pytest.raises(FamilyError, match="no bounding boxes"):
        sample_blueprint(replace(model, boxes={}), "mug", rng=rng, resolution=58)
    with pytest.raises(VolumeError, match="reaches the border"):
        sample_blueprint(exact_model(lambda p: sphere(p, 31.5, 33.0)), "mug", rng=rng, resolution=58)


def test_walls_below_the_lattice_are_cut_away_and_counted() -> None:
    def needle(p: torch.Tensor) -> torch.Tensor:
        across = (p[..., :2] - 31).norm(dim=-1) - 0.1  # through the nodes (31, 31, z), a fifth of a voxel thick
        return torch.maximum(across, (p[..., 2] - 36).abs() - 24)

    plain = field_volume(field_of(SOLIDS["ball"]))
    pierced = field_volume(field_of(lambda p: torch.minimum(SOLIDS["ball"](p), needle(p))))
    assert plain.thin == 0 and pierced.volume is not None and pierced.thin >= 1
    assert pierced.pieces == 1 and thinnest(pierced.volume) > 0.3 * pierced.volume.voxel_size


def test_walls_of_two_voxels_stay() -> None:
    found = field_volume(field_of(lambda p: torch.maximum(sphere(p, 31.5, 26.2), (p[..., 2] - 31.4).abs() - 1)))
    assert found.volume is not None and found.thin == 0


def thinnest(volume: SparseVolume) -> float:
    mesh = extract_surface(volume)
    return thinnest_wall(mesh.vertices, mesh.faces, WallConfig()).thickness
