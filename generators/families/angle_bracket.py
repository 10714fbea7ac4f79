"""Angle brackets with screw holes and a rib."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import (
    cylinder,
    declare,
    difference,
    extrude,
    smooth_union,
    transform,
    translate,
    union,
    upright_plane,
)


@dataclass(frozen=True)
class AngleBracketParams:
    """Two plates at a right angle, two holes in each: one plate lies on the floor, one stands at -x."""

    base: float = span(0.040, 0.120)
    """Length of the lying plate along x [m]."""
    height: float = span(0.040, 0.120)
    width: float = span(0.030, 0.100)
    """Along y [m]."""
    thickness: float = span(0.0026, 0.0080)
    hole_radius: float = span(0.0020, 0.0070)
    rib: float = span(0.3, 0.7)
    """Reach of the rib as a share of the shorter plate [1]."""


def sample_angle_bracket(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> AngleBracketParams:
    """Draw a bracket."""
    draw = Draw(AngleBracketParams, rng, fixed)
    base = draw("base")
    height = draw("height", at_least=0.6 * base, at_most=1.15 * base)
    width = draw("width", at_least=0.62 * base, at_most=1.0 * base)
    return AngleBracketParams(
        base=base,
        height=height,
        width=width,
        thickness=draw("thickness", at_least=thin(base, height, width), at_most=0.075 * base),
        hole_radius=draw("hole_radius", at_least=0.045 * base, at_most=0.085 * min(base, height, 1.4 * width)),
        rib=draw("rib"),
    )


def make_angle_bracket(params: AngleBracketParams) -> tuple[Part, ...]:
    """Build a bracket about the middle of its base; holes lie to both sides of the rib."""
    t, r, y = params.thickness, params.hole_radius, params.width / 2
    back, front, h = -params.base / 2, params.base / 2, params.height
    plates = upright_plane(
        extrude(
            outline(
                [(back, 0), (front, 0), (front, t), (back + t, t), (back + t, h), (back, h)],
                (0.8 * t, 0.3 * t, 0.3 * t, 0.8 * t, 0.3 * t, 0.3 * t),
            ),
            -y,
            y,
            0.2 * t,
        )
    )
    reach = t + params.rib * min(params.base, h)
    web = outline([(back + t / 2, t / 2), (back + reach, t / 2), (back + t / 2, reach)], (0, 0.3 * t, 0.3 * t))
    solid = smooth_union(plates, upright_plane(extrude(web, -t / 2, t / 2, 0.2 * t)), 0.5 * t)
    drill = cylinder(r, -2 * t, 3 * t)
    to_x = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    drills = [translate(drill, (front - 0.32 * params.base, side * 0.55 * y, 0.0)) for side in (-1, 1)]
    drills += [transform(drill, to_x, (back, side * 0.55 * y, h - 0.32 * h)) for side in (-1, 1)]
    least = min(t, 2 * r, 0.45 * y - r, 0.55 * y - t / 2 - r)
    return (
        Part(
            "angle_bracket",
            declare(difference(solid, union(*drills)), wall=least, genus=4),
            ("steel", "stainless_steel", "aluminium", "brass", "nylon"),
        ),
    )


ANGLE_BRACKET = Family("angle_bracket", AngleBracketParams, sample_angle_bracket, make_angle_bracket)
