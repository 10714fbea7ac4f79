"""Chairs with a ladder back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.families.family import Draw, Family, Part, count, span, thin
from generators.sdf import box, declare, mirror, smooth_union, union


@dataclass(frozen=True)
class ChairParams:
    """Four legs, a seat and a back of rails; the sitter looks to +x."""

    seat_height: float = span(0.260, 0.520)
    seat_width: float = span(0.280, 0.560)
    seat_depth: float = span(0.280, 0.560)
    back_height: float = span(0.280, 0.560)
    """Height of the back above the seat [m]."""
    leg: float = span(0.022, 0.050)
    """Side of the square legs [m]."""
    seat_thickness: float = span(0.018, 0.045)
    rails: int = count(1, 4)


def sample_chair(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> ChairParams:
    """Draw a chair."""
    draw = Draw(ChairParams, rng, fixed)
    seat = draw("seat_height")
    back = draw("back_height", at_least=0.8 * seat, at_most=1.15 * seat)
    least = thin(seat + back)
    width = draw("seat_width", at_least=0.85 * seat, at_most=1.1 * seat)
    leg = draw("leg", at_least=1.65 * least, at_most=0.10 * width)
    return ChairParams(
        seat_height=seat,
        seat_width=width,
        seat_depth=draw("seat_depth", at_least=0.88 * width, at_most=1.08 * width),
        back_height=back,
        leg=leg,
        seat_thickness=draw("seat_thickness", at_least=least, at_most=1.05 * leg),
        rails=int(draw("rails")),
    )


def make_chair(params: ChairParams) -> tuple[Part, ...]:
    """Build a chair: legs and back posts in one piece, rails between the posts."""
    h, t, s = params.seat_height, params.seat_thickness, params.leg
    x, y = params.seat_depth / 2 - s / 2, params.seat_width / 2 - s / 2
    edge = 0.25 * s
    top = h + params.back_height
    seat = box((params.seat_depth, params.seat_width, t), (0, 0, h - t / 2), min(0.35 * t, edge))
    front = mirror(box((s, s, h - t / 2), (x - 0.2 * s, y - 0.2 * s, (h - t / 2) / 2), edge), "y")
    posts = mirror(box((s, s, top), (-x, y, top / 2), edge), "y")
    clear = params.back_height / params.rails
    rail_height = 0.46 * clear
    rails = [
        box((0.62 * s, 2 * y, rail_height), (-x, 0, top - 0.25 * s - rail_height / 2 - i * clear), 0.24 * s)
        for i in range(params.rails)
    ]
    frame = smooth_union(posts, union(*rails), 0.3 * s)
    solid = smooth_union(smooth_union(seat, front, 0.35 * s), frame, 0.35 * s)
    return (
        Part(
            "chair",
            declare(solid, wall=min(t, 0.62 * s, clear - rail_height - 0.25 * s), genus=params.rails),
            ("oak", "beech", "pine", "plywood", "polypropylene", "steel"),
        ),
    )


CHAIR = Family("chair", ChairParams, sample_chair, make_chair)
