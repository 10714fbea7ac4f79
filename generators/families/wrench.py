"""Combination wrenches: an open jaw and a ring with a hexagon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import between, box, cylinder, declare, difference, extrude, smooth_union, translate, turn_z, union


@dataclass(frozen=True)
class WrenchParams:
    """A combination wrench that lies flat along x, the jaw at +x."""

    length: float = span(0.110, 0.300)
    """Between the centres of the heads [m]."""
    flats: float = span(0.009, 0.036)
    """Width across flats of the nut it fits [m]."""
    thickness: float = span(0.0042, 0.0130)
    handle_width: float = span(0.0085, 0.0280)


def sample_wrench(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> WrenchParams:
    """Draw a wrench."""
    draw = Draw(WrenchParams, rng, fixed)
    length = draw("length")
    flats = draw("flats", at_least=0.085 * length, at_most=0.14 * length)
    return WrenchParams(
        length=length,
        flats=flats,
        thickness=draw("thickness", at_least=thin(length + 2.4 * flats) / 0.86, at_most=0.5 * flats),
        handle_width=draw("handle_width", at_least=0.7 * flats, at_most=1.0 * flats),
    )


def make_wrench(params: WrenchParams) -> tuple[Part, ...]:
    """Build a wrench; the jaw opens 15 degrees off the handle, as is usual."""
    half, s, t = params.length / 2, params.flats, params.thickness
    head, ring, edge = 1.22 * s, 0.98 * s, 0.22 * t
    shift = (half, 0.0, 0.0)
    # Blended as long prisms and cut to thickness last: a fillet must not lift the flat faces.
    deep = 4 * s
    jaw = translate(cylinder(head, -deep, deep), shift)
    eye = translate(cylinder(ring, -deep, deep), (-half, 0.0, 0.0))
    boss = translate(cylinder(0.94 * ring, 0, 1.2 * t, edge), (-half, 0.0, 0.0))
    low, high = -half, half
    w0, w1 = params.handle_width / 2, 0.86 * params.handle_width / 2
    bar = extrude(outline([(low, -w1), (high, -w0), (high, w0), (low, w1)]), -deep, deep)
    blank = union(between(smooth_union(smooth_union(bar, jaw, 0.7 * s), eye, 0.5 * s), 0.0, t), boss)
    corner = s / np.sqrt(3)
    hexagon = outline([(corner * np.cos(a), corner * np.sin(a)) for a in np.arange(6) * np.pi / 3], 0.06 * s)
    socket = translate(extrude(hexagon, -t, 3 * t), (-half, 0.0, 0.0))
    mouth = box((3 * s, s, 4 * t), (1.05 * s, 0, 0), 0.2 * s if 0.2 * s < 2 * t else 0.0)
    mouth = translate(turn_z(mouth, np.deg2rad(15.0)), shift)
    solid = difference(blank, socket, mouth)
    return (
        Part(
            "wrench",
            declare(solid, wall=min(ring - corner, head - s / 2 - 0.2 * s, t), genus=1),
            ("steel", "stainless_steel", "titanium"),
        ),
    )


WRENCH = Family("wrench", WrenchParams, sample_wrench, make_wrench)
