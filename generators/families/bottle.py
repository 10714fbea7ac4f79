"""Bottles with a shoulder, a neck and a lip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import stroke
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import declare, revolve, smooth_union, torus


@dataclass(frozen=True)
class BottleParams:
    """A turned bottle of even wall, open at the top."""

    height: float = span(0.140, 0.320)
    radius: float = span(0.028, 0.058)
    wall: float = span(0.0030, 0.0078)
    shoulder_height: float = span(0.080, 0.220)
    """Height at which the body starts to narrow [m]."""
    neck_radius: float = span(0.011, 0.026)
    """Outer radius of the neck [m]."""


def sample_bottle(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> BottleParams:
    """Draw a bottle."""
    draw = Draw(BottleParams, rng, fixed)
    height = draw("height")
    radius = draw("radius", at_least=0.145 * height, at_most=0.25 * height)
    wall = draw("wall", at_least=thin(height), at_most=0.16 * radius)
    return BottleParams(
        height=height,
        radius=radius,
        wall=wall,
        shoulder_height=draw("shoulder_height", at_least=0.52 * height, at_most=0.68 * height),
        neck_radius=draw("neck_radius", at_least=max(0.32 * radius, 1.9 * wall), at_most=0.52 * radius),
    )


def make_bottle(params: BottleParams) -> tuple[Part, ...]:
    """Build a bottle."""
    h, w = params.height, params.wall
    body, neck = params.radius - w / 2, params.neck_radius - w / 2
    rise = 1.1 * (body - neck)
    lip = 0.62 * w
    path = [
        (0, w / 2),
        (body, w / 2),
        (body, params.shoulder_height),
        (neck, params.shoulder_height + rise),
        (neck, h - w / 2),
    ]
    glass = revolve(stroke(path, (0, 0.22 * body, 0.9 * body, 0.9 * body, 0), w))
    ring = torus(neck + 0.35 * w, lip, h - lip - 0.2 * w)
    solid = smooth_union(glass, ring, 0.5 * w)
    return (
        Part(
            "bottle",
            declare(solid, wall=min(w, 2 * neck - w), axis=(0.0, 0.0, 1.0)),
            ("glass", "hdpe", "polypropylene", "stoneware", "aluminium"),
        ),
    )


BOTTLE = Family("bottle", BottleParams, sample_bottle, make_bottle)
