"""Hulls of a sound body, spoiled by a multiple of a limit of H1 to H4.

Counts, widths, dents and distances are closed forms. Volumes are graded by bisection on the volume of exact booleans,
which is also what the checks measure; the tests hold it against a count of random points. Below a dose of 1 the other
limits have to hold as well: `spoil_room` says what the sound body leaves of them.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

from physics.hull_error import HullErrorConfig, arrays, unit_solid
from physics.mesh import Mesh
from physics.model import Body, Hull
from physics.mutants import hull_mesh
from physics.spoil_room import Room, centre_of, farthest_of, outside_of, scattered
from physics.spoil_surface import largest_part, outer_face, pockets_of
from physics.truth import box
from physics.wall import spread_points

LIMITS = HullErrorConfig()
STEPS = 40
"""Most steps of a search for a length [1]."""
EXACTNESS = 2e-3
"""How exactly a volume is graded, as a share of it [1]."""
SAMPLES = 6000
"""Points of a surface that are put together to patches [1]."""
REACHED = (1.0, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2, 0.1)
"""Shares of a dose below 1 that are tried where the whole of it would break another limit [1]."""
PATCHES = 70
"""Patches at most [1]."""
LEAST_PATCH = 10
"""Points of the smallest patch [1]."""
PROBES = 600
"""Points at which the hull of a patch is held against its part, beside its vertices [1]."""
THIN = 0.9
"""Thickest layer over the distance that H4 leaves to it [1]."""
OCTAHEDRON = np.concatenate([np.eye(3), -np.eye(3)])


# ---- H1 --------------------------------------------------------------------------------------------------------


def too_many_hulls(body: Body, dose: float) -> Body:
    """Hulls cut in two until there are as many as the limit times the dose; together they are what they were."""
    wanted = round(dose * LIMITS.hulls_limit)
    centre, size = _frame(body)
    number = itertools.count()
    queue: list[tuple[float, int, Any, str]] = []

    def push(solid: Any, part: str) -> None:
        heapq.heappush(queue, (-float(np.ptp(arrays(solid)[0], axis=0).max()), next(number), solid, part))

    for hull in body.hulls:
        push(unit_solid(hull.mesh, centre=centre, size=size, what="a hull"), hull.part)
    while len(queue) < wanted:
        _, _, solid, part = heapq.heappop(queue)
        points = arrays(solid)[0]
        axis = int(np.ptp(points, axis=0).argmax())
        middle = float(points[:, axis].min() + points[:, axis].max()) / 2
        for half in solid.split_by_plane(np.eye(3)[axis], middle):
            push(half, part)
    ordered = sorted(queue, key=lambda entry: entry[1])
    return replace(body, hulls=tuple(Hull(_mesh(solid, centre, size), part) for _, _, solid, part in ordered))


def too_many_vertices(body: Body, dose: float) -> Body:
    """A hull whose faces are divided at their centres until it has as many vertices as the limit times the dose.

    Its shape stays what it was.
    """
    index = _largest_hull(body)
    mesh = body.hulls[index].mesh
    vertices = [np.array(vertex) for vertex in mesh.vertices]
    queue: list[tuple[float, tuple[int, int, int]]] = []

    def push(a: int, b: int, c: int) -> None:
        area = np.linalg.norm(np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a]))
        heapq.heappush(queue, (-float(area), (a, b, c)))

    for a, b, c in mesh.faces.tolist():
        push(a, b, c)
    for new in range(len(vertices), round(dose * LIMITS.vertices_limit)):
        _, (a, b, c) = heapq.heappop(queue)
        vertices.append((vertices[a] + vertices[b] + vertices[c]) / 3)
        push(a, b, new)
        push(b, c, new)
        push(c, a, new)
    faces = np.array([face for _, face in queue], dtype=np.int32)
    return _with_hull(body, index, Mesh(np.array(vertices), faces))


def dented_hull(body: Body, dose: float) -> Body:
    """A hull that lacks a share of its volume: a pyramid over its widest face, of depth 3 x share x volume / area."""
    index = _largest_hull(body)
    mesh = body.hulls[index].mesh
    mesh = hull_mesh(mesh.vertices)
    areas = np.linalg.norm(mesh.face_cross, axis=1) / 2
    face = int(areas.argmax())
    normal = mesh.face_cross[face] / (2 * areas[face])
    depth = 3 * dose * LIMITS.concavity * mesh.volume / areas[face]
    tip = mesh.triangles[face].mean(axis=0) - depth * normal
    a, b, c = mesh.faces[face]
    new = len(mesh.vertices)
    faces = np.concatenate([np.delete(mesh.faces, face, axis=0), [(a, b, new), (b, c, new), (c, a, new)]])
    return _with_hull(body, index, Mesh(np.vstack([mesh.vertices, tip]), faces.astype(np.int32)))


def flat_hull(body: Body, dose: float) -> Body | None:
    """One more hull, a cube in a wall, whose side is the limit over the dose. None where no wall has room for it."""
    part = body.parts[largest_part(body)]
    side = LIMITS.least_width / dose * body.size
    pockets = pockets_of(part.surface, 1)
    if not pockets or side * np.sqrt(3) / 2 > 2 * pockets[0][1]:
        return None
    cube = box((side, side, side)).mesh.translated(pockets[0][0])
    return replace(body, hulls=(*body.hulls, Hull(cube, part.name)))


# ---- H2 and H3 -------------------------------------------------------------------------------------------------


def grown_hulls(body: Body, dose: float) -> Body | None:
    """Ghost volume of the limit times the dose: hulls grown outwards by one length.

    Below a dose of 1 the limits of H4 and H5 must hold as well, and hulls that cover a round wall have used up its 95th
    percentile. So a layer that is thinner than that is laid on patches of the surface, as many as the dose takes or as
    there is room for: the dose is then what could be reached, at most 0.7. None where there is no room for any: the
    sound hulls have taken the 95th percentile, or no patch of some points is flat enough for one hull to stay near it.
    """
    measure = Room(body)
    target = dose * LIMITS.inflation_limit
    if dose < 1:
        return _layered(body, measure, target)
    return _graded(lambda d: _grown(body, d * body.size), measure.inflation, target, target, 0.5)


def eroded_hulls(body: Body, dose: float) -> Body | None:
    """Lost volume of the limit times the dose: faces of all hulls moved inwards by one length.

    A body can lose no more than its volume, which over its area is half its wall. Where that is less than the dose, its
    smallest hull is all that is left; None where even that is less than 1.5 times the limit.
    """
    measure = Room(body)
    target = dose * LIMITS.loss_limit
    if target >= 0.9 * measure.most_loss:
        bare = replace(body, hulls=(min(body.hulls, key=lambda hull: hull.mesh.volume),))
        return bare if measure.loss(bare.hulls) >= 1.5 * LIMITS.loss_limit else None
    if target <= measure.loss(body.hulls):
        return body
    balls = [_inscribed(hull.mesh) for hull in body.hulls]
    return _graded(lambda d: _eroded(body, balls, d * body.size), measure.loss, target, target / 2, 0.5)


# ---- H4 --------------------------------------------------------------------------------------------------------


def spike(body: Body, dose: float) -> Body | None:
    """One more hull, a narrow pyramid on an outer face, whose tip is the limit times the dose away from the solid.

    Nothing of the solid lies beyond the plane of that face, so the distance of the tip is its height.
    """
    part = body.parts[largest_part(body)]
    face = outer_face(part.surface)
    if face is None:
        return None
    height = dose * farthest_of(body) * body.size
    width = 2 * LIMITS.least_width * body.size
    u = np.cross(face.normal, np.eye(3)[np.argmin(np.abs(face.normal))])
    u /= np.linalg.norm(u)
    v = np.cross(face.normal, u)
    foot = face.centre + width * np.array([u + v, v - u, -u - v, u - v]) - 0.5 * width * face.normal
    tip = face.centre + height * face.normal
    return replace(body, hulls=(*body.hulls, Hull(hull_mesh(np.vstack([foot, tip])), part.name)))


def bare_end(body: Body, dose: float) -> Body | None:
    """Hulls cut off so that an end of the solid is bare, and its last point the limit times the dose away from them.

    Of some directions the one that loses least volume is taken. The distance is at least that, by construction, and
    more where the hulls end before the cut. Below a dose of 1 a cut has to keep clear of the other limits: it lays bare
    no more of the surface than the sound hulls leave of the 95th percentile of H4, and takes no more volume than they
    leave of H3. Where every end is too blunt for that, less is cut off: the dose is then what could be reached, at most
    0.7. A cut less deep than that percentile lays nothing bare beyond it, so one is found but where the hulls have
    taken it already, which is None.
    """
    bare = dose * farthest_of(body) * body.size
    measure = Room(body)
    if dose >= 1:
        return next((made for _, made in _bared(body, measure, bare)), None)
    for share in REACHED:
        for _, made in _bared(body, measure, share * bare):
            if measure.is_clear(made.hulls):
                return made
    return None


def _bared(body: Body, measure: Room, bare: float) -> list[tuple[float, Body]]:
    """Return the body with its hulls cut off by a depth [m] in each direction, and what that loses: the least first."""
    points = np.vstack([part.surface.vertices for part in body.parts])
    found = []
    for direction in _directions():
        level = float((points @ direction).max()) - bare
        hulls = tuple(cut for hull in body.hulls if (cut := _cut(hull, direction, level, body)) is not None)
        if hulls and any(new is not old for new, old in itertools.zip_longest(hulls, body.hulls)):
            found.append((measure.loss(hulls), replace(body, hulls=hulls)))
    return sorted(found, key=lambda entry: entry[0])


# ---- helpers ---------------------------------------------------------------------------------------------------


def _graded(
    make: Callable[[float], Body], measure: Callable[[Sequence[Hull]], float], target: float, start: float, most: float
) -> Body | None:
    """Return the body whose measure is the target; it grows with the length that `make` takes [L].

    The length is bracketed by doubling and found by false position (Illinois).
    """
    low, high = 0.0, start
    below = measure(make(low).hulls) - target if low else -target
    while (above := measure(make(high).hulls) - target) < 0:
        low, below, high = high, above, 2 * high
        if high > most:
            return None
    for _ in range(STEPS):
        middle = (low * above - high * below) / (above - below)
        made = make(middle)
        missed = measure(made.hulls) - target
        if abs(missed) < EXACTNESS * target:
            return made
        if missed < 0:
            low, below, above = middle, missed, above / 2
        else:
            high, above, below = middle, missed, below / 2
    return None


def _grown(body: Body, length: float) -> Body:
    return replace(body, hulls=tuple(replace(hull, mesh=_swept(hull.mesh.vertices, length)) for hull in body.hulls))


def _swept(points: np.ndarray, length: float) -> Mesh:
    """Return the hull of points with an octahedron of that radius [m] about each."""
    return hull_mesh((points[:, None] + length * OCTAHEDRON).reshape(-1, 3))


def _layered(body: Body, measure: Room, target: float) -> Body | None:
    """Return the body with a layer on patches of its surface whose hulls stay near it, up to the target.

    Patches take turns so that the centre of mass stays where it is. Layers at which a distance is too large all the
    same, as where two of them close a gap, are taken off, and the last ones until the rest is clear.
    """
    layer = _balanced(body, measure, _patches(body, measure))

    def covered(count: int) -> Body:
        return replace(body, hulls=(*body.hulls, *layer[:count]))

    while layer:
        few, many = 0, len(layer)
        while few < many:  # the most patches that stay below the target
            middle = (few + many + 1) // 2
            few, many = (middle, many) if measure.inflation(covered(middle).hulls) <= target else (few, middle - 1)
        layer = layer[:few]
        places = measure.places_too_far(covered(few).hulls)
        kept = [hull for hull in layer if not _holds_any(hull.mesh, places, 1e-6 * body.size)]
        if len(kept) == few and measure.is_clear(covered(few).hulls):
            return covered(few) if few else None
        layer = kept if len(kept) < few else layer[: few - max(few // 8, 1)]
    return None


def _patches(body: Body, measure: Room) -> list[Hull]:
    """Return a layer on each patch of the surface of the largest part, none farther from it than H4 leaves."""
    from scipy.cluster.vq import kmeans2

    part = body.parts[largest_part(body)]
    size, cross = body.size, part.surface.face_cross
    points, owner = spread_points(part.surface.triangles, np.linalg.norm(cross, axis=1), SAMPLES)
    normals = cross[owner] / np.linalg.norm(cross[owner], axis=1, keepdims=True)
    room = LIMITS.hulls_limit - len(body.hulls)
    if room < 1:
        return []
    places = np.concatenate([points / size, normals], axis=1)
    _, label = kmeans2(places, min(room, PATCHES), minit="++", rng=np.random.default_rng(0))
    far = THIN * min(LIMITS.percentile_limit, farthest_of(body)) * size
    feet = body.bounds[0, 2] + 2 * LIMITS.support_height * size
    layer: list[Hull] = []
    for patch in np.unique(label):
        spots = np.flatnonzero(label == patch)
        spots = spots[points[spots, 2] - far > feet]  # what is put at the feet changes the balance
        while len(spots) >= LEAST_PATCH:
            if (mesh := _laid(points[spots], far, part.surface)) is not None:
                layer.append(Hull(mesh, part.name))
                break
            # What bridges too much is taken in half, about its middle.
            apart = np.linalg.norm(places[spots] - np.median(places[spots], axis=0), axis=1)
            spots = spots[np.argsort(apart, kind="stable")[: len(spots) // 2]]
    return layer


def _laid(corners: np.ndarray, far: float, surface: Mesh) -> Mesh | None:
    """Return the hull of a patch with a layer that ends as far from the surface as allowed [m]; None if beyond."""
    try:
        bridged = _reach(hull_mesh(corners), surface)
    except QhullError:  # all in one plane
        bridged = 0.0
    # What the hull of a patch bridges counts as well, so the layer gets thinner by it.
    swept = _swept(corners, max(far - bridged, 0.3 * far))
    return swept if _reach(swept, surface) <= (1 + 1e-9) * far else None


def _reach(hull: Mesh, surface: Mesh) -> float:
    """Return how far a hull reaches out of a surface, at its vertices and at points all over it [m]."""
    spots = np.concatenate([hull.vertices, scattered(hull.vertices, hull.faces, PROBES)])
    return float(outside_of(spots, surface.vertices, surface.faces).max())


def _balanced(body: Body, measure: Room, layer: list[Hull]) -> list[Hull]:
    """Return layers in an order in which each brings the centre of mass as near to that of the solid as any left does.

    A layer counts with what it adds to the sound hulls.
    """
    sound = measure.union(body.hulls)
    volume, goal = float(sound.volume()), centre_of(measure.solid)
    moment = volume * (centre_of(sound) - goal)
    left = []
    for hull in layer:
        more = measure.unit(hull.mesh) - sound
        added = float(more.volume())
        if added > 1e-9:
            left.append((added, added * (centre_of(more) - goal), hull))
    ordered = []
    while left:
        shifts = [np.linalg.norm(moment + pull) / (volume + added) for added, pull, _ in left]
        added, pull, hull = left.pop(int(np.argmin(shifts)))
        volume, moment = volume + added, moment + pull
        ordered.append(hull)
    return ordered


def _holds_any(mesh: Mesh, points: np.ndarray, slack: float) -> bool:
    """Whether a convex piece holds any of some points, up to a slack [m]."""
    planes = ConvexHull(mesh.vertices).equations
    return bool((points @ planes[:, :3].T + planes[:, 3] <= slack).all(axis=1).any())


def _inscribed(mesh: Mesh) -> tuple[np.ndarray, float, np.ndarray]:
    """Return centre and radius of the largest ball in a convex piece, and its planes [m]."""
    from scipy.optimize import linprog

    planes = ConvexHull(mesh.vertices).equations
    rows = np.hstack([planes[:, :3], np.ones((len(planes), 1))])
    found = linprog([0, 0, 0, -1], A_ub=rows, b_ub=-planes[:, 3], bounds=[(None, None)] * 3 + [(0, None)])
    return found.x[:3], float(found.x[3]), planes


def _eroded(body: Body, balls: Sequence[tuple[np.ndarray, float, np.ndarray]], length: float) -> Body:
    """Return the body with the planes of its hulls moved inwards; what gets flat is left out."""
    hulls = []
    for hull, (centre, radius, planes) in zip(body.hulls, balls, strict=True):
        if radius - length < 0.6 * LIMITS.least_width * body.size:
            continue
        moved = planes.copy()
        moved[:, 3] += length
        try:
            hulls.append(replace(hull, mesh=hull_mesh(_merged(HalfspaceIntersection(moved, centre).intersections))))
        except QhullError:
            continue
    return replace(body, hulls=tuple(hulls) or body.hulls[:1])


def _merged(points: np.ndarray) -> np.ndarray:
    """Return points without those that lie within a rounding error of another."""
    scale = float(np.ptp(points, axis=0).max())
    return points[np.sort(np.unique(np.round(points / (1e-9 * scale)), axis=0, return_index=True)[1])]


def _directions() -> np.ndarray:
    """Return the axes but the one downwards: the feet of the body stay covered."""
    return np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]])


def _cut(hull: Hull, direction: np.ndarray, level: float, body: Body) -> Hull | None:
    """Return what of a hull lies below a plane; None where nothing, or nothing thick, does."""
    heights = hull.mesh.vertices @ direction
    if heights.max() <= level:
        return hull
    if heights.max() - heights.min() <= 0 or level - heights.min() < 2 * LIMITS.least_width * body.size:
        return None
    centre, size = _frame(body)
    solid = unit_solid(hull.mesh, centre=centre, size=size, what="a hull")
    below = solid.trim_by_plane(-direction, -(level - float(centre @ direction)) / size)
    return replace(hull, mesh=_mesh(below, centre, size))


def _frame(body: Body) -> tuple[np.ndarray, float]:
    return body.bounds.mean(axis=0), body.size


def _mesh(solid: Any, centre: np.ndarray, size: float) -> Mesh:
    return hull_mesh(size * arrays(solid)[0] + centre)


def _largest_hull(body: Body) -> int:
    return int(np.argmax([hull.mesh.volume for hull in body.hulls]))


def _with_hull(body: Body, index: int, mesh: Mesh) -> Body:
    hulls = tuple(replace(hull, mesh=mesh) if i == index else hull for i, hull in enumerate(body.hulls))
    return replace(body, hulls=hulls)
