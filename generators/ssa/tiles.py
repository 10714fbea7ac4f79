"""Query rows grouped by the key range they attend to, so that attention to ranges is a series of matrix products.

A *tile* is some query rows that share one range. Where ranges hold much work each is one tile, whose keys are a slice
and which has no padding. Where they hold little, tiles of equal size are stacked into *buckets*: padded, but many in
one call. Rows that attend to several ranges collect what each tile found for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor


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
