"""One contact coefficient per body for an engine that multiplies them, fitted to the values of pairs.

PyBullet multiplies the sliding coefficients of two bodies, and adds their rolling (torsional) lengths, each times the
other's sliding coefficient. Pairs whose values do not factor cannot all be met: a pair then gets less than its value,
never more, and the largest shortfall is a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from scipy.optimize import linprog

from physics.errors import EngineError
from physics.materials import Friction, Material, pair_friction

SMALLEST_FRICTION = 1e-9
"""Stands for a pair value of 0, whose logarithm does not exist [1]."""

SUPPORT_WEIGHT = 10.0
"""Weight of the worst pair with a static body over the worst pair of two free bodies [1]."""

SUM_WEIGHT = 1e-3
"""Weight of the sum of all shortfalls, which settles what the two maxima leave open [1]."""

UNIT_WEIGHT = 1e-5
"""Weight that draws coefficients of static bodies to 1 where nothing else decides [1]."""


@dataclass(frozen=True)
class Surface:
    """What one body shows in contact."""

    materials: tuple[Material, ...]
    """Materials of its hulls."""
    static: bool
    """True when it never moves."""


@dataclass(frozen=True)
class FrictionFit:
    """Coefficients of every surface, and what they cannot give."""

    coefficients: Mapping[str, Friction]
    """Coefficients to set, by name of the surface."""
    largest_shortfall: float
    """Largest share by which a pair's sliding friction lies below its value [1]."""
    shortfalls: tuple[str, ...]
    """One line per pair that is missed by more than 0.1 %."""


def fit_friction(surfaces: Mapping[str, Surface]) -> FrictionFit:
    """Fit one coefficient per surface so that no pair exceeds its value and the worst shortfall is least.

    Surfaces of equal materials and kind share a coefficient. A body of several materials can have but one: it gets
    the smallest value of its materials against each partner, and the missing share is reported.

    Raises:
        EngineError: The linear programme has no solution (it always has one for finite friction).
    """
    kinds: dict[tuple[tuple[Material, ...], bool], int] = {}
    kind_of = {}
    counts: dict[int, int] = {}
    for name, surface in surfaces.items():
        key = (tuple(dict.fromkeys(surface.materials)), surface.static)
        kind_of[name] = kinds.setdefault(key, len(kinds))
        counts[kind_of[name]] = counts.get(kind_of[name], 0) + 1
    keys = list(kinds)
    pairs = [
        (i, j)
        for i, j in combinations_with_replacement(range(len(keys)), 2)
        if not (keys[i][1] and keys[j][1]) and (i != j or counts[i] > 1)
    ]
    wanted = {pair: _smallest(keys[pair[0]][0], keys[pair[1]][0]) for pair in pairs}
    sliding = _fit_sliding(keys, pairs, wanted)
    lengths = {
        field: _fit_lengths([key[1] for key in keys], pairs, wanted, sliding, field)
        for field in ("torsional", "rolling")
    }
    coefficients = {
        name: Friction(float(sliding[k]), float(lengths["torsional"][k]), float(lengths["rolling"][k]))
        for name, k in kind_of.items()
    }
    largest, lines = _shortfalls(keys, pairs, sliding, lengths)
    return FrictionFit(coefficients, largest, lines)


def _smallest(a: Sequence[Material], b: Sequence[Material]) -> Friction:
    values = [pair_friction(x, y) for x in a for y in b]
    return Friction(min(v.sliding for v in values), min(v.torsional for v in values), min(v.rolling for v in values))


def _solve(cost: np.ndarray, rows: np.ndarray, bounds: np.ndarray, limits: list[tuple[float, float]]) -> np.ndarray:
    result = linprog(cost, A_ub=rows, b_ub=bounds, bounds=limits, method="highs")
    if not result.success:
        raise EngineError(f"fit of contact coefficients to {len(rows)} pair conditions: {result.message}")
    return result.x


def _fit_sliding(
    keys: Sequence[tuple[tuple[Material, ...], bool]],
    pairs: Sequence[tuple[int, int]],
    wanted: Mapping[tuple[int, int], Friction],
) -> np.ndarray:
    """Minimise the weighted worst log shortfalls subject to x_i + x_j <= log(pair value), x = log(coefficient)."""
    count = len(keys)
    if not pairs:
        return np.array([max((m.sliding_friction for m in key[0]), default=0.0) for key in keys])
    # Unknowns: x of every surface, the worst shortfall with and without a static body, |x| of the static ones.
    worst_support, worst_free, width = count, count + 1, 2 * count + 2
    cost = np.zeros(width)
    cost[[worst_support, worst_free]] = SUPPORT_WEIGHT, 1.0
    rows, bounds = [], []
    for i, j in pairs:
        value = math.log(max(wanted[i, j].sliding, SMALLEST_FRICTION))
        row = np.zeros(width)
        row[i] += 1
        row[j] += 1
        cost -= SUM_WEIGHT * row
        slack = -row
        slack[worst_support if keys[i][1] or keys[j][1] else worst_free] = -1
        rows += [row, slack]
        bounds += [value, -value]
    for i in range(count):
        cost[count + 2 + i] = UNIT_WEIGHT if keys[i][1] else UNIT_WEIGHT**2
        for sign in (1, -1):
            row = np.zeros(width)
            row[i], row[count + 2 + i] = sign, -1
            rows.append(row)
            bounds.append(0.0)
    span = 2 * abs(math.log(SMALLEST_FRICTION))
    limits = [(-span, span)] * count + [(0.0, 4 * span)] * (count + 2)
    return np.exp(_solve(cost, np.array(rows), np.array(bounds), limits)[:count])


def _fit_lengths(
    static: Sequence[bool],
    pairs: Sequence[tuple[int, int]],
    wanted: Mapping[tuple[int, int], Friction],
    sliding: np.ndarray,
    field: str,
) -> np.ndarray:
    """Maximise the pairs' r_i f_j + r_j f_i subject to none exceeding its value; pairs with static bodies first."""
    count = len(static)
    if not pairs:
        return np.zeros(count)
    scale = max(getattr(value, field) for value in wanted.values()) or 1.0
    cost, rows, bounds = np.zeros(count), [], []
    for i, j in pairs:
        row = np.zeros(count)
        row[i] += sliding[j]
        row[j] += sliding[i]
        rows.append(row)
        bounds.append(getattr(wanted[i, j], field) / scale)
        cost -= row * (SUPPORT_WEIGHT if static[i] or static[j] else 1.0) / max(bounds[-1], 1e-6)
    return scale * np.maximum(_solve(cost, np.array(rows), np.array(bounds), [(0.0, 1e9)] * count), 0.0)


def _shortfalls(
    keys: Sequence[tuple[tuple[Material, ...], bool]],
    pairs: Sequence[tuple[int, int]],
    sliding: np.ndarray,
    lengths: Mapping[str, np.ndarray],
) -> tuple[float, tuple[str, ...]]:
    """Compare what the coefficients give with the largest value that any two materials of a pair ask for."""
    largest, lines = 0.0, []
    for i, j in pairs:
        values = [pair_friction(a, b) for a in keys[i][0] for b in keys[j][0]]
        given = {"sliding": float(sliding[i] * sliding[j])}
        for field, r in lengths.items():
            given[field] = float(r[i] * sliding[j] + r[j] * sliding[i])
        for field, value in given.items():
            ask = max(getattr(v, field) for v in values)
            miss = 1 - value / ask if ask > SMALLEST_FRICTION else 0.0
            if field == "sliding":
                largest = max(largest, miss)
            if miss > 1e-3:
                names = " on ".join("+".join(m.name for m in keys[k][0]) for k in (i, j))
                lines.append(f"{field} friction of {names} is {value:.4g}, {100 * miss:.1f} % below {ask:.4g}")
    return largest, tuple(lines)
