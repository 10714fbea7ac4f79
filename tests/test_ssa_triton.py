"""Triton's kernels against the definition in float64, on a GPU where there is one and else in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
from ssa_attention_cases import CASES, assert_near, cells, layer, lists_of, random, run

from generators.errors import BackendError, VolumeError
from generators.ssa import attention
from generators.ssa.attention import choose_backend, folded_attention, segment_attention
from generators.ssa.blocks import Layouts, Segments

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DISJOINT = {
    "one key": [[(0, 1)]],
    "many rows of one range": [[(3, 70)]] * 40,
    "lists of their own": [[(0, 5), (40, 170)], [(5, 40)], [(0, 5), (5, 40), (170, 171)], [(40, 170)]],
}


def gradients(
    kind: str, dtype: torch.dtype, rows: list, *, heads: int, kv_heads: int, width: int
) -> list[torch.Tensor]:
    """Output, lse and gradients by q, k and v."""
    keys = max(end for row in rows for _, end in row)
    shapes = ((len(rows), heads, width), (keys, kv_heads, width), (keys, kv_heads, width))
    inputs = [random(*shape, seed=s).to(DEVICE, dtype).requires_grad_() for s, shape in enumerate(shapes)]
    o, lse = segment_attention(*inputs, lists_on_device(rows), backend=kind)
    wanted = random(*o.shape, seed=5).to(DEVICE, o.dtype), random(*lse.shape, seed=6).to(DEVICE, lse.dtype)
    return [x.cpu() for x in (o, lse, *torch.autograd.grad((o, lse), inputs, wanted))]


def lists_on_device(rows: list) -> Segments:
    return to_device(lists_of(rows))


def to_device(made: Segments) -> Segments:
    return Segments(*(x.to(DEVICE) for x in (made.starts, made.ends, made.offsets, made.ranges)))


@pytest.mark.parametrize("rows", DISJOINT.values(), ids=DISJOINT)
@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(1, 1, 32), (6, 2, 48), (16, 1, 64)])
@pytest.mark.parametrize(
    ("dtype", "bound"),
    [
        (torch.float32, 1e-5),
        (torch.float16, 1e-2),
        pytest.param(torch.bfloat16, 1e-2, marks=pytest.mark.gpu),  # Triton's interpreter multiplies its bits
    ],
)
def test_kernels_equal_the_definition(rows, heads, kv_heads, width, dtype, bound) -> None:
    """Half precision is compared on what it can hold."""
    sizes = {"heads": heads, "kv_heads": kv_heads, "width": width}
    expected = gradients("ref", torch.float64 if dtype == torch.float32 else dtype, rows, **sizes)
    assert_near(gradients("triton", dtype, rows, **sizes), expected, bound)


@pytest.mark.parametrize("case", [name for name in CASES if name != "blocks of 512 tokens" and name[:7] != "lengths"])
@pytest.mark.parametrize(("heads", "kv_heads", "shifted"), [(2, 1, False), (2, 2, True)])
def test_the_whole_layer_equals_the_definition(case: str, heads: int, kv_heads: int, shifted: bool) -> None:
    """Where a token has one key, gradients of the scores cancel, and single precision leaves up to 1e-3."""
    coords, batch_size, block = CASES[case]
    layouts = Layouts.of(coords.to(DEVICE), batch_size, block)
    module = layer(32 * heads, heads=heads, kv_heads=kv_heads, block=block, top_k=2, shifted=shifted).to(DEVICE)
    x = random(len(coords), 32 * heads).to(DEVICE)
    expected = [y.cpu() for y in run(module, x, layouts, "ref")]
    assert_near([y.cpu() for y in run(module.float(), x.float(), layouts, "triton")], expected, 1e-3)


def test_chosen_blocks_are_those_of_the_definition() -> None:
    coords = cells(40, 90, side=12).to(DEVICE)
    layouts = Layouts.of(coords, 2, 3)
    blocks = len(layouts.plain.starts) - 1
    q, k, v = (random(*s, seed=i).to(DEVICE) for i, s in enumerate([(260, 3, 32), (2 * blocks, 32), (2 * blocks, 32)]))
    segments = layouts.compression(2)
    expected = folded_attention(q, k, v, segments, top_k=4, backend="ref")[2]
    chosen = folded_attention(q.float(), k.float(), v.float(), segments, top_k=4, backend="triton")[2]
    assert torch.equal(chosen, expected)


def test_rows_of_a_range_may_be_shared_among_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares are summed in order: the same gradients, and equal bytes each time."""
    from generators.ssa import attention_triton

    rows, sizes = [[(0, 30)]] * 70 + [[(30, 131)]] * 9, {"heads": 2, "kv_heads": 1, "width": 32}
    expected = gradients("ref", torch.float64, rows, **sizes)
    monkeypatch.setattr(attention_triton, "SHARE", 16)
    made = gradients("triton", torch.float32, rows, **sizes)
    assert_near(made, expected, 1e-5)
    assert all(torch.equal(a, b) for a, b in zip(made, gradients("triton", torch.float32, rows, **sizes), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("top_k", [1, 5, 40, 300])
@pytest.mark.parametrize("in_registers", [True, False])
def test_the_best_keys_are_those_of_a_sort_whatever_the_scores(
    dtype: torch.dtype, top_k: int, in_registers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many scores are equal: three keys of whole numbers, over and over; some rows have fewer keys than are wanted."""
    from generators.ssa import attention_triton

    if not in_registers:
        monkeypatch.setattr(attention_triton, "COLUMNS", 0)
    monkeypatch.setattr(attention_triton, "SCORES", 4096)  # in several runs of rows
    bounds = torch.tensor([0, 2, 8, 201])
    segments = Segments.single(bounds[:-1], bounds[1:], torch.arange(60) % 3)
    k = random(3, 32).round()[torch.randint(0, 3, (201,), generator=torch.Generator().manual_seed(3))]
    q = random(60, 3, 32, seed=1).round().to(DEVICE, dtype)
    k, on_device = k.to(DEVICE, dtype), to_device(segments)
    best = folded_attention(q, k, k, on_device, top_k=top_k, backend="triton")[2].cpu()
    shares = [(q.cpu().double() @ k.cpu().double().T)[row] / 32**0.5 for row in range(60)]
    for row, mine in enumerate(best):
        first, end = int(bounds[row % 3]), int(bounds[row % 3 + 1])
        share = shares[row][:, first:end].softmax(dim=1).sum(dim=0).float()
        order = torch.sort(share, descending=True, stable=True).indices[:top_k].sort().values + first
        assert mine.tolist() == [*order.tolist(), *[-1] * (top_k - len(order))]


@pytest.mark.parametrize("top_k", [2, 5])
def test_lists_that_are_full_need_no_counting(top_k: int) -> None:
    """The same lists as counted ones, where the fewest blocks of a sample are as many as are chosen."""
    layouts = Layouts.of(cells(40, 90, side=8), 2, 4)
    assert layouts.fewest_blocks == 8
    chosen = torch.arange(top_k).expand(260, -1).contiguous()
    full, counted = layouts.selection(chosen, 2), layouts.window(2, shifted=False).selected(chosen)
    for name in ("starts", "ends", "offsets", "ranges"):
        assert torch.equal(getattr(full, name), getattr(counted, name))


def test_automatic_is_triton_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert choose_backend("auto", "cuda", dtype) == "triton"
        assert choose_backend("auto", "cpu", dtype) == "tiles"
    assert choose_backend("auto", "cuda", torch.float64) == "tiles"
    assert choose_backend("ref", "cuda", torch.float32) == "ref"
    monkeypatch.setattr(attention, "triton_installed", lambda: False)
    assert choose_backend("auto", "cuda", torch.float32) == "tiles"


def test_what_the_kernels_cannot_do_is_refused() -> None:
    q, k = random(2, 1, 32, dtype=torch.float32).to(DEVICE), random(9, 1, 32, dtype=torch.float32).to(DEVICE)
    overlapping = lists_on_device([[(0, 6)], [(4, 9)]])
    with pytest.raises(VolumeError, match="overlap"):
        segment_attention(q, k, k, overlapping, backend="triton")
    with pytest.raises(BackendError, match="float64"):
        segment_attention(q.double(), k.double(), k.double(), lists_on_device([[(0, 9)]] * 2), backend="triton")


def test_without_gpu_and_interpreter_the_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = random(2, 1, 32, dtype=torch.float32), random(9, 1, 32, dtype=torch.float32)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(BackendError, match="on cpu; use 'auto'"):
        segment_attention(q, k, k, lists_of([[(0, 9)]] * 2), backend="triton")
