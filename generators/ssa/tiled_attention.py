"""Softmax attention in tiles, forward and backward, by matrix products that leave no scores behind.

Each tile gives its rows a numerator, sum of exp(score) * value, and a denominator, sum of exp(score). Rows of several
ranges add them up (as FlashAttention does with key tiles; Dao et al. 2022, algorithm 1). The backward pass recomputes
the scores. Every number is written by one tile or summed in a fixed order: no atomics.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from generators.ssa.largest import largest
from generators.ssa.tiles import Bucket, Scratch, Tiles, WholeRange

SCORES_CPU = 2**18
"""Most scores held at a time on a CPU: 1 MiB; fewer cost more calls, more leave the cache [1].

16,092 tokens, forward, one thread: 315 ms with 2^17, 309 with 2^18, 314 with 2^19."""
SCORES_GPU = 2**26
"""Most scores held at a time on a GPU [1]."""
SAFE_SCORE = 60.0
"""Largest bound |q| |k| of the scores under which exp needs no maximum subtracted [1].

exp(60) = 1e26 and exp(-60) = 9e-27: sums over any number of keys, times values, stay far inside of single precision,
whose relative error does not depend on the exponent."""


class TiledAttention(torch.autograd.Function):
    """Softmax over each row's ranges, and, if asked for, the keys with most attention over the heads of a row."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, slabs: tuple[Tiles, ...], top_k: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take q (R, G, D) and k (K, D), either scaled, v (K, D); return o (R, G, D), lse (R, G), keys (R, top_k)."""
        o, lse = torch.empty_like(q), q.new_empty(q.shape[:2])
        best = torch.full((len(q), top_k), -1, dtype=torch.int64, device=q.device)
        bounded = q.device.type == "cpu" and _largest_norm(q) * _largest_norm(k) <= SAFE_SCORE
        most = max(tiles.size for tiles in slabs)
        held = q.new_empty(most, *q.shape[1:]), q.new_empty(most, q.shape[1])
        for tiles in slabs:
            rows, (parts, totals) = tiles.query_rows, (x[: tiles.size] for x in held)
            peaks = _forward(tiles.queries(q[rows]), k, v, tiles, parts, totals, best[rows], bounded=bounded)
            _merge(parts, totals, peaks, tiles, o[rows], lse[rows])
        ctx.slabs = slabs
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.mark_non_differentiable(best)
        return o, lse, best

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Recompute the scores: dS = P * (dO V^T - rowsum(dO * O) + dlse).

        One more column beside queries and keys subtracts lse in the matrix product, and likewise the sum over the row.
        """
        d_o, d_lse = gradients[:2]
        q, k, v, o, lse = ctx.saved_tensors
        d_q, d_k, d_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        k, v = (F.pad(x, (0, 1), value=1.0) for x in (k, v))
        parts = q.new_empty(max(tiles.size for tiles in ctx.slabs), *q.shape[1:])
        for tiles in ctx.slabs:
            rows = tiles.query_rows
            delta = (d_o[rows] * o[rows]).sum(dim=2).sub_(d_lse[rows])
            queries = tiles.queries(q[rows], lse[rows].neg())
            _backward(queries, k, v, tiles.queries(d_o[rows], delta.neg_()), tiles, parts, d_k, d_v)
            d_q[rows] = _sum(parts[: tiles.size], tiles)
        return d_q, d_k, d_v, None, None


def _forward(
    q: Tensor, k: Tensor, v: Tensor, tiles: Tiles, parts: Tensor, totals: Tensor, best: Tensor, *, bounded: bool
) -> Tensor | None:
    """Fill the numerators and denominators of all tiles; return the logarithms of what divides both, None for zero."""
    groups, width = q.shape[1:]
    parts[-1], totals[-1] = 0, 0
    peaks = None if bounded else torch.full_like(totals, -torch.inf)
    found = best.new_empty(tiles.size, best.shape[1])
    of_rows, of_scores = Scratch(q), Scratch(q)
    for bucket in tiles.buckets:
        for part in bucket.chunks(_budget(q)):
            scores = _products(part.gather(q, of_rows), part.keys(k), of_scores)
            if peaks is not None:
                peak = scores.amax(dim=2, keepdim=True)
                scores.sub_(peak)
                peaks[part.cut] = peak.view(-1, groups)
            shares, ended = scores.exp_(), part.ended
            if ended is not None:
                shares.masked_fill_(ended, 0)
            total = totals[part.cut].view(len(shares), -1)
            torch.sum(shares, dim=2, out=total)
            torch.bmm(shares, part.keys(v), out=parts[part.cut].view(len(shares), -1, width))
            if best.shape[1]:
                found[part.cut] = _best_keys(shares.mul_(total.reciprocal()[..., None]), groups, part, best.shape[1])
    if best.shape[1]:
        torch.index_select(found, 0, tiles.places[:, 0], out=best)
    return peaks


def _backward(
    q: Tensor, k: Tensor, v: Tensor, d_o: Tensor, tiles: Tiles, parts: Tensor, d_k: Tensor, d_v: Tensor
) -> None:
    """Fill the gradients that each tile gives its queries, and add up those of keys and values."""
    width = parts.shape[2]
    parts[tiles.size - 1] = 0
    of_rows, of_d_rows, of_shares, of_scores = (Scratch(q) for _ in range(4))
    for bucket in tiles.buckets:
        d_keys, d_values = bucket.new_gradients(d_k), bucket.new_gradients(d_v)
        for part in bucket.chunks(_budget(q)):
            keys, rows, d_rows = part.keys(k), part.gather(q, of_rows), part.gather(d_o, of_d_rows)
            shares, ended = _products(rows, keys, of_shares).exp_(), part.ended
            if ended is not None:
                shares.masked_fill_(ended, 0)
            part.add_gradients(d_values, torch.bmm(shares.mT, d_rows[..., :width]))
            d_scores = _products(d_rows, part.keys(v), of_scores).mul_(shares)
            part.add_gradients(d_keys, torch.bmm(d_scores.mT, rows[..., :width]))
            torch.bmm(d_scores, keys[..., :width], out=parts[part.cut].view(len(rows), -1, width))
        bucket.spread(d_keys, d_k)
        bucket.spread(d_values, d_v)


def _products(rows: Float[Tensor, "t R D"], keys: Float[Tensor, "t L D"], scratch: Scratch) -> Float[Tensor, "t R L"]:
    """Return the scalar product of each row and key."""
    return torch.bmm(rows, keys.mT, out=scratch.take(*rows.shape[:2], keys.shape[1]))


def _merge(parts: Tensor, totals: Tensor, peaks: Tensor | None, tiles: Tiles, o: Tensor, lse: Tensor) -> None:
    """Add what a row got from each of its ranges, and divide numerators by denominators."""
    if peaks is None:
        total = _sum(totals, tiles)
        torch.div(_sum(parts, tiles), total[..., None], out=o)
        torch.log(total, out=lse)
        return
    of_row = peaks[tiles.places]
    peak = of_row.amax(dim=1)
    shares = torch.exp(of_row - peak[:, None])
    total = (totals[tiles.places] * shares).sum(dim=1)
    heads = torch.arange(parts.shape[1], device=parts.device)[:, None]
    index = (len(heads) * tiles.places[:, None] + heads).flatten(0, 1)
    weights = shares.transpose(1, 2).flatten(0, 1)
    sums = F.embedding_bag(index, parts.flatten(0, 1), mode="sum", per_sample_weights=weights)
    torch.div(sums.view_as(o), total[..., None], out=o)
    torch.add(total.log(), peak, out=lse)


def _sum(parts: Tensor, tiles: Tiles) -> Tensor:
    """Add what a row got from each of its ranges."""
    if tiles.places.shape[1] == 1:
        return parts.index_select(0, tiles.places[:, 0])
    return F.embedding_bag(tiles.places, parts.flatten(1), mode="sum").view(-1, *parts.shape[1:])


def _best_keys(
    shares: Float[Tensor, "t TG L"], groups: int, part: WholeRange | Bucket, top_k: int
) -> Int64[Tensor, "tT K"]:
    """Return the keys with the largest shares, lower keys first among equals, in ascending order; -1 pads."""
    over_heads = shares.unflatten(1, (-1, groups)).sum(dim=2)
    ended = part.ended
    if ended is not None:  # comes last, so it is chosen only where all keys are
        over_heads.masked_fill_(ended, -1)
    keys = part.best(largest(over_heads.flatten(0, 1), min(top_k, part.width)))
    return F.pad(keys, (0, top_k - keys.shape[1]), value=-1)


def _largest_norm(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dim=-1).max())


def _budget(q: Tensor) -> int:
    """Rows times keys of a chunk, so that the scores of all heads fit."""
    return (SCORES_CPU if q.device.type == "cpu" else SCORES_GPU) // q.shape[1]
