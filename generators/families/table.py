"""Tables with an apron under the top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline, stroke
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import box, declare, extrude, mirror, smooth_union, union


@dataclass(frozen=True)
class TableParams:
    """A rectangular table on four square legs."""

    length: float = span(0.500, 1.600)
    """Along x [m]."""
    width: float = span(0.350, 0.900)
    height: float = span(0.350, 0.800)
    top_thickness: float = span(0.018, 0.050)
    leg: float = span(0.030, 0.090)
    """Side of the square legs [m]."""
    apron_height: float = span(0.040, 0.120)
    corner_radius: float = span(0.010, 0.080)


def sample_table(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> TableParams:
    """Draw a table."""
    draw = Draw(TableParams, rng, fixed)
    length = draw("length")
    width = draw("width", at_least=0.5 * length, at_most=0.95 * length)
    height = draw("height", at_least=0.42 * length, at_most=1.0 * length)
    least = thin(length, height)
    leg = draw("leg", at_least=max(1.7 * least, 0.045 * length), at_most=0.085 * length)
    return TableParams(
        length=length,
        width=width,
        height=height,
        top_thickness=draw("top_thickness", at_least=least, at_most=0.07 * height + least),
        leg=leg,
        apron_height=draw("apron_height", at_least=0.09 * height, at_most=0.2 * height),
        corner_radius=draw("corner_radius", at_most=0.15 * width),
    )


def make_table(params: TableParams) -> tuple[Part, ...]:
    """Build a table: the apron joins the legs below the top and stands back from their outer faces."""
    h, t, s = params.height, params.top_thickness, params.leg
    x, y = params.length / 2, params.width / 2
    top = extrude(outline([(-x, -y), (x, -y), (x, y), (-x, y)], params.corner_radius), h - t, h, 0.3 * t)
    overhang = 0.35 * s + 0.35 * params.corner_radius
    cx, cy = x - overhang - s / 2, y - overhang - s / 2
    legs = mirror(box((s, s, h - t / 2), (cx, cy, (h - t / 2) / 2), 0.14 * s), "xy")
    low = h - t - params.apron_height
    board = 0.62 * s
    apron = extrude(
        stroke([(-cx, -cy), (cx, -cy), (cx, cy), (-cx, cy)], 0.0, board, closed=True), low, h - t / 2, 0.1 * board
    )
    solid = smooth_union(top, union(legs, apron), 0.25 * s)
    return (
        Part(
            "table",
            declare(solid, wall=min(t, board)),
            ("oak", "beech", "pine", "plywood", "steel", "aluminium"),
        ),
    )


TABLE = Family("table", TableParams, sample_table, make_table)
