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

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int32, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from generators.errors import VolumeError
from generators.ssa.blocks import Segments
from generators.ssa.largest import largest

LEAST_ROWS = 16
"""Fewest rows of a matrix product on tensor cores; heads are padded to it [1]."""
TILE_ROWS = 128
"""Rows of a tile's matrix product where rows share their range: query rows times heads [1]."""
TILE_KEYS = 64
"""Keys of a tile [1]."""
SHARE = 4096
"""Most list entries of a range that one program of dK and dV goes through [1]."""
SCORES = 2**26
"""Most scores of blocks held at a time while the best are chosen: 256 MiB [1]."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Query rows that share a list of ranges, and, the other way round, the rows of each range."""

    rows: Int32[Tensor, "g T"]
    """Query row, R where the group is not full."""
    offsets: Int32[Tensor, "g+1"]
    """First list entry of each group."""
    ranges: Int32[Tensor, "P"]
    """Range of each list entry."""
    starts: Int32[Tensor, "S"]
    ends: Int32[Tensor, "S"]
    of_range: Int32[Tensor, "S+1"]
    """First of the rows of each range."""
    readers: Int32[Tensor, "E"]
    """Query rows of all ranges, those of one range in ascending order."""
    pieces: Int32[Tensor, "t 2"]
    """Range and first key of each tile of keys."""
    shares: int
    """Programs among which the rows of a range are divided [1]."""

    @classmethod
    def of(cls, segments: Segments, rows_per_tile: int) -> Groups:
        """Group the rows of lists of ranges, once.

        Raises:
            VolumeError: two ranges overlap, so that two programs would write one key's gradient.
        """
        if rows_per_tile not in segments.groups:
            segments.groups[rows_per_tile] = cls._of(segments, rows_per_tile)
        return segments.groups[rows_per_tile]

    @classmethod
    def _of(cls, segments: Segments, rows_per_tile: int) -> Groups:
        starts, ends, offsets, ranges = segments.starts, segments.ends, segments.offsets, segments.ranges
        ascending = starts.argsort()
        if bool((starts[ascending][1:] < ends[ascending][:-1]).any()):
            raise VolumeError("ranges of keys overlap, so Triton's backward pass is not defined; use backend 'tiles'")
        count, device = len(offsets) - 1, starts.device
        entry_row = torch.repeat_interleave(torch.arange(count, device=device), offsets.diff())
        by_range = torch.argsort(ranges, stable=True)
        readers = entry_row[by_range]
        of_range = _bounds(torch.bincount(ranges, minlength=len(starts)))
        if len(ranges) == count:
            tiles = (of_range.diff() + rows_per_tile - 1) // rows_per_tile
            owner = torch.repeat_interleave(torch.arange(len(starts), device=device), tiles)
            first = of_range[owner] + rows_per_tile * (torch.arange(len(owner), device=device) - _bounds(tiles)[owner])
            place = first[:, None] + torch.arange(rows_per_tile, device=device)
            inside = place < of_range[owner + 1][:, None]
            rows = torch.where(inside, readers[place.clamp(max=count - 1)], count)
            offsets, ranges = torch.arange(len(owner) + 1, device=device), owner
        else:
            rows = torch.arange(count, device=device)[:, None]
        per_range = (ends - starts + TILE_KEYS - 1) // TILE_KEYS
        piece_range = torch.repeat_interleave(torch.arange(len(starts), device=device), per_range)
        within = torch.arange(len(piece_range), device=device) - _bounds(per_range)[piece_range]
        pieces = torch.stack([piece_range, starts[piece_range] + TILE_KEYS * within], dim=1)
        shares = max(1, -(-int(of_range.diff().max()) // SHARE))
        whole = (rows, offsets, ranges, starts, ends, of_range, readers, pieces)
        return cls(*(x.int().contiguous() for x in whole), shares)


def _bounds(counts: Int64[Tensor, "M"]) -> Int64[Tensor, "M+1"]:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


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
    return tl.load(x + place[:, None] * width + d[None, :], mask=held[:, None] & (d < width)[None, :], other=0.0)


@triton.jit
def _store(x, place, held, value, width: tl.constexpr, wide: tl.constexpr):
    """Store rows of a matrix of `width` columns."""
    d = tl.arange(0, wide)
    mask = held[:, None] & (d < width)[None, :]
    tl.store(x + place[:, None] * width + d[None, :], value.to(x.dtype.element_ty), mask=mask)


@triton.jit
def _forward(
    q, k, v, o, lse, rows, offsets, ranges, starts, ends, count, scale,
    heads: tl.constexpr, padded: tl.constexpr, per_group: tl.constexpr, width: tl.constexpr, wide: tl.constexpr,
    tile_keys: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Forward pass: the online softmax over the ranges of a group (Dao et al. 2022, algorithm 1)."""
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
            scores = tl.dot(queries, tl.trans(keys), input_precision=precision) * scale
            scores = tl.where((key < end)[None, :], scores, float("-inf"))
            higher = tl.maximum(peak, tl.max(scores, 1))
            share = tl.exp(scores - higher[:, None])
            shrink = tl.exp(peak - higher)
            mixed = mixed * shrink[:, None] + tl.dot(share.to(values.dtype), values, input_precision=precision)
            total = total * shrink + tl.sum(share, 1)
            peak = higher
    _store(o, place, held, mixed / total[:, None], width, wide)
    tl.store(lse + place, peak + tl.log(total), mask=held)


@triton.jit
def _backward_queries(
    q, k, v, d_o, lse, delta, d_q, rows, offsets, ranges, starts, ends, count, scale,
    heads: tl.constexpr, padded: tl.constexpr, per_group: tl.constexpr, width: tl.constexpr, wide: tl.constexpr,
    tile_keys: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Gradient of the queries: dQ = dS K, where dS = P * (dO V^T - delta)."""
    group = tl.program_id(0)
    tile: tl.constexpr = per_group * padded
    place, held = _rows_of(rows, group * per_group, heads, padded, tile, (group + 1) * per_group, count)
    queries = _load(q, place, held, width, wide)
    d_out = _load(d_o, place, held, width, wide)
    row_lse = tl.load(lse + place, mask=held, other=0.0)
    row_delta = tl.load(delta + place, mask=held, other=0.0)
    gradient = tl.zeros([tile, wide], tl.float32)
    for entry in range(tl.load(offsets + group), tl.load(offsets + group + 1)):
        of = tl.load(ranges + entry)
        end = tl.load(ends + of)
        for first in range(tl.load(starts + of), end, tile_keys):
            key = first + tl.arange(0, tile_keys)
            keys = _load(k, key.to(tl.int64), key < end, width, wide)
            values = _load(v, key.to(tl.int64), key < end, width, wide)
            scores = tl.dot(queries, tl.trans(keys), input_precision=precision) * scale
            share = tl.where((key < end)[None, :], tl.exp(scores - row_lse[:, None]), 0.0)
            d_share = tl.dot(d_out, tl.trans(values), input_precision=precision)
            d_scores = share * (d_share - row_delta[:, None])
            gradient += tl.dot(d_scores.to(keys.dtype), keys, input_precision=precision)
    _store(d_q, place, held, gradient * scale, width, wide)


@triton.jit
def _backward_keys(
    q, k, v, d_o, lse, delta, d_k, d_v, pieces, ends, of_range, readers, count, keys_count, scale,
    share_size: tl.constexpr, heads: tl.constexpr, padded: tl.constexpr, per_group: tl.constexpr,
    width: tl.constexpr, wide: tl.constexpr, tile_keys: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Gradients dV = P^T dO and dK = dS^T Q of a tile of keys, over one share of the rows that attend to its range."""
    piece, part = tl.program_id(0), tl.program_id(1)
    tile: tl.constexpr = per_group * padded
    of = tl.load(pieces + 2 * piece)
    key = tl.load(pieces + 2 * piece + 1) + tl.arange(0, tile_keys)
    inside = key < tl.load(ends + of)
    keys = _load(k, key.to(tl.int64), inside, width, wide)
    values = _load(v, key.to(tl.int64), inside, width, wide)
    d_keys = tl.zeros([tile_keys, wide], tl.float32)
    d_values = tl.zeros([tile_keys, wide], tl.float32)
    begin = tl.load(of_range + of) + part * share_size
    end = tl.minimum(tl.load(of_range + of + 1), begin + share_size)
    for first in range(begin, end, per_group):
        place, held = _rows_of(readers, first, heads, padded, tile, end, count)
        queries = _load(q, place, held, width, wide)
        d_out = _load(d_o, place, held, width, wide)
        row_lse = tl.load(lse + place, mask=held, other=0.0)
        row_delta = tl.load(delta + place, mask=held, other=0.0)
        scores = tl.dot(queries, tl.trans(keys), input_precision=precision) * scale
        share = tl.where(held[:, None] & inside[None, :], tl.exp(scores - row_lse[:, None]), 0.0)
        d_values += tl.dot(tl.trans(share).to(d_out.dtype), d_out, input_precision=precision)
        d_share = tl.dot(d_out, tl.trans(values), input_precision=precision)
        d_scores = share * (d_share - row_delta[:, None])
        d_keys += tl.dot(tl.trans(d_scores).to(queries.dtype), queries, input_precision=precision)
    at = part.to(tl.int64) * keys_count + key
    _store(d_k, at, inside, d_keys * scale, width, wide)
    _store(d_v, at, inside, d_values, width, wide)


@triton.jit
def _block_scores(
    q, k, lse, found, rows, ranges, starts, ends, count, columns, first_group, scale,
    heads: tl.constexpr, padded: tl.constexpr, per_group: tl.constexpr, width: tl.constexpr, wide: tl.constexpr,
    tile_keys: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Sum exp(score - lse) over the heads of each row; -1 where the range has ended."""
    local, step = tl.program_id(0), tl.program_id(1)
    group = first_group + local
    tile: tl.constexpr = per_group * padded
    place, held = _rows_of(rows, group * per_group, heads, padded, tile, (group + 1) * per_group, count)
    of = tl.load(ranges + group)
    column = step * tile_keys + tl.arange(0, tile_keys)
    key = tl.load(starts + of) + column
    inside = key < tl.load(ends + of)
    queries = _load(q, place, held, width, wide)
    keys = _load(k, key.to(tl.int64), inside, width, wide)
    scores = tl.dot(queries, tl.trans(keys), input_precision=precision) * scale
    share = tl.where(held[:, None], tl.exp(scores - tl.load(lse + place, mask=held, other=0.0)[:, None]), 0.0)
    over_heads = tl.sum(tl.reshape(share, [per_group, padded, tile_keys]), 1)
    over_heads = tl.where(inside[None, :], over_heads, -1.0)
    at = (local * per_group + tl.arange(0, per_group)).to(tl.int64)
    tl.store(found + at[:, None] * columns + column[None, :], over_heads, mask=(column < columns)[None, :])


@dataclass(frozen=True)
class _Sizes:
    """Constants of a compiled kernel."""

    heads: int
    width: int
    per_group: int
    precision: str

    def arguments(self) -> dict[str, Any]:
        return {
            "heads": self.heads,
            "padded": _padded_heads(self.heads, self.per_group),
            "per_group": self.per_group,
            "width": self.width,
            "wide": max(LEAST_ROWS, triton.next_power_of_2(self.width)),
            "tile_keys": TILE_KEYS,
            "precision": self.precision,
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
        groups = Groups.of(segments, rows_per_tile(heads))
        sizes, scale = _Sizes(heads, width, groups.rows.shape[1], precision), width**-0.5
        o, lse = torch.empty_like(q), q.new_empty(count, heads, dtype=torch.float32)
        lists = (groups.rows, groups.offsets, groups.ranges, groups.starts, groups.ends)
        _forward[(len(groups.rows),)](q, k, v, o, lse, *lists, count, scale, **sizes.arguments())
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
        scale = width**-0.5
        d_o = gradients[0].to(q.dtype).contiguous()
        delta = (d_o.float() * o.float()).sum(dim=2) - gradients[1]
        d_q = torch.empty_like(q)
        sizes = _Sizes(heads, width, groups.rows.shape[1], ctx.precision)
        lists = (groups.rows, groups.offsets, groups.ranges, groups.starts, groups.ends)
        by_rows = (len(groups.rows),)
        _backward_queries[by_rows](q, k, v, d_o, lse, delta, d_q, *lists, count, scale, **sizes.arguments())
        d_k, d_v = (x.new_zeros(groups.shares, *x.shape, dtype=torch.float32) for x in (k, v))
        tiled = _Sizes(heads, width, rows_per_tile(heads), ctx.precision)
        readers = (groups.pieces, groups.ends, groups.of_range, groups.readers)
        by_keys = (len(groups.pieces), groups.shares)
        _backward_keys[by_keys](
            q, k, v, d_o, lse, delta, d_k, d_v, *readers, count, len(k), scale, share_size=SHARE, **tiled.arguments()
        )
        return d_q, d_k.sum(dim=0).to(k.dtype), d_v.sum(dim=0).to(v.dtype), None, None, None


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
    columns = int((groups.ends - groups.starts).max())
    per_group = sizes.per_group
    step = max(1, SCORES // (per_group * columns))
    best = torch.full((len(q) + 1, top_k), -1, dtype=torch.int64, device=q.device)
    steps = -(-columns // TILE_KEYS)
    for first in range(0, len(groups.rows), step):
        rows = groups.rows[first : first + step]
        found = lse.new_empty(rows.numel(), columns)
        lists = (groups.rows, groups.ranges, groups.starts, groups.ends)
        _block_scores[(len(rows), steps)](q, k, lse, found, *lists, len(q), columns, first, scale, **sizes.arguments())
        chosen = largest(found, min(top_k, columns))
        ended = found.gather(1, chosen) < 0
        start = groups.starts.long()[groups.ranges[first : first + step].long()].repeat_interleave(per_group)
        keys = (chosen + start[:, None]).masked_fill(ended, -1)
        best[rows.flatten().long()] = F.pad(keys, (0, top_k - keys.shape[1]), value=-1)
    return best[:-1]
