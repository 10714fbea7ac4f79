"""Blocks of a sparse lattice: tokens in block order, and lists of contiguous key ranges for every query.

In block order the tokens of one block lie side by side, so that all three branches of Spatial Sparse Attention read
"query row i attends to a list of contiguous key ranges": one range of pooled keys (compression), the ranges of the
selected blocks (selection), one range of the own window (window).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from generators.errors import ParameterError, VolumeError
from generators.ssa.sparse_tensor import SIDE_LIMIT
from generators.ssa.tile_plan import plan_tiles
from generators.ssa.tiles import Tiles


@dataclass(frozen=True, eq=False)
class Segments:
    """For every query row a list (CSR) of key ranges; the ranges of one row are disjoint, and there is at least one."""

    starts: Int64[Tensor, "S"]
    """First key of each range."""
    ends: Int64[Tensor, "S"]
    """One past the last key of each range; no range is empty."""
    offsets: Int64[Tensor, "R+1"]
    """First list entry of each query row, and the number of entries."""
    ranges: Int64[Tensor, "P"]
    """Range of each list entry."""
    plans: dict[tuple[int, int], tuple[Tiles, ...]] = field(default_factory=dict)
    """Tiles by heads that share a key and their width, made when first needed."""
    groups: dict[tuple[int, int], Any] = field(default_factory=dict)
    """What the kernels of `attention_triton` need, likewise; see `key_groups`."""
    key_tiles: dict[int, Any] = field(default_factory=dict)
    """What they need of the ranges alone; lists of the same ranges share it."""

    @classmethod
    def single(cls, starts: Int64[Tensor, "S"], ends: Int64[Tensor, "S"], ranges: Int64[Tensor, "R"]) -> Segments:
        """One range per query row."""
        return cls(starts, ends, torch.arange(len(ranges) + 1, device=ranges.device), ranges)

    def selected(self, chosen: Int64[Tensor, "R K"], *, full: bool = False) -> Segments:
        """Up to K of these ranges per query row, -1 where a row has fewer; none has where the lists are `full`."""
        if full:  # nothing need be counted, so nothing waits for a GPU
            offsets = chosen.shape[1] * torch.arange(len(chosen) + 1, device=chosen.device)
            ranges = chosen.reshape(-1)
        else:
            valid = chosen >= 0
            counts = valid.sum(dim=1)
            offsets, ranges = torch.cat([counts.new_zeros(1), counts.cumsum(0)]), chosen[valid]
        return Segments(self.starts, self.ends, offsets, ranges, key_tiles=self.key_tiles)

    def check(self, keys: int) -> Segments:
        """Return self, or raise `VolumeError` where a range is empty or a row has no range; for tests and callers."""
        if bool((self.starts < 0).any() | (self.ends > keys).any() | (self.ends <= self.starts).any()):
            raise VolumeError(f"a key range is empty or leaves the {keys} keys")
        if bool((self.offsets.diff() < 1).any()):
            raise VolumeError("a query row has no key range, so its softmax does not exist; give it at least one")
        return self

    def per_head(self, heads: int, keys: int) -> Segments:
        """Repeat for key-value heads laid one after the other: row h * R + i, key h * `keys` + j."""
        if heads == 1:
            return self
        head = torch.arange(heads, device=self.starts.device)[:, None]
        offsets = (self.offsets[:-1] + head * len(self.ranges)).reshape(-1)
        last = offsets.new_full((1,), heads * len(self.ranges))
        return Segments(
            (self.starts + head * keys).reshape(-1),
            (self.ends + head * keys).reshape(-1),
            torch.cat([offsets, last]),
            (self.ranges + head * len(self.starts)).reshape(-1),
        )

    def tiles(self, groups: int, width: int) -> tuple[Tiles, ...]:
        """Return the query rows grouped by the range they attend to; `groups` heads of `width` share a key."""
        if (groups, width) not in self.plans:
            lists = self.starts, self.ends, self.offsets, self.ranges
            self.plans[groups, width] = plan_tiles(*lists, groups=groups, width=width)
        return self.plans[groups, width]


class _Permutation(torch.autograd.Function):
    """Rows in another order. Its gradient is a gather too, where that of indexing scatters and adds."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        gradient = _Permutation.apply(gradients[0], inverse, order)
        return gradient, None, None  # pyright: ignore[reportReturnType]


@dataclass(frozen=True, eq=False)
class BlockLayout:
    """Tokens sorted by (sample, block, place in the block); the *position* of a token counts in this order."""

    order: Int64[Tensor, "N"]
    """Row of the token at each position."""
    position: Int64[Tensor, "N"]
    """Position of the token of each row."""
    block_of: Int64[Tensor, "N"]
    """Block of each position."""
    place: Int64[Tensor, "N"]
    """Cell within its block, lexicographic, of each position; below block^3."""
    starts: Int64[Tensor, "K+1"]
    """First position of each block, and the number of tokens."""
    sample_blocks: Int64[Tensor, "B+1"]
    """First block of each sample, and the number of blocks."""
    sample_tokens: Int64[Tensor, "B+1"]
    """First position of each sample, and the number of tokens."""
    block: int
    """Side of a block [cells]."""

    def sort(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """Bring rows into block order."""
        return _Permutation.apply(x, self.order, self.position)  # pyright: ignore[reportReturnType]

    def restore(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """Invert `sort`."""
        return _Permutation.apply(x, self.position, self.order)  # pyright: ignore[reportReturnType]

    @classmethod
    def of(cls, coords: Int32[Tensor, "N 4"], batch_size: int, *, block: int, shift: int = 0) -> BlockLayout:
        """Return the layout of cells (sample, i, j, k), blocks starting at -`shift`.

        Raises:
            ParameterError: the block or the shift is impossible.
            VolumeError: a sample has no cells, a cell lies outside of the batch or of the lattice.
        """
        if block < 1 or not 0 <= shift < block:
            raise ParameterError(f"block side {block} with shift {shift}, expected block >= 1 and 0 <= shift < block")
        counts = _tokens_per_sample(coords, batch_size)
        sample, cell = coords[:, 0].long(), coords[:, 1:].long() + shift
        b, c = cell // block, cell % block
        side = SIDE_LIMIT + 1
        block_key = ((sample * side + b[:, 0]) * side + b[:, 1]) * side + b[:, 2]
        place = (c[:, 0] * block + c[:, 1]) * block + c[:, 2]
        order = torch.argsort(block_key * block**3 + place, stable=True)
        keys, block_of, sizes = torch.unique_consecutive(block_key[order], return_inverse=True, return_counts=True)
        blocks = torch.bincount(keys // side**3, minlength=batch_size)
        position = torch.empty_like(order)
        position[order] = torch.arange(len(order), device=order.device)
        return cls(order, position, block_of, place[order], _starts(sizes), _starts(blocks), _starts(counts), block)


def _tokens_per_sample(coords: Int32[Tensor, "N 4"], batch_size: int) -> Int64[Tensor, "B"]:
    """Return the number of cells of each sample; none may be empty."""
    if coords.ndim != 2 or coords.shape[1] != 4 or not len(coords):
        raise VolumeError(f"coords are {tuple(coords.shape)}, expected (N, 4) with at least one cell")
    if bool((coords < 0).any() | (coords[:, 0] >= batch_size).any() | (coords[:, 1:] >= SIDE_LIMIT).any()):
        raise VolumeError(f"a cell lies outside of {batch_size} samples or of a lattice of side {SIDE_LIMIT}")
    counts = torch.bincount(coords[:, 0].long(), minlength=batch_size)
    if bool((counts == 0).any()):
        empty = (counts == 0).nonzero()[:, 0].tolist()
        raise VolumeError(f"samples {empty} have no cells; attention over nothing does not exist, leave them out")
    return counts


def _starts(counts: Int64[Tensor, "M"]) -> Int64[Tensor, "M+1"]:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


@dataclass(frozen=True, eq=False)
class Layouts:
    """The plain and the shifted layout of one set of cells, built once and shared by all layers."""

    plain: BlockLayout
    """Blocks of compression and selection, and windows of even layers; queries are in this order."""
    shifted: BlockLayout
    """Windows of odd layers, moved by half a block along each axis."""
    block: int
    """Side of a block [cells]."""
    lists: dict[tuple[str, int], Segments] = field(default_factory=dict)
    """Segments by branch and number of key-value heads, made when first needed."""

    @classmethod
    def of(cls, coords: Int32[Tensor, "N 4"], batch_size: int, block: int) -> Layouts:
        """Return both layouts of these cells."""
        plain = BlockLayout.of(coords, batch_size, block=block)
        return cls(plain, BlockLayout.of(coords, batch_size, block=block, shift=block // 2), block)

    def to_shifted(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """Bring rows from the order of the plain layout into that of the shifted one."""
        return _Permutation.apply(x, *self._plain_and_shifted)  # pyright: ignore[reportReturnType]

    @cached_property
    def _plain_and_shifted(self) -> tuple[Tensor, Tensor]:
        """Plain position of each shifted one, and the inverse."""
        return self.plain.position[self.shifted.order], self.shifted.position[self.plain.order]

    def compression(self, kv_heads: int) -> Segments:
        """Every token attends to all pooled keys (one per block) of its sample."""
        if ("compression", kv_heads) not in self.lists:
            layout, bounds = self.plain, self.plain.sample_blocks
            per_sample = layout.sample_tokens.diff()
            sample = torch.repeat_interleave(torch.arange(len(per_sample), device=bounds.device), per_sample)
            segments = Segments.single(bounds[:-1], bounds[1:], sample).per_head(kv_heads, len(layout.starts) - 1)
            self.lists["compression", kv_heads] = segments
        return self.lists["compression", kv_heads]

    @cached_property
    def most_blocks(self) -> int:
        """Most blocks of a sample [1]."""
        return int(self.plain.sample_blocks.diff().max())

    def everything(self, kv_heads: int) -> Segments:
        """Every token attends to all tokens of its sample: selection where no sample has more blocks than are chosen.

        The same softmax as over the list of all blocks, as one range.
        """
        if ("everything", kv_heads) not in self.lists:
            bounds = self.plain.sample_tokens
            sample = torch.repeat_interleave(torch.arange(len(bounds) - 1, device=bounds.device), bounds.diff())
            segments = Segments.single(bounds[:-1], bounds[1:], sample).per_head(kv_heads, len(self.plain.order))
            self.lists["everything", kv_heads] = segments
        return self.lists["everything", kv_heads]

    @cached_property
    def fewest_blocks(self) -> int:
        """Fewest blocks of a sample [1]."""
        return int(self.plain.sample_blocks.diff().min())

    def selection(self, chosen: Int64[Tensor, "R K"], kv_heads: int) -> Segments:
        """Row h * N + position attends to the tokens of its chosen blocks, given as h * blocks + block, or -1.

        Each row chooses as many blocks as its sample has, up to K.
        """
        blocks = self.window(kv_heads, shifted=False)  # its ranges are the blocks of all heads
        return blocks.selected(chosen, full=self.fewest_blocks >= chosen.shape[1])

    def window(self, kv_heads: int, *, shifted: bool) -> Segments:
        """Every token attends to its window; keys in the order of the plain or the shifted layout."""
        name = "shifted window" if shifted else "window"
        if (name, kv_heads) not in self.lists:
            layout = self.shifted if shifted else self.plain
            window_of = layout.block_of[self._plain_and_shifted[1]] if shifted else layout.block_of
            segments = Segments.single(layout.starts[:-1], layout.starts[1:], window_of)
            self.lists[name, kv_heads] = segments.per_head(kv_heads, len(layout.order))
        return self.lists[name, kv_heads]
