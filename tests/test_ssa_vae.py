"""The autoencoder: scales against brute force, invariants of decoding, tiles, losses, gradients, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ssa_shapes import band_of, box, distances, lattice, sign_iou, sphere

from generators.errors import ParameterError, VolumeError
from generators.ssa.presets import BAND, PRESETS
from generators.ssa.scales import (
    Halving,
    channel_to_space,
    children_mask,
    pool,
    share_matrix,
    space_to_channel,
    subdivide,
)
from generators.ssa.sparse_tensor import SparseTensor
from generators.ssa.vae import SparseVae
from generators.ssa.vae_loss import VaeLossConfig, sharp_nodes, vae_loss, with_margin

NANO = PRESETS["nano"]
SMALL_NET = replace(NANO, vae_widths=(4, 8, 12), latent_channels=3, head_width=4)


def two_solids(side: int = 24) -> SparseTensor:
    nodes = lattice(side).float()
    return band_of([sphere(nodes, (side - 1) / 2, 8.3), box(nodes, (side - 1) / 2, (9.0, 5.0, 3.0))], side)


def network(preset=SMALL_NET, seed: int = 0) -> SparseVae:
    """An untrained network with every weight in play: blocks start as the identity otherwise."""
    torch.manual_seed(seed)
    vae = SparseVae(preset)
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            if "narrow" in name:
                parameter.normal_(std=0.2)
    return vae


def test_halving_equals_brute_force() -> None:
    band = two_solids()
    halving = Halving.of(band.coords, 2)
    parents = sorted({(s, i // 2, j // 2, k // 2) for s, i, j, k in band.coords.tolist()})
    assert halving.coarse.tolist() == [list(parent) for parent in parents]
    for (s, i, j, k), slot in zip(band.coords.tolist(), halving.slot.tolist(), strict=True):
        assert parents[slot // 8] == (s, i // 2, j // 2, k // 2)
        assert slot % 8 == 4 * (i % 2) + 2 * (j % 2) + k % 2


def test_children_side_by_side_come_back_and_the_mean_is_over_active_children() -> None:
    band = two_solids()
    halving = Halving.of(band.coords, 2)
    x = band.with_features(torch.randn(len(band.coords), 3, generator=torch.Generator().manual_seed(0)))
    wide = space_to_channel(x, halving)
    assert torch.equal(channel_to_space(wide, halving).features, x.features)
    assert (wide.features != 0).sum() == x.features.numel()
    mean = torch.stack([x.features[halving.slot // 8 == row].mean(dim=0) for row in range(len(halving.coarse))])
    torch.testing.assert_close(pool(x, halving).features, mean)


def test_subdivision_inverts_halving() -> None:
    band = two_solids()
    halving = Halving.of(band.coords, 2)
    mask = children_mask(halving.coarse, band.coords)
    back = subdivide(halving.coarse, mask, 2)
    assert torch.equal(back.fine, band.coords) and torch.equal(back.slot, halving.slot)
    assert len(subdivide(halving.coarse, torch.zeros_like(mask), 2).fine) == 0
    with pytest.raises(VolumeError, match="mask of children"):
        subdivide(halving.coarse, mask[:, :7], 2)


@pytest.mark.parametrize("counts", [(128, 32), (256, 96), (96, 256), (64, 256), (5, 5)])
def test_shortcut_keeps_a_constant_and_shares_all_channels_alike(counts: tuple[int, int]) -> None:
    share = share_matrix(*counts)
    torch.testing.assert_close(torch.ones(counts[0]) @ share, torch.ones(counts[1]))
    torch.testing.assert_close(share.sum(dim=1), torch.full((counts[0],), counts[1] / counts[0]))


def test_latents_live_on_the_cells_that_hold_the_band() -> None:
    band, vae = two_solids(), network()
    posterior = vae.encode(band)
    cells = sorted({(s, i // 4, j // 4, k // 4) for s, i, j, k in band.coords.tolist()})
    assert posterior.coords.tolist() == [list(cell) for cell in cells]
    assert posterior.mean.shape == posterior.logvar.shape == (len(cells), SMALL_NET.latent_channels)


def test_a_target_decides_the_nodes_and_a_pyramid_changes_nothing() -> None:
    band, vae = two_solids(), network()
    pyramid = vae.pyramid(band.coords, 2)
    latent = vae.encode(band, pyramid).latent()
    decoded, again = vae.decode(latent, band.coords), vae.decode(latent, pyramid)
    assert torch.equal(decoded.band.coords, band.coords)
    assert torch.equal(decoded.band.features, again.band.features)
    assert decoded.band.features.abs().max() < 1
    assert [len(logits) for logits in decoded.keep_logits] == [len(c) for c in pyramid.coords[:0:-1]]


def test_children_live_exactly_where_their_logit_is_positive() -> None:
    vae = network()
    decoded = vae.decode(vae.encode(two_solids()).latent())
    decoded.band.check()
    first, second = decoded.subdivisions
    assert torch.equal(children_mask(first.coords, second.coords), first.keep_logits > 0)
    assert torch.equal(children_mask(second.coords, decoded.band.coords), second.keep_logits > 0)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    band, vae = two_solids(), network().double()
    band = band.with_features(band.features.double())
    posterior = vae.encode(band)
    mine = band.coords[:, 0] == 1
    coords = band.coords[mine].clone()
    coords[:, 0] = 0
    alone = vae.encode(SparseTensor(coords, band.features[mine], 1))
    torch.testing.assert_close(alone.mean, posterior.mean[posterior.coords[:, 0] == 1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tile", [2, 4])
def test_tiles_give_the_whole_band(tile: int) -> None:
    vae = network().double()
    posterior = vae.encode(two_solids().with_features(two_solids().features.double()))
    whole = vae.decode(posterior.latent())
    tiled = vae.decode_tiled(posterior.latent(), tile)
    assert torch.equal(tiled.band.coords, whole.band.coords)
    torch.testing.assert_close(tiled.band.features, whole.band.features, rtol=0, atol=1e-13)
    for mine, theirs in zip(tiled.subdivisions, whole.subdivisions, strict=True):
        assert torch.equal(mine.coords, theirs.coords)
        torch.testing.assert_close(mine.keep_logits, theirs.keep_logits, rtol=0, atol=1e-12)


def test_tiles_in_single_precision_stay_within_the_stated_tolerance() -> None:
    vae = network(NANO)
    latent = vae.encode(two_solids()).latent()
    whole, tiled = vae.decode(latent), vae.decode_tiled(latent, 2)
    assert torch.equal(tiled.band.coords, whole.band.coords)
    torch.testing.assert_close(tiled.band.features, whole.band.features, rtol=0, atol=1e-5)


def test_the_reach_of_the_decoder_is_what_it_says() -> None:
    vae = network().double()
    coords = torch.cartesian_prod(torch.arange(1), *[torch.arange(9)] * 3).int()
    features = torch.randn(len(coords), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    nodes = torch.cartesian_prod(torch.arange(1), *[torch.arange(36)] * 3).int()
    changed = features.clone()
    changed[(coords[:, 1:] == 4).all(dim=1)] += 1
    a, b = (vae.decode(SparseTensor(coords, f, 1), nodes).band.features[:, 0] for f in (features, changed))
    distance = ((nodes[:, 1:] // 4) - 4).abs().max(dim=1).values
    assert (a != b)[distance == vae.decoder.receptive_cells].any()
    assert torch.equal(a[distance > vae.decoder.receptive_cells], b[distance > vae.decoder.receptive_cells])


def test_equal_seeds_give_equal_bytes() -> None:
    band, results = two_solids(), []
    for _ in range(2):
        vae = network()
        posterior = vae.encode(band)
        decoded = vae.decode(posterior.sample(torch.Generator().manual_seed(7)), band.coords)
        loss = vae_loss(decoded, band, posterior)["total"]
        loss.backward()
        grads = [p.grad for p in vae.parameters() if p.grad is not None]
        results.append(b"".join(t.detach().numpy().tobytes() for t in (loss, decoded.band.features, *grads)))
    assert results[0] == results[1]


def test_every_parameter_gets_a_finite_gradient() -> None:
    band, vae = two_solids(), network()
    target = with_margin(band, downsampling=4)
    posterior = vae.encode(band)
    decoded = vae.decode(posterior.sample(torch.Generator().manual_seed(0)), target.coords)
    vae_loss(decoded, target, posterior)["total"].backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()) and parameter.grad.any(), name


def test_gradients_of_the_whole_equal_finite_differences() -> None:
    nodes = lattice(10).float()
    band = band_of([sphere(nodes, 4.5, 3.0)], 10)
    vae = network(replace(SMALL_NET, vae_widths=(2, 2, 4), latent_channels=2)).double()

    def decode(features: torch.Tensor) -> torch.Tensor:
        return vae.decode(vae.encode(band.with_features(features)).latent(), band.coords).band.features

    features = band.features.double().requires_grad_()
    pull = torch.randn(len(features), 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (grad,) = torch.autograd.grad(decode(features), features, pull)
    step = 1e-6 * torch.randn(len(features), 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        rise = ((decode(features + step) - decode(features - step)) * pull).sum() / 2
    torch.testing.assert_close((grad * step).sum(), rise, rtol=1e-6, atol=0)


def test_a_step_in_half_precision_stays_near_single_precision() -> None:
    band, losses = two_solids(), []
    for half in (False, True):
        vae = network()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            posterior = vae.encode(band)
            decoded = vae.decode(posterior.latent(), band.coords)
            losses.append(vae_loss(decoded, band, posterior)["total"])
        losses[-1].backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in vae.parameters())
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(losses[1], losses[0], rtol=2e-2, atol=0)


def test_margin_has_the_sign_of_the_true_field() -> None:
    side = 24
    field = sphere(lattice(side).float(), 11.5, 8.3)
    band = band_of([field], side)
    target = with_margin(band, downsampling=4).check()
    i, j, k = target.coords[:, 1:].long().unbind(1)
    true = field[(i * side + j) * side + k]
    extra = target.features[:, 0].abs() == 1
    assert extra.any() and torch.equal(target.features[extra, 0], true[extra].sign())
    assert torch.equal(target.coords[~extra], band.coords) and torch.equal(target.features[~extra], band.features)
    with pytest.raises(VolumeError, match="needs a generator"):
        with_margin(band, downsampling=4, share=0.1)
    thin = with_margin(band, downsampling=4, share=0.1, generator=torch.Generator().manual_seed(0)).check()
    assert 0.05 < (len(thin.coords) - len(band.coords)) / int(extra.sum()) < 0.15
    assert torch.equal(Halving.of(Halving.of(target.coords, 1).coarse, 1).coarse, network().encode(band).coords)


def test_a_perfect_answer_has_no_loss() -> None:
    band, vae = two_solids(), network()
    target = with_margin(band, downsampling=4)
    posterior = vae.encode(band)
    decoded = vae.decode(posterior.latent(), target.coords)
    pyramid = vae.pyramid(band.coords, 2)
    levels = []
    for level, fine in zip(decoded.subdivisions, pyramid.coords[-2::-1], strict=True):
        levels.append(replace(level, keep_logits=100.0 * (2.0 * children_mask(level.coords, fine) - 1)))
    perfect = replace(decoded, band=target, subdivisions=tuple(levels))
    prior = replace(posterior, mean=torch.zeros_like(posterior.mean), logvar=torch.zeros_like(posterior.logvar))
    terms = vae_loss(perfect, target, prior)
    assert {name for name, value in terms.items() if value > 1e-6} == {"sign", "total"}
    # The soft sign keeps its entropy; it is least where the answer is exact.
    for shift in (-0.01, 0.01):
        moved = replace(perfect, band=target.with_features(target.features + shift))
        assert vae_loss(moved, target, prior)["sign"] > terms["sign"]


def test_total_is_the_weighted_sum() -> None:
    band, vae = two_solids(), network()
    posterior = vae.encode(band)
    config = VaeLossConfig(band=2.0, sharp=0.5, kl=0.25)
    terms = vae_loss(vae.decode(posterior.latent(), band.coords), band, posterior, config)
    expected = sum(getattr(config, name) * value for name, value in terms.items() if name != "total")
    torch.testing.assert_close(terms["total"], expected)


def test_sharp_nodes_are_at_the_edges_of_a_box_and_nowhere_on_a_ball() -> None:
    nodes, half = lattice(32).float(), (11.0, 11.0, 11.0)
    ball, cube = band_of([sphere(nodes, 15.5, 12.0)], 32), band_of([box(nodes, 15.5, half)], 32)
    assert not sharp_nodes(ball, angle=30.0).any()
    sharp = sharp_nodes(cube, angle=30.0)
    from_edge = (((cube.coords[:, 1:] - 15.5).abs() - 11.0).abs()).sort(dim=1).values[:, 1]
    assert sharp.any() and from_edge[sharp].max() <= BAND + 1


def test_wrong_inputs_are_refused() -> None:
    band, vae = two_solids(), network()
    posterior = vae.encode(band)
    latent = posterior.latent()
    with pytest.raises(ParameterError, match="3 widths and downsampling 8"):
        SparseVae(replace(SMALL_NET, downsampling=8))
    with pytest.raises(VolumeError, match="one channel"):
        vae.encode(band.with_features(band.features.repeat(1, 2)))
    with pytest.raises(VolumeError, match="expected 3 channels"):
        vae.decode(latent.with_features(latent.features[:, :2]))
    with pytest.raises(VolumeError, match="1 latent cells of the target are missing"):
        vae.decode(SparseTensor(latent.coords[1:], latent.features[1:], 2), band.coords)
    with pytest.raises(VolumeError, match="halo of at least 2"):
        vae.decode_tiled(latent, 4, halo=1)
    elsewhere = SparseTensor(band.coords + torch.tensor([0, 64, 0, 0], dtype=torch.int32), band.features, 2)
    with pytest.raises(VolumeError, match="none of"):
        vae_loss(vae.decode(latent, band.coords), elsewhere, posterior)


def test_an_empty_latent_decodes_to_an_empty_band() -> None:
    vae = network()
    empty = SparseTensor(torch.empty(0, 4, dtype=torch.int32), torch.empty(0, 3), 1)
    assert len(vae.decode(empty).band.coords) == len(vae.decode_tiled(empty, 4).band.coords) == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 140 s on an idle core
def test_eight_solids_are_learned_by_heart() -> None:
    side, steps = 32, 200
    fields = distances(side)
    band = band_of(fields, side)
    torch.manual_seed(0)
    vae = SparseVae(NANO)
    scales = vae.pyramid(band.coords, 8)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=5e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps, pct_start=0.1)
    draws = torch.Generator().manual_seed(0)
    for _ in range(steps):
        target = with_margin(band, downsampling=4, share=0.1, generator=draws, rulebook=scales.rulebooks[0])
        wider = vae.pyramid(target.coords, 8)
        posterior = vae.encode(band, scales)
        loss = vae_loss(vae.decode(posterior.sample(draws), wider), target, posterior, rulebook=wider.rulebooks[0])
        optimizer.zero_grad()
        loss["total"].backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        latent = vae.encode(band, scales).latent()
        for decoded in (vae.decode(latent), vae.decode(latent, scales), vae.decode_tiled(latent, 4)):
            iou = sign_iou(decoded.band, fields, side)
            assert iou.mean() > 0.97 and iou.min() > 0.93  # the thinnest solid is a plate of five nodes
