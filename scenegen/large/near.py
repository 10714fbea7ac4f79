"""Which boxes overlap, and which of them hang together: a spatial hash, so that the cost grows with the count."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float64


def overlapping_pairs(boxes: Float64[np.ndarray, "N 2 3"]) -> list[tuple[int, int]]:
    """Return all pairs of boxes that overlap or touch, each once, in order.

    The side of the hash's cells is the mean extent of the boxes: boxes spread over the floor meet a bounded number of
    others however many there are.
    """
    return [pair for pair in candidate_pairs(boxes) if _overlap(boxes[pair[0]], boxes[pair[1]])]


def candidate_pairs(boxes: Float64[np.ndarray, "N 2 3"]) -> list[tuple[int, int]]:
    """Return the pairs of boxes that share a cell of the hash, each once, in order."""
    if len(boxes) < 2:
        return []
    side = max(float(np.ptp(boxes, axis=1).mean()), 1e-6)
    cells: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for number, box in enumerate(boxes):
        for cell in _cells_of(box, side):
            cells[cell].append(number)
    pairs = {pair for held in cells.values() for pair in itertools.combinations(held, 2)}
    return sorted(pairs)


class BoxIndex:
    """Boxes that can be asked which of them another box overlaps."""

    def __init__(self, boxes: Float64[np.ndarray, "N 2 3"]):
        self._boxes = boxes
        self._side = max(float(np.ptp(boxes, axis=1).mean()), 1e-6) if len(boxes) else 1.0
        self._cells: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for number, box in enumerate(boxes):
            for cell in _cells_of(box, self._side):
                self._cells[cell].append(number)

    def overlapping(self, box: Float64[np.ndarray, "2 3"]) -> list[int]:
        """Return the numbers of the boxes that overlap or touch a box, in order."""
        found = {number for cell in _cells_of(box, self._side) for number in self._cells.get(cell, ())}
        return sorted(number for number in found if _overlap(self._boxes[number], box))


def join(count: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the connected components of numbers below `count`, each in order, by their first member."""
    parent = list(range(count))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for a, b in links:
        x, y = root(a), root(b)
        parent[max(x, y)] = min(x, y)
    groups: dict[int, list[int]] = defaultdict(list)
    for number in range(count):
        groups[root(number)].append(number)
    return [groups[first] for first in sorted(groups)]


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a[0] <= b[1]).all() and (b[0] <= a[1]).all())


def _cells_of(box: np.ndarray, side: float) -> Iterable[tuple[int, int, int]]:
    lower, upper = (np.floor(corner / side).astype(int).tolist() for corner in box)
    x, y, z = (range(a, b + 1) for a, b in zip(lower, upper, strict=True))
    return itertools.product(x, y, z)
