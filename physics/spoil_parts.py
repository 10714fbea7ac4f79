"""Bodies of several parts that do not fit together, by a multiple of a limit of G4 or G5.

Cubes of the body's own material are put above its topmost vertex, one over the other, each its own hull. Their faces
are level, so gaps and shared volumes are closed forms.

Cubes make a body larger, and with it the lengths that limits are shares of, and give it more surface. Where that would
take an asset over another limit, a dose below 1 is put at another side, or is made of larger cubes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from physics.model import Body, Hull, Part
from physics.part_fit import PartFitConfig
from physics.spoil_room import Room
from physics.spoil_surface import largest_part, true_mass
from physics.truth import box

LIMITS = PartFitConfig()
SIDE = 0.05
"""Side of a cube [L of the body]."""
LARGER = (1.0, 2.0, 4.0)
"""Sides of cubes that are tried below a dose of 1, over the least one [1]."""
FEET = 0.02
"""Height of a vertex over the feet from which on a cube may be put beside it [L]."""
TOP = np.array([0.0, 0.0, 1.0])
SIDES = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])


def parts_apart(body: Body, dose: float) -> Body | None:
    """A part that hangs in the air, by a gap that is the limit times the dose.

    None below a dose of 1 where cubes at no side, of no size, keep clear of the other limits.
    """
    return _with_cubes(body, dose, SIDE * body.size, lambda size, _: [dose * LIMITS.gap * size])


def parts_overlap(body: Body, dose: float) -> Body | None:
    """Two parts that share a volume which is the limit times the dose.

    None below a dose of 1 where cubes at no side, of no size, keep clear of the other limits.
    """
    volume = sum(part.surface.volume for part in body.parts)
    share = dose * LIMITS.overlap
    # a^2 s = share (V + 2 a^3 - a^2 s) for the height s of what two cubes of side a share.
    least = max(SIDE * body.size, (2 * share * volume) ** (1 / 3))

    def gaps_at(size: float, side: float) -> list[float]:
        return [0.2 * LIMITS.gap * size, -share * (volume + 2 * side**3) / (1 + share) / side**2]

    return _with_cubes(body, dose, least, gaps_at)


def _with_cubes(body: Body, dose: float, side: float, gaps_at: Callable[[float, float], list[float]]) -> Body | None:
    """Return the body with a cube beyond each gap, the first beyond the topmost vertex.

    Args:
        body: Sound body.
        dose: Below 1 the first place and size that keeps clear of other limits is taken.
        side: Side of a cube [m].
        gaps_at: From L of the new body, on which limits depend, and the side to the gap before each cube [m].
    """
    if dose >= 1:
        return _stacked(body, TOP, side, gaps_at)
    room = Room(body)
    for larger, direction in itertools.product(LARGER, (TOP, *SIDES)):
        made = _stacked(body, direction, larger * side, gaps_at)
        if made is not None:
            cubes = [part.surface for part in made.parts[len(body.parts) :]]
            if room.is_clear_with(cubes, made.size):
                return made
    return None


def _stacked(
    body: Body, direction: np.ndarray, side: float, gaps_at: Callable[[float, float], list[float]]
) -> Body | None:
    """Return the body with cubes one after the other in a direction; None where the outermost vertex is a foot."""
    host = body.parts[largest_part(body)]
    low, high = body.bounds
    points = np.vstack([part.surface.vertices for part in body.parts])
    axis = int(np.abs(direction).argmax())
    ahead = points @ direction
    tip = points[ahead.argmax()].copy()
    if axis != 2:
        # The vertex has to lie before the face of the cube, which makes the body no wider than it need, and ends above
        # the feet.
        outermost = points[ahead >= ahead.max() - 1e-9 * body.size]
        tip = outermost[outermost[:, 2].argmax()]
        if tip[2] < low[2] + FEET * body.size:
            return None
        above_feet = np.array([0, 0, FEET / 2 * body.size])
        tip = np.maximum(np.minimum(tip, high - side / 2), low + above_feet + side / 2)
    across = [other for other in range(3) if other != axis]
    wide = float((np.maximum(high, tip + side / 2) - np.minimum(low, tip - side / 2))[across].max())
    long = float(high[axis] - low[axis])
    size = body.size
    for _ in range(100):  # the gap is a share of L, which grows with it: a contraction
        gaps = gaps_at(size, side)
        size = max(wide, long + sum(gaps) + len(gaps) * side)
    parts, hulls, level = list(body.parts), list(body.hulls), float(ahead.max())
    for number, gap in enumerate(gaps_at(size, side)):
        centre = tip.copy()
        centre[axis] = direction[axis] * (level + gap + side / 2)
        cube = box((side, side, side)).mesh.translated(centre)
        name = f"{host.name}_cube_{number}"
        parts.append(Part(name, cube, host.material))
        hulls.append(Hull(cube, name))
        level += gap + side
    made = replace(body, parts=tuple(parts), hulls=tuple(hulls))
    return replace(made, mass_properties=true_mass(made))
