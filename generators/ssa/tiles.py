"""Attention to key ranges in tiles: query rows grouped by the range they attend to, so that work is matrix products.

A *tile* is up to T query rows that share one range. Its scores are one matrix product; what a row gets from each of
its ranges is merged by log-sum-exp (as FlashAttention merges key tiles; Dao et al. 2022, algorithm 1). The backward
pass recomputes the scores. Every number is written by one tile or summed in a fixed order: no atomics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

TILE_ROWS = 512
"""Most rows of a tile's matrix product: query rows times heads that share a key [1]."""
SCORES_CPU = 2**20
"""Most scores held at a time on a CPU: 4 MiB; fewer cost more calls, more leave the cache [1]."""
SCORES_GPU = 2**26
"""Most scores held at a time on a GPU [1]."""
PARTIAL_SORT = 64
"""Columns per number asked for from which torch's `topk` sorts partially on a CPU [1]."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """Tiles whose ranges are padded to the same number of keys, ranges in order."""

    rows: Int64[Tensor, "t T"]
    """Query row, R where the tile is not full."""
    starts: Int64[Tensor, "t"]
    lengths: Int64[Tensor, "t"]
    owner: Int64[Tensor, "t"]
    """Range of the tile, counted within the bucket."""
    ranges: int
    """Number of ranges [1]."""
    width: int
    """Padded length of the ranges [keys]."""
    first: int
    """Place of the first row among the rows of all tiles [1]."""

    @property
    def cut(self) -> slice:
        """Places of all rows."""
        return slice(self.first, self.first + self.rows.numel())

    def chunks(self, scores: int) -> Iterator[Bucket]:
        """Yield the tiles in pieces of at most `scores` products of row and key (one tile at least)."""
        per_tile = self.rows.shape[1]
        step = max(1, scores // (per_tile * self.width))
        for i in range(0, len(self.rows), step):
            part = slice(i, i + step)
            rows, first = self.rows[part], self.first + i * per_tile
            if self.ranges == 1:  # one large product instead of many with the same keys
                rows, part = rows.view(1, -1), slice(0, 1)
            of_tile = self.starts[part], self.lengths[part], self.owner[part]
            yield Bucket(rows, *of_tile, self.ranges, self.width, first)

    def keys(self) -> tuple[Int64[Tensor, "tL"], Float[Tensor, "t 1 L"]]:
        """Return the keys of each tile, and what to add to their scores: -inf where the range has ended."""
        place = torch.arange(self.width, device=self.starts.device)
        ended = place >= self.lengths[:, None]
        index = self.starts[:, None] + torch.minimum(place, self.lengths[:, None] - 1)
        bias = torch.zeros(ended.shape, device=ended.device).masked_fill_(ended, -torch.inf)
        return index.flatten(), bias[:, None]

    def gather(self, x: Float[Tensor, "R+1 G D"]) -> Float[Tensor, "t TG D"]:
        """Return what the tiles' rows hold."""
        return x.index_select(0, self.rows.flatten()).view(len(self.rows), -1, x.shape[2])


@dataclass(frozen=True, eq=False)
class Tiles:
    """All tiles of one set of lists."""

    buckets: tuple[Bucket, ...]
    places: Int64[Tensor, "R most"]
    """Place of each list entry among the rows of all tiles; the last place (of no tile) where a list has ended."""
    size: int
    """Number of places with the last [1]."""

    @classmethod
    def of(cls, starts: Tensor, ends: Tensor, offsets: Tensor, ranges: Tensor, *, rows_per_tile: int) -> Tiles:
        """Group the list entries of `Segments` by range and cut the groups into tiles."""
        per_row, device = offsets.diff(), starts.device
        row = torch.repeat_interleave(torch.arange(len(per_row), device=device), per_row)
        # Ranges that are padded alike become neighbours; then the list entries are sorted by range.
        padded = padded_length(ends - starts)
        by_width = torch.argsort(padded, stable=True)
        rank = torch.empty_like(by_width)
        rank[by_width] = torch.arange(len(by_width), device=device)
        group, order = torch.sort(rank[ranges], stable=True)
        counts = torch.bincount(group, minlength=len(starts))
        tiles = (counts + rows_per_tile - 1) // rows_per_tile
        owner = torch.repeat_interleave(torch.arange(len(starts), device=device), tiles)
        # An entry's place: the first row of its group's tiles, and how many of the group come before it.
        before = torch.arange(len(order), device=device) - (counts.cumsum(0) - counts)[group]
        place = (tiles.cumsum(0) - tiles)[group] * rows_per_tile + before
        size = len(owner) * rows_per_tile + 1
        tile_rows = torch.full((size - 1,), len(per_row), device=device)
        tile_rows[place] = row[order]
        places = torch.full((len(per_row), int(per_row.max())), size - 1, device=device)
        places[row[order], order - offsets[row[order]]] = place
        source = by_width[owner]
        fields = (tile_rows.view(-1, rows_per_tile), starts[source], (ends - starts)[source], owner)
        return cls(tuple(_buckets(*fields, padded[source])), places, size)

    def collect(self, x: Float[Tensor, "size G D"], rows: slice) -> Float[Tensor, "r most G D"]:
        """Return what the tiles hold for some query rows."""
        places = self.places[rows]
        return x.index_select(0, places.flatten()).view(*places.shape, *x.shape[1:])


def _buckets(rows: Tensor, starts: Tensor, lengths: Tensor, owner: Tensor, widths: Tensor) -> Iterator[Bucket]:
    """Cut the tiles where the width changes."""
    different, sizes = torch.unique_consecutive(widths, return_counts=True)
    begin = 0
    for width, size in zip(different.tolist(), sizes.tolist(), strict=True):
        cut = slice(begin, begin + size)
        local = torch.unique_consecutive(owner[cut], return_inverse=True)[1]
        many = int(local[-1]) + 1
        yield Bucket(rows[cut], starts[cut], lengths[cut], local, many, width, begin * rows.shape[1])
        begin += size


def padded_length(lengths: Int64[Tensor, "S"]) -> Int64[Tensor, "S"]:
    """Round up to a multiple of 8, or of an eighth of the power of two below: few different widths, little padding."""
    power = torch.floor(torch.log2(lengths.double())).long()
    grain = torch.pow(2, (power - 3).clamp(min=3))
    return (lengths + grain - 1) // grain * grain


class TiledAttention(torch.autograd.Function):
    """Softmax over each row's ranges, and, if asked for, the keys with most attention over the heads of a row."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, tiles: Tiles, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Take q (R, G, D), scaled, and k, v (K, D); return o (R, G, D), lse (R, G), keys (R, top_k)."""
        groups, width = q.shape[1:]
        parts = q.new_empty(tiles.size, groups, width)
        parts[-1] = 0
        lse = q.new_full((tiles.size, groups, 1), -torch.inf)
        best = torch.full((tiles.size, top_k), -1, dtype=torch.int64, device=q.device)
        padded = _with_zero_row(q)
        for bucket in tiles.buckets:
            for part in bucket.chunks(_budget(q)):
                index, bias = part.keys()
                keys, values = (x.index_select(0, index).view(len(part.rows), -1, width) for x in (k, v))
                scores = torch.baddbmm(bias.to(q.dtype), part.gather(padded), keys.mT)
                shares = torch.softmax(scores, dim=2)
                # The largest score and its share give lse: share = exp(score - lse).
                peak = scores.amax(dim=2, keepdim=True).sub_(shares.amax(dim=2, keepdim=True).log_())
                torch.bmm(shares, values, out=parts[part.cut].view(len(part.rows), -1, width))
                lse[part.cut] = peak.view(-1, groups, 1)
                if top_k:
                    over_heads = shares.view(*part.rows.shape, groups, part.width).sum(dim=2)
                    best[part.cut] = _best_keys(over_heads, part, top_k)
        o, lse = _merge(parts, lse, tiles)
        ctx.tiles = tiles
        ctx.save_for_backward(q, k, v, o, lse)
        best = best.index_select(0, tiles.places[:, 0])
        ctx.mark_non_differentiable(best)
        return o, lse, best

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Recompute the scores: dS = P * (dO V^T - rowsum(dO * O) + dlse)."""
        d_o, d_lse = gradients[:2]
        q, k, v, o, lse = ctx.saved_tensors
        tiles, (groups, width) = ctx.tiles, q.shape[1:]
        parts = q.new_empty(tiles.size, groups, width)
        parts[-1] = 0
        d_k, d_v = torch.zeros_like(k), torch.zeros_like(v)
        # One more row for the places that no query takes: its gradients are zero.
        delta = _with_zero_row(((d_o * o).sum(dim=2) - d_lse)[..., None])
        q, d_o, lse = _with_zero_row(q), _with_zero_row(d_o), _with_zero_row(lse[..., None])
        for bucket in tiles.buckets:
            d_keys = k.new_zeros(2, bucket.ranges, bucket.width, width)
            for part in bucket.chunks(_budget(q)):
                index, bias = part.keys()
                keys, values = (x.index_select(0, index).view(len(part.rows), -1, width) for x in (k, v))
                rows, d_rows = part.gather(q), part.gather(d_o)
                shares = torch.baddbmm(bias.to(q.dtype), rows, keys.mT).sub_(part.gather(lse)).exp_()
                d_keys[1].index_add_(0, part.owner, torch.bmm(shares.mT, d_rows))
                d_scores = torch.bmm(d_rows, values.mT).sub_(part.gather(delta)).mul_(shares)
                d_keys[0].index_add_(0, part.owner, torch.bmm(d_scores.mT, rows))
                torch.bmm(d_scores, keys, out=parts[part.cut].view(len(part.rows), -1, width))
            _add_keys(d_k, d_v, d_keys, bucket)
        return _sum(parts, tiles), d_k, d_v, None, None


def _budget(q: Tensor) -> int:
    """Rows times keys of a chunk, so that the scores of all heads fit."""
    return (SCORES_CPU if q.device.type == "cpu" else SCORES_GPU) // q.shape[1]


def _with_zero_row(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_zeros(1, *x.shape[1:])])


def _merge(parts: Tensor, lse: Tensor, tiles: Tiles) -> tuple[Float[Tensor, "R G D"], Float[Tensor, "R G"]]:
    """Weigh what a row got from each of its ranges by the range's share of the softmax."""
    if tiles.places.shape[1] == 1:
        places = tiles.places[:, 0]
        return parts.index_select(0, places), lse.index_select(0, places)[..., 0]
    lse = tiles.collect(lse, slice(None))
    total = torch.logsumexp(lse, dim=1)
    share = torch.exp(lse - total[:, None])
    o = torch.cat([tiles.collect(parts, rows).mul_(share[rows]).sum(dim=1) for rows in _row_chunks(parts, tiles)])
    return o, total[..., 0]


def _sum(parts: Tensor, tiles: Tiles) -> Float[Tensor, "R G D"]:
    """Add what a row got from each of its ranges."""
    return torch.cat([tiles.collect(parts, rows).sum(dim=1) for rows in _row_chunks(parts, tiles)])


def _row_chunks(parts: Tensor, tiles: Tiles) -> Iterator[slice]:
    """Cut the query rows so that what they collect fits the budget of scores."""
    step = max(1, _budget(parts) // (parts.shape[2] * tiles.places.shape[1]))
    return (slice(i, i + step) for i in range(0, len(tiles.places), step))


def _add_keys(d_k: Tensor, d_v: Tensor, d_keys: Float[Tensor, "2 S L D"], bucket: Bucket) -> None:
    """Add the gradients of the padded ranges to the keys they hold; padding has gradient zero."""
    first = torch.ones(len(bucket.owner), dtype=torch.bool, device=d_k.device)
    first[1:] = bucket.owner[1:] != bucket.owner[:-1]
    place = torch.arange(bucket.width, device=d_k.device)
    starts, lengths = bucket.starts[first], bucket.lengths[first]
    inside = place < lengths[:, None]
    index = (starts[:, None] + place)[inside]
    d_k.index_add_(0, index, d_keys[0][inside])
    d_v.index_add_(0, index, d_keys[1][inside])


def _best_keys(shares: Float[Tensor, "t T L"], part: Bucket, top_k: int) -> Int64[Tensor, "tT K"]:
    """Return the keys with the largest shares, lower keys first among equals, in ascending order; -1 pads."""
    chosen = largest(shares.flatten(0, 1), min(top_k, part.width))
    # What has ended has share zero and comes last, so it is chosen only where all keys are.
    per_tile = part.rows.shape[1]
    ended = chosen >= part.lengths.repeat_interleave(per_tile)[:, None]
    keys = (chosen + part.starts.repeat_interleave(per_tile)[:, None]).masked_fill_(ended, -1)
    return F.pad(keys, (0, top_k - keys.shape[1]), value=-1)


def largest(x: Float[Tensor, "R L"], k: int) -> Int64[Tensor, "R k"]:
    """Return the columns of the k largest numbers of each row, ascending; lower columns win ties.

    `topk` breaks ties as it likes, so rows whose next number equals the k-th are sorted stably.
    """
    count = min(k + 1, x.shape[1])
    # On a CPU `topk` sorts partially from 64 columns per number asked for, and is slower on half as long rows.
    short = PARTIAL_SORT * count - x.shape[1] if x.device.type == "cpu" and x.shape[1] > k else 0
    if 0 < short < x.shape[1]:
        values, columns = torch.topk(F.pad(x, (0, short), value=-torch.inf), count, dim=1)
    else:
        values, columns = torch.topk(x, count, dim=1)
    if x.shape[1] > k:
        tied = (values[:, k] == values[:, k - 1]).nonzero()[:, 0]
        columns = columns[:, :k]
        if len(tied):
            columns[tied] = torch.sort(x[tied], dim=1, descending=True, stable=True).indices[:, :k]
    return columns.sort(dim=1).values
