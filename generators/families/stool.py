"""Round stools with splayed legs and a ring that ties them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from generators.families.family import Draw, Family, Part, count, span
from generators.sdf import above, capsule, cylinder, declare, polar, smooth_union, torus


@dataclass(frozen=True)
class StoolParams:
    """A round seat on three to six legs."""

    height: float = span(0.350, 0.800)
    seat_radius: float = span(0.120, 0.250)
    seat_thickness: float = span(0.022, 0.060)
    leg_radius: float = span(0.0100, 0.0240)
    foot_radius: float = span(0.120, 0.300)
    """Distance of the feet from the axis [m]."""
    ring_height: float = span(0.080, 0.320)
    legs: int = count(3, 6)


def sample_stool(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> StoolParams:
    """Draw a stool."""
    draw = Draw(StoolParams, rng, fixed)
    height = draw("height")
    seat = draw("seat_radius", at_least=0.27 * height, at_most=0.42 * height)
    return StoolParams(
        height=height,
        seat_radius=seat,
        seat_thickness=draw("seat_thickness", at_least=0.05 * height, at_most=0.09 * height),
        leg_radius=draw("leg_radius", at_least=0.021 * height, at_most=0.034 * height),
        foot_radius=draw("foot_radius", at_least=0.98 * seat, at_most=1.2 * seat),
        ring_height=draw("ring_height", at_least=0.24 * height, at_most=0.42 * height),
        legs=int(draw("legs")),
    )


def make_stool(params: StoolParams) -> tuple[Part, ...]:
    """Build a stool; legs are cut flat at the floor."""
    h, r = params.height, params.leg_radius
    top = h - params.seat_thickness
    high, low = np.array([0.68 * params.seat_radius, 0, top]), np.array([params.foot_radius - r, 0, 0.0])
    along = low - high
    leg = capsule(high.tolist(), (high + 1.2 * along).tolist(), r)
    legs = above(polar(leg, params.legs), 0.0)
    at = high + along * (1 - params.ring_height / top)
    ring = torus(float(at[0]), 0.8 * r, params.ring_height)
    seat = cylinder(params.seat_radius, top, h, 0.42 * params.seat_thickness)
    solid = smooth_union(smooth_union(seat, legs, r), ring, 0.6 * r)
    bounds = solid.bounds.copy()
    reach = max(params.seat_radius, 1.02 * params.foot_radius)
    bounds[:, :2] = [[-reach, -reach], [reach, reach]]
    bounds[0, 2] = 0.0
    return (
        Part(
            "stool",
            declare(replace(solid, bounds=bounds), wall=1.6 * r, genus=params.legs),
            ("oak", "beech", "pine", "steel", "aluminium"),
        ),
    )


STOOL = Family("stool", StoolParams, sample_stool, make_stool)
