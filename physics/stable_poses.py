"""Poses in which a rigid body can rest on a plane, from its collision hulls and centre of mass alone.

With gravity along the unit vector d of the body frame, the centre of mass lies at the height
h(d) = max_v d . (v - com) above the plane. Rest poses are the minima of h: those facets of the convex hull
onto which the centre of mass projects inside. Nothing here simulates, so it is an oracle for the drop tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, QhullError

from physics.errors import ModelError
from physics.model import Body
from physics.pose import Pose, frozen
from physics.support import support_margin

UPRIGHT_DOWN = np.array([0.0, 0.0, -1.0])
"""Gravity direction in the body frame of the upright pose [1]."""


@dataclass(frozen=True)
class StablePoseConfig:
    """Which facets count as one."""

    coplanar_angle: float = 2e-3
    """Neighbouring triangles of the hull closer than this are one facet [rad]; qhull splits flat faces."""
    merge_barrier: float = 5e-3
    """Minima of one family are divided by a barrier below this share of their height [1].

    A prism of n sides has a barrier of 1 - cos(pi/n): every n >= 32, the tessellations of round bodies, merges."""
    merge_angle: float = 0.21
    """Minima of one family lie on facets closer than this [rad]; 12 degrees, the step of a 30-sided prism."""
    upright_angle: float = 0.052
    """A pose is upright when its gravity direction is this close to -z of the body [rad]; 3 degrees, as in D8."""
    contact_slack: float = 5e-4
    """Vertices this share of L above the plane still belong to the support polygon [1]."""


@dataclass(frozen=True, eq=False)
class StablePose:
    """A rest pose on the plane z = 0, or a family of them that differ by a tessellation only."""

    X_WB: Pose
    """Body pose with the centre of mass above the origin and the lowest vertex at z = 0; yaw is free."""
    down: Float64[np.ndarray, "3"]
    """Gravity direction in the body frame [1]."""
    com_height: float
    """Height of the centre of mass above the plane [m]."""
    probability: float
    """Share of the sphere of directions that flows to this family (quasi-static estimate) [1]."""
    margin: float
    """Distance from the projected centre of mass to the edge of the support polygon [m]."""
    tip_angle: float
    """Smallest tilt of the plane that tips the body over an edge: atan(margin / com_height) [rad]."""
    upright: bool
    """True when z of the body points up."""
    members: Float64[np.ndarray, "M 3"]
    """Gravity directions in the body frame of all stable facets of the family, `down` first [1]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "down", frozen(self.down))
        object.__setattr__(self, "members", frozen(self.members))


@dataclass(frozen=True, eq=False)
class _Facets:
    """Facets of a convex hull and their borders; heights and offsets are relative to the centre of mass."""

    normals: Float64[np.ndarray, "F 3"]
    heights: Float64[np.ndarray, "F"]
    solid_angles: Float64[np.ndarray, "F"]
    border: Int64[np.ndarray, "E 2"]
    """Facet that owns each directed border edge, and the facet across it."""
    beyond: Float64[np.ndarray, "E"]
    """How far the projected centre of mass lies beyond each border edge; negative inside [m]."""
    edge_distances: Float64[np.ndarray, "E"]
    """Distance from the centre of mass to the line of each border edge [m]."""


def hull_vertices(body: Body) -> Float64[np.ndarray, "V 3"]:
    """Return the corners of the convex hull of all collision hulls, in B [m].

    Raises:
        ModelError: The body has no hulls, or they are flat.
    """
    points = _hull_points(body)
    return points[np.sort(_convex_hull(points, body.name).vertices)]


def stable_poses(body: Body, *, config: StablePoseConfig | None = None) -> tuple[StablePose, ...]:
    """Return the rest poses of a rigid body on a plane, most probable first.

    Exact for the collision geometry. Probabilities are quasi-static: a body that is let go on an unstable facet
    rolls over the edge nearest to its projected centre of mass until it finds a stable one. Minima that only a
    tessellation divides are one family, represented by its upright member where there is one, else by its lowest.

    Args:
        body: Body with hulls and mass properties.
        config: Merging rules.

    Raises:
        ModelError: The body has no hulls, they are flat, or the centre of mass lies outside their convex hull.

    References:
        Goldberg, Mirtich, Zhuang, Craig, Carlisle, Canny, "Part pose statistics", IEEE T-RA 15(5), 1999.
    """
    config = config or StablePoseConfig()
    points = _hull_points(body)
    com = body.inertial.com
    facets = _facets(points, com, body.name, config)
    attractor = _roll_to_rest(facets, config, tolerance=1e-9 * float(np.ptp(points, axis=0).max()))
    family = _families(facets, config)
    # Facets flow to a stable facet, stable facets belong to a family.
    weights = np.bincount(attractor, weights=facets.solid_angles, minlength=len(facets.heights)) / (4 * np.pi)
    stable = np.flatnonzero(attractor == np.arange(len(attractor)))
    corners = points[_convex_hull(points, body.name).vertices]
    poses = []
    for label in np.unique(family[stable]):
        members = stable[family[stable] == label]
        members = members[_representative_first(facets, members, config)]
        probability = float(weights[members].sum())
        poses.append(_describe(facets.normals[members], probability, corners, com, config))
    return tuple(sorted(poses, key=lambda pose: (-round(pose.probability, 9), tuple(np.round(pose.down, 9)))))


def pose_on_plane(down: np.ndarray, com: np.ndarray, com_height: float) -> Pose:
    """Return the pose with gravity along `down` of the body and the centre of mass at (0, 0, com_height).

    The turn from the upright pose is the smallest one, so that yaw is defined.
    """
    down = np.asarray(down, dtype=np.float64) / np.linalg.norm(down)
    axis = np.cross(down, UPRIGHT_DOWN)
    sine, cosine = float(np.linalg.norm(axis)), float(down @ UPRIGHT_DOWN)
    if sine < 1e-12:
        axis = np.array([1.0, 0.0, 0.0])
    turn = Pose.from_axis_angle(axis, float(np.arctan2(sine, cosine)))
    return Pose(np.array([0.0, 0.0, com_height]) - turn.rotate(com), turn.quaternion)


def nearest_stable(
    poses: tuple[StablePose, ...],
    down: np.ndarray,
    corners: Float64[np.ndarray, "V 3"],
    *,
    barrier: float | None = None,
) -> tuple[int, float]:
    """Return the index of the family nearest to a gravity direction of the body frame, and the angle to it [rad].

    Within a family the angle is 0: between the facets of a tessellated round body the height of the centre of mass
    rises by less than the barrier across which facets are one family, and rolling friction holds it anywhere there.

    Args:
        poses: Families of stable poses.
        down: Gravity direction [1].
        corners: Corners of the convex hull, from the centre of mass [m].
        barrier: Rise of the centre of mass within a family, as a share of its height; that of the merging otherwise.

    Raises:
        ModelError: There are no poses.
    """
    if not poses:
        raise ModelError("no stable poses to compare with")
    barrier = StablePoseConfig().merge_barrier if barrier is None else barrier
    unit = np.asarray(down) / np.linalg.norm(down)
    angles = [angles_between(pose.members, unit) for pose in poses]
    index = int(np.argmin([float(each.min()) for each in angles]))
    nearest = int(np.argmin(angles[index]))
    angle = float(angles[index][nearest])
    if len(poses[index].members) > 1 and angle <= StablePoseConfig().merge_angle:
        height = float((corners @ poses[index].members[nearest]).max())
        if float((corners @ unit).max()) <= (1 + barrier) * height:
            return index, 0.0
    return index, angle


def angles_between(directions: np.ndarray, unit: np.ndarray) -> Float64[np.ndarray, "N"]:
    """Return the angles between unit rows (N, 3) and one unit vector [rad], accurate for small ones."""
    sine = np.linalg.norm(np.cross(directions, unit), axis=-1)
    return np.arctan2(sine, directions @ unit)


def _hull_points(body: Body) -> Float64[np.ndarray, "P 3"]:
    if not body.hulls:
        raise ModelError(f"body {body.name!r} has no collision hulls; run the decomposition before asking how it rests")
    return np.concatenate([hull.mesh.vertices for hull in body.hulls])


def _convex_hull(points: np.ndarray, name: str) -> ConvexHull:
    try:
        return ConvexHull(points)
    except QhullError as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(f"body {name!r}: the {len(points)} hull vertices span no volume ({first})") from error


def _facets(points: np.ndarray, com: np.ndarray, name: str, config: StablePoseConfig) -> _Facets:
    """Group the triangles of the convex hull into facets and measure their borders."""
    hull = _convex_hull(points, name)
    normals = hull.equations[:, :3]
    heights = -(hull.equations[:, 3] + normals @ com)
    if heights.min() <= 0:
        depth = float(-heights.min())
        raise ModelError(f"body {name!r}: its centre of mass {com} lies {depth:.3g} m outside its collision hulls")
    owner = np.repeat(np.arange(len(normals)), 3)
    across = hull.neighbors.ravel()
    flat = angles_between_rows(normals[owner], normals[across]) < config.coplanar_angle
    graph = coo_array((np.ones(int(flat.sum())), (owner[flat], across[flat])), shape=(len(normals),) * 2)
    count, label = connected_components(graph, directed=False)

    corners = points[hull.simplices] - com
    a, b, c = np.moveaxis(corners, 1, 0)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    solid = _solid_angles(a, b, c)
    facet_normals = np.zeros((count, 3))
    np.add.at(facet_normals, label, normals * areas[:, None])
    facet_normals /= np.linalg.norm(facet_normals, axis=1, keepdims=True)
    # The mean plane of a facet: its height is the area-weighted mean over its triangles.
    facet_heights = np.bincount(label, weights=heights * areas) / np.bincount(label, weights=areas)

    # Edge k of a triangle lies opposite to its vertex k, and so does neighbour k.
    starts = corners[:, [1, 2, 0]].reshape(-1, 3)
    ends = corners[:, [2, 0, 1]].reshape(-1, 3)
    opposite = corners.reshape(-1, 3)
    inner = label[owner] == label[across]
    starts, ends, opposite = starts[~inner], ends[~inner], opposite[~inner]
    border = np.stack([label[owner[~inner]], label[across[~inner]]], axis=1)
    along = ends - starts
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    outward = np.cross(along, facet_normals[border[:, 0]])
    outward *= -np.sign(np.einsum("ei,ei->e", outward, opposite - starts))[:, None]
    # The centre of mass is the origin; its projection onto the plane differs by a multiple of the normal only.
    beyond = -np.einsum("ei,ei->e", starts, outward)
    distances = np.linalg.norm(np.cross(starts, along), axis=1)
    return _Facets(
        facet_normals, facet_heights, np.bincount(label, weights=solid), border.astype(np.int64), beyond, distances
    )


def angles_between_rows(a: np.ndarray, b: np.ndarray) -> Float64[np.ndarray, "N"]:
    """Return the angle between each pair of unit rows (N, 3) [rad]."""
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), np.einsum("ni,ni->n", a, b))


def _solid_angles(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Float64[np.ndarray, "T"]:
    """Return the solid angles of triangles seen from the origin [sr].

    References:
        Van Oosterom, Strackee, "The solid angle of a plane triangle", IEEE Trans. Biomed. Eng. 30(2), 1983.
    """
    la, lb, lc = (np.linalg.norm(p, axis=1) for p in (a, b, c))
    triple = np.abs(np.einsum("ti,ti->t", a, np.cross(b, c)))
    ab, bc, ca = (np.einsum("ti,ti->t", p, q) for p, q in ((a, b), (b, c), (c, a)))
    return 2 * np.arctan2(triple, la * lb * lc + ab * lc + bc * la + ca * lb)


def _roll_to_rest(facets: _Facets, config: StablePoseConfig, *, tolerance: float) -> Int64[np.ndarray, "F"]:
    """Return the stable facet that each facet rolls to; a stable facet is its own.

    Over an edge of a plane facet that the projected centre of mass has passed, the height falls strictly. Facets of
    nearly coplanar triangles are a little curved: by their mean planes some send the body to and fro, or round in a
    loop. There it rests on the lowest of them.

    Raises:
        ModelError: A loop turns the body by more than facets of one family differ.
    """
    count = len(facets.heights)
    following = np.arange(count)
    order = np.argsort(facets.beyond, kind="stable")
    furthest = np.full(count, -1)
    furthest[facets.border[order, 0]] = order  # the last write wins: the largest value
    passed = furthest[facets.beyond[furthest] > tolerance]
    following[facets.border[passed, 0]] = facets.border[passed, 1]
    steps = coo_array((np.ones(count), (np.arange(count), following)), shape=(count, count))
    _, loop = connected_components(steps, connection="strong")
    for label in np.flatnonzero(np.bincount(loop) > 1):
        around = np.flatnonzero(loop == label)
        lowest = around[facets.heights[around].argmin()]
        if angles_between(facets.normals[around], facets.normals[lowest]).max() > config.merge_angle:
            raise ModelError(f"rolling over {count} facets does not end; the hull is numerically degenerate")
        following[lowest] = lowest
    while not np.array_equal(twice := following[following], following):
        following = twice
    return following


def _families(facets: _Facets, config: StablePoseConfig) -> Int64[np.ndarray, "F"]:
    """Return a family label per facet: minima joined across low barriers, by persistence of h on the sphere.

    Edges are walked from the lowest saddle up. Two basins that meet become one family when the barrier above
    the shallower one is low and the edge between them turns little; otherwise they meet without merging.
    """
    edges = facets.border[facets.border[:, 0] < facets.border[:, 1]]
    rows = facets.border[:, 0] < facets.border[:, 1]
    low, high = edges[:, 0], edges[:, 1]
    normals, heights = facets.normals, facets.heights
    turn = angles_between_rows(normals[low], normals[high])
    # On the arc between two facets h = D cos(t - t0) with D the distance to the edge: a saddle only when the
    # foot of the centre of mass falls on the arc, that is when it is beyond the edge for neither facet.
    partner = {(int(f), int(g)): float(s) for (f, g), s in zip(facets.border, facets.beyond, strict=True)}
    inside = np.array(
        [s <= 0 and partner[int(g), int(f)] <= 0 for (f, g), s in zip(edges, facets.beyond[rows], strict=True)]
    )
    saddle = np.where(inside, facets.edge_distances[rows], np.maximum(heights[low], heights[high]))
    basin = list(range(len(heights)))
    family = list(range(len(heights)))

    def find(parents: list[int], item: int) -> int:
        while parents[item] != item:
            parents[item] = parents[parents[item]]
            item = parents[item]
        return item

    for k in np.argsort(saddle, kind="stable"):
        a, b = find(basin, int(low[k])), find(basin, int(high[k]))
        if a == b:
            continue
        deep, shallow = (a, b) if heights[a] <= heights[b] else (b, a)
        barrier = saddle[k] - heights[shallow]
        if barrier <= config.merge_barrier * heights[shallow] and (barrier <= 0 or turn[k] <= config.merge_angle):
            family[find(family, shallow)] = find(family, deep)
        basin[shallow] = deep
    return np.array([find(family, facet) for facet in range(len(heights))])


def _representative_first(facets: _Facets, members: np.ndarray, config: StablePoseConfig) -> Int64[np.ndarray, "M"]:
    """Return the order of the members of a family: the upright one first where there is one, else by height."""
    tilt = angles_between(facets.normals[members], UPRIGHT_DOWN)
    if tilt.min() <= config.upright_angle:
        return np.lexsort((members, np.round(tilt, 9)))
    return np.lexsort((members, np.round(facets.heights[members], 12)))


def _describe(
    members: np.ndarray, probability: float, corners: np.ndarray, com: np.ndarray, config: StablePoseConfig
) -> StablePose:
    """Describe one family by its first member."""
    down = members[0]
    reach = (corners - com) @ down
    com_height = float(reach.max())
    X_WB = pose_on_plane(down, com, com_height)
    slack = config.contact_slack * float(np.ptp(corners, axis=0).max())
    footprint = X_WB.apply(corners[reach >= com_height - slack])[:, :2]
    margin = support_margin(footprint, np.zeros(2))
    return StablePose(
        X_WB=X_WB,
        down=down,
        com_height=com_height,
        probability=probability,
        margin=margin,
        tip_angle=float(np.arctan2(margin, com_height)),
        upright=bool(angles_between(members, UPRIGHT_DOWN).min() <= config.upright_angle),
        members=members,
    )
