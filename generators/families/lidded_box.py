"""Boxes with a recess around the opening that takes a lid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import declare, difference, extrude


@dataclass(frozen=True)
class LiddedBoxParams:
    """An open box; the upper edge steps down inside, so that a lid lies flush."""

    length: float = span(0.080, 0.220)
    """Outer length along x [m]."""
    width: float = span(0.060, 0.180)
    height: float = span(0.040, 0.140)
    wall: float = span(0.0040, 0.0120)
    recess_depth: float = span(0.0030, 0.0100)
    corner_radius: float = span(0.0060, 0.0240)


def sample_lidded_box(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> LiddedBoxParams:
    """Draw a box."""
    draw = Draw(LiddedBoxParams, rng, fixed)
    length = draw("length")
    width = draw("width", at_least=0.6 * length, at_most=0.95 * length)
    wall = draw("wall", at_least=2 * thin(length), at_most=0.07 * length)
    return LiddedBoxParams(
        length=length,
        width=width,
        height=draw("height", at_least=0.38 * length, at_most=0.75 * length),
        wall=wall,
        recess_depth=draw("recess_depth", at_least=thin(length), at_most=1.3 * wall),
        corner_radius=draw("corner_radius", at_least=1.3 * wall, at_most=0.25 * width),
    )


def make_lidded_box(params: LiddedBoxParams) -> tuple[Part, ...]:
    """Build a box; half of the wall stands above the recess."""
    h, w = params.height, params.wall

    def block(inset: float, low: float, high: float, rounding: float = 0.0):
        x, y = params.length / 2 - inset, params.width / 2 - inset
        corners = [(-x, -y), (x, -y), (x, y), (-x, y)]
        return extrude(outline(corners, params.corner_radius - inset), low, high, rounding)

    cavity, recess = block(w, w, 2 * h, 0.3 * w), block(w / 2, h - params.recess_depth, 2 * h)
    solid = difference(block(0.0, 0.0, h, 0.12 * w), cavity, recess)
    return (
        Part(
            "lidded_box",
            declare(solid, wall=min(w / 2, params.recess_depth)),
            ("oak", "beech", "pine", "abs", "pla", "brass", "acrylic"),
        ),
    )


LIDDED_BOX = Family("lidded_box", LiddedBoxParams, sample_lidded_box, make_lidded_box)
