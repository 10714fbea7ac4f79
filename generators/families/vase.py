"""Vases with a belly, a neck and a flared lip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import stroke
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import declare, revolve


@dataclass(frozen=True)
class VaseParams:
    """A turned vase of even wall with a round rim."""

    height: float = span(0.140, 0.360)
    wall: float = span(0.0030, 0.0090)
    base_radius: float = span(0.025, 0.080)
    belly_radius: float = span(0.040, 0.120)
    belly_height: float = span(0.050, 0.200)
    neck_radius: float = span(0.016, 0.070)
    lip_radius: float = span(0.025, 0.100)


def sample_vase(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> VaseParams:
    """Draw a vase."""
    draw = Draw(VaseParams, rng, fixed)
    height = draw("height")
    belly = draw("belly_radius", at_least=0.24 * height, at_most=0.36 * height)
    neck = draw("neck_radius", at_least=max(0.36 * belly, 0.085 * height), at_most=0.66 * belly)
    return VaseParams(
        height=height,
        wall=draw("wall", at_least=thin(height), at_most=min(0.09 * belly, 0.25 * neck)),
        base_radius=draw("base_radius", at_least=0.5 * belly, at_most=0.78 * belly),
        belly_radius=belly,
        belly_height=draw("belly_height", at_least=0.34 * height, at_most=0.56 * height),
        neck_radius=neck,
        lip_radius=draw("lip_radius", at_least=1.2 * neck, at_most=min(1.8 * neck, 0.95 * belly)),
    )


def make_vase(params: VaseParams) -> tuple[Part, ...]:
    """Build a vase: corners of the profile turned into the largest arcs that fit."""
    h, w = params.height, params.wall
    waist = params.belly_height + 0.78 * (h - params.belly_height)
    path = [
        (0, w / 2),
        (params.base_radius - w / 2, w / 2),
        (params.belly_radius - w / 2 + 0.08 * params.belly_radius, params.belly_height),
        (params.neck_radius - w / 2 - 0.06 * params.neck_radius, waist),
        (params.lip_radius - w / 2, h - w / 2),
    ]
    foot = max(1.2 * w, 0.1 * params.base_radius)
    solid = revolve(stroke(path, (0, foot, 10 * h, 10 * h, 0), w))
    return (
        Part(
            "vase",
            declare(solid, wall=w, axis=(0.0, 0.0, 1.0)),
            ("porcelain", "stoneware", "glass", "brass", "copper"),
        ),
    )


VASE = Family("vase", VaseParams, sample_vase, make_vase)
