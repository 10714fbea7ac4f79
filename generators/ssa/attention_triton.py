"""Attention to key ranges on CUDA: FlashAttention over lists of ranges, in Triton, forward and backward.

The forward pass and dQ have one program per *group*: query rows that share a list of ranges. Where every row has one
range, as in compression and windows, a group is a tile of rows of that range; where rows choose their own, as in
selection, it is one row, whose heads fill the tile of the matrix product (grouped queries; NSA, arXiv 2502.11089,
section 3.4). dK and dV have one program per piece of a range and share of its rows, found by the inverse list. The
scores are recomputed (Dao et al. 2022, algorithm 4). Every number is written by one program and shares are summed in
order: no atomics, equal bytes each time.

Operands may be half precision; scores, sums and gradients are single. With `TRITON_INTERPRET=1` the same kernels run on
a CPU, which is how they are tested where there is no GPU.
"""

# The bodies of the kernels are not Python that a type checker knows.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from generators.ssa.blocks import Segments
from generators.ssa.key_groups import Groups
from generators.ssa.largest import largest

LEAST_ROWS = 16
"""Fewest rows of a matrix product on tensor cores; heads are padded to it [1]."""
TILE_ROWS = 128
"""Rows of a tile's matrix product where rows share their range: query rows times heads [1]."""
SHARE = 2048
"""Most rows of a range that one program of dK and dV goes through [1]."""
SCORES = 2**26
"""Most scores of blocks held at a time while the best are chosen: 256 MiB [1]."""
COLUMNS = 4096
"""Most scores of a row that `_best` holds in registers; rows of more blocks are left to `largest` [1]."""
LOG2E = math.log2(math.e)
"""exp(x) = 2^(LOG2E x), and the latter is what the hardware computes [1]."""


@dataclass(frozen=True)
class Launch:
    """How a kernel is laid out on the chip; `benchmarks/ssa_launch.py` tries others."""

    tile_keys: int
    """Keys of a tile [1]."""
    warps: int
    """Warps of a program [1]."""
    stages: int
    """Tiles that are in flight between memory and registers [1]."""

    @property
    def options(self) -> dict[str, int]:
        """Arguments of a launch."""
        return {"num_warps": self.warps, "num_stages": self.stages}


@dataclass(frozen=True)
class Launches:
    """The layout of every kernel."""

    selection: Launch = Launch(32, 1, 2)
    """Forward, groups of one row: its heads are the 16 rows of one warp's product, so nothing waits for a barrier."""
    selection_backward: Launch = Launch(32, 1, 2)
    tiled: Launch = Launch(64, 4, 3)
    """Forward, groups of `TILE_ROWS` rows: four warps are what one product of Hopper's tensor cores takes."""
    tiled_backward: Launch = Launch(64, 4, 2)
    keys: Launch = Launch(64, 4, 3)
    """dK and dV."""
    scores: Launch = Launch(64, 4, 3)
    """Sums of shares over heads, of which `_best` takes the largest."""


LAUNCH = Launches()
"""Half precision."""
LAUNCH_SINGLE = Launches(
    selection=Launch(32, 2, 1),
    selection_backward=Launch(32, 2, 1),
    tiled=Launch(32, 8, 1),
    tiled_backward=Launch(32, 8, 1),
    keys=Launch(32, 8, 1),
    scores=Launch(32, 8, 1),
)
"""Single precision: exact products are made without tensor cores and take more registers, so tiles are smaller."""


def launches(dtype: torch.dtype) -> Launches:
    """Return the layout of the kernels for operands of this type."""
    return LAUNCH_SINGLE if dtype == torch.float32 else LAUNCH


@triton.jit
def _rows_of(rows, first, heads: tl.constexpr, padded: tl.constexpr, tile: tl.constexpr, end, count):
    """Return place among the heads of all rows, and whether there is such a row and head, for a tile of products."""
    m = tl.arange(0, tile)
    head = m % padded
    at = first + m // padded
    row = tl.load(rows + at, mask=at < end, other=count)
    return row.to(tl.int64) * heads + head, (row < count) & (head < heads)


@triton.jit
def _load(x, place, held, width: tl.constexpr, wide: tl.constexpr):
    """Load rows of a matrix of `width` columns, padded with zeros."""
    d = tl.arange(0, wide)
    mask = held[:, None]
    if width < wide:
        mask = mask & (d < width)[None, :]
    return tl.load(x + place[:, None] * width + d[None, :], mask=mask, other=0.0)


@triton.jit
def _store(x, place, held, value, width: tl.constexpr, wide: tl.constexpr):
    """Store rows of a matrix of `width` columns."""
    d = tl.arange(0, wide)
    mask = held[:, None]
    if width < wide:
        mask = mask & (d < width)[None, :]
    tl.store(x + place[:, None] * width + d[None, :], value.to(x.dtype.element_ty), mask=mask)


@triton.jit
def _forward(
    q, k, v, o, lse, rows, offsets, ranges, starts, ends, count, scale,
    heads: tl.constexpr, padded: tl.constexpr, per_group: tl.constexpr, width: tl.constexpr, wide: tl.constexpr,
    tile_keys: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Forward pass: the online softmax over the ranges of a group (Dao et al. 2022, algorithm 1), by powers of two."""
    group = tl.program_id(0)
    tile: tl.constexpr = per_group * padded
    place, held = _rows_of(rows, group * per_group, heads, padded, tile, (group + 1) * per_group, count)
    queries = _load(q, place, held, width, wide)
    peak = tl.full([tile], float("-inf"), tl.float32)
    total = tl.zeros([tile], tl.float32)
    mixed = tl.zeros([tile, wide], tl.float32)
    for entry in range(tl.load(offsets + group), tl.load(offsets + group + 1)):
        of = tl.load(ranges + entry)
        end = tl.load(ends + of)
        for first in range(tl.load(starts + of), end, tile_keys):
            key = first + tl.arange(0, tile_keys)
            keys = _load(k, key.to(tl.int64), key < end, width, wide)
            values = _load(v, key.to(tl.int64), key < end, width, wide)
            scores = tl.dot(queries, tl.trans(keys), input_precision=precision) * (scale * 1.4426950408889634)
            scores = tl.where((key < end)[None, :], scores, float("-inf"))
            higher = tl.maximum(peak, tl.max(scores, 1))
            share = tl.exp2(scores - higher[:, None])
            shrink = tl.exp2(peak - higher)
            mixed = mixed * shrink[:, None] + tl.dot(share.to(values.dtype), values, input_precision=precision)
            total = total * shrink + tl.sum(share, 1)
            peak = higher
    _store(o, place, held, mixed / total[:, None], width, wide)
    tl.store(lse + place, (peak + tl.log2(total)) * 0.6931471805599453, mask=held)


@triton.jit
def _backward_queries(
    q, k, v, o, d_o, lse, d_lse, delta, d_q, rows, offsets, ranges, starts, ends, count, scale,
    heads: tl.constexpr, padded: tl.constexpr, per_group: tl.constexpr, width: tl.constexpr, wide: tl.constexpr,
    tile_keys: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Gradient of the queries, dQ = dS K, where dS = P * (dO V^T - delta); and delta = rowsum(dO * O) - dlse."""
    group = tl.program_id(0)
    tile: tl.constexpr = per_group * padded
    place, held = _rows_of(rows, group * per_group, heads, padded, tile, (group + 1) * per_group, count)
    queries = _load(q, place, held, width, wide)
    d_out = _load(d_o, place, held, width, wide)
    out = _load(o, place, held, width, wide)
    row_delta = tl.sum(d_out.to(tl.float32) * out.to(tl.float32), 1)
    row_delta -= tl.load(d_lse + place, mask=held, other=0.0)
    tl.store(delta + place, row_delta, mask=held)
    row_lse = tl.load(lse + place, mask=held, other=0.0) * 1.4426950408889634
    gradient = tl.zeros([tile, wide], tl.float32)
    for entry in range(tl.load(offsets + group), tl.load(offsets + group + 1)):
        of = tl.load(ranges + entry)
        end = tl.load(ends + of)
        for first in range(tl.load(starts + of), end, tile_keys):
            key = first + tl.arange(0, tile_keys)
            keys = _load(k, key.to(tl.int64), key < end, width, wide)
            values = _load(v, key.to(tl.int64), key < end, width, wide)
            scores = tl.dot(queries, tl.trans(keys), input_precision=precision) * (scale * 1.4426950408889634)
            share = tl.where((key < end)[None, :], tl.exp2(scores - row_lse[:, None]), 0.0)
            d_share = tl.dot(d_out, tl.trans(values), input_precision=precision)
            d_scores = share * (d_share - row_delta[:, None])
            gradient += tl.dot(d_scores.to(keys.dtype), keys, input_precision=precision)
    _store(d_q, place, held, gradient * scale, width, wide)


@triton.jit
def _backward_keys(
    q, k, v, d_o, lse, delta, d_k, d_v, first_share, tile_of, pieces, ends, bounds, readers, count, piece_count, scale,
    share_size: tl.constexpr, heads: tl.constexpr, padded: tl.constexpr, per_group: tl.constexpr,
    width: tl.constexpr, wide: tl.constexpr, tile_keys: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Gradients dV = P^T dO and dK = dS^T Q of a tile of keys, over one share of the rows that attend to its range."""
    place_of_share = tl.program_id(0)
    piece = tl.load(tile_of + place_of_share)
    if piece < piece_count:
        tile: tl.constexpr = per_group * padded
        of = tl.load(pieces + 2 * piece)
        key = tl.load(pieces + 2 * piece + 1) + tl.arange(0, tile_keys)
        inside = key < tl.load(ends + of)
        keys = _load(k, key.to(tl.int64), inside, width, wide)
        values = _load(v, key.to(tl.int64), inside, width, wide)
        d_keys = tl.zeros([tile_keys, wide], tl.float32)
        d_values = tl.zeros([tile_keys, wide], tl.float32)
        begin = tl.load(bounds + of) + (place_of_share - tl.load(first_share + piece)) * share_size
        end = tl.minimum(tl.load(bounds + of + 1), begin + share_size)
        for first in range(begin, end, per_group):
            place, held = _rows_of(readers, first, heads, padded, tile, end, count)
            queries = _load(q, place, held, width, wide)
            d_out = _load(d_o, place, held, width, wide)
            row_lse = tl.load(lse + place, mask=held, other=0.0) * 1.4426950408889634
            row_delta = tl.load(delta + place, mask=held, other=0.0)
            scores = tl.dot(queries, tl.trans(keys), input_precision=precision) * (scale * 1.4426950408889634)
            share = tl.where(held[:, None] & inside[None, :], tl.exp2(scores - row_lse[:, None]), 0.0)
            d_values += tl.dot(tl.trans(share.to(d_out.dtype)), d_out, input_precision=precision)
            d_share = tl.dot(d_out, tl.trans(values), input_precision=precision)
            d_scores = share * (d_share - row_delta[:, None])
            d_keys += tl.dot(tl.trans(d_scores.to(queries.dtype)), queries, input_precision=precision)
        at = place_of_share.to(tl.int64) * tile_keys + tl.arange(0, tile_keys)
        _store(d_k, at, inside, d_keys * scale, width, wide)
        _store(d_v, at, inside, d_values, width, wide)


@triton.jit
def _sum_shares(
    parts_k, parts_v, d_k, d_v, first_share, pieces, ends,
    width: tl.constexpr, wide: tl.constexpr, tile_keys: tl.constexpr,
):  # fmt: skip
    """Add the shares of a tile of keys, in order."""
    piece = tl.program_id(0)
    key = tl.load(pieces + 2 * piece + 1) + tl.arange(0, tile_keys)
    inside = key < tl.load(ends + tl.load(pieces + 2 * piece))
    d_keys = tl.zeros([tile_keys, wide], tl.float32)
    d_values = tl.zeros([tile_keys, wide], tl.float32)
    for share in range(tl.load(first_share + piece), tl.load(first_share + piece + 1)):
        at = (share * tile_keys + tl.arange(0, tile_keys)).to(tl.int64)
        d_keys += _load(parts_k, at, inside, width, wide)
        d_values += _load(parts_v, at, inside, width, wide)
    _store(d_k, key.to(tl.int64), inside, d_keys, width, wide)
    _store(d_v, key.to(tl.int64), inside, d_values, width, wide)


@triton.jit
def _block_scores(
    q, k, lse, found, rows, ranges, starts, ends, count, columns, first_group, scale,
    heads: tl.constexpr, padded: tl.constexpr, per_group: tl.constexpr, width: tl.constexpr, wide: tl.constexpr,
    tile_keys: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Sum exp(score - lse) over the heads of each row; -1 where the range has ended."""
    local = tl.program_id(0)
    group = first_group + local
    tile: tl.constexpr = per_group * padded
    place, held = _rows_of(rows, group * per_group, heads, padded, tile, (group + 1) * per_group, count)
    of = tl.load(ranges + group)
    start = tl.load(starts + of)
    end = tl.load(ends + of)
    queries = _load(q, place, held, width, wide)
    row_lse = tl.load(lse + place, mask=held, other=0.0) * 1.4426950408889634
    at = (local * per_group + tl.arange(0, per_group)).to(tl.int64) * columns
    for first in range(0, columns, tile_keys):
        column = first + tl.arange(0, tile_keys)
        inside = start + column < end
        keys = _load(k, (start + column).to(tl.int64), inside, width, wide)
        scores = tl.dot(queries, tl.trans(keys), input_precision=precision) * (scale * 1.4426950408889634)
        share = tl.where(held[:, None], tl.exp2(scores - row_lse[:, None]), 0.0)
        over_heads = tl.sum(tl.reshape(share, [per_group, padded, tile_keys]), 1)
        over_heads = tl.where(inside[None, :], over_heads, -1.0)
        tl.store(found + at[:, None] + column[None, :], over_heads)


@triton.jit
def _best(
    found, best, rows, ranges, starts, count, columns, first_group,
    per_group: tl.constexpr, wide: tl.constexpr, top_k: tl.constexpr,
):  # fmt: skip
    """Store the keys of the largest scores of a row, ascending, lower keys first among equals; -1 where none is left.

    The bits of numbers that are not negative are ordered as the numbers are, so a score with its column below makes one
    integer, no two are equal, and the k-th largest is found by taking k times the largest below the last.
    """
    local = tl.program_id(0)
    row = tl.load(rows + first_group * per_group + local)
    if row < count:
        column = tl.arange(0, wide)
        score = tl.load(found + local.to(tl.int64) * columns + column, mask=column < columns, other=-1.0)
        rank = (score.to(tl.int32, bitcast=True).to(tl.int64) << 32) + (wide - column)
        none = tl.full([wide], -0x7FFFFFFFFFFFFFFF, tl.int64)
        last = tl.max(rank, 0)
        for _ in range(1, top_k):
            last = tl.max(tl.where(rank < last, rank, none), 0)
        chosen = rank >= last
        key = tl.load(starts + tl.load(ranges + first_group + local // per_group)) + column
        at = tl.cumsum(chosen.to(tl.int32), 0) - 1
        to = best + row.to(tl.int64) * top_k
        tl.store(to + at, tl.where(score < 0, -1, key).to(tl.int64), mask=chosen)


@dataclass(frozen=True)
class _Sizes:
    """Constants of a compiled kernel."""

    heads: int
    width: int
    per_group: int
    precision: str

    @property
    def wide(self) -> int:
        """Columns of a tile [1]."""
        return max(LEAST_ROWS, triton.next_power_of_2(self.width))

    def arguments(self, launch: Launch) -> dict[str, Any]:
        return {
            "heads": self.heads,
            "padded": _padded_heads(self.heads, self.per_group),
            "per_group": self.per_group,
            "width": self.width,
            "wide": self.wide,
            "tile_keys": launch.tile_keys,
            "precision": self.precision,
            **launch.options,
        }


def _padded_heads(heads: int, per_group: int) -> int:
    """Heads, padded to a power of two with which a tile has enough rows."""
    return max(triton.next_power_of_2(heads), LEAST_ROWS // per_group)


def rows_per_tile(heads: int) -> int:
    """Query rows of a tile where rows share their range [1]."""
    return max(1, TILE_ROWS // triton.next_power_of_2(heads))


class TritonAttention(torch.autograd.Function):
    """Softmax over each row's ranges, and, if asked for, the keys with most attention over the heads of a row."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, segments: Segments, top_k: int, precision: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take q (R, G, D) and k, v (K, D); return o (R, G, D), lse (R, G), keys (R, top_k)."""
        q, k, v = q.contiguous(), k.to(q.dtype).contiguous(), v.to(q.dtype).contiguous()
        count, heads, width = q.shape
        laid = launches(q.dtype)
        groups = Groups.of(segments, rows_per_tile(heads), laid.keys.tile_keys)
        sizes, scale = _Sizes(heads, width, groups.rows.shape[1], precision), width**-0.5
        launch = laid.selection if sizes.per_group == 1 else laid.tiled
        o, lse = torch.empty_like(q), q.new_empty(count, heads, dtype=torch.float32)
        lists = (groups.rows, groups.offsets, groups.ranges, groups.keys.starts, groups.keys.ends)
        _forward[(len(groups.rows),)](q, k, v, o, lse, *lists, count, scale, **sizes.arguments(launch))
        best = q.new_empty(count, 0, dtype=torch.int64)
        if top_k:
            best = _best_keys(q, k, lse, groups, sizes, scale, top_k)
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.groups, ctx.precision = groups, precision
        ctx.mark_non_differentiable(best)
        return o, lse, best

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """Recompute dS = P * (dO V^T - rowsum(dO * O) + dlse) twice: by rows for dQ, by ranges for dK and dV."""
        q, k, v, o, lse = ctx.saved_tensors
        groups: Groups = ctx.groups
        count, heads, width = q.shape
        laid, scale = launches(q.dtype), width**-0.5
        d_o, d_lse = gradients[0].to(q.dtype).contiguous(), gradients[1].contiguous()
        delta, d_q = torch.empty_like(lse), torch.empty_like(q)
        keys, readers = groups.keys, groups.readers
        sizes = _Sizes(heads, width, groups.rows.shape[1], ctx.precision)
        launch = laid.selection_backward if sizes.per_group == 1 else laid.tiled_backward
        lists = (groups.rows, groups.offsets, groups.ranges, keys.starts, keys.ends)
        _backward_queries[(len(groups.rows),)](
            q, k, v, o, d_o, lse, d_lse, delta, d_q, *lists, count, scale, **sizes.arguments(launch)
        )
        shares = groups.shares(SHARE)
        parts_k, parts_v = (q.new_empty(len(shares.tile) * keys.tile_keys, width, dtype=torch.float32) for _ in "kv")
        launch = Launch(keys.tile_keys, laid.keys.warps, laid.keys.stages)
        tiled = _Sizes(heads, width, rows_per_tile(heads), ctx.precision)
        listed = (shares.first, shares.tile, keys.pieces, keys.ends, readers.bounds, readers.rows)
        _backward_keys[(len(shares.tile),)](
            q, k, v, d_o, lse, delta, parts_k, parts_v, *listed, count, len(keys.pieces), scale,
            share_size=SHARE, **tiled.arguments(launch),
        )  # fmt: skip
        d_k, d_v = torch.zeros_like(k), torch.zeros_like(v)
        tiles = {"width": width, "wide": sizes.wide, "tile_keys": keys.tile_keys}
        _sum_shares[(len(keys.pieces),)](parts_k, parts_v, d_k, d_v, shares.first, keys.pieces, keys.ends, **tiles)
        return d_q, d_k, d_v, None, None, None


def _best_keys(
    q: Float[Tensor, "R G D"],
    k: Float[Tensor, "K D"],
    lse: Float[Tensor, "R G"],
    groups: Groups,
    sizes: _Sizes,
    scale: float,
    top_k: int,
) -> Int64[Tensor, "R top_k"]:
    """Return the keys with the largest shares, lower keys first among equals, in ascending order; -1 pads."""
    launch, keys, per_group = launches(q.dtype).scores, groups.keys, sizes.per_group
    columns = -(-keys.longest // launch.tile_keys) * launch.tile_keys
    step = max(1, SCORES // (per_group * columns))
    best = torch.empty(len(q), top_k, dtype=torch.int64, device=q.device)
    wide = triton.next_power_of_2(max(columns, top_k))
    for first in range(0, len(groups.rows), step):
        rows = groups.rows[first : first + step]
        found = lse.new_empty(rows.numel(), columns)
        lists = (groups.rows, groups.ranges, keys.starts, keys.ends)
        _block_scores[(len(rows),)](
            q, k, lse, found, *lists, len(q), columns, first, scale, **sizes.arguments(launch)
        )  # fmt: skip
        if wide <= COLUMNS:
            lists = (groups.rows, groups.ranges, keys.starts)
            constants = {"per_group": per_group, "wide": wide, "top_k": top_k, "num_warps": max(1, min(4, wide // 256))}
            _best[(rows.numel(),)](found, best, *lists, len(q), columns, first, **constants)
        else:
            _best_by_sort(found, best, groups, first, rows)
    return best


def _best_by_sort(found: Tensor, best: Tensor, groups: Groups, first: int, rows: Tensor) -> None:
    """Do what `_best` does for rows of any length; waits for the device."""
    top_k, per_group = best.shape[1], rows.shape[1]
    chosen = largest(found, min(top_k, found.shape[1]))
    ended = found.gather(1, chosen) < 0
    start = groups.keys.starts.long()[groups.ranges[first : first + len(rows)].long()].repeat_interleave(per_group)
    keys = F.pad((chosen + start[:, None]).masked_fill(ended, -1), (0, top_k - chosen.shape[1]), value=-1)
    held = rows.flatten() < len(best)
    best[rows.flatten()[held].long()] = keys[held]
