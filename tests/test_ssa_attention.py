"""Attention against its definition in float64: values, gradients, chosen blocks, batches; laws and refusals."""

from __future__ import annotations

import itertools

import pytest
import torch
from ssa_attention_cases import CASES, F64, assert_near, cells, layer, lists_of, random, run
from torch.nn import functional as F

from generators.errors import BackendError, ParameterError, VolumeError
from generators.ssa import attention, tile_plan, tiled_attention, tiles
from generators.ssa.attention import FullAttention, SpatialSparseAttention, folded_attention, segment_attention
from generators.ssa.blocks import BlockLayout, Layouts, Segments
from generators.ssa.generator import one_thread
from generators.ssa.largest import _by_rank, largest
from generators.ssa.transformer import TransformerBlock


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("heads", "kv_heads", "shifted"), [(2, 1, False), (2, 2, True)])
@pytest.mark.parametrize("backend", ["tiles", "auto"])
def test_layers_equal_their_definition(
    case: str, heads: int, kv_heads: int, shifted: bool, backend: attention.Backend
) -> None:
    coords, batch_size, block = CASES[case]
    layouts = Layouts.of(coords, batch_size, block)
    module = layer(32 * heads, heads=heads, kv_heads=kv_heads, block=block, top_k=5, shifted=shifted)
    x = random(len(coords), 32 * heads)
    assert_near(run(module, x, layouts, backend), run(module, x, layouts, "ref"), 1e-11)


@pytest.mark.parametrize("backend", ["ref", "tiles"])
def test_single_precision_is_near_double(backend: str) -> None:
    """Given the same lists, as a near tie may choose another block in single precision."""
    q, k, v = random(300, 4, 64), random(200, 2, 64, seed=1), random(200, 2, 64, seed=2)
    rows = [[(7 * i % 90, 7 * i % 90 + 1 + i % 80), (180, 200)] for i in range(300)]
    single, double = [], []
    for results, dtype, kind in ((double, F64, "ref"), (single, torch.float32, backend)):
        inputs = [x.to(dtype).requires_grad_() for x in (q, k, v)]
        o, lse = segment_attention(*inputs, lists_of(rows), backend=kind)
        results += [o, lse, *torch.autograd.grad((o, lse), inputs, (random(300, 4, 64).to(dtype), lse.detach()))]
    assert_near(single, double, 1e-5)


def test_half_precision_is_computed_in_single() -> None:
    q, k, v = (random(40, 2, 32, seed=s).to(torch.bfloat16) for s in range(3))
    lists = lists_of([[(0, 40)]] * 40)
    o, lse = segment_attention(q, k, v, lists)
    expected, _ = segment_attention(q.double(), k.double(), v.double(), lists, backend="ref")
    assert o.dtype == lse.dtype == torch.float32
    assert_near([o], [expected], 1e-5)


@pytest.mark.parametrize("backend", ["ref", "tiles"])
def test_gradients_equal_finite_differences(backend: str) -> None:
    lists = lists_of([[(0, 2), (4, 9)], [(2, 4)], [(0, 2), (2, 4)], [(4, 9)], [(2, 4), (4, 9)]])
    q, k, v = random(5, 4, 3), random(9, 2, 3, seed=1), random(9, 2, 3, seed=2)
    inputs = [x.requires_grad_() for x in (q, k, v)]
    assert torch.autograd.gradcheck(lambda *x: segment_attention(*x, lists, backend=backend), inputs)


@pytest.mark.parametrize("backend", ["ref", "tiles"])
def test_the_whole_layer_has_the_gradient_of_finite_differences(backend: str) -> None:
    coords = cells(3, 9, side=4)
    layouts = Layouts.of(coords, 2, 2)
    module = layer(4, heads=2, kv_heads=1, block=2, top_k=2, backend=backend)
    assert torch.autograd.gradcheck(lambda x: module(x, layouts), random(12, 4).requires_grad_())


@pytest.mark.parametrize("backend", ["ref", "tiles"])
def test_selecting_all_blocks_is_full_attention(backend: str) -> None:
    coords = cells(5, 300, side=10)
    layouts = Layouts.of(coords, 2, 4)
    blocks = len(layouts.plain.starts) - 1
    q, k, v = random(305, 4, 32), random(305, 1, 32, seed=1), random(305, 1, 32, seed=2)
    pooled = random(blocks, 32, seed=3)
    _, _, chosen = folded_attention(q, pooled, pooled, layouts.compression(1), top_k=blocks, backend=backend)
    o, _, _ = folded_attention(q, k[:, 0], v[:, 0], layouts.selection(chosen, 1), backend=backend)
    for rows in (slice(0, 5), slice(5, 305)):
        a, b, c = (x[rows].transpose(0, 1)[None] for x in (q, k, v))
        full = F.scaled_dot_product_attention(a, b, c, enable_gqa=True)
        torch.testing.assert_close(o[rows], full[0].transpose(0, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_where_all_blocks_are_chosen_one_range_gives_the_same(kv_heads: int) -> None:
    coords = cells(40, 3, 90, side=8)
    layouts = Layouts.of(coords, 3, 4)
    assert layouts.most_blocks == 8
    module = layer(heads=2, kv_heads=kv_heads, top_k=8)
    x = random(len(coords), 64)
    whole = module(x, layouts)
    listed = Layouts.of(coords, 3, 4)
    listed.__dict__["most_blocks"] = 9  # as if there were one more than are chosen
    assert_near((module(x, listed),), (whole,), 1e-12)
    assert ("everything", kv_heads) in layouts.lists and ("everything", kv_heads) not in listed.lists


def test_chosen_blocks_have_the_largest_scores() -> None:
    """Exhaustive: no block left out scores higher than a chosen one, for each group of heads."""
    coords = cells(400, 60, side=16)
    layouts = Layouts.of(coords, 2, 4)
    layout, kv_heads, top_k = layouts.plain, 2, 6
    blocks = len(layout.starts) - 1
    q, pooled = random(920, 3, 16), random(kv_heads * blocks, 16, seed=1)
    lists = layouts.compression(kv_heads)
    _, lse, chosen = folded_attention(q, pooled, pooled, lists, top_k=top_k)
    shares = torch.exp(torch.einsum("rgd,kd->rgk", q, pooled) / 4 - lse[..., None]).sum(dim=1)
    seen = attention.range_mask(lists, len(pooled))
    picked = torch.zeros_like(seen).scatter_(1, chosen, True)
    assert (picked.sum(dim=1) == top_k).all() and not (picked & ~seen).any()
    worst = shares.masked_fill(~picked, torch.inf).amin(dim=1)
    best_left = shares.masked_fill(picked | ~seen, -torch.inf).amax(dim=1)
    assert (worst >= best_left - 1e-12).all()
    assert (chosen.diff(dim=1) > 0).all()


def test_ties_go_to_the_lower_block() -> None:
    x = torch.tensor([[1.0, 3, 2, 3, 2, 2], [0, 0, 0, 0, 0, 0], [5, 1, 4, 2, 3, 0]])
    assert largest(x, 3).tolist() == [[1, 2, 3], [0, 1, 2], [0, 2, 4]]
    assert largest(x, 6).tolist() == [[0, 1, 2, 3, 4, 5]] * 3
    many = torch.randint(0, 4, (500, 300), generator=torch.Generator().manual_seed(0)).double()
    expected = torch.sort(many, dim=1, descending=True, stable=True).indices[:, :7].sort(dim=1).values
    assert torch.equal(largest(many, 7), expected)


def test_the_largest_are_those_of_a_sort_whatever_the_numbers() -> None:
    generator = torch.Generator().manual_seed(1)
    for dtype, columns, k in itertools.product((torch.float32, F64), (1, 9, 64, 178), (1, 8, 9)):
        x = torch.randn(50, columns, generator=generator).to(dtype)
        x[::3] = x[::3].round()
        expected = torch.sort(x, dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values
        assert torch.equal(largest(x, k), expected) and torch.equal(largest(x.T.contiguous().T, k), expected)
        if columns > k:
            assert torch.equal(_by_rank(x, k), expected)
    x[0] = torch.nan
    assert largest(x, 3)[0].tolist() == [0, 1, 2]


def test_equal_keys_choose_the_first_blocks_of_each_sample() -> None:
    layouts = Layouts.of(cells(200, 100, side=12), 2, 4)
    blocks = len(layouts.plain.starts) - 1
    for backend in ("ref", "tiles"):
        pooled = torch.zeros(blocks, 8, dtype=F64)
        _, _, chosen = folded_attention(
            random(300, 2, 8), pooled, pooled, layouts.compression(1), top_k=3, backend=backend
        )
        second = int(layouts.plain.sample_blocks[1])
        assert (chosen[:200] == torch.arange(3)).all() and (chosen[200:] == second + torch.arange(3)).all()


def test_samples_do_not_see_each_other_and_may_be_permuted() -> None:
    coords, module = cells(40, 1, 300, side=12), layer(shifted=True)
    x = random(len(coords), 64)
    together = module(x, Layouts.of(coords, 3, 4))
    parts = x.split([40, 1, 300])
    alone = []
    for sample, part in enumerate(parts):
        own = coords[coords[:, 0] == sample].clone()
        own[:, 0] = 0
        alone.append(module(part, Layouts.of(own, 1, 4)))
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)
    moved = coords.clone()
    moved[:, 0] = torch.tensor([2, 0, 1])[coords[:, 0].long()]
    torch.testing.assert_close(module(x, Layouts.of(moved, 3, 4)), together, rtol=1e-12, atol=1e-12)


def test_order_of_the_rows_and_moves_by_a_block_do_not_matter() -> None:
    coords, module = cells(120, side=10), layer(shifted=True)
    x, order = random(120, 64), torch.randperm(120, generator=torch.Generator().manual_seed(2))
    out = module(x, Layouts.of(coords, 1, 4))
    shuffled = module(x[order], Layouts.of(coords[order], 1, 4))
    torch.testing.assert_close(shuffled, out[order], rtol=1e-12, atol=1e-12)
    far = coords + torch.tensor([0, 8, 4, 12], dtype=torch.int32)
    torch.testing.assert_close(module(x, Layouts.of(far, 1, 4)), out, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("whole", [0, 2**40], ids=["whole ranges", "padded tiles"])
@pytest.mark.parametrize("safe", [0, tiled_attention.SAFE_SCORE], ids=["maximum subtracted", "bounded"])
def test_chunks_tiles_and_slabs_of_any_size_give_the_same(
    monkeypatch: pytest.MonkeyPatch, whole: int, safe: float
) -> None:
    coords, module = cells(500, 90, side=12), layer(64, heads=4, kv_heads=2)
    x = random(590, 64)
    expected = run(module, x, Layouts.of(coords, 2, 4), "ref")
    monkeypatch.setattr(tile_plan, "WHOLE_SCORES", whole)
    monkeypatch.setattr(tiled_attention, "SAFE_SCORE", safe)
    assert_near(run(module, x, Layouts.of(coords, 2, 4), "tiles"), expected, 1e-11)
    monkeypatch.setattr(tile_plan, "SLAB_CPU", 5000)
    monkeypatch.setattr(tile_plan, "TILE_ROWS", 20)
    monkeypatch.setattr(tiled_attention, "SCORES_CPU", 1000)
    layouts = Layouts.of(coords, 2, 4)
    assert_near(run(module, x, layouts, "tiles"), expected, 1e-11)
    made = layouts.compression(2).tiles(2, 16)
    assert len(made) > 5 and isinstance(made[0].buckets[0], tiles.Bucket if whole else tiles.WholeRange)


@pytest.mark.parametrize("whole", [0, 2**40], ids=["whole ranges", "padded tiles"])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_scores_of_any_size_keep_single_precision(monkeypatch: pytest.MonkeyPatch, whole: int, scale: float) -> None:
    """From exp without a maximum to scores whose exp does not exist, of either sign."""
    monkeypatch.setattr(tile_plan, "WHOLE_SCORES", whole)
    rows = [[(0, 3 + i % 50), (53, 53 + 1 + i % 7)] for i in range(200)]
    q, k, v = (random(*s, seed=i).float() for i, s in enumerate([(200, 4, 32), (60, 2, 32), (60, 2, 32)]))
    q = q * scale / q.norm(dim=2, keepdim=True)
    k = k * 8 / k.norm(dim=2, keepdim=True)
    for direction in (1, -1):
        k[..., 0] = direction * k[..., 0].abs()
        q[..., 0] = q[..., 0].abs()
        o, lse = segment_attention(q, k, v, lists_of(rows), backend="tiles")
        exact_o, exact_lse = segment_attention(*(x.double() for x in (q, k, v)), lists_of(rows), backend="ref")
        assert_near([lse], [exact_lse], 1e-6)
        # A score that is rounded by a share of 6e-8 of its size moves its exp by as much times its size.
        assert_near([o], [exact_o], 1e-5 * max(1, scale / 30))


def test_equal_bytes_each_time() -> None:
    coords = cells(700, side=14)
    module, x = layer(64, kv_heads=2).float(), random(700, 64, dtype=torch.float32)
    with one_thread():  # two threads may sum the gradients of keys in another order
        first, second = (run(module, x, Layouts.of(coords, 1, 4), "auto") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_layout_sorts_tokens_by_block() -> None:
    coords = cells(80, 33, side=11)
    for shift in (0, 2):
        layout = BlockLayout.of(coords, 2, block=4, shift=shift)
        block = torch.cat([coords[:, :1], (coords[:, 1:] + shift) // 4], dim=1)[layout.order]
        starts = layout.starts.tolist()
        for begin, end in itertools.pairwise(starts):
            assert (block[begin:end] == block[begin]).all()
        assert len(torch.unique(block, dim=0)) == len(starts) - 1
        i, j, k = ((coords[layout.order, 1:] + shift) % 4).long().unbind(1)
        assert torch.equal(layout.place, 16 * i + 4 * j + k)
        assert torch.equal(layout.order[layout.position], torch.arange(113))
        assert layout.sample_tokens.tolist() == [0, 80, 113]


def test_full_attention_is_that_of_each_sample() -> None:
    coords = cells(40, 3, side=8)
    torch.manual_seed(0)
    module, x = FullAttention(64, 4, 2).double(), random(43, 64)
    out = module(x, Layouts.of(coords, 2, 4))
    for rows in (slice(0, 40), slice(40, 43)):
        part = x[rows]
        q, kv = module.to_q(part).view(-1, 4, 16), module.to_kv(part).view(-1, 4, 16)
        lists = lists_of([[(0, len(part))]] * len(part))
        o, _ = segment_attention(q, kv[:, :2], kv[:, 2:], lists, backend="ref")
        torch.testing.assert_close(out[rows], module.to_out(o.flatten(1)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["ssa", "window", "full"])
def test_block_is_the_identity_without_modulation_and_samples_have_their_own(kind) -> None:
    coords = cells(30, 12, side=8)
    layouts, sample = Layouts.of(coords, 2, 4), coords[:, 0].long()
    torch.manual_seed(0)
    block = TransformerBlock(32, 2, 1, 4, 3, shifted=True, condition_width=32, attention=kind).double()
    x, modulation = random(42, 32), torch.zeros(2, 192, dtype=F64)
    assert torch.equal(block(x, layouts, modulation, sample), x)
    modulation[1] = random(192)
    changed = block(x, layouts, modulation, sample)
    assert torch.equal(changed[:30], x[:30]) and not torch.isclose(changed[30:], x[30:]).all(dim=1).any()
    plain = TransformerBlock(32, 2, 1, 4, 3, shifted=False, attention=kind).double()
    assert torch.isfinite(plain(x, layouts)).all()
    with pytest.raises(VolumeError, match="not taken"):
        plain(x, layouts, modulation, sample)
    with pytest.raises(VolumeError, match="needed"):
        block(x, layouts)


def test_twenty_steps_of_training_follow_the_definition() -> None:
    coords = cells(60, 100, side=8)
    layouts, x, wanted = Layouts.of(coords, 2, 4), random(160, 32), random(160, 32, seed=5)
    curves = []
    for backend in ("ref", "tiles"):
        module = layer(32, backend=backend)
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
        curve = []
        for _ in range(20):
            loss = (module(x, layouts) - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(float(loss.detach()))
        curves.append(torch.tensor(curve, dtype=F64))
    assert curves[0][-1] < curves[0][0]
    torch.testing.assert_close(*curves, rtol=1e-6, atol=0)


def test_what_cannot_be_is_refused() -> None:
    coords = cells(10, side=8)
    with pytest.raises(VolumeError, match=r"samples \[1\] have no cells"):
        Layouts.of(coords, 2, 4)
    with pytest.raises(VolumeError, match="at least one cell"):
        Layouts.of(coords[:0], 1, 4)
    with pytest.raises(VolumeError, match="outside"):
        Layouts.of(coords - 1, 1, 4)
    with pytest.raises(ParameterError, match="block side 0"):
        Layouts.of(coords, 1, 0)
    with pytest.raises(ParameterError, match="must divide"):
        SpatialSparseAttention(64, 3, 1, 4, 8, shifted=False)
    with pytest.raises(ParameterError, match="add that branch"):
        SpatialSparseAttention(64, 2, 1, 4, 8, shifted=False, branches=("selection",))
    with pytest.raises(ParameterError, match="does not exist"):
        TransformerBlock(32, 2, 1, 4, 3, shifted=False, attention="sparse")  # pyright: ignore[reportArgumentType]
    with pytest.raises(VolumeError, match="blocks of 8"):
        layer()(random(10, 64), Layouts.of(coords, 1, 8))
    q, k = random(2, 2, 8), random(4, 1, 8)
    with pytest.raises(VolumeError, match="no key range"):
        segment_attention(q, k, k, Segments(*map(torch.tensor, ([0], [4], [0, 1, 1], [0]))))
    with pytest.raises(VolumeError, match="leaves the 4 keys"):
        segment_attention(q, k, k, lists_of([[(0, 5)], [(0, 2)]]))
    with pytest.raises(VolumeError, match="3 lists"):
        segment_attention(q, k, k, lists_of([[(0, 4)]] * 3))
    with pytest.raises(BackendError, match="choose one of auto, ref, tiles"):
        segment_attention(q, k, k, lists_of([[(0, 4)]] * 2), backend="cuda")  # pyright: ignore[reportArgumentType]
