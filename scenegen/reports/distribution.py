"""How the values of one check spread over all assets, with its limits: counts by bin, ready to be drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physics.check import Check, Verdict

BINS = 24
"""Bins of a histogram [1]."""
DECADES = 8.0
"""A logarithmic axis spans at most this below the largest value; smaller ones are counted as zero [1]."""
SPREAD = 30.0
"""Largest over smallest value above which the axis is logarithmic [1]."""


@dataclass(frozen=True)
class Measurement:
    """What one check found on one asset."""

    value: float
    limit: float
    warn: float | None
    verdict: str


@dataclass(frozen=True)
class Spread:
    """The values of one check in one engine over all assets."""

    id: str
    name: str
    engine: str
    unit: str
    sense: str
    measured: tuple[Measurement, ...]


class SpreadCollector:
    """Takes the checks of one asset after the other, and keeps their numbers."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, str, str], list[Measurement]] = {}

    def add(self, checks: Iterable[Check]) -> None:
        """Take the checks of an asset; those without a limit or a value are left out."""
        for check in checks:
            if check.limit is not None and math.isfinite(check.value):
                key = (check.id, check.name, check.engine, check.unit, check.sense)
                measured = Measurement(check.value, check.limit, check.warn, check.verdict.value)
                self._found.setdefault(key, []).append(measured)

    def spreads(self) -> tuple[Spread, ...]:
        """Return the spread of every check, in the order in which they came; constant ones that pass are left out."""
        every = (Spread(*key, tuple(measured)) for key, measured in self._found.items())
        return tuple(one for one in every if len({m.value for m in one.measured}) > 1 or _refused(one))


def _refused(spread: Spread) -> bool:
    return any(m.verdict != Verdict.PASS.value for m in spread.measured)


def describe_spread(spread: Spread) -> dict[str, Any]:
    """Return a histogram for the page. Where limits differ between assets, values are shares of their own limit."""
    limits = {m.limit for m in spread.measured}
    warns = {m.warn for m in spread.measured}
    # Limits that scale with the asset are no line in a plot of values.
    relative = len(limits) > 1 or (len(warns) > 1)
    relative = relative and all(m.limit > 0 for m in spread.measured)
    values = np.array([m.value / m.limit if relative else m.value for m in spread.measured])
    edges, logarithmic = bin_edges(values, [1.0] if relative else sorted(limits))
    inside = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    below = values < edges[0] if logarithmic else np.zeros(len(values), bool)
    verdicts = [m.verdict for m in spread.measured]
    counts = Counter(
        zip(inside[~below].tolist(), [v for v, b in zip(verdicts, below, strict=True) if not b], strict=True)
    )
    warn = next(iter(warns)) if len(warns) == 1 else None
    return {
        "id": spread.id,
        "name": spread.name,
        "engine": spread.engine,
        "unit": "share of the limit" if relative else spread.unit,
        "sense": spread.sense,
        "logarithmic": logarithmic,
        "edges": [float(f"{edge:.6g}") for edge in edges],
        "bins": [{"bin": b, "verdict": verdict, "count": count} for (b, verdict), count in sorted(counts.items())],
        "below": int(below.sum()),
        "limit": 1.0 if relative else spread.measured[0].limit if len(limits) == 1 else None,
        "warn": None if relative else warn,
        "assets": len(values),
        "refused": sum(verdict in ("FAIL", "UNDECIDED") for verdict in verdicts),
    }


def bin_edges(values: np.ndarray, limits: Sequence[float]) -> tuple[np.ndarray, bool]:
    """Return the edges of the bins, and whether they are spaced logarithmically; limits lie inside the axis."""
    positive = values[values > 0]
    ends = [float(limit) for limit in limits]
    if len(positive) and all(end > 0 for end in ends) and (values >= 0).all():
        low, high = min([float(positive.min()), *ends]), max([float(positive.max()), *ends])
        if high / low > SPREAD:
            low = max(low, high * 10**-DECADES)
            return np.geomspace(low * 0.999, high * 1.25, BINS + 1), True
    low, high = min([float(values.min()), *ends]), max([float(values.max()), *ends])
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 0.04
    return np.linspace(low - (margin if low else 0.0), high + margin, BINS + 1), False
