"""Serving trays with a handle slot in each end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline, stroke
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import above, box, declare, difference, extrude, smooth_union


@dataclass(frozen=True)
class TrayParams:
    """A rectangular tray with rounded corners; the slots are in the walls at -x and +x."""

    length: float = span(0.220, 0.480)
    """Outer length along x [m]."""
    width: float = span(0.140, 0.340)
    height: float = span(0.045, 0.095)
    wall: float = span(0.0055, 0.0140)
    corner_radius: float = span(0.020, 0.060)
    slot_length: float = span(0.060, 0.130)


def sample_tray(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> TrayParams:
    """Draw a tray."""
    draw = Draw(TrayParams, rng, fixed)
    length = draw("length")
    width = draw("width", at_least=0.55 * length, at_most=0.85 * length)
    corner = draw("corner_radius", at_most=0.22 * width)
    return TrayParams(
        length=length,
        width=width,
        height=draw("height", at_least=0.19 * length, at_most=0.30 * length),
        wall=draw("wall", at_least=thin(length), at_most=0.034 * length),
        corner_radius=corner,
        slot_length=draw("slot_length", at_least=0.32 * width, at_most=0.8 * (width - 2 * corner)),
    )


def make_tray(params: TrayParams) -> tuple[Part, ...]:
    """Build a tray: a wall that follows a rounded rectangle, a floor, and slots near the rim."""
    w, h = params.wall, params.height
    x, y = params.length / 2 - w / 2, params.width / 2 - w / 2
    corners = [(-x, -y), (x, -y), (x, y), (-x, y)]
    radius = params.corner_radius - w / 2
    wall = extrude(stroke(corners, radius, w, closed=True), -h, h, 0.45 * w)
    floor = extrude(outline(corners, radius), -h, w)
    tray = above(smooth_union(floor, wall, 0.8 * w), 0.0)
    slot_height = 0.30 * h
    centre = 0.94 * h - w - slot_height / 2
    slot = box((2 * params.length, params.slot_length, slot_height), (0, 0, centre), 0.48 * slot_height)
    return (
        Part(
            "tray",
            declare(difference(tray, slot), wall=min(w, slot_height), genus=2),
            ("oak", "beech", "bamboo", "plywood", "abs", "acrylic", "aluminium"),
        ),
    )


TRAY = Family("tray", TrayParams, sample_tray, make_tray)
