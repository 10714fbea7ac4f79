"""What the limits of the hulls leave of a sound body, so that one defect does not bring another with it.

An asset may lie near any limit. A specimen of a dose below 1 has to keep clear of all but the one that it is graded by,
so whoever makes one asks here how much of the others is left. Nothing here asks the checks: volumes and centres of mass
are exact booleans and closed forms, distances are seen from random points, which are not those of H4, and every limit
is drawn tighter than it is. A check that wrongly refuses such a specimen is therefore seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from physics.hull_error import HullErrorConfig, arrays, farthest_allowed, is_graspable, union_of, unit_solid
from physics.hulls import union_mesh
from physics.mass import integrate_mesh
from physics.mesh import Mesh
from physics.model import Body, Hull

LIMITS = HullErrorConfig()
POINTS = 12000
"""Random points of a surface [1]: a share of 0.04 is seen to 0.002."""
FAR = 0.9
"""Share of the farthest distance of H4 up to which a specimen is clear of it [1]."""
NEAR_PERCENTILE = 0.95
"""Share of the 95th percentile of H4 from which on a distance counts as beyond it [1]."""
FEW = 0.03
"""Share of the surface of a solid that may lie beyond the 95th percentile of H4 in all; it allows 0.05 [1]."""
OUTSIDE = 0.045
"""The same of the surface of hulls [1]. Their points are others for each specimen: 4,000 that were random
would see a share of 0.05 with an error of 0.0034, and those of H4 are spread more evenly."""
LEFT = 0.7
"""Share of what a sound body leaves of the limits of H3 and H5 that a specimen may take [1]."""
WIDE = 1.05
"""Least width of a hull over the limit of H1 from which on it is clear of it [1]."""


class Room:
    """A sound body and its limits; asked about other hulls, or about a part more."""

    def __init__(self, body: Body):
        self.body, self.centre, self.size = body, body.bounds.mean(axis=0), body.size
        surfaces = [part.surface for part in body.parts]
        self.whole = surfaces[0] if len(surfaces) == 1 else union_mesh(surfaces, body.name)
        self.solid = unit_solid(self.whole, centre=self.centre, size=self.size, what="the solid")
        self.area = float(self.solid.surface_area())
        self.farthest = farthest_of(body)
        self._known: dict[tuple[str, ...], dict[str, Any]] = {}

    def _once(self, hulls: Sequence[Hull], what: str, make: Callable[[], Any]) -> Any:
        """Return what is made of hulls; it is kept for the sound ones and for those that were asked about last."""
        sound, key = (tuple(f"{h.mesh.digest} {h.part}" for h in some) for some in (self.body.hulls, hulls))
        if key not in self._known:
            self._known = {sound: self._known.get(sound, {}), key: {}}
        known = self._known[key]
        if what not in known:
            known[what] = make()
        return known[what]

    # ---- volumes ----------------------------------------------------------------------------------------------

    @property
    def most_loss(self) -> float:
        """The volume of the solid over its area [L]."""
        return float(self.solid.volume()) / self.area

    def union(self, hulls: Sequence[Hull]) -> Any:
        """Return the union of hulls, in unit size."""
        return self._once(hulls, "union", lambda: self._pieces(hulls))

    def _pieces(self, hulls: Sequence[Hull]) -> Any:
        return union_of([self.unit(hull.mesh) for hull in hulls])

    def unit(self, mesh: Mesh) -> Any:
        """Return a convex piece in the frame of the solid, in unit size."""
        return unit_solid(mesh, centre=self.centre, size=self.size, what="a hull")

    def inflation(self, hulls: Sequence[Hull]) -> float:
        """Volume of hulls outside the solid over its area [L]."""
        return float((self.union(hulls) - self.solid).volume()) / self.area

    def loss(self, hulls: Sequence[Hull]) -> float:
        """Volume of the solid outside hulls over its area [L]."""
        return float((self.solid - self.union(hulls)).volume()) / self.area

    def shift(self, hulls: Sequence[Hull]) -> float:
        """Distance between the centres of mass of hulls and solid [L]."""
        return float(np.linalg.norm(centre_of(self.union(hulls)) - centre_of(self.solid)))

    # ---- distances --------------------------------------------------------------------------------------------

    def outside(self, hulls: Sequence[Hull]) -> tuple[np.ndarray, np.ndarray]:
        """Return points all over the surface of hulls, its vertices last, and how far outside the solid they are [L].

        Points are in unit size.
        """

        def measured() -> tuple[np.ndarray, np.ndarray]:
            vertices, faces = arrays(self.union(hulls))
            points = np.concatenate([scattered(vertices, faces, POINTS), vertices])
            return points, outside_of(points, *arrays(self.solid))

        return self._once(hulls, "outside", measured)

    def bare(self, hulls: Sequence[Hull]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return points of each part's surface, its vertices last, and how far they are from that of its hulls [L].

        Points are in unit size, and the same for all hulls.
        """
        import igl

        def measured() -> list[tuple[np.ndarray, np.ndarray]]:
            found = []
            for name, points in self._points:
                own = [hull for hull in hulls if hull.part == name] or hulls
                squared = igl.point_mesh_squared_distance(points, *arrays(self._pieces(own)))[0]
                found.append((points, np.sqrt(np.asarray(squared))))
            return found

        return self._once(hulls, "bare", measured)

    @cached_property
    def _points(self) -> list[tuple[str, np.ndarray]]:
        found = []
        for part in self.body.parts:
            vertices = (part.surface.vertices - self.centre) / self.size
            found.append((part.name, np.concatenate([scattered(vertices, part.surface.faces, POINTS), vertices])))
        return found

    @cached_property
    def sound_outside(self) -> np.ndarray:
        """Distances of points of the sound hulls outside the solid; vertices last [L]."""
        return self.outside(self.body.hulls)[1]

    @cached_property
    def _sound_bare(self) -> list[np.ndarray]:
        return [distance for _, distance in self.bare(self.body.hulls)]

    def places_too_far(self, hulls: Sequence[Hull]) -> np.ndarray:
        """Return points (n, 3) [m] whose distance is no longer clear of the farthest one of H4."""
        points, out = self.outside(hulls)
        far = [points[out > max(FAR * self.farthest, float(self.sound_outside.max()))]]
        for (places, distance), sound in zip(self.bare(hulls), self._sound_bare, strict=True):
            far.append(places[distance > np.maximum(FAR * self.farthest, sound + 1e-9)])
        return self.size * np.concatenate(far) + self.centre

    # ---- laws -------------------------------------------------------------------------------------------------

    def is_clear(self, hulls: Sequence[Hull]) -> bool:
        """Whether hulls in place of the sound ones keep clear of H1, H3, H4 and H5."""
        return (
            len(hulls) <= LIMITS.hulls_limit
            and self._is_wide(hulls)
            and self._is_balanced(hulls)
            and self.loss(hulls) <= left_of(self.loss(self.body.hulls), LIMITS.loss_limit)
            and self.shift(hulls) <= left_of(self.shift(self.body.hulls), LIMITS.com_limit)
            and self._is_near(hulls)
        )

    def _is_wide(self, hulls: Sequence[Hull]) -> bool:
        sound = {id(hull) for hull in self.body.hulls}
        new = [width_of(hull.mesh) / self.size for hull in hulls if id(hull) not in sound]
        return min(new, default=np.inf) >= WIDE * LIMITS.least_width

    def _is_balanced(self, hulls: Sequence[Hull], com: np.ndarray | None = None) -> bool:
        """Whether solid and hulls both stand upright, or both fall over."""
        com = centre_of(self.solid) if com is None else com
        margins = [standing_margin(arrays(solid)[0], com) for solid in (self.solid, self.union(hulls))]
        return min(margins) > -LIMITS.support_change / 2 or max(margins) < LIMITS.support_change / 2

    def _is_near(self, hulls: Sequence[Hull]) -> bool:
        """Whether distances keep clear of the 95th percentile and the farthest one of H4.

        The points of a solid stay where they are. So what was beyond in the sound body stays as it is, and is added to
        what got there; where nothing got there, the sound body and the specimen are alike.
        """
        if len(self.places_too_far(hulls)):
            return False
        for (_, distance), sound in zip(self.bare(hulls), self._sound_bare, strict=True):
            distance, sound = distance[:POINTS], sound[:POINTS]
            got = (distance > NEAR_PERCENTILE * LIMITS.percentile_limit) & (distance > sound + 1e-9)
            if got.any() and (got | (sound > LIMITS.percentile_limit)).mean() > FEW:
                return False
        return share_beyond(self.outside(hulls)[1]) <= OUTSIDE

    def is_clear_with(self, more: Sequence[Mesh], size: float) -> bool:
        """Whether the body keeps clear with more parts above its feet, each its own hull.

        Distances stay what they were and become smaller shares of a larger body, and of its larger surface:
        s' = s(d > limit L' / L) A / (A + A'). So do the widths of hulls, which must not get too small.

        Args:
            more: Surfaces of the parts [m].
            size: L' of the body with them [m].
        """
        growth = size / self.size
        area = float(self.union(self.body.hulls).surface_area())
        beyond = share_beyond(self.sound_outside, growth) * area / (area + sum(m.area for m in more) / self.size**2)
        width = min(width_of(hull.mesh) for hull in self.body.hulls) / size
        volumes = np.array([float(self.solid.volume()), *(m.volume / self.size**3 for m in more)])
        centres = [centre_of(self.solid), *((m.bounds.mean(axis=0) - self.centre) / self.size for m in more)]
        return (
            len(self.body.hulls) + len(more) <= LIMITS.hulls_limit
            and (growth <= 1 + 1e-9 or width >= WIDE * LIMITS.least_width)
            and beyond <= OUTSIDE
            and self._is_balanced(self.body.hulls, volumes @ np.array(centres) / volumes.sum())
        )


def farthest_of(body: Body) -> float:
    """Return the limit of the farthest distance of H4 [L]."""
    points = np.vstack([part.surface.vertices for part in body.parts])
    whole = Mesh(points, np.zeros((0, 3), dtype=np.int32))
    return farthest_allowed(LIMITS, size=body.size, graspable=is_graspable(whole, None, LIMITS))


def left_of(sound: float, limit: float) -> float:
    """Return how far a value may go that is `sound` in the sound body."""
    return sound + LEFT * max(limit - sound, 0.0)


def share_beyond(distances: np.ndarray, growth: float = 1.0) -> float:
    """Return the share of points, vertices left out, beyond the 95th percentile of H4 of a body that is larger."""
    return float((distances[:POINTS] > growth * LIMITS.percentile_limit).mean())


def centre_of(solid: Any) -> np.ndarray:
    """Return the centre of mass of a solid of uniform density."""
    vertices, faces = arrays(solid)
    return integrate_mesh(Mesh(vertices, faces.astype(np.int32)), density=1.0).com


def outside_of(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return how far points are outside a closed surface; 0 inside."""
    import igl

    kind = igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
    signed = igl.signed_distance(points, vertices, faces.astype(np.int64), sign_type=kind)[0]
    return np.maximum(np.asarray(signed).reshape(-1), 0.0)


def scattered(vertices: np.ndarray, faces: np.ndarray, count: int) -> np.ndarray:
    """Return random points of a surface, the same on every call."""
    rng = np.random.default_rng(0)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(faces), count, p=area / area.sum())
    root, along = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    return (1 - root) * a[face] + root * (1 - along) * b[face] + root * along * c[face]


def width_of(mesh: Mesh) -> float:
    """Return the least width of a convex piece across any of its faces; 0 where it is flat [m]."""
    try:
        normals = ConvexHull(mesh.vertices).equations[:, :3]
    except QhullError:
        return 0.0
    return float(np.ptp(mesh.vertices @ normals.T, axis=0).min())


def standing_margin(vertices: np.ndarray, com: np.ndarray) -> float:
    """Return how far inside the polygon of the lowest vertices a point stands; negative outside [L]."""
    feet = vertices[vertices[:, 2] <= vertices[:, 2].min() + LIMITS.support_height][:, :2]
    try:
        sides = ConvexHull(feet).equations
    except (QhullError, ValueError):  # a point or a line
        return -float(np.linalg.norm(feet - com[:2], axis=1).min())
    return -float((sides[:, :2] @ com[:2] + sides[:, 2]).max())
