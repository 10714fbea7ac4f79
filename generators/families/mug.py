"""Mugs with a strap handle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline, stroke
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import declare, difference, extrude, revolve, smooth_union, upright_plane


@dataclass(frozen=True)
class MugParams:
    """A mug: a straight cup of even wall with a round rim, and a D-shaped handle at +x."""

    height: float = span(0.070, 0.140)
    radius: float = span(0.032, 0.064)
    """Outer radius of the cup [m]."""
    wall: float = span(0.0028, 0.0075)
    base_fillet: float = span(0.006, 0.020)
    """Outer radius between wall and base [m]."""
    handle_height: float = span(0.040, 0.100)
    handle_reach: float = span(0.024, 0.048)
    """How far the centre line of the handle stands off the wall [m]."""
    handle_thickness: float = span(0.006, 0.013)
    handle_width: float = span(0.009, 0.022)


def sample_mug(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> MugParams:
    """Draw a mug."""
    draw = Draw(MugParams, rng, fixed)
    height = draw("height")
    radius = draw("radius", at_least=0.36 * height, at_most=0.68 * height)
    reach = draw("handle_reach")
    thickness = draw("handle_thickness", at_most=0.35 * reach)
    wall = draw("wall", at_least=thin(height, 2 * radius + reach + thickness / 2))
    return MugParams(
        height=height,
        radius=radius,
        wall=wall,
        base_fillet=draw("base_fillet", at_least=1.4 * wall, at_most=0.5 * radius),
        handle_height=draw("handle_height", at_least=0.5 * height, at_most=0.72 * height),
        handle_reach=reach,
        handle_thickness=thickness,
        handle_width=draw("handle_width", at_least=1.1 * thickness, at_most=2.2 * thickness),
    )


def make_mug(params: MugParams) -> tuple[Part, ...]:
    """Build a mug. The handle ends in the middle of the wall, and the cavity is cut last, so nothing pokes into it."""
    h, r, w = params.height, params.radius, params.wall
    fillet = params.base_fillet - w / 2
    cup = revolve(stroke([(0, w / 2), (r - w / 2, w / 2), (r - w / 2, h - w / 2)], fillet, w))
    cavity = revolve(outline([(0, w), (r - w, w), (r - w, h), (0, h)], (0, max(fillet - w / 2, 0), 0, 0), axis=True))
    low, high = 0.52 * h - params.handle_height / 2, 0.52 * h + params.handle_height / 2
    tip = r + params.handle_reach
    path = [(r - w / 2, high), (tip, high), (0.4 * r + 0.6 * tip, low), (r - w / 2, low)]
    bend = (0, 0.75 * params.handle_reach, 0.6 * params.handle_reach, 0)
    thickness = params.handle_thickness
    band = extrude(stroke(path, bend, thickness), -params.handle_width / 2, params.handle_width / 2, 0.45 * thickness)
    solid = difference(smooth_union(cup, upright_plane(band), 0.8 * thickness), cavity)
    return (
        Part(
            "mug",
            declare(solid, wall=min(w, thickness), genus=1),
            ("porcelain", "stoneware", "glass", "stainless_steel", "polypropylene"),
        ),
    )


MUG = Family("mug", MugParams, sample_mug, make_mug)
