"""Attention to key ranges in tiles: query rows grouped by the range they attend to, so that all work is matrix products.

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

TILE_ROWS = 256
"""Rows of a tile's matrix product: query rows times heads that share a key [1]."""
SCORES_CPU = 2**18
"""Most scores held at a time on a CPU: 1 MiB stays in the cache [1]."""
SCORES_GPU = 2**26
"""Most scores held at a time on a GPU [1]."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """Tiles whose ranges are padded to the same number of keys, ranges in order."""

    rows: Int64[Tensor, "t T"]
    """Query row, R where the tile is not full."""
    slots: Int64[Tensor, "t T"]
    """R's entry in the padded lists: row * most ranges of a row + place in its list; the last slot is for padding."""
    starts: Int64[Tensor, "t"]
    lengths: Int64[Tensor, "t"]
    owner: Int64[Tensor, "t"]
    """Range of the tile, counted within the bucket."""
    ranges: int
    """Number of ranges [1]."""
    width: int
    """Padded length of the ranges [keys]."""

    def chunks(self, scores: int) -> Iterator[Bucket]:
        """Yield the tiles in pieces of at most `scores` products of row and key (one tile at least)."""
        step = max(1, scores // (self.rows.shape[1] * self.width))
        for i in range(0, len(self.rows), step):
            part = slice(i, i + step)
            tiles = (x[part] for x in (self.rows, self.slots, self.starts, self.lengths, self.owner))
            yield Bucket(*tiles, self.ranges, self.width)

    def keys(self) -> tuple[Int64[Tensor, "t L"], Float[Tensor, "t 1 L"]]:
        """Return the keys of each tile, and what to add to their scores: -inf where the range has ended."""
        place = torch.arange(self.width, device=self.starts.device)
        ended = place >= self.lengths[:, None]
        index = self.starts[:, None] + torch.minimum(place, self.lengths[:, None] - 1)
        return index, torch.zeros(ended.shape, device=ended.device).masked_fill_(ended, -torch.inf)[:, None]


@dataclass(frozen=True, eq=False)
class Tiles:
    """All tiles of one set of lists."""

    buckets: tuple[Bucket, ...]
    rows: int
    """Number of query rows, R [1]."""
    most: int
    """Ranges of the row that has most [1]."""
    full: bool
    """Every row has `most` ranges."""

    @classmethod
    def of(cls, starts: Tensor, ends: Tensor, offsets: Tensor, ranges: Tensor, *, rows_per_tile: int) -> Tiles:
        """Group the list entries of `Segments` by range and cut the groups into tiles."""
        per_row, device = offsets.diff(), starts.device
        most = int(per_row.max())
        row = torch.repeat_interleave(torch.arange(len(per_row), device=device), per_row)
        slot = row * most + torch.arange(len(ranges), device=device) - offsets[row]
        # Ranges that are padded alike become neighbours; the rest is a sort of the list entries by range.
        padded = padded_length(ends - starts)
        by_width = torch.argsort(padded, stable=True)
        rank = torch.empty_like(by_width)
        rank[by_width] = torch.arange(len(by_width), device=device)
        order = torch.argsort(rank[ranges], stable=True)
        counts = torch.bincount(rank[ranges], minlength=len(starts))
        first = counts.cumsum(0) - counts
        tiles = (counts + rows_per_tile - 1) // rows_per_tile
        owner = torch.repeat_interleave(torch.arange(len(starts), device=device), tiles)
        within = torch.arange(len(owner), device=device) - (tiles.cumsum(0) - tiles)[owner]
        place = within[:, None] * rows_per_tile + torch.arange(rows_per_tile, device=device)
        filled = place < counts[owner][:, None]
        entry = order[(first[owner][:, None] + place).clamp(max=len(order) - 1)]
        tile_rows = torch.where(filled, row[entry], len(per_row))
        tile_slots = torch.where(filled, slot[entry], len(per_row) * most)
        widths, sizes = torch.unique_consecutive(padded[by_width][owner], return_counts=True)
        source = by_width[owner]
        parts, begin = [], 0
        for width, size in zip(widths.tolist(), sizes.tolist(), strict=True):
            cut = slice(begin, begin + size)
            local = torch.unique_consecutive(owner[cut], return_inverse=True)[1]
            begins, lengths = starts[source[cut]], (ends - starts)[source[cut]]
            many = int(local[-1]) + 1
            parts.append(Bucket(tile_rows[cut], tile_slots[cut], begins, lengths, local, many, width))
            begin += size
        return cls(tuple(parts), len(per_row), most, len(ranges) == len(per_row) * most)


def padded_length(lengths: Int64[Tensor, "S"]) -> Int64[Tensor, "S"]:
    """Round up to a multiple of 8, or of an eighth of the power of two below: few different widths, little padding."""
    power = torch.floor(torch.log2(lengths.double())).long()
    grain = torch.pow(2, (power - 3).clamp(min=3))
    return (lengths + grain - 1) // grain * grain


class TiledAttention(torch.autograd.Function):
    """o, lse = softmax over each row's ranges, and, if asked for, the keys with most attention over all heads."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, tiles: Tiles, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
        """q (R, G, D), scaled; k, v (K, D) -> o (R, G, D), lse (R, G), keys (R, top_k), -1 where a row has fewer."""
        groups, width = q.shape[1:]
        slots = tiles.rows * tiles.most + 1
        o = (q.new_empty if tiles.full else q.new_zeros)(slots, groups, width)
        lse = q.new_full((slots, groups), -torch.inf)
        best = torch.full((slots, top_k), -1, dtype=torch.int64, device=q.device)
        q_padded = _with_zero_row(q)
        for bucket in tiles.buckets:
            for part in bucket.chunks(_budget(q)):
                index, bias = part.keys()
                rows = q_padded[part.rows].flatten(1, 2)
                scores = torch.baddbmm(bias.to(q.dtype), rows, k[index].mT)
                peak = scores.amax(dim=2, keepdim=True)
                scores.sub_(peak).exp_()
                total = scores.sum(dim=2, keepdim=True)
                scores.div_(total)
                flat = part.slots.flatten()
                o[flat] = torch.bmm(scores, v[index]).view(len(flat), groups, width)
                lse[flat] = total.log_().add_(peak).view(len(flat), groups)
                if top_k:
                    shares = scores.view(*part.slots.shape, groups, part.width).sum(dim=2)
                    best[flat] = _best_keys(shares, part, top_k)
        o, lse = _merge(o[:-1], lse[:-1], tiles)
        ctx.tiles = tiles
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.mark_non_differentiable(best)
        return o, lse, best[:-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_o: Tensor, d_lse: Tensor, _: Any) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Gradient by recomputed scores: dS = P * (dO V^T - rowsum(dO * O) + dlse)."""
        q, k, v, o, lse = ctx.saved_tensors
        tiles, (groups, width) = ctx.tiles, q.shape[1:]
        d_q = (q.new_empty if tiles.full else q.new_zeros)(tiles.rows * tiles.most + 1, groups, width)
        d_k, d_v = torch.zeros_like(k), torch.zeros_like(v)
        delta = _with_zero_row((d_o * o).sum(dim=2) - d_lse)
        q_padded, d_o_padded, lse_padded = _with_zero_row(q), _with_zero_row(d_o), _with_zero_row(lse)
        for bucket in tiles.buckets:
            d_keys = k.new_zeros(2, bucket.ranges, bucket.width, width)
            for part in bucket.chunks(_budget(q)):
                index, bias = part.keys()
                rows, d_rows = q_padded[part.rows].flatten(1, 2), d_o_padded[part.rows].flatten(1, 2)
                keys = k[index]
                shares = torch.baddbmm(bias.to(q.dtype), rows, keys.mT)
                shares.sub_(lse_padded[part.rows].flatten(1)[..., None]).exp_()
                d_keys[1].index_add_(0, part.owner, torch.bmm(shares.mT, d_rows))
                d_scores = torch.bmm(d_rows, v[index].mT).sub_(delta[part.rows].flatten(1)[..., None]).mul_(shares)
                d_keys[0].index_add_(0, part.owner, torch.bmm(d_scores.mT, rows))
                d_q[part.slots.flatten()] = torch.bmm(d_scores, keys).view(-1, groups, width)
            _add_keys(d_k, d_v, d_keys, bucket)
        return d_q[:-1].view(tiles.rows, tiles.most, groups, width).sum(dim=1), d_k, d_v, None, None


def _budget(q: Tensor) -> int:
    """Rows times keys of a chunk, so that the scores of all heads fit."""
    return (SCORES_CPU if q.device.type == "cpu" else SCORES_GPU) // q.shape[1]


def _with_zero_row(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_zeros(1, *x.shape[1:])])


def _merge(o: Tensor, lse: Tensor, tiles: Tiles) -> tuple[Tensor, Tensor]:
    """Weigh what a row got from each of its ranges (R * most, G, D) by its share of the softmax."""
    if tiles.most == 1:
        return o, lse
    o, lse = o.view(tiles.rows, tiles.most, *o.shape[1:]), lse.view(tiles.rows, tiles.most, -1)
    total = torch.logsumexp(lse, dim=1)
    return o.mul_((lse - total[:, None]).exp_()[..., None]).sum(dim=1), total


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
    ended = torch.arange(part.width, device=shares.device) >= part.lengths[:, None]
    shares = shares.masked_fill_(ended[:, None], -1).flatten(0, 1)
    chosen = largest(shares, min(top_k, part.width))
    valid = shares.gather(1, chosen) >= 0
    keys = chosen + part.starts.repeat_interleave(part.rows.shape[1])[:, None]
    keys = torch.where(valid, keys, -1)
    return torch.nn.functional.pad(keys, (0, top_k - keys.shape[1]), value=-1)


def largest(x: Float[Tensor, "R L"], k: int) -> Int64[Tensor, "R k"]:
    """Return the columns of the k largest numbers of each row, ascending; lower columns win ties.

    `topk` breaks ties as it likes, so rows where the k-th number occurs beyond the chosen ones are sorted stably.
    """
    values, columns = torch.topk(x, k, dim=1, sorted=False)
    tied = ((x >= values.amin(dim=1, keepdim=True)).sum(dim=1) > k).nonzero()[:, 0]
    if len(tied):
        columns[tied] = torch.sort(x[tied], dim=1, descending=True, stable=True).indices[:, :k]
    return columns.sort(dim=1).values
