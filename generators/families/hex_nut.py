"""Hexagon nuts with chamfered corners and a countersunk bore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline
from generators.families.family import Draw, Family, Part, span
from generators.sdf import declare, difference, extrude, intersection, revolve


@dataclass(frozen=True)
class HexNutParams:
    """A hexagon nut that lies flat, its axis along z; the bore carries no thread."""

    across_flats: float = span(0.012, 0.060)
    height: float = span(0.006, 0.040)
    bore_radius: float = span(0.003, 0.020)
    chamfer: float = span(0.0008, 0.0048)
    """Depth of the countersink [m]."""


def sample_hex_nut(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> HexNutParams:
    """Draw a nut."""
    draw = Draw(HexNutParams, rng, fixed)
    flats = draw("across_flats")
    return HexNutParams(
        across_flats=flats,
        height=draw("height", at_least=0.4 * flats, at_most=0.95 * flats),
        bore_radius=draw("bore_radius", at_least=0.24 * flats, at_most=0.34 * flats),
        chamfer=draw("chamfer", at_least=0.03 * flats, at_most=0.08 * flats),
    )


def make_hex_nut(params: HexNutParams) -> tuple[Part, ...]:
    """Build a nut; the corners are cut by a cone of 30 degrees, as on a turned nut."""
    h, bore, c = params.height, params.bore_radius, params.chamfer
    corner = params.across_flats / np.sqrt(3)
    hexagon = [(corner * np.cos(a), corner * np.sin(a)) for a in np.arange(6) * np.pi / 3]
    prism = extrude(outline(hexagon, 0.04 * corner), 0, h)
    flat = 0.94 * params.across_flats / 2
    drop = (corner - flat) * np.tan(np.deg2rad(30.0))
    turned = revolve(outline([(0, 0), (flat, 0), (corner, drop), (corner, h - drop), (flat, h), (0, h)], axis=True))
    drill = revolve(
        outline([(0, -c), (bore + 2 * c, -c), (bore, c), (bore, h - c), (bore + 2 * c, h + c), (0, h + c)], axis=True)
    )
    solid = difference(intersection(prism, turned), drill)
    return (
        Part(
            "hex_nut",
            declare(solid, wall=params.across_flats / 2 - bore - c, genus=1),
            ("steel", "stainless_steel", "brass", "titanium", "nylon"),
        ),
    )


HEX_NUT = Family("hex_nut", HexNutParams, sample_hex_nut, make_hex_nut)
