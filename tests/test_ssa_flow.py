"""Rectified flow: identities of the path, the sampler against closed forms, guidance, condition and patches."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from generators.errors import FamilyError, ParameterError, VolumeError
from generators.ssa.condition import Condition, ConditionEmbedding, box_features
from generators.ssa.flow import (
    SamplerConfig,
    data_of,
    euler_sample,
    expand,
    guided,
    interpolate,
    lattice_noise,
    logit_normal_times,
    schedule,
    shifted,
    velocity,
)
from generators.ssa.model import LearnedModel
from generators.ssa.presets import COARSE_REACH, PRESETS
from generators.ssa.sparse_tensor import SparseTensor
from generators.ssa.structure import (
    DenseResidualConv,
    StructureDenoiser,
    active_cells,
    compand,
    depth_to_space,
    distance_at,
    expand_distance,
    patchify,
    space_to_depth,
    structure_of,
    unpatchify,
)
from generators.ssa.transformer import Attention


def noise_like(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_path_runs_from_data_to_noise_with_constant_velocity() -> None:
    x0, eps = noise_like(3, 2, 4, 4, 4), noise_like(3, 2, 4, 4, 4, seed=1)
    assert torch.equal(interpolate(x0, eps, 0.0), x0) and torch.equal(interpolate(x0, eps, 1.0), eps)
    t = expand(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64), x0)
    x_t, v = interpolate(x0, eps, t), velocity(x0, eps)
    torch.testing.assert_close(data_of(x_t, v, t), x0)
    torch.testing.assert_close((interpolate(x0, eps, t + 1e-3) - x_t) / 1e-3, v)


@pytest.mark.parametrize("steps", [1, 3, 25])
def test_euler_reaches_a_point_exactly(steps: int) -> None:
    """Data at one point: v = (x - x_0) / t, straight, so any number of steps ends at the point."""
    x0, eps = noise_like(5, 3), noise_like(5, 3, seed=1)
    end = euler_sample(lambda x, t: (x - x0) / t, eps, schedule(steps, 3.0))
    torch.testing.assert_close(end, x0, rtol=1e-13, atol=1e-13)


def test_euler_converges_to_a_gaussian_at_first_order() -> None:
    """Data N(m, s^2): x_t ~ N((1-t) m, (1-t)^2 s^2 + t^2), and the flow maps eps to m + s eps."""
    m, s = 1.5, 0.4
    eps = noise_like(1000)

    def field(x: torch.Tensor, t: float) -> torch.Tensor:
        z = (x - (1 - t) * m) / (((1 - t) * s) ** 2 + t**2)
        return t * z - (m + (1 - t) * s**2 * z)  # E[eps | x] - E[x_0 | x]

    errors = [(euler_sample(field, eps, schedule(n, 1.0)) - (m + s * eps)).abs().max().item() for n in (50, 100, 200)]
    assert errors[2] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1) and errors[1] / errors[2] == pytest.approx(2, rel=0.1)


ASKED, NULL = Condition.of([3], [[0.1, 0.2, 0.3]]), Condition.null(1)


def test_guidance_one_is_the_conditional_field_and_nothing_else_is_evaluated() -> None:
    def field_at(x: torch.Tensor, t: float):
        def velocity(condition: Condition) -> torch.Tensor:
            assert condition is ASKED
            return x * t

        return velocity

    x = noise_like(4, 2)
    field = guided(field_at, ASKED, NULL, guidance=1.0, interval=(0.0, 1.0))
    assert torch.equal(field(x, 0.3), x * 0.3)
    outside = guided(field_at, ASKED, NULL, guidance=3.0, interval=(0.4, 0.6))
    assert torch.equal(outside(x, 0.3), x * 0.3) and torch.equal(outside(x, 0.7), x * 0.7)


def test_guidance_extrapolates_inside_its_interval_from_one_look_at_the_point() -> None:
    one, zero = torch.ones(2), torch.zeros(2)
    looks = []

    def field_at(x: torch.Tensor, t: float):
        looks.append(t)
        return lambda condition: one if condition is ASKED else zero

    field = guided(field_at, ASKED, NULL, guidance=2.5, interval=(0.1, 0.9))
    assert torch.equal(field(zero, 0.5), 2.5 * one) and looks == [0.5]
    assert torch.equal(guided(field_at, ASKED, NULL, guidance=0, interval=(0, 1))(zero, 0.5), zero)


def test_schedule_falls_from_noise_to_data_and_shift_stays_near_noise() -> None:
    times = schedule(8, 3.0)
    assert times[0] == 1 and times[-1] == 0 and all(a > b for a, b in pairwise(times))
    assert sum(t > 0.5 for t in times) > sum(t > 0.5 for t in schedule(8, 1.0))
    t = torch.linspace(0, 1, 11)
    assert torch.equal(shifted(t, 1.0), t)
    torch.testing.assert_close(shifted(shifted(t, 3.0), 1 / 3), t)


def test_times_are_logit_normal() -> None:
    t = logit_normal_times(20000, torch.Generator().manual_seed(3), mean=0.5, std=0.7)
    assert bool(((t > 0) & (t < 1)).all())
    logit = (t / (1 - t)).log()
    assert logit.mean().item() == pytest.approx(0.5, abs=0.02) and logit.std().item() == pytest.approx(0.7, abs=0.02)


def test_noise_is_normal_and_depends_on_seed_and_stream_alone() -> None:
    a = lattice_noise(7, 1, 16, 4)
    assert torch.equal(a, lattice_noise(7, 1, 16, 4))
    assert not torch.equal(a, lattice_noise(8, 1, 16, 4)) and not torch.equal(a, lattice_noise(7, 2, 16, 4))
    assert abs(a.mean().item()) < 0.03 and abs(a.std().item() - 1) < 0.03


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"guidance": -1}, {"guidance": math.nan}, {"shift": 0}, {"interval": (0.5, 0.1)}],
)
def test_impossible_samplers_are_refused(wrong: dict) -> None:
    with pytest.raises(ParameterError, match="expected"):
        SamplerConfig(**wrong)


def test_condition_nulls_rows_and_embeds_them_alike() -> None:
    condition = Condition.of([0, 2], [(0.1, 0.2, 0.4), (1.0, 1.0, 1.0)])
    dropped = condition.drop(torch.tensor([True, False]))
    assert dropped.family.tolist() == [-1, 2] and bool(dropped.extents[0].isnan().all())
    torch.manual_seed(0)
    embed = ConditionEmbedding(3, 8)
    torch.testing.assert_close(embed(dropped)[:1], embed(Condition.null(1)))
    torch.testing.assert_close(embed(dropped)[1:], embed(condition)[1:])
    assert bool(embed(dropped).isfinite().all())


def test_box_features_are_logs_and_ratios() -> None:
    row = box_features(torch.tensor([[1.0, math.e, math.e**2]]))
    torch.testing.assert_close(row, torch.tensor([[0.0, 1.0, 2.0, -2.0, -1.0, 0.0, 1.0]]))


@pytest.mark.parametrize("box", [(0.0, 1.0, 1.0), (-1.0, 1.0, 1.0), (math.inf, 1.0, 1.0), (math.nan, 1.0, 1.0)])
def test_impossible_boxes_are_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ParameterError, match="sample 1"):
        Condition.of([0, 0], [(1.0, 1.0, 1.0), box])
    with pytest.raises(ParameterError, match="family"):
        Condition.of([3], [(1.0, 1.0, 1.0)]).check(families=3)


def test_patches_and_structure_round_trip() -> None:
    x = torch.randn(2, 2, 8, 8, 8)
    assert torch.equal(unpatchify(patchify(x, 2), 2, 8, 2), x)
    assert patchify(x, 2).shape == (2 * 4**3, 16)
    active = torch.rand(2, 8, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.8
    cells = active.nonzero().int()
    data = structure_of(active, 9 * torch.ones(2, 8, 8, 8))
    assert torch.equal(active_cells(data), cells)
    assert data[:, 1].max() == pytest.approx(1) and COARSE_REACH > 1
    ramp = torch.arange(8.0).expand(2, 8, 8, 8) - 3
    wanted = (cells[:, 3] - 3.0).clamp(max=COARSE_REACH)
    assert torch.equal(distance_at(cells, ramp), wanted)
    torch.testing.assert_close(distance_at(cells, expand_distance(structure_of(active, ramp)[:, 1])), wanted)


def test_cubes_of_cells_become_channels_and_back() -> None:
    x = torch.randn(2, 8, 8, 8, 3)
    assert torch.equal(depth_to_space(space_to_depth(x)), x)
    assert torch.equal(space_to_depth(x)[1, 2, 3, 1].view(2, 2, 2, 3), x[1, 4:6, 6:8, 2:4])


@pytest.mark.parametrize("preset", ["nano", "small"])
def test_structure_reaches_across_the_lattice_through_every_scale(preset: str) -> None:
    torch.manual_seed(0)
    network = StructureDenoiser(PRESETS[preset], 2)
    condition, t = Condition.of([0], [(0.1, 0.1, 0.2)]), torch.tensor([0.5])
    x = torch.randn(1, 2, *[network.side] * 3, requires_grad=True)
    assert not bool(network(x, t, condition).any())
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    network(x, t, condition)[0, :, 1, 1, 1].sum().backward()
    assert x.grad is not None and bool(x.grad[0, :, -1, -1, -1].any())
    without = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert without == []


def test_one_sample_without_gradients_is_convolved_as_in_training() -> None:
    torch.manual_seed(0)
    layer, x = DenseResidualConv(64), torch.randn(1, 16, 16, 16, 64)
    torch.nn.init.normal_(layer.narrow.weight, std=0.1)
    with torch.no_grad():
        alone = layer(x)
    torch.testing.assert_close(alone, layer(x).detach(), rtol=1e-4, atol=1e-4)


def test_companding_spreads_small_distances_and_is_inverted():
    distance = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    spread = compand(distance)
    assert (spread.diff() >= 0).all() and spread.abs().max() == 1 and compand(torch.zeros(1)) == 0
    torch.testing.assert_close(expand_distance(spread), distance.clamp(-COARSE_REACH, COARSE_REACH))
    torch.testing.assert_close(expand_distance(3 * spread.sign()), COARSE_REACH * spread.sign())
    small = torch.tensor(1e-4, dtype=torch.float64)
    assert compand(small) / small > 5 / COARSE_REACH  # against a straight line over the reach


@pytest.mark.parametrize("attention", ["ssa", "window", "full"])
def test_untrained_denoisers_predict_zero_and_every_weight_learns(attention: Attention) -> None:
    torch.manual_seed(0)
    model = LearnedModel.new(PRESETS["nano"], ("mug", "box"), attention=attention)
    condition, t = Condition.of([0, 1], [(0.1, 0.1, 0.2), (0.3, 0.1, 0.1)]), torch.tensor([0.2, 0.8])
    x = SparseTensor((torch.rand(2, 8, 8, 8) > 0.8).nonzero().int(), torch.zeros(0), 2)
    x, coarse = x.with_features(torch.randn(len(x.coords), 16)), torch.randn(len(x.coords))
    assert not bool(model.denoiser(x, t, condition, coarse).any())
    for parameter in model.denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model.denoiser(x, t, condition, coarse).square().sum().backward()
    without = [name for name, p in model.denoiser.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert without == []


def test_batch_rows_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    model = LearnedModel.new(PRESETS["nano"], ("mug", "box"))
    for parameter in model.denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    cells = (torch.rand(2, 6, 6, 6) > 0.7).nonzero().int()
    features, coarse = torch.randn(len(cells), 16), torch.randn(len(cells))
    condition, t = Condition.of([0, 1], [(0.1, 0.1, 0.2), (0.3, 0.1, 0.1)]), torch.tensor([0.2, 0.8])
    both = model.denoiser(SparseTensor(cells, features, 2), t, condition, coarse)
    mine = cells[:, 0] == 0
    alone = model.denoiser(
        SparseTensor(cells[mine], features[mine], 1),
        t[:1],
        Condition(condition.family[:1], condition.extents[:1]),
        coarse[mine],
    )
    torch.testing.assert_close(both[mine], alone, rtol=1e-4, atol=1e-5)


def test_wrong_shapes_and_names_are_refused() -> None:
    model = LearnedModel.new(PRESETS["nano"], ("mug",))
    with pytest.raises(VolumeError, match="structure"):
        model.structure(torch.zeros(1, 2, 8, 8, 8), torch.zeros(1), Condition.null(1))
    cells = SparseTensor(torch.zeros(1, 4, dtype=torch.int32), torch.zeros(1, 3), 1)
    with pytest.raises(VolumeError, match="latent features"):
        model.denoiser(cells, torch.zeros(1), Condition.null(1), torch.zeros(1))
    cells = SparseTensor(torch.zeros(1, 4, dtype=torch.int32), torch.zeros(1, 16), 1)
    with pytest.raises(VolumeError, match=r"coarse distances \(2,\)"):
        model.denoiser(cells, torch.zeros(1), Condition.null(1), torch.zeros(2))
    with pytest.raises(FamilyError, match="Did you mean 'mug'"):
        model.index_of("mugs")
    with pytest.raises(ParameterError, match="twice"):
        LearnedModel.new(PRESETS["nano"], ("mug", "mug"))
