"""Open shelves: two sides and boards between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.families.family import Draw, Family, Part, count, span, thin
from generators.sdf import box, declare, union


@dataclass(frozen=True)
class ShelfParams:
    """A shelf without a back; one looks at it along x."""

    height: float = span(0.500, 1.600)
    width: float = span(0.350, 1.000)
    """Along y [m]."""
    depth: float = span(0.160, 0.400)
    """Along x [m]."""
    thickness: float = span(0.014, 0.044)
    boards: int = count(3, 6)
    """Boards with the lowest and the highest [1]."""


def sample_shelf(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> ShelfParams:
    """Draw a shelf."""
    draw = Draw(ShelfParams, rng, fixed)
    height = draw("height")
    width = draw("width", at_least=0.45 * height, at_most=1.1 * height)
    return ShelfParams(
        height=height,
        width=width,
        depth=draw("depth", at_least=0.25 * height, at_most=0.45 * height),
        thickness=draw("thickness", at_least=thin(height, width), at_most=0.034 * max(height, width)),
        boards=int(draw("boards")),
    )


def make_shelf(params: ShelfParams) -> tuple[Part, ...]:
    """Build a shelf. The lowest board stands off the floor, as a plinth."""
    h, w, d, t = params.height, params.width, params.depth, params.thickness
    edge = 0.12 * t
    sides = [box((d, t, h), (0, j * (w / 2 - t / 2), h / 2), edge) for j in (-1, 1)]
    plinth = 2.2 * t
    pitch = (h - t - plinth) / (params.boards - 1)
    boards = [box((d - 2 * edge, w - t, t), (0, 0, plinth + t / 2 + i * pitch), edge) for i in range(params.boards)]
    return (
        Part(
            "shelf",
            declare(union(*sides, *boards), wall=t, genus=params.boards - 1),
            ("oak", "pine", "beech", "plywood", "steel"),
        ),
    )


SHELF = Family("shelf", ShelfParams, sample_shelf, make_shelf)
