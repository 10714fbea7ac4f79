"""Frying pans with a handle that can hang on a hook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline, stroke
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import capsule, declare, difference, extrude, revolve, smooth_union, transform


@dataclass(frozen=True)
class PanParams:
    """A pan with flared wall; the handle points to +x and rises a little."""

    radius: float = span(0.070, 0.145)
    """Outer radius at the rim [m]."""
    depth: float = span(0.030, 0.065)
    wall: float = span(0.0050, 0.0105)
    handle_length: float = span(0.100, 0.210)
    handle_width: float = span(0.016, 0.034)
    handle_thickness: float = span(0.0085, 0.0180)


RISE = np.deg2rad(12.0)
"""Slope of the handle [rad]."""


def sample_pan(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> PanParams:
    """Draw a pan."""
    draw = Draw(PanParams, rng, fixed)
    radius = draw("radius")
    length = draw("handle_length", at_least=1.1 * radius, at_most=1.5 * radius)
    least = thin(2 * radius + length)
    thickness = draw("handle_thickness", at_least=1.35 * least, at_most=0.125 * radius)
    return PanParams(
        radius=radius,
        depth=draw("depth", at_least=0.38 * radius, at_most=0.6 * radius),
        wall=draw("wall", at_least=least, at_most=0.085 * radius),
        handle_length=length,
        handle_width=draw("handle_width", at_least=max(1.5 * thickness, 3.35 * least), at_most=2.6 * thickness),
        handle_thickness=thickness,
    )


def make_pan(params: PanParams) -> tuple[Part, ...]:
    """Build a pan. The handle starts in the wall, and the cavity is cut last."""
    r, d, w, t = params.radius, params.depth, params.wall, params.handle_thickness
    floor, rim, low, high = 0.8 * r, r - w / 2, w / 2, d - w / 2
    bend = 0.35 * d
    dish = revolve(stroke([(0, low), (floor, low), (rim, high)], bend, w))
    slope = np.array([rim - floor, high - low]) / np.hypot(rim - floor, high - low)
    inward = w / 2 * np.array([-slope[1], slope[0]])
    start, end = np.array([floor, low]) + inward, np.array([rim, high]) + inward
    corner = start + slope * (w - start[1]) / slope[1]
    top = end + 2.0 * w * slope
    cavity = revolve(outline([(0, w), corner, top, (0, top[1])], (0, bend - w / 2, 0, 0), axis=True))
    half = params.handle_width / 2
    length = params.handle_length
    root = floor + 0.62 * (rim - floor)
    blade = extrude(
        outline(
            [(0, -0.75 * half), (length, -half), (length, half), (0, 0.75 * half)], (0, 0.98 * half, 0.98 * half, 0)
        ),
        -t / 2,
        t / 2,
        0.4 * t,
    )
    eye = 0.40 * half
    hole = capsule((length - 1.3 * half, 0, -t), (length - 1.3 * half, 0, t), eye)
    c, s = np.cos(RISE), np.sin(RISE)
    tilt = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    handle = transform(difference(blade, hole), tilt, (root, 0.0, low + 0.62 * (high - low)))
    solid = difference(smooth_union(dish, handle, 0.8 * t), cavity)
    return (
        Part(
            "pan",
            declare(solid, wall=min(w, 2 * eye, half - eye), genus=1),
            ("cast_iron", "steel", "aluminium", "stainless_steel"),
        ),
    )


PAN = Family("pan", PanParams, sample_pan, make_pan)
