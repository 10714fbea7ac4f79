"""Which tiles the lists of key ranges become: how many rows they take, where their results lie."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from generators.ssa.tiles import Bucket, Tiles, WholeRange

TILE_ROWS = 512
"""Most rows of a padded tile's matrix product: query rows times heads that share a key [1]."""
WHOLE_SCORES = 2**15
"""Scores per range from which on, on a CPU, a tile is all rows of a range [1]."""
SLAB_CPU = 2**24
"""Most numbers that the rows of a slab hold and collect on a CPU [1]: 64 MiB.

16,092 tokens, forward, one thread: 355 ms with 2^22, 340 with 2^23, 330 with 2^24, whose tiles are larger."""
ROWS_HELD = 4
"""What a row of a slab holds beside what it collects from its tiles: queries, outputs and their gradients [1]."""


def plan_tiles(
    starts: Tensor, ends: Tensor, offsets: Tensor, ranges: Tensor, *, groups: int, width: int
) -> tuple[Tiles, ...]:
    """Group the list entries of `Segments` by range, in slabs of consecutive query rows.

    Args:
        starts: First key of each range.
        ends: One past the last.
        offsets: First list entry of each row, and the number of entries.
        ranges: Range of each entry.
        groups: Heads that share a key [1].
        width: Channels of a head [1].
    """
    on_cpu = starts.device.type == "cpu"
    rows_per_range = -(-len(ranges) // len(starts))
    scores = int((ends - starts)[ranges].sum()) * groups
    whole = on_cpu and scores >= WHOLE_SCORES * len(starts)
    per_tile = max(8, min(rows_per_range, TILE_ROWS // groups))
    rows = len(offsets) - 1
    numbers = (len(ranges) + ROWS_HELD * rows) * groups * width
    step = -(-rows // -(-numbers // SLAB_CPU)) if on_cpu else rows
    made = []
    for first in range(0, rows, step):
        last = min(first + step, rows)
        begin, end = int(offsets[first]), int(offsets[last])
        lists = starts, ends, offsets[first : last + 1] - begin, ranges[begin:end]
        parts = _whole(*lists) if whole else _padded(*lists, per_tile)
        made.append(Tiles(slice(first, last), *parts))
    return tuple(made)


def _whole(starts: Tensor, ends: Tensor, offsets: Tensor, ranges: Tensor) -> tuple[tuple, Tensor, int]:
    """One tile per range."""
    row, per_row = _row_of(offsets)
    order = _stable_order(ranges, len(starts))
    rows = row[order]
    counts = torch.bincount(ranges, minlength=len(starts))
    used = counts.nonzero()[:, 0]
    counts = counts[used]
    first = counts.cumsum(0) - counts
    columns = (starts[used], ends[used] - starts[used], first, counts, rows[first], rows[first + counts - 1])
    tiles = []
    for start, width, begin, size, lowest, highest in torch.stack(columns).T.tolist():
        together = highest - lowest + 1 == size
        of_tile = slice(lowest, highest + 1) if together else rows[begin : begin + size]
        tiles.append(WholeRange(of_tile, start, width, begin, size))
    place = torch.arange(len(order), device=order.device)
    return tuple(tiles), _places(order, place, row, offsets, per_row, len(order)), len(order) + 1


def _padded(starts: Tensor, ends: Tensor, offsets: Tensor, ranges: Tensor, per_tile: int) -> tuple[tuple, Tensor, int]:
    """Tiles of `per_tile` rows in buckets."""
    row, per_row = _row_of(offsets)
    device = starts.device
    # Ranges that are padded alike become neighbours; then the list entries are sorted by range.
    padded = padded_length(ends - starts)
    by_width = torch.argsort(padded, stable=True)
    rank = torch.empty_like(by_width)
    rank[by_width] = torch.arange(len(by_width), device=device)
    group = rank[ranges]
    order = _stable_order(group, len(starts))
    group = group[order]
    counts = torch.bincount(group, minlength=len(starts))
    tiles = (counts + per_tile - 1) // per_tile
    owner = torch.repeat_interleave(torch.arange(len(starts), device=device), tiles)
    # An entry's place: the first row of its group's tiles, and how many of the group come before it.
    before = torch.arange(len(order), device=device) - (counts.cumsum(0) - counts)[group]
    place = (tiles.cumsum(0) - tiles)[group] * per_tile + before
    size = len(owner) * per_tile
    tile_rows = torch.full((size,), len(per_row), device=device)
    tile_rows[place] = row[order]
    source = by_width[owner]
    fields = (tile_rows.view(-1, per_tile), starts[source], (ends - starts)[source], owner)
    buckets = tuple(_buckets(*fields, padded[source]))
    return buckets, _places(order, place, row, offsets, per_row, size), size + 1


def _stable_order(groups: Int64[Tensor, "P"], limit: int) -> Int64[Tensor, "P"]:
    """Return the entries sorted by group, the earlier first; by counting digits on a CPU, a sixth of the time."""
    if groups.device.type == "cpu" and limit <= np.iinfo(np.int16).max:
        return torch.from_numpy(np.argsort(groups.numpy().astype(np.int16), kind="stable"))
    return torch.argsort(groups, stable=True)


def _row_of(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row of each list entry, and the number of entries of each row."""
    per_row = offsets.diff()
    return torch.repeat_interleave(torch.arange(len(per_row), device=offsets.device), per_row), per_row


def _places(order: Tensor, place: Tensor, row: Tensor, offsets: Tensor, per_row: Tensor, last: int) -> Tensor:
    """Return the place of each entry in the table of rows; `place` is that of entry `order`."""
    most = int(per_row.max())
    if len(order) == most * len(per_row):
        return torch.empty_like(order).index_put_((order,), place).view(-1, most)
    places = torch.full((len(per_row), most), last, device=order.device)
    places[row[order], order - offsets[row[order]]] = place
    return places


def _buckets(rows: Tensor, starts: Tensor, lengths: Tensor, owner: Tensor, widths: Tensor) -> Iterator[Bucket]:
    """Cut the tiles where the width changes."""
    different, sizes = torch.unique_consecutive(widths, return_counts=True)
    begin = 0
    for width, size in zip(different.tolist(), sizes.tolist(), strict=True):
        cut = slice(begin, begin + size)
        local = torch.unique_consecutive(owner[cut], return_inverse=True)[1]
        many = int(local[-1]) + 1
        exact = bool((lengths[cut] == width).all())
        yield Bucket(rows[cut], starts[cut], lengths[cut], local, many, width, begin * rows.shape[1], exact)
        begin += size


def padded_length(lengths: Int64[Tensor, "S"]) -> Int64[Tensor, "S"]:
    """Round up to a multiple of 8, or of an eighth of the power of two below: few different widths, little padding."""
    power = torch.floor(torch.log2(lengths.double())).long()
    grain = torch.pow(2, (power - 3).clamp(min=3))
    return (lengths + grain - 1) // grain * grain
