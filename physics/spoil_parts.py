"""Bodies of several parts that do not fit together, by a multiple of a limit of G4 or G5.

Cubes of the body's own material are put above its topmost vertex, one over the other, each its own hull. Their faces
are level, so gaps and shared volumes are closed forms.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from physics.mesh import Mesh
from physics.model import Body, Hull, Part
from physics.part_fit import PartFitConfig
from physics.spoil_surface import largest_part, true_mass
from physics.truth import box

LIMITS = PartFitConfig()
SIDE = 0.05
"""Side of a cube [L of the body]."""


def parts_apart(body: Body, dose: float) -> Body:
    """A part that hangs in the air, by a gap that is the limit times the dose."""
    side = SIDE * body.size
    return _with_cubes(body, side, lambda size: [dose * LIMITS.gap * size])


def parts_overlap(body: Body, dose: float) -> Body:
    """Two parts that share a volume which is the limit times the dose."""
    volume = sum(part.surface.volume for part in body.parts)
    share = dose * LIMITS.overlap
    # a^2 s = share (V + 2 a^3 - a^2 s) for the height s of what two cubes of side a share.
    side = max(SIDE * body.size, (2 * share * volume) ** (1 / 3))
    height = share * (volume + 2 * side**3) / (1 + share) / side**2
    return _with_cubes(body, side, lambda size: [0.2 * LIMITS.gap * size, -height])


def _with_cubes(body: Body, side: float, gaps_at) -> Body:
    """Return the body with a cube above each gap, the lowest above the topmost vertex.

    Args:
        body: Sound body.
        side: Side of a cube [m].
        gaps_at: From L of the new body, on which limits depend, to the gap below each cube [m].
    """
    host = body.parts[largest_part(body)]
    low, high = body.bounds
    points = np.vstack([part.surface.vertices for part in body.parts])
    x, y, top = points[points[:, 2].argmax()]
    size, edge = body.size, np.array([x, y])
    wide = float((np.maximum(high[:2], edge + side / 2) - np.minimum(low[:2], edge - side / 2)).max())
    for _ in range(100):  # the gap is a share of L, which grows with it: a contraction
        size = max(wide, top - low[2] + sum(gaps_at(size)) + len(gaps_at(size)) * side)
    parts, hulls, level = list(body.parts), list(body.hulls), top
    for number, gap in enumerate(gaps_at(size)):
        cube = _cube(np.array([x, y, level + gap + side / 2]), side)
        name = f"{host.name}_cube_{number}"
        parts.append(Part(name, cube, host.material))
        hulls.append(Hull(cube, name))
        level += gap + side
    made = replace(body, parts=tuple(parts), hulls=tuple(hulls))
    return replace(made, mass_properties=true_mass(made))


def _cube(centre: np.ndarray, side: float) -> Mesh:
    return box((side, side, side)).mesh.translated(centre)
