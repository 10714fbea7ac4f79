"""What an object family is: parameters with declared ranges, a sampler that respects them jointly, and a maker."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from generators.errors import ParameterError
from generators.sdf import Solid

THIN = 2.6 / 128
"""Least wall, or gap, as a share of the longest side: 2.6 voxels where the longest side has 128 [1]."""


def span(low: float, high: float) -> Any:
    """Declare a dimension of a family and its range [m]."""
    return dataclasses.field(metadata={"low": low, "high": high})


def count(low: int, high: int) -> Any:
    """Declare a number of things and its range, both ends included [1]."""
    return dataclasses.field(metadata={"low": low, "high": high, "whole": True})


@dataclass(frozen=True)
class Part:
    """One solid of a family member and the materials it may be made of."""

    name: str
    solid: Solid
    materials: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """A kind of object."""

    name: str
    params: type
    sample: Callable[..., Any]
    """`sample(rng, fixed=None) -> params`; `fixed` maps names to values that are not drawn."""
    make: Callable[[Any], tuple[Part, ...]]
    """Parameters to parts, in the body frame: origin at the centre of the base, z up, front +x. Deterministic."""


class Draw:
    """Draws the parameters of one member, each uniformly in its declared range cut to what fits the others."""

    def __init__(self, params: type, rng: np.random.Generator, fixed: Mapping[str, float] | None) -> None:
        self.fields = {field.name: field for field in dataclasses.fields(params)}
        self.family = params.__name__.removesuffix("Params")
        self.rng = rng
        self.fixed = dict(fixed or {})
        for name in self.fixed:
            if name not in self.fields:
                near = difflib.get_close_matches(name, self.fields, n=1, cutoff=0.0)
                raise ParameterError(
                    f"{name!r} is no parameter of {self.family}. Did you mean {near[0]!r}? "
                    f"Parameters: {', '.join(self.fields)}"
                )

    def __call__(self, name: str, *, at_least: float = -np.inf, at_most: float = np.inf) -> float:
        """Return the given value of a parameter, or draw one; within its range and the bounds.

        Raises:
            ParameterError: the given value is no number or out of bounds, or the bounds leave nothing.
        """
        meta = self.fields[name].metadata
        low, high = max(meta["low"], at_least), min(meta["high"], at_most)
        whole = bool(meta.get("whole"))
        unit = "" if whole else " m"
        share = float(self.rng.random())  # drawn in any case, so that fixing one value leaves the others alone
        if low > high:
            raise ParameterError(
                f"{self.family}: no {name} fits the given {self._given()}: at least {low:.4g}{unit} and at most "
                f"{high:.4g}{unit} are needed. Change or leave out one of them."
            )
        if name not in self.fixed:
            if whole:
                low, high = float(np.ceil(low)), float(np.floor(high))
                return int(min(low + np.floor(share * (high - low + 1)), high))
            return low + share * (high - low)
        value = self.fixed[name]
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
            raise ParameterError(f"{self.family}: {name} is {value!r}, expected a finite number{unit and ' [m]'}")
        if whole and value != int(value):
            raise ParameterError(f"{self.family}: {name} is {value}, expected a whole number")
        if not low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
            raise ParameterError(
                f"{self.family}: {name} is {value:.4g}{unit}, possible here is {low:.4g}..{high:.4g}{unit} "
                f"(with {self._given(name)}). Change it, or leave it out to have it drawn."
            )
        return int(value) if whole else float(value)

    def _given(self, but: str = "") -> str:
        given = ", ".join(f"{k} = {v}" for k, v in sorted(self.fixed.items()) if k != but)
        return given or "the rest drawn at random"


def thin(*sides: float) -> float:
    """Return the least wall or gap [m] for an object with these sides [m]."""
    return THIN * max(sides)


def grid(count: int, spacing: float) -> Sequence[float]:
    """Return `count` positions `spacing` [m] apart about 0."""
    return [(i - (count - 1) / 2) * spacing for i in range(count)]
