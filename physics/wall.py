"""Wall thickness of a solid, by rays cast inwards from its surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

NEEDLE = 0.05
"""Height over longest edge of a face below which it is a needle [1]."""


@dataclass(frozen=True)
class WallConfig:
    """How thickness is sampled."""

    samples: int = 4000
    """Sample points, spread evenly over the area; the centre of each face is one more."""
    parallel_angle: float = 0.5236
    """Largest angle between the two sides of a wall [rad]; beyond (30 degrees) it is an edge of the solid."""
    start_depth: float = 5e-6
    """How far below the surface a ray starts, as a share of the largest extent; the rays are in single precision."""


@dataclass(frozen=True)
class Wall:
    """The thinnest wall that was found."""

    thickness: float
    """Distance between the two sides [m]; the largest extent when no two sides are parallel within the angle."""
    place: tuple[float, float, float]
    """Where it was measured, on the surface [m]."""


def thinnest_wall(vertices: Float64[np.ndarray, "V 3"], faces: Int64[np.ndarray, "F 3"], config: WallConfig) -> Wall:
    """Return the thinnest wall of a closed solid wound outwards.

    A ray runs inwards along the normal to the first face beyond. Near a convex edge or corner it may leave the solid
    after a short way, through a face at an angle; that is no wall, so a hit counts only when the face left is
    parallel to the face entered within `parallel_angle`. Sharper wedges count, as they should: a knife is thin.
    The points spread over the area may all miss what is small, such as a fin on a large mesh, so every face is tried at
    its centre. On a mesh of many faces these centres also meet folds of the surface at an edge, as narrow as rounding
    makes them; there a centre counts only when the two faces share no corner, and the first is no needle that is
    narrower than the matter behind it is thick.
    Where the first face beyond is no exit, or is missing, the ray is cast again in double precision from the surface.

    Args:
        vertices: Positions [m].
        faces: Triangles with non-zero area where it matters; faces without area are not sampled.
        config: Samples and angles.
    """
    a, b, c = (vertices[faces[:, side]] for side in range(3))
    cross = np.cross(b - a, c - a)
    twice = np.linalg.norm(cross, axis=1)
    normals = cross / np.where(twice > 0, twice, 1)[:, None]
    size = float(np.ptp(vertices, axis=0).max())
    points, owner = spread_points(np.stack([a, b, c], axis=1), twice, config.samples)
    solid = np.flatnonzero(twice > 0)
    points = np.concatenate([points, (a[solid] + b[solid] + c[solid]) / 3])
    added = np.arange(len(points)) >= len(owner)
    owner = np.concatenate([owner, solid])
    directions = -normals[owner]
    distance, hit = first_hits(vertices, faces, points + config.start_depth * size * directions, directions, size)
    distance += config.start_depth * size
    facing = np.where(hit >= 0, np.einsum("ni,ni->n", directions, normals[hit]), -1.0)
    for ray in np.flatnonzero(facing <= 0):
        distance[ray], face = _exact_exit(a, b, c, normals, points[ray], directions[ray], int(owner[ray]))
        facing[ray] = directions[ray] @ normals[face] if face >= 0 else -1.0
        hit[ray] = face
    wall = facing >= np.cos(config.parallel_angle)
    if len(faces) >= config.samples:
        folded = _touches(faces, owner, hit) | _is_narrow(np.stack([a, b, c], axis=1), twice, owner, distance)
        wall &= ~(added & folded)
    thickness = np.where(wall, distance, size)
    best = int(np.argmin(thickness))
    x, y, z = points[best].tolist()
    return Wall(float(thickness[best]), (x, y, z))


def _touches(faces: np.ndarray, owner: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Return whether the face of each ray shares a corner with the face that it hits; -1 is no face."""
    return (faces[owner][:, :, None] == faces[np.maximum(hit, 0)][:, None, :]).any(axis=(1, 2)) & (hit >= 0)


def _is_narrow(triangles: np.ndarray, twice: np.ndarray, owner: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    """Return whether the face of each ray is a needle whose inscribed circle is narrower than the thickness."""
    sides = np.linalg.norm(np.roll(triangles, -1, axis=1) - triangles, axis=2)
    longest = sides.max(axis=1)
    scale = np.where(longest > 0, longest, 1)
    width = 2 * twice / np.where(longest > 0, sides.sum(axis=1), 1)
    return (twice / scale**2 < NEEDLE)[owner] & (width[owner] < thickness)


def spread_points(triangles: np.ndarray, areas: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points (n, 3) and their faces: equal shares of the area, a low-discrepancy sequence within the face.

    References:
        Roberts, "The unreasonable effectiveness of quasirandom sequences" (2018), the R2 sequence.
    """
    reach = np.cumsum(areas)
    owner = np.searchsorted(reach, (np.arange(count) + 0.5) / count * reach[-1], side="right")
    owner = np.minimum(owner, len(areas) - 1)
    step = np.arange(1, count + 1)
    u, v = (0.5 + 0.7548776662466927 * step) % 1, (0.5 + 0.5698402909980532 * step) % 1
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    a, b, c = np.moveaxis(triangles[owner], 1, 0)
    return a + u[:, None] * (b - a) + v[:, None] * (c - a), owner


def first_hits(vertices, faces, origins, directions, size) -> tuple[np.ndarray, np.ndarray]:
    """Return distance [m] and face of the first hit of each ray, -1 for none."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    scene = EmbreeScene()
    # One unit is the largest extent, so that single precision resolves 6e-8 of it.
    TriangleMesh(scene, ((vertices - middle) / size).astype(np.float32), faces.astype(np.int32))
    found = scene.run(((origins - middle) / size).astype(np.float32), directions.astype(np.float32), output=1)
    hit = np.asarray(found["primID"]).astype(np.int64)
    return np.where(hit >= 0, np.asarray(found["tfar"], dtype=np.float64) * size, np.inf), hit


def _exact_exit(a, b, c, normals, point, direction, owner: int) -> tuple[float, int]:
    """Return distance and face of the first exit of one ray in double precision; the owner face is left out.

    References:
        Möller, Trumbore, "Fast, minimum storage ray/triangle intersection", JGT 1997.
    """
    facing = normals @ direction
    able = np.flatnonzero(facing > 1e-12)
    able = able[able != owner]
    side, other, start = b[able] - a[able], c[able] - a[able], point - a[able]
    p = np.cross(direction, other)
    scale = np.einsum("ni,ni->n", side, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.einsum("ni,ni->n", start, p) / scale
        q = np.cross(start, side)
        v = q @ direction / scale
        t = np.einsum("ni,ni->n", other, q) / scale
        # A ray through an edge must hit one of its faces, hence the slack.
        good = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t >= 0)
    if not good.any():
        return np.inf, -1
    nearest = int(np.argmin(np.where(good, t, np.inf)))
    return float(t[nearest]), int(able[nearest])
