"""Solids as signed distance: primitives, operators and folds.

Every function here is 1-Lipschitz and negative inside. Hence |f(p)| is never more than the distance from p to the
surface f = 0, and a block of the lattice whose centre is far from 0 can be skipped without a look inside.
Primitives are exact distances. Minimum and maximum keep the Lipschitz bound, and so does composition with a
rigid motion or with a fold (a reflection of one half space onto the other, which never lengthens a distance).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from generators.curves import Region, outline
from generators.errors import ParameterError

Field = Callable[[np.ndarray], np.ndarray]
"""Maps points (N, 3) [m] to signed distance (N,) [m]."""


@dataclass(frozen=True, eq=False)
class Solid:
    """A solid given by a 1-Lipschitz signed distance, with what its maker declares about it."""

    distance: Field
    """Points (N, 3) [m] to signed distance (N,) [m], negative inside."""
    bounds: Float64[np.ndarray, "2 3"]
    """Box that holds the solid: smallest and largest corner [m]."""
    wall: float = np.inf
    """Least thickness of material, and least width of an opening or gap [m]."""
    genus: int = 0
    """Number of handles of the surface (tunnels through the solid)."""
    components: int = 1
    """Number of connected pieces."""
    symmetry_axis: tuple[float, float, float] | None = None
    """Axis of full rotational symmetry, if there is one."""


def declare(solid: Solid, *, wall: float, genus: int = 0, axis: tuple[float, float, float] | None = None) -> Solid:
    """Return the solid with its thinnest wall [m], genus and symmetry axis stated."""
    return replace(solid, wall=float(wall), genus=genus, symmetry_axis=axis)


# ---------------------------------------------------------------------------------------------- primitives


def box(size: Sequence[float], centre: Sequence[float] = (0.0, 0.0, 0.0), rounding: float = 0.0) -> Solid:
    """Return a box of outer `size` (3,) [m] about `centre`, its edges rounded by `rounding` [m]; exact."""
    half, middle = np.asarray(size, dtype=np.float64) / 2, np.asarray(centre, dtype=np.float64)
    if not 0.0 <= rounding <= half.min():
        raise ParameterError(f"box of size {np.asarray(size)} m: rounding is {rounding:g} m, at most {half.min():g} m")
    return Solid(
        lambda p: _box_distance(p, middle, half - rounding) - rounding, np.stack([middle - half, middle + half])
    )


def sphere(radius: float, centre: Sequence[float] = (0.0, 0.0, 0.0)) -> Solid:
    """Return a ball [m]; exact."""
    return capsule(centre, centre, radius)


def capsule(start: Sequence[float], end: Sequence[float], radius: float) -> Solid:
    """Return all points within `radius` [m] of a segment; exact."""
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    along, length = b - a, float((b - a) @ (b - a))

    def distance(p: np.ndarray) -> np.ndarray:
        q = [p[:, i] - a[i] for i in range(3)]
        if length > 0.0:
            t = np.clip((q[0] * along[0] + q[1] * along[1] + q[2] * along[2]) / length, 0.0, 1.0)
            q = [q[i] - t * along[i] for i in range(3)]
        return np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2]) - radius

    ends = np.stack([a, b])
    return Solid(distance, np.stack([ends.min(axis=0) - radius, ends.max(axis=0) + radius]))


def revolve(region: Region) -> Solid:
    """Turn a plane region (u = distance from the z axis, v = z) about the z axis; exact when the region is.

    The nearest surface point lies in the same half plane through the axis as the point itself.
    """
    reach = float(region.bounds[1, 0])
    low, high = region.bounds[:, 1]

    def distance(p: np.ndarray) -> np.ndarray:
        return region.distance(np.sqrt(p[:, 0] * p[:, 0] + p[:, 1] * p[:, 1]), p[:, 2])

    return Solid(distance, np.array([[-reach, -reach, low], [reach, reach, high]]))


def cylinder(radius: float, low: float, high: float, rounding: float = 0.0) -> Solid:
    """Return an upright cylinder about the z axis from z = `low` to `high` [m], edges rounded [m]; exact."""
    return cone(radius, radius, low, high, rounding)


def cone(bottom: float, top: float, low: float, high: float, rounding: float = 0.0) -> Solid:
    """Return an upright truncated cone of radii `bottom` and `top` [m], edges rounded [m]; exact."""
    profile = outline([(0, low), (bottom, low), (top, high), (0, high)], (0, rounding, rounding, 0), axis=True)
    return revolve(profile)


def torus(ring: float, tube: float, height: float = 0.0) -> Solid:
    """Return a torus about the z axis at z = `height`: radius of the ring and of the tube [m]; exact."""

    def distance(p: np.ndarray) -> np.ndarray:
        outward = np.sqrt(p[:, 0] * p[:, 0] + p[:, 1] * p[:, 1]) - ring
        up = p[:, 2] - height
        return np.sqrt(outward * outward + up * up) - tube

    reach = ring + tube
    return Solid(distance, np.array([[-reach, -reach, height - tube], [reach, reach, height + tube]]))


def extrude(region: Region, low: float, high: float, rounding: float = 0.0) -> Solid:
    """Pull a plane region (u = x, v = y) along z from `low` to `high` [m], end edges rounded [m].

    Exact when the region is; with rounding, exact where the region shrunk by it keeps its shape.
    """
    middle, half = (low + high) / 2, (high - low) / 2 - rounding

    def distance(p: np.ndarray) -> np.ndarray:
        side = region.distance(p[:, 0], p[:, 1]) + rounding
        cap = np.abs(p[:, 2] - middle) - half
        corner = np.sqrt(np.maximum(side, 0.0) ** 2 + np.maximum(cap, 0.0) ** 2)
        return np.minimum(np.maximum(side, cap), 0.0) + corner - rounding

    return Solid(distance, np.column_stack([region.bounds, [low, high]]))


# ------------------------------------------------------------------------------------------------- motions


def translate(solid: Solid, offset: Sequence[float]) -> Solid:
    """Return the solid moved by `offset` (3,) [m]."""
    shift = np.asarray(offset, dtype=np.float64)
    return replace(solid, distance=lambda p: solid.distance(p - shift), bounds=solid.bounds + shift)


def transform(solid: Solid, rotation: np.ndarray, offset: Sequence[float] = (0.0, 0.0, 0.0)) -> Solid:
    """Return the solid turned by `rotation` (3, 3), then moved by `offset` (3,) [m], boxed anew."""
    shift = np.asarray(offset, dtype=np.float64)
    corners = np.array(
        [[solid.bounds[i, 0], solid.bounds[j, 1], solid.bounds[k, 2]] for i, j, k in np.ndindex(2, 2, 2)]
    )
    moved = corners @ rotation.T + shift
    return replace(
        solid,
        distance=lambda p: solid.distance((p - shift) @ rotation),
        bounds=np.stack([moved.min(axis=0), moved.max(axis=0)]),
    )


def upright_plane(solid: Solid) -> Solid:
    """Stand a solid drawn in x, y and pulled along z upright: drawing (u, v) becomes (x, z), the pull becomes -y."""
    quarter = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    return transform(solid, quarter)


def sideways_plane(solid: Solid) -> Solid:
    """Lay a solid pulled along z down along x: drawing (u, v) becomes (y, z), the pull becomes x."""
    cycle = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return transform(solid, cycle)


def turn_z(solid: Solid, angle: float) -> Solid:
    """Return the solid turned by `angle` [rad] about the z axis."""
    c, s = np.cos(angle), np.sin(angle)
    return transform(solid, np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]))


# --------------------------------------------------------------------------------------------------- folds


def mirror(solid: Solid, axes: str) -> Solid:
    """Repeat the part of a solid at positive coordinates at the negative ones, for each axis named in `axes`.

    Folding space onto its positive half never lengthens a distance, so the result is 1-Lipschitz.
    """
    folded = ["xyz".index(a) for a in axes]

    def distance(p: np.ndarray) -> np.ndarray:
        q = p.copy(order="K")
        for axis in folded:
            np.abs(q[:, axis], out=q[:, axis])
        return solid.distance(q)

    bounds = solid.bounds.copy()
    bounds[0, folded] = -bounds[1, folded]
    return replace(solid, distance=distance, bounds=bounds)


def polar(solid: Solid, count: int) -> Solid:
    """Repeat a solid `count` times about the z axis; the original lies about +x and is symmetric in y.

    The plane is folded like a kaleidoscope onto the wedge 0 <= angle <= pi / count. Folds do not lengthen
    distances and agree at the borders of the wedge, so that no sector border can break the bound (plain angle
    repetition jumps there, and overestimates the distance to the neighbour).
    """
    sector = 2 * np.pi / count

    def distance(p: np.ndarray) -> np.ndarray:
        radius = np.sqrt(p[:, 0] * p[:, 0] + p[:, 1] * p[:, 1])
        angle = np.arctan2(p[:, 1], p[:, 0])
        angle = np.abs(angle - sector * np.round(angle / sector))
        return solid.distance(np.stack([radius * np.cos(angle), radius * np.sin(angle), p[:, 2]]).T)

    reach = float(np.hypot(np.abs(solid.bounds[:, 0]).max(), np.abs(solid.bounds[:, 1]).max()))
    low, high = solid.bounds[:, 2]
    return replace(solid, distance=distance, bounds=np.array([[-reach, -reach, low], [reach, reach, high]]))


# ----------------------------------------------------------------------------------------------- operators


def union(*solids: Solid) -> Solid:
    """Return all that is in any of the solids (minimum).

    Exact outside when its members are, a lower bound inside. Each later member is sharpened by the distance to
    its box and evaluated only where that is nearer than what is known already.
    """

    def distance(p: np.ndarray) -> np.ndarray:
        known = solids[0].distance(p)
        for solid in solids[1:]:
            far = box_distance(p, solid.bounds)
            near = np.flatnonzero(far < known)
            if near.size:
                value = np.maximum(solid.distance(_pick(p, near)), far[near])
                known[near] = np.minimum(known[near], value)
        return known

    return Solid(distance, _hull_of_boxes(solids))


def smooth_union(first: Solid, second: Solid, fillet: float) -> Solid:
    """Return the union with its inner corner filled over a width of about `fillet` [m].

    Polynomial smooth minimum (Quilez): `min(a, b) - h^2 fillet / 4` with `h = max(fillet - |a - b|, 0) / fillet`.
    Its derivatives by a and b are weights in [0, 1] that add to 1, so its gradient is a mean of two gradients:
    1-Lipschitz. It adds material, at most `fillet / 4` beyond the union, and none where |a - b| >= fillet.
    """

    def distance(p: np.ndarray) -> np.ndarray:
        known = first.distance(p)
        far = box_distance(p, second.bounds)
        near = np.flatnonzero(far < known + fillet)
        if near.size:
            a, b = known[near], np.maximum(second.distance(_pick(p, near)), far[near])
            blend = np.maximum(fillet - np.abs(a - b), 0.0)
            known[near] = np.minimum(a, b) - blend * blend / (4 * fillet)
        return known

    return Solid(distance, _hull_of_boxes((first, second)))


def intersection(first: Solid, second: Solid) -> Solid:
    """Return all that is in both solids (maximum): exact inside when both are, a lower bound outside."""
    low = np.maximum(first.bounds[0], second.bounds[0])
    high = np.minimum(first.bounds[1], second.bounds[1])
    return Solid(lambda p: np.maximum(first.distance(p), second.distance(p)), np.stack([low, high]))


def difference(solid: Solid, *cutters: Solid) -> Solid:
    """Return the solid without the cutters (maximum with the negated distance); a lower bound near cut edges.

    A cutter is evaluated only where its box is near enough to matter.
    """

    def distance(p: np.ndarray) -> np.ndarray:
        known = solid.distance(p)
        for cutter in cutters:
            far = box_distance(p, cutter.bounds)
            near = np.flatnonzero(-far > known)
            if near.size:
                value = np.maximum(cutter.distance(_pick(p, near)), far[near])
                known[near] = np.maximum(known[near], -value)
        return known

    return Solid(distance, solid.bounds)


def offset(solid: Solid, amount: float) -> Solid:
    """Return the solid grown by `amount` [m], which rounds its outer edges."""
    grown = solid.bounds + np.array([[-amount], [amount]])
    return Solid(lambda p: solid.distance(p) - amount, grown)


def shell(solid: Solid, thickness: float) -> Solid:
    """Return the skin of a solid, `thickness` [m] in all, half of it on each side of the surface."""
    grown = solid.bounds + np.array([[-thickness / 2], [thickness / 2]])
    return Solid(lambda p: np.abs(solid.distance(p)) - thickness / 2, grown)


def above(solid: Solid, height: float) -> Solid:
    """Return the part of a solid at z >= `height` [m], with a flat base there."""
    bounds = solid.bounds.copy()
    bounds[0, 2] = max(bounds[0, 2], height)
    return Solid(lambda p: np.maximum(solid.distance(p), height - p[:, 2]), bounds)


def between(solid: Solid, low: float, high: float) -> Solid:
    """Return the part of a solid with `low` <= z <= `high` [m], flat at both ends."""
    bounds = solid.bounds.copy()
    bounds[0, 2], bounds[1, 2] = max(bounds[0, 2], low), min(bounds[1, 2], high)
    middle, half = (low + high) / 2, (high - low) / 2
    return Solid(lambda p: np.maximum(solid.distance(p), np.abs(p[:, 2] - middle) - half), bounds)


def box_distance(points: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return the signed distance (N,) [m] from points (N, 3) to an axis-aligned box (2, 3), 0 or more outside only.

    Inside it is cut at 0 from above by construction and never used as a depth, so it is set to minus infinity.
    """
    squared = np.zeros(len(points))
    for axis in range(3):
        column = points[:, axis]
        gap = np.maximum(bounds[0, axis] - column, column - bounds[1, axis])
        np.maximum(gap, 0.0, out=gap)
        squared += gap * gap
    result = np.sqrt(squared)
    result[squared == 0.0] = -np.inf
    return result


def _box_distance(p: np.ndarray, centre: np.ndarray, half: np.ndarray) -> np.ndarray:
    q = [np.abs(p[:, i] - centre[i]) - half[i] for i in range(3)]
    outside = np.maximum(q[0], 0.0) ** 2 + np.maximum(q[1], 0.0) ** 2 + np.maximum(q[2], 0.0) ** 2
    return np.sqrt(outside) + np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0.0)


def _pick(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return chosen points, each coordinate contiguous."""
    return np.stack([points[:, i][rows] for i in range(3)]).T


def _hull_of_boxes(solids: Sequence[Solid]) -> np.ndarray:
    return np.stack([np.min([s.bounds[0] for s in solids], axis=0), np.max([s.bounds[1] for s in solids], axis=0)])
