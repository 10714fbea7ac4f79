"""A budget of collision hulls: assets of many are drawn less often, by a power of their number.

What a step of a scene costs, how long it takes to judge and load it, and the memory it needs grow with the hulls of all
its objects. A budget leaves every asset a chance, where a bound on the hulls of one (`mix.most_hulls`) leaves some out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from scipy.optimize import bisect

from scenegen.errors import SceneError
from scenegen.large.fill import Choice
from scenegen.large.floor import FloorPlan
from scenegen.large.hold import HoldConfig
from scenegen.large.options import MixConfig
from scenegen.large.pool import read_asset, weigh_assets
from scenegen.scenes.scene import SceneAsset

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


@dataclass(frozen=True, eq=False)
class HullBudget:
    """The budget of one scene, `mix.mean_hulls`; without one everything stays as it is drawn."""

    root: str
    """Output folder of the run."""
    floor: FloorPlan
    mix: MixConfig

    def check(self, hold: HoldConfig, standing: Sequence[SceneAsset]) -> None:
        """Refuse a budget that the assets cannot keep, before their stances are found, which takes minutes.

        Raises:
            SceneError: They have more hulls, however they are drawn.
        """
        if self.mix.mean_hulls is not None:
            draws = self._draws_of(hold)
            if standing:
                hulls = self._hulls([asset.folder for asset in standing])
                draws.append(Draw(self._count("standing", "stacked"), weigh_assets(standing, self.mix), hulls))
            find_exponent(draws, self.mix.mean_hulls)

    def apply(self, hold: HoldConfig, choice: Choice | None) -> tuple[HoldConfig, Choice | None, list[str]]:
        """Return what is poured and carried, and what stands, weighed so that all keep to the budget; and what to note.

        Raises:
            SceneError: They have more hulls, however they are drawn.
        """
        if self.mix.mean_hulls is None:
            return hold, choice, []
        draws = [*self._draws_of(hold), *(self._draws_from(choice) if choice else [])]
        exponent = find_exponent(draws, self.mix.mean_hulls)
        poured, carried = (favour_plain(draw.weights, draw.hulls, exponent) for draw in draws[:2])
        note = (
            f"assets are drawn by the number of their hulls to the power of -{exponent:.2f}, "
            f"{expected_hulls(draws, exponent):.1f} hulls an object are expected"
        )
        weighed = replace(hold, poured_weights=poured, carried_weights=carried)
        return weighed, choice and self._plainer(choice, exponent), [note]

    def furnish(self, choice: Choice, mix: MixConfig) -> Choice:
        """Return furniture within the budget of its own mix.

        Raises:
            SceneError: It has more hulls, however it is drawn.
        """
        if mix.mean_hulls is None:
            return choice
        draw = Draw(1, choice.weights, self._hulls([stance.folder for stance in choice.stances]))
        return self._plainer(choice, find_exponent([draw], mix.mean_hulls, "options.furniture.mean_hulls"))

    def _draws_of(self, hold: HoldConfig) -> list[Draw]:
        """Return what is poured and what is carried."""
        return [
            Draw(self._count("poured"), hold.poured_weights, self._hulls(hold.poured)),
            Draw(self._count("carried"), hold.carried_weights, self._hulls(hold.carried)),
        ]

    def _draws_from(self, choice: Choice) -> list[Draw]:
        """Return what is drawn to stand alone and to lie in stacks."""
        hulls = self._hulls([stance.folder for stance in choice.stances])
        return stance_draws(choice, self._count("standing"), self._count("stacked"), hulls)

    def _plainer(self, choice: Choice, exponent: float) -> Choice:
        hulls = self._hulls([stance.folder for stance in choice.stances])
        return Choice(choice.stances, favour_plain(choice.weights, hulls, exponent))

    def _hulls(self, folders: Sequence[str]) -> Float64[np.ndarray, "A"]:
        """Return the number of collision hulls of each asset."""
        return np.array([len(read_asset(self.root, folder).model.root.hulls) for folder in folders], dtype=np.float64)

    def _count(self, *kinds: str) -> int:
        """Return the objects of the scene of some kinds, as fields of its jobs name them."""
        return sum(getattr(job, kind) for cell in self.floor.cells for job in cell.jobs for kind in kinds)


def stance_draws(choice: Choice, standing: int, stacked: int, hulls: Float64[np.ndarray, "S"]) -> list[Draw]:
    """Return what is drawn for objects that stand alone and for those in stacks, whose heights are equally likely.

    Args:
        choice: Stances of one copy and of several.
        standing: Objects that stand alone [1].
        stacked: Objects in stacks [1].
        hulls: Collision hulls of an object at each stance [1].
    """
    copies = np.array([len(one.poses) for one in choice.stances])
    heights = np.unique(copies[copies > 1])
    objects = {1: float(standing)} | {int(n): stacked * n / heights.sum() for n in heights}
    return [Draw(count, choice.weights[copies == n], hulls[copies == n]) for n, count in objects.items()]
