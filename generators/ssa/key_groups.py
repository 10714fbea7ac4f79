"""Lists of key ranges as Triton's kernels read them: rows by the ranges they share, and the rows of each range.

Made on the device. Lists that a layout makes once wait for the device once; lists that tokens choose anew in every
layer do not wait at all, so the processor can run ahead: what must be known of their ranges is kept with the layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from generators.errors import VolumeError
from generators.ssa.blocks import Segments


@dataclass(frozen=True, eq=False)
class KeyTiles:
    """A set of ranges, cut into tiles of keys."""

    starts: Int32[Tensor, "S"]
    ends: Int32[Tensor, "S"]
    pieces: Int32[Tensor, "t 2"]
    """Range and first key of each tile."""
    longest: int
    """Keys of the longest range [1]."""
    tile_keys: int
    """Keys of a tile [1]."""

    @classmethod
    def of(cls, segments: Segments, tile_keys: int) -> KeyTiles:
        """Cut the ranges, once for all lists of the same ranges.

        Raises:
            VolumeError: two ranges overlap, so that two programs would write one key's gradient.
        """
        if tile_keys not in segments.key_tiles:
            segments.key_tiles[tile_keys] = cls._of(segments.starts, segments.ends, tile_keys)
        return segments.key_tiles[tile_keys]

    @classmethod
    def _of(cls, starts: Tensor, ends: Tensor, tile_keys: int) -> KeyTiles:
        ascending = starts.argsort()
        overlap = (starts[ascending][1:] < ends[ascending][:-1]).any()
        lengths = ends - starts
        bounds = _bounds((lengths + tile_keys - 1) // tile_keys)
        overlaps, count, longest = torch.stack([overlap.long(), bounds[-1], lengths.max()]).tolist()
        if overlaps:
            raise VolumeError("ranges of keys overlap, so Triton's backward pass is not defined; use backend 'tiles'")
        place = torch.arange(count, device=starts.device)
        of = torch.searchsorted(bounds, place, right=True) - 1
        pieces = torch.stack([of, starts[of] + tile_keys * (place - bounds[of])], dim=1)
        return cls(starts.int(), ends.int(), pieces.int(), longest, tile_keys)


@dataclass(frozen=True, eq=False)
class Readers:
    """The rows that attend to each range."""

    bounds: Int32[Tensor, "S+1"]
    """First of the rows of each range, and their number."""
    rows: Int32[Tensor, "E"]
    """Query rows of all ranges, those of one range in ascending order."""

    @classmethod
    def of(cls, offsets: Tensor, ranges: Tensor, range_count: int) -> Readers:
        """Sort the list entries by range, rows in order."""
        row = torch.arange(len(offsets) - 1, dtype=torch.int32, device=ranges.device)
        if len(ranges) != len(row):
            row = torch.repeat_interleave(row, offsets.diff(), output_size=len(ranges))
        of, order = torch.sort(ranges.int(), stable=True)
        each = torch.arange(range_count + 1, dtype=torch.int32, device=ranges.device)
        return cls(torch.searchsorted(of, each).int(), row[order])


@dataclass(frozen=True, eq=False)
class Shares:
    """Who sums the gradients of a tile of keys: its range's rows in shares, one program and one place for each."""

    first: Int32[Tensor, "t+1"]
    """First share of each tile, and their number."""
    tile: Int32[Tensor, "W"]
    """Tile of each share, t for what is left over."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Query rows that share a list of ranges."""

    rows: Int32[Tensor, "g T"]
    """Query row, R where the group is not full."""
    offsets: Int32[Tensor, "g+1"]
    """First list entry of each group."""
    ranges: Int32[Tensor, "P"]
    """Range of each list entry."""
    keys: KeyTiles
    known: Readers | None = None
    """Readers, where they are known already."""

    @classmethod
    def of(cls, segments: Segments, rows_per_tile: int, tile_keys: int) -> Groups:
        """Group the rows of lists of ranges, once.

        Args:
            segments: The lists.
            rows_per_tile: Rows of a group where every row has one range; else a group is one row.
            tile_keys: Keys of a tile for the gradients of keys.

        Raises:
            VolumeError: two ranges overlap.
        """
        if (rows_per_tile, tile_keys) not in segments.groups:
            segments.groups[rows_per_tile, tile_keys] = cls._of(segments, rows_per_tile, tile_keys)
        return segments.groups[rows_per_tile, tile_keys]

    @classmethod
    def _of(cls, segments: Segments, rows_per_tile: int, tile_keys: int) -> Groups:
        keys, ranges = KeyTiles.of(segments, tile_keys), segments.ranges
        count, device = len(segments.offsets) - 1, ranges.device
        if len(ranges) != count:
            rows = torch.arange(count, dtype=torch.int32, device=device)[:, None]
            return cls(rows, segments.offsets.int(), ranges.int(), keys)
        readers = Readers.of(segments.offsets, ranges, len(keys.starts))
        bounds = readers.bounds.long()
        first_tile = _bounds((bounds.diff() + rows_per_tile - 1) // rows_per_tile)
        tile = torch.arange(int(first_tile[-1]), device=device)
        owner = torch.searchsorted(first_tile, tile, right=True) - 1
        first = bounds[owner] + rows_per_tile * (tile - first_tile[owner])
        place = first[:, None] + torch.arange(rows_per_tile, device=device)
        inside = place < bounds[owner + 1][:, None]
        rows = torch.where(inside, readers.rows[place.clamp(max=count - 1)], count)
        offsets = torch.arange(len(owner) + 1, dtype=torch.int32, device=device)
        return cls(rows.int(), offsets, owner.int(), keys, readers)

    @cached_property
    def readers(self) -> Readers:
        """The rows of each range; needed for gradients alone."""
        return self.known or Readers.of(self.offsets, self.ranges, len(self.keys.starts))

    def shares(self, size: int) -> Shares:
        """Divide the rows of each tile of keys into shares of `size`.

        Their number is not asked of the device but bounded: one share per tile, and those that the longest range's
        tiles would have if all rows were theirs.
        """
        keys, entries = self.keys, len(self.readers.rows)
        per_range = (self.readers.bounds.diff() + size - 1) // size
        first = _bounds(per_range.clamp(min=1)[keys.pieces[:, 0].long()].long())
        most = len(keys.pieces) + -(-keys.longest // keys.tile_keys) * (entries // size)
        place = torch.arange(most, device=first.device)
        return Shares(first.int(), (torch.searchsorted(first, place, right=True) - 1).int())


def _bounds(counts: Int64[Tensor, "M"]) -> Int64[Tensor, "M+1"]:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
