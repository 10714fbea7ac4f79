"""Dinner plates and saucers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline, stroke
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import declare, revolve, smooth_union


@dataclass(frozen=True)
class PlateParams:
    """A turned plate: flat well, rising shoulder, sloping rim, foot ring."""

    radius: float = span(0.070, 0.170)
    wall: float = span(0.0030, 0.0080)
    well_radius: float = span(0.040, 0.120)
    """Radius of the flat middle [m]."""
    height: float = span(0.014, 0.040)
    foot_height: float = span(0.0040, 0.0090)


def sample_plate(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> PlateParams:
    """Draw a plate."""
    draw = Draw(PlateParams, rng, fixed)
    radius = draw("radius")
    wall = draw("wall", at_least=thin(2 * radius), at_most=0.055 * radius)
    foot = draw("foot_height", at_least=1.05 * wall, at_most=1.5 * wall)
    return PlateParams(
        radius=radius,
        wall=wall,
        well_radius=draw("well_radius", at_least=0.55 * radius, at_most=0.72 * radius),
        height=draw("height", at_least=max(0.13 * radius, foot + 2.2 * wall), at_most=0.26 * radius + wall),
        foot_height=foot,
    )


def make_plate(params: PlateParams) -> tuple[Part, ...]:
    """Build a plate."""
    w, well, rim = params.wall, params.well_radius, params.radius - params.wall / 2
    low, high = params.foot_height + w / 2, params.height - w / 2
    shoulder = low + 0.62 * (high - low)
    knee = well + 0.25 * (rim - well)
    path = [(0, low), (well, low), (knee, shoulder), (rim, high)]
    dish = revolve(stroke(path, (0, 4 * w, 4 * w, 0), w))
    outer = 0.93 * well
    ring = revolve(
        outline(
            [(outer - 1.8 * w, 0), (outer - 0.2 * w, 0), (outer, low), (outer - 1.6 * w, low)], (0.4 * w, 0.4 * w, 0, 0)
        )
    )
    solid = smooth_union(dish, ring, 0.8 * w)
    return (
        Part(
            "plate",
            declare(solid, wall=w, axis=(0.0, 0.0, 1.0)),
            ("porcelain", "stoneware", "glass", "bamboo", "polypropylene"),
        ),
    )


PLATE = Family("plate", PlateParams, sample_plate, make_plate)
