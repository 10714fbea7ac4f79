"""Spur gears with a bore, a hub and a ring of holes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from generators.curves import outline
from generators.families.family import Draw, Family, Part, count, span
from generators.sdf import between, cylinder, declare, difference, extrude, polar, smooth_union, translate, union


@dataclass(frozen=True)
class GearParams:
    """A spur gear that lies flat, its axis along z."""

    radius: float = span(0.020, 0.080)
    """Radius of the pitch circle [m]."""
    thickness: float = span(0.006, 0.030)
    bore_radius: float = span(0.003, 0.018)
    teeth: int = count(12, 24)
    holes: int = count(3, 6)


def sample_gear(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> GearParams:
    """Draw a gear."""
    draw = Draw(GearParams, rng, fixed)
    radius = draw("radius")
    return GearParams(
        radius=radius,
        thickness=draw("thickness", at_least=0.2 * radius, at_most=0.5 * radius),
        bore_radius=draw("bore_radius", at_least=0.12 * radius, at_most=0.24 * radius),
        teeth=int(draw("teeth")),
        holes=int(draw("holes")),
    )


def make_gear(params: GearParams) -> tuple[Part, ...]:
    """Build a gear of standard proportions: addendum one module, dedendum 1.2, flanks straight at 20 degrees."""
    r, t, bore = params.radius, params.thickness, params.bore_radius
    module = 2 * r / params.teeth
    tip, root = r + module, r - 1.2 * module
    half = np.pi * module / 4  # half of the tooth at the pitch circle
    lean = np.tan(np.deg2rad(20.0))
    at_tip, at_root = half - module * lean, half + 1.2 * module * lean
    tooth = outline(
        [
            (0.9 * root, -at_root),
            (root, -at_root),
            (tip, -at_tip),
            (tip, at_tip),
            (root, at_root),
            (0.9 * root, at_root),
        ],
        (0, 0, 0.25 * module, 0.25 * module, 0, 0),
    )
    edge = min(0.25 * module, 0.1 * t)
    # Blended as long prisms and cut to thickness last: a fillet must not lift the flat faces.
    prisms = cylinder(root, -r, r), polar(extrude(tooth, -r, r), params.teeth)
    rim = between(smooth_union(*prisms, 0.35 * module), 0, t)
    hub_radius, web = bore + 0.16 * r, root - 0.12 * r
    hole_radius = min(0.42 * (web - hub_radius), 0.66 * (web + hub_radius) / 2 * np.sin(np.pi / params.holes))
    middle = (web + hub_radius) / 2
    holes = polar(translate(cylinder(hole_radius, -t, 2 * t), (middle, 0, 0)), params.holes)
    hub = cylinder(hub_radius, 0, 1.25 * t, edge)
    solid = difference(union(rim, hub), holes, cylinder(bore, -t, 2 * t))
    bounds = np.array([[-tip, -tip, 0], [tip, tip, 1.25 * t]])
    gap = min(2 * middle * np.sin(np.pi / params.holes) - 2 * hole_radius, 2 * hole_radius, 2 * at_tip)
    return (
        Part(
            "gear",
            declare(replace(solid, bounds=bounds), wall=min(gap, 0.16 * r, t), genus=1 + params.holes),
            ("steel", "brass", "nylon", "cast_iron", "abs"),
        ),
    )


GEAR = Family("gear", GearParams, sample_gear, make_gear)
