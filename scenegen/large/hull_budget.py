"""A budget of collision hulls: assets of many are drawn less often, by a power of their number.

What a step of a scene costs, how long it takes to judge and load it, and the memory it needs grow with the hulls of all
its objects. A budget leaves every asset in the scene, where a bound on the hulls of one (`mix.most_hulls`) leaves some
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.optimize import bisect

from scenegen.errors import SceneError

STEEPEST = 8.0
"""Largest exponent [1]: beyond it what has twice the hulls of another is all but never drawn."""
TOLERANCE = 1e-9
"""By how much rounding may lift a mean above the budget [1]."""


@dataclass(frozen=True, eq=False)
class Draw:
    """Objects of a scene that are drawn from the same assets."""

    objects: float
    """How many [1]."""
    weights: Float64[np.ndarray, "A"]
    """How often each asset would be drawn, were there no budget [1]; any sum."""
    hulls: Float64[np.ndarray, "A"]
    """Collision hulls of each asset [1]."""

    def mean_hulls(self, exponent: float) -> float:
        """Return the expected number of hulls of an object [1]."""
        return float(favour_plain(self.weights, self.hulls, exponent) @ self.hulls)


def favour_plain(
    weights: Float64[np.ndarray, "A"], hulls: Float64[np.ndarray, "A"], exponent: float
) -> Float64[np.ndarray, "A"]:
    """Return the probabilities w_i h_i^-e / sum_j w_j h_j^-e: as they were for an exponent of 0."""
    tilted = weights * hulls**-exponent
    return tilted / tilted.sum()


def expected_hulls(draws: Sequence[Draw], exponent: float) -> float:
    """Return the expected number of hulls of an object of any of these draws; 0 where there is none [1]."""
    held = [draw for draw in draws if draw.objects]
    total = sum(draw.objects for draw in held)
    return sum(draw.objects * draw.mean_hulls(exponent) for draw in held) / total if held else 0.0


def find_exponent(draws: Sequence[Draw], mean_hulls: float, option: str = "mix.mean_hulls") -> float:
    """Return the least exponent for which the objects of all draws have an expected number of hulls within a budget.

    The mean of each draw falls with the exponent: its derivative is minus the covariance of h and log h.

    Args:
        draws: All that is drawn for a scene.
        mean_hulls: The budget [1].
        option: Name of the option that sets it, for the message.

    Raises:
        SceneError: The assets have more hulls, however they are drawn (says how many).
    """

    def excess(exponent: float) -> float:
        return expected_hulls(draws, exponent) - mean_hulls * (1 + TOLERANCE)

    if excess(0.0) <= 0:
        return 0.0
    if excess(STEEPEST) > 0:
        raise SceneError(
            f"{option} is {mean_hulls:g}, but objects have {expected_hulls(draws, STEEPEST):.1f} hulls on average even "
            f"where assets are drawn by the number of their hulls to the power of -{STEEPEST:g}; raise it, or make "
            "assets of fewer hulls"
        )
    return float(bisect(excess, 0.0, STEEPEST, xtol=1e-9))  # type: ignore[arg-type]
