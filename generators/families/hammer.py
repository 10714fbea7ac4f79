"""Hammers: a steel head on a wooden handle, two parts that fit without overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline
from generators.families.family import Draw, Family, Part, span, thin
from generators.sdf import box, declare, difference, extrude, intersection, upright_plane


@dataclass(frozen=True)
class HammerParams:
    """A cross-peen hammer that stands on its head: the face at +x, the handle upwards."""

    head_length: float = span(0.090, 0.190)
    head_width: float = span(0.024, 0.060)
    head_height: float = span(0.024, 0.066)
    handle_length: float = span(0.180, 0.400)
    """Above the head [m]."""
    handle_width: float = span(0.018, 0.044)
    """Along x [m]."""
    handle_thickness: float = span(0.012, 0.034)
    """Along y [m]."""


def sample_hammer(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> HammerParams:
    """Draw a hammer."""
    draw = Draw(HammerParams, rng, fixed)
    length = draw("head_length")
    width = draw("head_width", at_least=0.25 * length, at_most=0.36 * length)
    height = draw("head_height", at_least=0.9 * width, at_most=1.12 * width)
    handle = draw("handle_length", at_least=1.55 * length, at_most=2.5 * length)
    thickness = draw(
        "handle_thickness", at_least=0.4 * width, at_most=min(0.6 * width, width - 2 * thin(handle + height))
    )
    return HammerParams(
        head_length=length,
        head_width=width,
        head_height=height,
        handle_length=handle,
        handle_width=draw("handle_width", at_least=1.15 * thickness, at_most=min(1.5 * thickness, 0.3 * length)),
        handle_thickness=thickness,
    )


def make_hammer(params: HammerParams) -> tuple[Part, ...]:
    """Build head and handle. The eye of the head is cut by the very function that bounds the handle."""
    w, h = params.head_width, params.head_height
    face, peen = 0.46 * params.head_length, 0.54 * params.head_length
    tip = 0.30 * h
    profile = outline(
        [(-peen, h / 2 - tip / 2), (-0.2 * peen, 0), (face, 0), (face, h), (-0.2 * peen, h), (-peen, h / 2 + tip / 2)],
        (0.45 * tip, 0.3 * peen, 0.06 * h, 0.06 * h, 0.3 * peen, 0.45 * tip),
    )
    block = upright_plane(extrude(profile, -w / 2, w / 2, 0.08 * w))
    top = h + params.handle_length
    a, b = params.handle_width / 2, params.handle_thickness / 2
    shaft = extrude(outline([(-a, -b), (a, -b), (a, b), (-a, b)], 0.9 * b), -h, 2 * top)
    ends = box((4 * a, 4 * b, top), (0, 0, top / 2), 0.35 * b)
    head, handle = difference(block, shaft), intersection(shaft, ends)
    cheek = min((w - 2 * b) / 2, tip)
    return (
        Part("head", declare(head, wall=cheek, genus=1), ("steel", "stainless_steel", "brass", "copper")),
        Part("handle", declare(handle, wall=2 * b), ("oak", "beech", "bamboo")),
    )


HAMMER = Family("hammer", HammerParams, sample_hammer, make_hammer)
