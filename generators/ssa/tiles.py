"""Query rows grouped by the key range they attend to, so that attention to ranges is a series of matrix products.

A *tile* is some query rows that share one range. Where ranges hold much work each is one tile, whose keys are a slice
and which has no padding. Where they hold little, tiles of equal size are stacked into *buckets*: padded, but many in
one call. Rows that attend to several ranges collect what each tile found for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

TILE_ROWS = 512
"""Most rows of a padded tile's matrix product: query rows times heads that share a key [1]."""
WHOLE_SCORES = 2**15
"""Scores per range from which on, on a CPU, a tile is all rows of a range [1]."""
SLAB_CPU = 2**24
"""Most numbers that the rows of a slab hold and collect on a CPU [1]: 64 MiB.

16,092 tokens, forward, one thread: 355 ms with 2^22, 340 with 2^23, 330 with 2^24, whose tiles are larger."""
ROWS_HELD = 4
"""What a row of a slab holds beside what it collects from its tiles: queries, outputs and their gradients [1]."""


class Scratch:
    """Memory of one purpose that serves piece after piece: fresh pages cost about as much time as what fills them."""

    def __init__(self, like: Tensor) -> None:
        self.held = like.new_empty(0)

    def take(self, *shape: int) -> Tensor:
        """Return a tensor of any content, which the next call overwrites."""
        size = math.prod(shape)
        if size > len(self.held):
            self.held = self.held.new_empty(size)
        return self.held[:size].view(shape)

    def gather(self, x: Float[Tensor, "R G D"], rows: Int64[Tensor, "n"]) -> Float[Tensor, "n G D"]:
        """Return these rows, likewise."""
        return torch.index_select(x, 0, rows, out=self.take(len(rows), *x.shape[1:]))


@dataclass(frozen=True, eq=False)
class WholeRange:
    """All query rows of one range: one tile."""

    rows: Int64[Tensor, "T"] | slice
    """Query rows, a slice where they are consecutive."""
    start: int
    """First key."""
    width: int
    """Number of keys [1]."""
    first: int
    """Place of the first row among the rows of all tiles [1]."""
    size: int
    """Number of query rows [1]."""

    @property
    def cut(self) -> slice:
        """Places of all rows."""
        return slice(self.first, self.first + self.size)

    def chunks(self, scores: int) -> Iterator[WholeRange]:
        """Yield the rows in equal pieces of at most `scores` products of row and key (one row at least)."""
        pieces = -(-self.size // max(1, scores // self.width))
        if pieces == 1:
            yield self
            return
        step = -(-self.size // pieces)
        for i in range(0, self.size, step):
            size = min(step, self.size - i)
            if isinstance(self.rows, slice):
                rows = slice(self.rows.start + i, self.rows.start + i + size)
            else:
                rows = self.rows[i : i + size]
            yield WholeRange(rows, self.start, self.width, self.first + i, size)

    def gather(self, x: Float[Tensor, "R G D"], scratch: Scratch) -> Float[Tensor, "1 TG D"]:
        """Return what the rows hold."""
        if isinstance(self.rows, slice):
            return x[self.rows].reshape(1, -1, x.shape[2])
        return scratch.gather(x, self.rows).view(1, -1, x.shape[2])

    def keys(self, x: Float[Tensor, "K D"]) -> Float[Tensor, "1 L D"]:
        """Return what the keys hold."""
        return x[None, self.start : self.start + self.width]

    def best(self, columns: Int64[Tensor, "T k"]) -> Int64[Tensor, "T k"]:
        """Return the keys that these columns of the scores are."""
        return columns + self.start

    @property
    def ended(self) -> None:
        """Which columns of the scores are padding: none."""
        return

    def new_gradients(self, x: Float[Tensor, "K D"]) -> Float[Tensor, "1 L D"]:
        """Return room for the gradients of the keys, zero."""
        return x.new_zeros(1, self.width, x.shape[1])

    def add_gradients(self, gradients: Float[Tensor, "1 L D"], mine: Float[Tensor, "1 L D"]) -> None:
        """Add those of one piece."""
        gradients.add_(mine)

    def spread(self, gradients: Float[Tensor, "1 L D"], out: Float[Tensor, "K D"]) -> None:
        """Add the gradients to those of all keys."""
        out[self.start : self.start + self.width].add_(gradients[0])


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
    exact: bool
    """Whether all ranges are as long as the width."""

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
            yield Bucket(rows, *of_tile, self.ranges, self.width, first, self.exact)

    def gather(self, x: Float[Tensor, "R+1 G D"], scratch: Scratch) -> Float[Tensor, "t TG D"]:
        """Return what the tiles' rows hold."""
        return scratch.gather(x, self.rows.flatten()).view(len(self.rows), -1, x.shape[2])

    def keys(self, x: Float[Tensor, "K D"]) -> Float[Tensor, "t L D"]:
        """Return what the keys hold; where a range has ended, its last key once more, which changes no maximum."""
        index = self._index(self.starts, self.lengths)
        return x.index_select(0, index.flatten()).view(*index.shape, x.shape[1])

    def best(self, columns: Int64[Tensor, "tT k"]) -> Int64[Tensor, "tT k"]:
        """Return the keys that these columns of the scores are; -1 for padding."""
        of_row = (x.repeat_interleave(self.rows.shape[1])[:, None] for x in (self.starts, self.lengths))
        starts, lengths = of_row
        return torch.where(columns < lengths, columns + starts, -1)

    @property
    def ended(self) -> Tensor | None:
        """Which columns of the scores are padding, (t, 1, L), or None where none is."""
        if self.exact:
            return None
        return (torch.arange(self.width, device=self.starts.device) >= self.lengths[:, None])[:, None]

    def new_gradients(self, x: Float[Tensor, "K D"]) -> Float[Tensor, "S L D"]:
        """Return room for the gradients of the keys of all ranges, zero."""
        return x.new_zeros(self.ranges, self.width, x.shape[1])

    def add_gradients(self, gradients: Float[Tensor, "S L D"], mine: Float[Tensor, "t L D"]) -> None:
        """Add those of some tiles."""
        gradients.index_add_(0, self.owner, mine)

    def spread(self, gradients: Float[Tensor, "S L D"], out: Float[Tensor, "K D"]) -> None:
        """Add the gradients to those of all keys; those of padding are zero."""
        first = torch.ones(len(self.owner), dtype=torch.bool, device=out.device)
        first[1:] = self.owner[1:] != self.owner[:-1]
        index = self._index(self.starts[first], self.lengths[first])
        out.index_add_(0, index.flatten(), gradients.flatten(0, 1))

    def _index(self, starts: Int64[Tensor, "t"], lengths: Int64[Tensor, "t"]) -> Int64[Tensor, "t L"]:
        place = torch.arange(self.width, device=starts.device)
        return starts[:, None] + (place if self.exact else torch.minimum(place, lengths[:, None] - 1))


@dataclass(frozen=True, eq=False)
class Tiles:
    """All tiles of the lists of some consecutive query rows."""

    query_rows: slice
    """Which rows; the tiles count from the first of them."""
    buckets: tuple[WholeRange | Bucket, ...]
    places: Int64[Tensor, "R most"]
    """Place of each list entry among the rows of all tiles; the last place (of no tile) where a list has ended."""
    size: int
    """Number of places with the last [1]."""

    def queries(self, x: Float[Tensor, "R G D"], column: Float[Tensor, "R G"] | None = None) -> Tensor:
        """Return what the rows hold, with one more column, and for padded tiles with one more row, of zeros."""
        padded = isinstance(self.buckets[0], Bucket)
        if column is None and not padded:
            return x
        more = 0 if column is None else 1
        made = x.new_empty(len(x) + padded, x.shape[1], x.shape[2] + more)
        made[: len(x), :, : x.shape[2]] = x
        if column is not None:
            made[: len(x), :, -1] = column
        made[len(x) :] = 0
        return made


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
