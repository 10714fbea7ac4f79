"""Surfaces of a sound body, spoiled by a number of defects or by a multiple of a limit of G1 to G8.

The largest part is spoiled. Where the surface still bounds a solid, the declared mass is that of what became of it, so
that nothing but the defect is wrong. A count whose limit is 0 has no share: below a dose of 1 there is no defect, but
the same faces in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import manifold3d
import numpy as np
from scipy.spatial import ConvexHull

from physics.errors import MassError
from physics.hull_error import HullErrorConfig, farthest_allowed, is_graspable
from physics.mass import MassProperties, combine_masses, integrate_mesh
from physics.mesh import Mesh
from physics.model import Body
from physics.topology import trace_topology
from physics.truth import box
from physics.validity import ValidityConfig, manifold_of
from physics.wall import first_hits

LIMITS = ValidityConfig()
MILLIMETRES = 1000.0
"""Millimetres in a metre [1]."""
SMALLEST_TRUE_SIZE = 0.02
"""True size from which on a mistake of units must be seen [m]; at 10 mm and less it looks like furniture."""
RING = 0.1
"""Size of a ring round a tiny face over that of the next larger one [1]."""
WALLS = 3000
"""Faces, the largest, from which places in walls are taken [1]."""


def defects(dose: float) -> int:
    """Return how many defects a dose is, where each single one is too many."""
    return int(dose)


def largest_part(body: Body) -> int:
    """Return the index of the part with most volume."""
    return int(np.argmax([part.surface.volume for part in body.parts]))


def with_surface(body: Body, surface: Mesh) -> Body:
    """Return the body with another surface of its largest part, and the mass that follows where it bounds a solid."""
    index = largest_part(body)
    parts = tuple(replace(part, surface=surface) if i == index else part for i, part in enumerate(body.parts))
    return replace(body, parts=parts, mass_properties=true_mass(replace(body, parts=parts)))


def true_mass(body: Body) -> MassProperties:
    """Return the mass of the parts where they bound solids; else what is declared."""
    try:
        return combine_masses([integrate_mesh(part.surface, density=part.material.density) for part in body.parts])
    except MassError:
        return body.inertial


# ---- size ------------------------------------------------------------------------------------------------------


def too_large(body: Body, dose: float) -> Body:
    """The body enlarged: what one of 7, 15 and 100 mm becomes when its millimetres are read as metres."""
    return _scaled(body, dose * LIMITS.largest_size / body.size)


def millimetres_as_metres(body: Body, dose: float) -> Body:
    """The body at a true size of 20 mm and more, in millimetres that are read as metres; below 1, read as they are."""
    if dose < 1:
        return _scaled(_scaled(body, MILLIMETRES), 1 / MILLIMETRES)
    true_size = max(SMALLEST_TRUE_SIZE, dose * LIMITS.largest_size / MILLIMETRES)
    return _scaled(body, MILLIMETRES * true_size / body.size)


def metres_as_millimetres(body: Body, dose: float) -> Body:
    """The body in metres that are read as millimetres, too small; below 1, read as they are.

    A body at 0.7 of this limit is 1.4 mm in size, and walls of a mug of that size are too thin indeed.
    """
    if dose < 1:
        return _scaled(_scaled(body, 1 / MILLIMETRES), MILLIMETRES)
    return _scaled(body, LIMITS.smallest_size / dose / body.size)


# ---- boundary --------------------------------------------------------------------------------------------------


def faces_missing(body: Body, dose: float) -> Body:
    """Faces left out."""
    mesh, chosen = _picked(body, dose)
    return with_surface(body, mesh if not len(chosen) else Mesh(mesh.vertices, np.delete(mesh.faces, chosen, axis=0)))


def faces_twice(body: Body, dose: float) -> Body:
    """Faces listed twice."""
    mesh, chosen = _picked(body, dose)
    return with_surface(body, Mesh(mesh.vertices, np.concatenate([mesh.faces, mesh.faces[chosen]])))


def faces_turned(body: Body, dose: float) -> Body:
    """Faces wound against their neighbours; below 1, corners listed from another one on."""
    mesh, chosen = _picked(body, dose)
    faces = np.roll(mesh.faces, 1, axis=1)
    faces[chosen] = faces[chosen, ::-1]
    return with_surface(body, Mesh(mesh.vertices, faces))


def cavities(body: Body, dose: float) -> Body | None:
    """Closed voids in the walls, which nobody declared."""
    mesh = _reordered(body)
    pockets = pockets_of(mesh, defects(dose))
    if len(pockets) < defects(dose):
        return None
    holes = [_cube(centre, 0.5 * room / np.sqrt(3)) for centre, room in pockets]
    return with_surface(body, _joined(mesh, *(Mesh(hole.vertices, hole.faces[:, ::-1]) for hole in holes)))


def walls_pierced(body: Body, dose: float) -> Body:
    """Points of the surface pushed inwards through the wall and out on its other side."""
    mesh = _reordered(body)
    walls = _walls(mesh)
    for wall in _spread(mesh, walls, defects(dose)):
        through = wall.centre - (wall.depth + 0.02 * body.size) * wall.normal
        mesh = _with_faces_split(mesh, wall.face, through[None], [(0, 1, 3), (1, 2, 3), (2, 0, 3)])
    return with_surface(body, mesh)


def crumbs(body: Body, dose: float) -> Body:
    """Loose crumbs above the body, each of half the volume below which a shell is debris."""
    mesh = _reordered(body)
    side = (0.5 * LIMITS.debris_share * mesh.volume) ** (1 / 3)
    top = np.array([*mesh.bounds.mean(axis=0)[:2], mesh.bounds[1, 2] + side])
    loose = [_cube(top + np.array([2 * k * side, 0, 0]), side) for k in range(defects(dose))]
    return with_surface(body, _joined(mesh, *loose))


def handles(body: Body, dose: float) -> Body | None:
    """Tunnels through walls: each adds a handle that nobody declared. None where the walls have no room for them."""
    mesh = _reordered(body)
    solid, found = manifold_of(mesh.vertices, mesh.faces), 0
    places = _spread(mesh, _walls(mesh), 8 * defects(dose)) if defects(dose) else []
    for wall in places:
        if found == defects(dose):
            break
        corners = mesh.triangles[wall.face]
        base = wall.centre + 0.3 * (corners - wall.centre)
        drill = _prism(base + 0.2 * wall.depth * wall.normal, base - 1.2 * wall.depth * wall.normal)
        drilled = solid - manifold_of(drill.vertices, drill.faces)
        if drilled.status() == manifold3d.Error.NoError and drilled.genus() == solid.genus() + 1:
            solid, found = drilled, found + 1
    if found < defects(dose):
        return None
    if not found:
        return with_surface(body, mesh)
    made = solid.to_mesh64()
    return with_surface(
        body, Mesh(np.asarray(made.vert_properties)[:, :3], np.asarray(made.tri_verts).astype(np.int32))
    )


# ---- faces and walls -------------------------------------------------------------------------------------------


def needle(body: Body, dose: float) -> Body:
    """A face whose height over its longest edge is the limit over the dose; the surface stays where it is."""
    mesh = body.parts[largest_part(body)].surface
    sides = np.roll(mesh.triangles, -1, axis=1) - mesh.triangles
    face, side = np.unravel_index(int(np.linalg.norm(sides, axis=2).argmax()), sides.shape[:2])
    a, b, c = np.roll(mesh.triangles[face], -int(side), axis=0)
    along = b - a
    up = (c - a) - (c - a) @ along / (along @ along) * along
    point = (a + b) / 2 + LIMITS.face_height / dose * np.linalg.norm(along) * up / np.linalg.norm(up)
    order = [((int(side) + i) % 3, (int(side) + i + 1) % 3, 3) for i in range(3)]
    return with_surface(body, _with_faces_split(mesh, int(face), point[None], order))


def tiny_face(body: Body, dose: float) -> Body:
    """A face whose area over L^2 is the limit over the dose, within a face of good shape and of the same plane."""
    mesh = body.parts[largest_part(body)].surface
    areas = np.linalg.norm(mesh.face_cross, axis=1) / 2
    longest = np.linalg.norm(np.roll(mesh.triangles, -1, axis=1) - mesh.triangles, axis=2).max(axis=1)
    good = np.flatnonzero(2 * areas / longest**2 > 0.4)
    good = good if len(good) else np.array([int(np.argmax(areas / longest**2))])
    face = int(good[areas[good].argmin()])
    size = float(mesh.extents.max())
    share = np.sqrt(LIMITS.face_area * size**2 / dose / areas[face])
    # Rings of falling size round it, so that no face between it and its host is a needle.
    rings = max(int(np.ceil(np.log(share) / np.log(RING))), 1)
    corners, middle = mesh.triangles[face], mesh.triangles[face].mean(axis=0)
    points, faces = [], []
    for ring in range(1, rings + 1):
        points.append(middle + share ** (ring / rings) * (corners - middle))
        o, i = 3 * ring - 3, 3 * ring
        faces += [(o, o + 1, i + 1), (o, i + 1, i), (o + 1, o + 2, i + 2), (o + 1, i + 2, i + 1)]
        faces += [(o + 2, o, i), (o + 2, i, i + 2)]
    faces.append((3 * rings, 3 * rings + 1, 3 * rings + 2))
    return with_surface(body, _with_faces_split(mesh, face, np.concatenate(points), faces))


def thin_fin(body: Body, dose: float) -> Body | None:
    """A fin on the outside whose thickness is the limit over the dose, lower than what H4 lets hulls miss.

    None where no outer face has room for it.
    """
    mesh = body.parts[largest_part(body)].surface
    hulls = HullErrorConfig()
    far = farthest_allowed(hulls, size=body.size, graspable=is_graspable(mesh, None, hulls)) * body.size
    thickness = LIMITS.wall_floors * LIMITS.penetration_floor / dose
    found = outer_face(mesh)
    if found is None or thickness > found.radius:
        return None
    u = mesh.triangles[found.face][1] - mesh.triangles[found.face][0]
    u = u / np.linalg.norm(u)
    v = np.cross(found.normal, u)
    square = np.array([[-0.6 * found.radius, -0.5 * thickness], [0.6 * found.radius, -0.5 * thickness]])
    square = np.concatenate([square, -square])
    foot = found.centre + square[:, :1] * u + square[:, 1:] * v
    tip = foot + 0.3 * far * found.normal
    corners = mesh.triangles[found.face] - found.centre
    flat = np.stack([corners @ u, corners @ v], axis=1)
    ring = manifold3d.triangulate([flat, square[::-1]])
    name = np.array([0, 1, 2, 6, 5, 4, 3])  # corners, then the foot backwards
    faces = [tuple(int(name[i]) for i in triangle) for triangle in np.asarray(ring)]
    for i in range(4):
        j = (i + 1) % 4
        faces += [(3 + i, 3 + j, 7 + j), (3 + i, 7 + j, 7 + i)]
    faces += [(7, 8, 9), (7, 9, 10)]
    return with_surface(body, _with_faces_split(mesh, found.face, np.concatenate([foot, tip]), faces))


# ---- helpers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wall:
    """A face with matter behind it."""

    face: int
    centre: np.ndarray
    normal: np.ndarray
    depth: float
    """Way through the matter [m]."""


@dataclass(frozen=True)
class OuterFace:
    """A face on the convex hull of its mesh."""

    face: int
    centre: np.ndarray
    """Centre of the inscribed circle [m]."""
    normal: np.ndarray
    radius: float
    """Of the inscribed circle [m]."""


def _scaled(body: Body, factor: float) -> Body:
    def grown(mesh: Mesh) -> Mesh:
        return Mesh(factor * mesh.vertices, mesh.faces)

    parts = tuple(replace(part, surface=grown(part.surface)) for part in body.parts)
    hulls = tuple(replace(hull, mesh=grown(hull.mesh)) for hull in body.hulls)
    old = body.inertial
    mass = MassProperties(factor**3 * old.mass, factor * old.com, factor**5 * old.inertia)
    return replace(body, parts=parts, hulls=hulls, mass_properties=mass)


def _reordered(body: Body) -> Mesh:
    """Return the surface of the largest part with its vertices and faces in another order."""
    mesh = body.parts[largest_part(body)].surface
    count = len(mesh.vertices)
    return Mesh(mesh.vertices[::-1], (count - 1 - mesh.faces[::-1]).astype(np.int32))


def _picked(body: Body, dose: float) -> tuple[Mesh, np.ndarray]:
    """Return the reordered surface and as many of its faces as there are defects, far from each other in the list."""
    mesh = _reordered(body)
    return mesh, np.linspace(0, len(mesh.faces), defects(dose), endpoint=False).astype(int)


def _joined(*meshes: Mesh) -> Mesh:
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    faces = [mesh.faces + start for mesh, start in zip(meshes, first, strict=True)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces).astype(np.int32))


def _cube(centre: np.ndarray, side: float) -> Mesh:
    return box((side, side, side)).mesh.translated(centre)


def _prism(top: np.ndarray, bottom: np.ndarray) -> Mesh:
    sides = [face for i in range(3) for face in ((i, i + 3, (i + 1) % 3), ((i + 1) % 3, i + 3, (i + 1) % 3 + 3))]
    faces = [(0, 1, 2), (5, 4, 3), *sides]
    return Mesh(np.concatenate([top, bottom]), np.array(faces, dtype=np.int32))


def _with_faces_split(mesh: Mesh, face: int, points: np.ndarray, faces: list[tuple[int, ...]]) -> Mesh:
    """Return the mesh with a face replaced; 0 to 2 are its corners, the numbers from 3 on the new points."""
    names = np.concatenate([mesh.faces[face], len(mesh.vertices) + np.arange(len(points))])
    kept = np.delete(mesh.faces, face, axis=0)
    return Mesh(
        np.concatenate([mesh.vertices, points]), np.concatenate([kept, names[np.array(faces)]]).astype(np.int32)
    )


def _walls(mesh: Mesh) -> list[_Wall]:
    """Return walls behind the largest faces whose other side is parallel to them, the thickest for their face first."""
    cross = mesh.face_cross
    twice = np.linalg.norm(cross, axis=1)
    normals = cross / np.where(twice > 0, twice, 1)[:, None]
    chosen = np.argsort(-twice, kind="stable")[:WALLS]
    chosen = np.sort(chosen[twice[chosen] > 0])
    centres, size = mesh.triangles[chosen].mean(axis=1), float(mesh.extents.max())
    start = 1e-5 * size
    depth, hit = first_hits(mesh.vertices, mesh.faces, centres - start * normals[chosen], -normals[chosen], size)
    facing = np.where(hit >= 0, -np.einsum("ni,ni->n", normals[chosen], normals[hit]), -1)
    return [
        _Wall(int(face), centre, normals[face], float(way + start))
        for face, centre, way, turned in zip(chosen, centres, depth, facing, strict=True)
        if turned > 0.95 and way > 10 * start
    ]


def _spread(mesh: Mesh, walls: list[_Wall], count: int) -> list[_Wall]:
    """Return up to so many walls in faces of good size, far from each other in the list; faces are in falling order.

    In falling order, the numbers of faces that come later stay what they are when one is replaced.
    """
    areas = np.linalg.norm(mesh.face_cross, axis=1)
    wide = sorted(walls, key=lambda wall: -areas[wall.face])[: max(4 * count, 40)]
    wide.sort(key=lambda wall: -wall.face)
    return [wide[i] for i in np.unique(np.linspace(0, len(wide) - 1, min(count, len(wide))).astype(int))]


def pockets_of(mesh: Mesh, count: int) -> list[tuple[np.ndarray, float]]:
    """Return places inside the solid and the room about each, the widest first; their balls do not meet."""
    import igl

    if not count:
        return []
    centres = np.array([wall.centre - 0.5 * wall.depth * wall.normal for wall in _walls(mesh)]).reshape(-1, 3)
    if not len(centres):
        return []
    squared = igl.point_mesh_squared_distance(centres, mesh.vertices, mesh.faces.astype(np.int64))[0]
    room = 0.5 * np.sqrt(np.asarray(squared))
    taken: list[int] = []
    for k in np.argsort(-room, kind="stable").tolist():
        if all(np.linalg.norm(centres[k] - centres[i]) > room[k] + room[i] for i in taken):
            taken.append(k)
        if len(taken) == count:
            break
    return [(centres[k], float(room[k])) for k in taken]


def outer_face(mesh: Mesh) -> OuterFace | None:
    """Return the face of the widest inscribed circle beyond whose plane there is nothing, away from the feet."""
    sides = np.linalg.norm(np.roll(mesh.triangles, -1, axis=1) - mesh.triangles, axis=2)
    twice = np.linalg.norm(mesh.face_cross, axis=1)
    normals = mesh.face_cross / twice[:, None]
    extreme = mesh.vertices[ConvexHull(mesh.vertices).vertices]
    beyond = (normals @ extreme.T).max(axis=1) - np.einsum("fi,fi->f", normals, mesh.triangles[:, 0])
    low, high = mesh.bounds[:, 2]
    outer = beyond <= 1e-6 * mesh.extents.max()
    outer &= (normals[:, 2] > -0.1) & (mesh.triangles[:, :, 2].min(axis=1) > low + 0.05 * (high - low))
    if not outer.any():
        return None
    radius = twice / sides.sum(axis=1)
    face = int(np.where(outer, radius, 0).argmax())
    weights = np.roll(sides[face], -1)  # the side opposite of each corner
    return OuterFace(face, weights @ mesh.triangles[face] / weights.sum(), normals[face], float(radius[face]))


def genus_of(mesh: Mesh) -> int:
    """Return the handles of a closed surface."""
    return int(trace_topology(mesh.faces, len(mesh.vertices)).genus)
