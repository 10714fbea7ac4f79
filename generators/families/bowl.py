"""Bowls on a foot ring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline, stroke
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import declare, revolve, smooth_union


@dataclass(frozen=True)
class BowlParams:
    """A turned bowl of even wall with a round rim."""

    radius: float = span(0.050, 0.150)
    """Outer radius at the rim [m]."""
    height: float = span(0.040, 0.130)
    wall: float = span(0.0030, 0.0080)
    foot_radius: float = span(0.025, 0.080)
    foot_height: float = span(0.0045, 0.0120)


def sample_bowl(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> BowlParams:
    """Draw a bowl."""
    draw = Draw(BowlParams, rng, fixed)
    radius = draw("radius")
    height = draw("height", at_least=0.5 * radius, at_most=1.0 * radius)
    wall = draw("wall", at_least=thin(2 * radius), at_most=min(0.07 * radius, 0.13 * height))
    return BowlParams(
        radius=radius,
        height=height,
        wall=wall,
        foot_radius=draw("foot_radius", at_least=0.42 * radius, at_most=0.62 * radius),
        foot_height=draw("foot_height", at_least=1.2 * wall, at_most=0.16 * height),
    )


def make_bowl(params: BowlParams) -> tuple[Part, ...]:
    """Build a bowl: a flat-bottomed arc swept up to a slightly flared rim, on a ring."""
    w, foot = params.wall, params.foot_height
    low, high = foot + w / 2, params.height - w / 2
    rim = params.radius - w / 2
    path = [(0, low), (0.88 * rim, low), (rim, high)]
    profile = stroke(path, 10 * rim, w)
    cup = revolve(profile)
    inner, outer = params.foot_radius - 1.6 * w, params.foot_radius
    # The ring ends in the middle of the wall above it, so that it neither floats nor pokes into the bowl.
    heights = np.linspace(low, high, 512)
    top = float(heights[np.argmin(profile.distance(np.full(512, (inner + outer) / 2), heights))])
    ring = revolve(outline([(inner, 0), (outer - 0.2 * w, 0), (outer, top), (inner, top)], (0.4 * w, 0.4 * w, 0, 0)))
    solid = smooth_union(cup, ring, w)
    return (
        Part(
            "bowl",
            declare(solid, wall=w, axis=(0.0, 0.0, 1.0)),
            ("porcelain", "stoneware", "glass", "stainless_steel", "bamboo", "beech"),
        ),
    )


BOWL = Family("bowl", BowlParams, sample_bowl, make_bowl)
