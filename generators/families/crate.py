"""Slatted crates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.families.family import Draw, Family, Part, count, grid, span, thin
from generators.sdf import box, declare, difference, union


@dataclass(frozen=True)
class CrateParams:
    """An open box whose four walls are slats between solid corners."""

    length: float = span(0.260, 0.600)
    """Outer length along x [m]."""
    width: float = span(0.180, 0.440)
    height: float = span(0.140, 0.360)
    wall: float = span(0.0070, 0.0180)
    gap: float = span(0.0100, 0.0300)
    """Height of the gaps between slats [m]."""
    gaps: int = count(1, 4)
    """Gaps in each wall [1]."""


def sample_crate(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> CrateParams:
    """Draw a crate."""
    draw = Draw(CrateParams, rng, fixed)
    length = draw("length")
    height = draw("height", at_least=0.40 * length, at_most=0.62 * length)
    gaps = int(draw("gaps"))
    return CrateParams(
        length=length,
        width=draw("width", at_least=0.58 * length, at_most=0.85 * length),
        height=height,
        wall=draw("wall", at_least=thin(length), at_most=0.036 * length),
        gap=draw("gap", at_least=thin(length), at_most=0.45 * height / (gaps + 1)),
        gaps=gaps,
    )


def make_crate(params: CrateParams) -> tuple[Part, ...]:
    """Build a crate: corner posts inside the walls, slots cut between them."""
    x, y, h, w = params.length, params.width, params.height, params.wall
    shell = difference(box((x, y, h), (0, 0, h / 2), 0.2 * w), box((x - 2 * w, y - 2 * w, h), (0, 0, w + h / 2)))
    post = 1.1 * w
    posts = [
        box((2 * post, 2 * post, h - w), (i * (x / 2 - w / 2 - post), j * (y / 2 - w / 2 - post), (h - w) / 2), 0.2 * w)
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    reach = 2 * post + 1.5 * w
    pitch = (h - w) / (params.gaps + 1)
    heights = [w + (h - w) / 2 + z for z in grid(params.gaps, pitch)]
    slots = [box((2 * x, y - 2 * reach, params.gap), (0, 0, z)) for z in heights]
    slots += [box((x - 2 * reach, 2 * y, params.gap), (0, 0, z)) for z in heights]
    solid = union(difference(shell, *slots), *posts)
    least = min(w, params.gap, pitch - params.gap)
    return (
        Part(
            "crate",
            declare(solid, wall=least, genus=4 * params.gaps),
            ("pine", "beech", "plywood", "hdpe", "polypropylene"),
        ),
    )


CRATE = Family("crate", CrateParams, sample_crate, make_crate)
