"""Collision-free placement: objects at verified rest poses on the regions of a support, or above it to be poured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.spatial import ConvexHull

from physics.model import Model
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.scenes.supports import Region

UPRIGHT_COSINE = float(np.cos(np.deg2rad(5.0)))
"""Cosine of the largest angle from the vertical at which a body still counts as upright [1]."""


class NoRoomError(SceneError):
    """An object found no free place; other objects, or other places, may."""


@dataclass(frozen=True)
class PlaceConfig:
    """How objects are placed."""

    gap: float = 0.01
    """Free distance between footprints, and from a footprint to the region's edge [m]."""
    tries: int = 400
    """Random positions tried for one object before the support counts as full [1]."""
    upright_share: float = 0.7
    """Share of the objects with an upright rest pose that are put in it; the others take any rest pose [1]."""
    pour_clearance: float = 0.01
    """Vertical distance between the layers of poured objects [m]."""


@dataclass(frozen=True)
class KeepOut:
    """An upright box of the world that objects must leave free, such as the base and the reach of a robot."""

    lower: tuple[float, float, float]
    """Smallest corner in W [m]."""
    upper: tuple[float, float, float]
    """Largest corner in W [m]."""

    def __post_init__(self) -> None:
        if not all(a < b for a, b in zip(self.lower, self.upper, strict=True)):
            raise SceneError(f"keep-out zone needs lower < upper, got lower {self.lower} m, upper {self.upper} m")

    @property
    def footprint(self) -> Float64[np.ndarray, "4 2"]:
        """Corners in the plane [m]."""
        (x0, y0, _), (x1, y1, _) = self.lower, self.upper
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])

    def overlaps(self, region: Region) -> bool:
        """Return whether the box takes away any of the space above a region."""
        top = region.centre[2] + region.clear_height
        return self.lower[2] < top and self.upper[2] > region.centre[2]

    def holds(self, points: Float64[np.ndarray, "P 3"]) -> bool:
        """Return whether the bounding box of points reaches into the zone: some of what it refuses would be free."""
        low, high = points.min(axis=0), points.max(axis=0)
        return bool((low < np.array(self.upper)).all() and (high > np.array(self.lower)).all())


def hull_points(model: Model) -> Float64[np.ndarray, "P 3"]:
    """Return the vertices of the collision hulls of a model's root in its frame [m]."""
    return np.concatenate([hull.mesh.vertices for hull in model.root.hulls])


def footprint(points: Float64[np.ndarray, "P 3"]) -> Float64[np.ndarray, "K 2"]:
    """Return the convex hull of points seen from above, counter-clockwise [m]."""
    plane = points[:, :2]
    return plane[ConvexHull(plane).vertices]


def separated(a: Float64[np.ndarray, "K 2"], b: Float64[np.ndarray, "M 2"], gap: float) -> bool:
    """Return whether two convex polygons are at least `gap` apart along an edge normal of either.

    Separating-axis theorem; for corners that face each other it may call apart less than it is, never more.
    """
    for first, second in ((a, b), (b, a)):
        edges = np.roll(first, -1, axis=0) - first
        normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        reach = np.einsum("kd,kd->k", normals, first)
        if ((second @ normals.T).min(axis=0) - reach >= gap).any():
            return True
    return False


def place_at_rest(
    objects: Sequence[tuple[Model, Sequence[Pose]]],
    regions: Sequence[Region],
    *,
    rng: np.random.Generator,
    config: PlaceConfig,
    keep_outs: Sequence[KeepOut] = (),
    obstacles: Sequence[Float64[np.ndarray, "P 3"]] = (),
) -> list[Pose]:
    """Return a pose X_WB for every object: at one of its rest poses, at a random yaw, footprints apart.

    Args:
        objects: Each model with its verified rest poses X_WB on the plane z = 0.
        regions: Where objects may stand; each object takes a region at random among those that have room.
        rng: Draws rest poses, yaws and positions.
        config: Gaps and patience.
        keep_outs: Boxes to leave free.
        obstacles: Points in W of each thing that already stands there [m].

    Raises:
        SceneError: An object finds no room (says how many fitted, and what to do).
    """
    taken: list[list[np.ndarray]] = [
        [zone.footprint for zone in keep_outs if zone.overlaps(region)]
        + [footprint(points) for points in obstacles if _reaches(points, region)]
        for region in regions
    ]
    poses: list[Pose] = []
    for number, (model, rest_poses) in enumerate(objects):
        points = hull_points(model)
        pose = _find_room(points, rest_poses, regions, taken, rng, config)
        if pose is None:
            area = sum(region.area for region in regions)
            raise NoRoomError(
                f"{len(objects)} objects were asked for, but the support of {area:.2f} m^2 had room for {number}: "
                f"{model.name} ({np.ptp(points, axis=0).round(3)} m) found none in {config.tries} tries. "
                "Ask for fewer or smaller objects, enlarge the support, or shrink the keep-out zones."
            )
        poses.append(pose)
    return poses


def place_above(
    objects: Sequence[Model],
    region: Region,
    *,
    rng: np.random.Generator,
    config: PlaceConfig,
    height: float,
    keep_outs: Sequence[KeepOut] = (),
) -> list[Pose]:
    """Return poses in random orientations above a region, in layers that do not touch, to be let go.

    Args:
        objects: What is poured.
        region: Where; no object starts beyond its edge.
        rng: Draws orientations and positions.
        config: Gaps and patience.
        height: Height in W of the lowest point of the first layer [m].
        keep_outs: Boxes that nothing may fall into.

    Raises:
        SceneError: An object is larger than what the region leaves free.
    """
    poses: list[Pose] = []
    zones = [zone.footprint for zone in keep_outs if zone.overlaps(region)]
    layer = list(zones)
    base, top = height, height
    for model in objects:
        points = hull_points(model)
        found = _random_turn(points, region, layer, rng, config)
        if found is None:
            layer, base = list(zones), top + config.pour_clearance
            found = _random_turn(points, region, layer, rng, config)
        if found is None:
            raise SceneError(
                f"{model.name} ({np.ptp(points, axis=0).round(3)} m) does not fit above a region of "
                f"{(2 * region.half).round(3)} m with {len(zones)} keep-out zones; leave it out or enlarge the support"
            )
        turned, spot = found
        outline = turned.apply(points)
        poses.append(Pose(np.array([*spot, base - outline[:, 2].min()]), turned.quaternion))
        layer.append(footprint(outline) + spot)
        top = max(top, base + float(np.ptp(outline[:, 2])))
    return poses


def _random_turn(
    points: np.ndarray, region: Region, layer: list[np.ndarray], rng: np.random.Generator, config: PlaceConfig
) -> tuple[Pose, Float64[np.ndarray, "2"]] | None:
    """Return a random orientation and a shift that keep clear of a layer, or None when none is found."""
    for _ in range(config.tries):
        turned = Pose.random_rotation(rng)
        outline = footprint(turned.apply(points))
        spot = _random_spot(outline, region, rng, config.gap)
        if spot is not None and all(separated(outline + spot, other, config.gap) for other in layer):
            return turned, spot
    return None


def _reaches(points: np.ndarray, region: Region) -> bool:
    """Return whether something takes away any of the space above a region."""
    top = region.centre[2] + region.clear_height
    return bool(points[:, 2].min() < top and points[:, 2].max() > region.centre[2])


def _find_room(
    points: np.ndarray,
    rest_poses: Sequence[Pose],
    regions: Sequence[Region],
    taken: list[list[np.ndarray]],
    rng: np.random.Generator,
    config: PlaceConfig,
) -> Pose | None:
    """Try random rest poses, yaws, regions and positions; enter the footprint that is taken."""
    for _ in range(config.tries):
        rest = _draw_rest_pose(rest_poses, rng, config.upright_share)
        yaw = Pose.from_axis_angle(np.array([0.0, 0.0, 1.0]), float(rng.uniform(0, 2 * np.pi)))
        turned = yaw.compose(rest)
        standing = turned.apply(points)
        number = int(rng.integers(len(regions)))
        region = regions[number]
        if standing[:, 2].max() + config.gap > region.clear_height:
            continue
        outline = footprint(standing)
        spot = _random_spot(outline, region, rng, config.gap)
        if spot is None or not all(separated(outline + spot, other, config.gap) for other in taken[number]):
            continue
        taken[number].append(outline + spot)
        lift = np.array([spot[0], spot[1], region.centre[2]])
        return Pose(turned.position + lift, turned.quaternion)
    return None


def _draw_rest_pose(rest_poses: Sequence[Pose], rng: np.random.Generator, upright_share: float) -> Pose:
    upright = [pose for pose in rest_poses if pose.rotation[2, 2] > UPRIGHT_COSINE]
    pool = upright if upright and rng.random() < upright_share else rest_poses
    return pool[int(rng.integers(len(pool)))]


def _random_spot(
    outline: Float64[np.ndarray, "K 2"], region: Region, rng: np.random.Generator, gap: float
) -> Float64[np.ndarray, "2"] | None:
    """Return a shift that puts a footprint at a random place inside a region, or None when it is too large."""
    lower = region.centre[:2] - region.half + gap - outline.min(axis=0)
    upper = region.centre[:2] + region.half - gap - outline.max(axis=0)
    if (lower > upper).any():
        return None
    return rng.uniform(lower, upper)
