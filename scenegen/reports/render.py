"""Pictures by ray casting on the processor: no GPU, no display, no system libraries, the same bytes every time.

Embree finds what every ray hits; shading is numpy. Each pixel takes 2 x 2 rays; the visibility of the key light and of
the dome is sampled along a fixed pattern and smoothed where depth and normals are smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32, Int32

from physics.engine import State, World
from physics.materials import Material
from physics.mesh import Mesh
from physics.model import Model
from physics.pose import Pose
from scenegen.assets.corner_normals import corner_normals
from scenegen.assets.tree import walk_tree
from scenegen.errors import ReportError
from scenegen.reports.camera import Camera, frame_camera
from scenegen.reports.light import LightConfig, backdrop, shade, tone_map
from scenegen.reports.picture import FIRST_OBJECT, GROUND, Picture, contact_sheet, png_bytes, save_png

__all__ = [
    "Camera",
    "Picture",
    "RenderConfig",
    "RenderObject",
    "contact_sheet",
    "frame_camera",
    "objects_of_model",
    "objects_of_world",
    "png_bytes",
    "render",
    "render_model",
    "render_world",
    "save_png",
]


@dataclass(frozen=True)
class RenderConfig:
    """How a picture is made."""

    supersampling: int = 2
    """Rays along each side of a pixel [1]."""
    sun_samples: int = 2
    """Shadow rays a camera ray [1]."""
    dome_samples: int = 4
    """Occlusion rays a camera ray [1]."""
    occlusion_reach: float = 0.45
    """Length of occlusion rays over the radius of the scene [1]."""
    ground: bool = True
    """Draw the plane z = `ground_height`."""
    ground_height: float = 0.0
    """Height of the ground in W [m]."""
    ground_color: tuple[float, float, float] = (0.47, 0.472, 0.476)
    """Linear base colour of the ground [1]."""
    ground_roughness: float = 0.85
    """Perceptual roughness of the ground [1]."""
    ground_reach: float = 60.0
    """Half the side of the ground over the radius of the scene [1]."""
    fade: tuple[float, float] = (1.6, 8.0)
    """Distances from the scene, over its radius, between which the ground fades into the background [1]."""
    smooth_passes: int = 3
    """Passes of the edge-keeping smoother over sampled visibility [1]."""
    exposure: float = 0.70
    """Factor on all light [1]."""
    chunk: int = 2**17
    """Camera rays traced at once: bounds memory [1]."""
    light: LightConfig = field(default_factory=LightConfig)


@dataclass(frozen=True, eq=False)
class RenderObject:
    """A surface of one material at a place."""

    mesh: Mesh
    pose: Pose
    """Pose of the mesh's frame in W."""
    base_color: tuple[float, float, float]
    """Linear RGB [1]."""
    metallic: float = 0.0
    roughness: float = 0.5
    name: str = "object"
    """Objects of one name share an index in the segmentation."""

    @classmethod
    def of_material(cls, mesh: Mesh, pose: Pose, material: Material, name: str = "object") -> RenderObject:
        """Return a surface that looks like a material."""
        return cls(mesh, pose, material.base_color, material.metallic, material.roughness, name)


def render(objects: Sequence[RenderObject], camera: Camera, *, config: RenderConfig | None = None) -> Picture:
    """Return what a camera sees.

    Args:
        objects: Surfaces in the world.
        camera: Where it is seen from.
        config: Samples, ground, light.

    Raises:
        ReportError: There is nothing to draw.
    """
    config = config or RenderConfig()
    stage = _Stage(objects, camera, config)
    count = config.supersampling**2
    rows = max(1, config.chunk // (camera.width * count))
    layers = [stage.trace(top, min(top + rows, camera.height)) for top in range(0, camera.height, rows)]
    layer = {key: np.concatenate([part[key] for part in layers]) for key in layers[0]}
    sight = _smooth_visibility(layer["sight"], layer["normal"], layer["depth"], config)
    radiance = layer["sun"] * sight[:, :, :1] + layer["dome"] * sight[:, :, 1:]
    color = tone_map(radiance * np.float32(config.exposure) + layer["backdrop"])
    depth = np.where(layer["depth"] > 0, layer["depth"] * stage.radius, np.inf).astype(np.float32)
    return Picture(color, depth, layer["label"], stage.names, camera)


def objects_of_model(model: Model, X_WB: Pose, *, name: str | None = None) -> list[RenderObject]:
    """Return the parts of a model at a pose, joints at coordinate 0."""
    return [
        RenderObject.of_material(part.surface, X_WB.compose(node.X_MB), part.material, name or node.body.name)
        for node in walk_tree(model)
        for part in node.body.parts
    ]


def objects_of_world(world: World, state: State | None = None) -> list[RenderObject]:
    """Return everything in a world, where a state says that it is, else where it was put."""
    objects: list[RenderObject] = []
    for placement in world.placements:
        for node in walk_tree(placement.model):
            row = placement.name if node.joint is None else f"{placement.name}/{node.body.name}"
            pose = placement.X_WB.compose(node.X_MB)
            if state is not None and row in state.names:
                pose = state.pose(row)
            objects += [
                RenderObject.of_material(part.surface, pose, part.material, placement.name) for part in node.body.parts
            ]
    return objects


def render_model(
    model: Model,
    *,
    X_WB: Pose | None = None,
    width: int = 256,
    height: int = 256,
    direction: tuple[float, float, float] = (1.0, -1.35, 0.85),
    config: RenderConfig | None = None,
) -> Picture:
    """Return a portrait of a model, standing on the ground at its lowest point.

    Args:
        model: What to draw.
        X_WB: Pose of the root; upright when not given.
        width: Columns [pixels].
        height: Rows [pixels].
        direction: From the model towards the camera.
        config: Samples, ground, light; its ground is put beneath the model.
    """
    objects = objects_of_model(model, X_WB or Pose.identity())
    bounds = world_bounds(objects)
    config = replace(config or RenderConfig(), ground_height=float(bounds[0, 2]))
    return render(objects, frame_camera(bounds, direction=direction, width=width, height=height), config=config)


def render_world(
    world: World,
    state: State | None = None,
    *,
    camera: Camera | None = None,
    width: int = 960,
    height: int = 640,
    direction: tuple[float, float, float] = (1.0, -1.35, 0.85),
    config: RenderConfig | None = None,
) -> Picture:
    """Return a picture of a world, the ground drawn when the world has one.

    Args:
        world: What to draw.
        state: Poses of the free bodies; where they were put when not given.
        camera: Where it is seen from; one that sees everything when not given.
        width: Columns, when no camera is given [pixels].
        height: Rows, when no camera is given [pixels].
        direction: From the scene towards that camera.
        config: Samples, ground, light.
    """
    objects = objects_of_world(world, state)
    camera = camera or frame_camera(world_bounds(objects), direction=direction, width=width, height=height)
    config = config or RenderConfig()
    return render(objects, camera, config=replace(config, ground=config.ground and world.ground is not None))


def world_bounds(objects: Sequence[RenderObject]) -> np.ndarray:
    """Return the smallest and largest corner of all objects in W (2, 3) [m]."""
    filled = [item for item in objects if len(item.mesh.faces)]
    if not filled:
        raise ReportError("there is nothing to draw: no object has a triangle")
    corners = np.stack([_span(item.pose.apply(item.mesh.vertices)) for item in filled])
    return np.stack([corners[:, 0].min(axis=0), corners[:, 1].max(axis=0)])


class _Stage:
    """The scene in units of its own radius about its own centre, where single precision is enough for Embree."""

    def __init__(self, objects: Sequence[RenderObject], camera: Camera, config: RenderConfig) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        bounds = world_bounds(objects)
        self.config, self.camera = config, camera
        self.centre = bounds.mean(axis=0)
        self.radius = max(float(np.linalg.norm(np.ptp(bounds, axis=0))) / 2, 1e-9)
        self.names = ("background", "ground", *dict.fromkeys(item.name for item in objects))
        self.scene = EmbreeScene(robust=True)
        normals, offsets, looks, labels = [], [0], [], []
        shaded: dict[int, np.ndarray] = {}  # of each mesh once, however many objects share it
        for item in [item for item in objects if len(item.mesh.faces)]:
            if id(item.mesh) not in shaded:
                shaded[id(item.mesh)] = corner_normals(item.mesh)
            vertices = (item.pose.apply(item.mesh.vertices) - self.centre) / self.radius
            TriangleMesh(self.scene, vertices.astype(np.float32), np.array(item.mesh.faces))
            normals.append(item.pose.rotate(shaded[id(item.mesh)]).astype(np.float32))
            offsets.append(offsets[-1] + len(item.mesh.faces))
            looks.append((*item.base_color, item.metallic, item.roughness))
            labels.append(FIRST_OBJECT + self.names[FIRST_OBJECT:].index(item.name))
        self.ground_z = (config.ground_height - self.centre[2]) / self.radius
        if config.ground:
            vertices, faces = _ground(config.ground_reach, self.ground_z)
            TriangleMesh(self.scene, vertices, faces)
            normals.append(np.tile(np.array([0, 0, 1], np.float32), (2, 3, 1)))
            looks.append((*config.ground_color, 0.0, config.ground_roughness))
            labels.append(GROUND)
        self.normals = np.concatenate(normals)
        self.offsets = np.array(offsets, np.int64)
        self.looks = np.array(looks, np.float32)
        self.labels = np.array(labels, np.int32)
        self.eye = ((camera.position - self.centre) / self.radius).astype(np.float32)
        self.axes = camera.X_WC.rotation.astype(np.float32)

    def directions(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return unit directions in W through points of the picture [pixels], and the cosine to the camera's axis."""
        k = self.camera.intrinsics
        local = np.stack([(columns - k[0, 2]) / k[0, 0], (rows - k[1, 2]) / k[1, 1], np.ones_like(rows)], axis=-1)
        length = np.linalg.norm(local, axis=-1, keepdims=True)
        return (local / length).astype(np.float32) @ self.axes.T, (1 / length[..., 0]).astype(np.float32)

    def trace(self, top: int, bottom: int) -> dict[str, np.ndarray]:
        """Return everything about the pixels of some rows that is needed to put a picture together."""
        width, side = self.camera.width, self.config.supersampling
        shape = (bottom - top, width, side * side)
        steps = (np.arange(side) + 0.5) / side
        rows, columns, sub = np.meshgrid(
            np.arange(top, bottom), np.arange(width), np.arange(side * side), indexing="ij"
        )
        rays, _ = self.directions((columns + steps[sub % side]).ravel(), (rows + steps[sub // side]).ravel())
        parts = self._shade(rays, shape, top)
        # One more ray through the centre of each pixel: depth and labels must not be averages.
        centre_rays, cosine = self.directions(columns[:, :, 0].ravel() + 0.5, rows[:, :, 0].ravel() + 0.5)
        hit = self._hit(centre_rays)
        found = hit["geomID"] >= 0
        parts["depth"] = np.where(found, hit["tfar"] * cosine, 0).astype(np.float32).reshape(shape[:2])
        parts["label"] = np.where(found, self.labels[hit["geomID"]], 0).astype(np.int32).reshape(shape[:2])
        return parts

    def _hit(self, rays: np.ndarray) -> dict[str, np.ndarray]:
        return self.scene.run(np.tile(self.eye, (len(rays), 1)), np.ascontiguousarray(rays), output=True)

    def _shade(self, rays: np.ndarray, shape: tuple[int, int, int], top: int) -> dict[str, np.ndarray]:
        hit = self._hit(rays)
        index = np.flatnonzero(hit["geomID"] >= 0)
        geom, view = hit["geomID"][index], -rays[index]
        point = self.eye + rays[index] * hit["tfar"][index, None]
        flat = _face_viewer(hit["Ng"][index], view)
        normal = self._normal(geom, hit["primID"][index], hit["u"][index], hit["v"][index], view, flat)
        looks = self.looks[geom]
        sun, dome = shade(normal, view, looks[:, :3], looks[:, 3], looks[:, 4], self.config.light)
        keep = self._keep(geom, point)
        sight = self._visibility(point, normal, flat, _pattern(index, shape, top))
        height = 1 - (np.arange(len(rays)) // (shape[1] * shape[2]) + top) / self.camera.height
        behind = backdrop(height.astype(np.float32))
        behind[index] *= (1 - keep)[:, None]

        def mean(values: np.ndarray) -> np.ndarray:
            full = np.zeros((len(rays), values.shape[1]), np.float32)
            full[index] = values
            return full.reshape(*shape, -1).mean(axis=2)

        weight = np.maximum(mean(np.ones((len(index), 1), np.float32)), np.float32(1e-6))
        return {
            "sun": mean(sun * keep[:, None]),
            "dome": mean(dome * keep[:, None]),
            "sight": mean(sight) / weight,
            "normal": mean(normal) / weight,
            "backdrop": behind.reshape(*shape, 3).mean(axis=2),
        }

    def _keep(self, geom: np.ndarray, point: np.ndarray) -> Float32[np.ndarray, "N"]:
        """Return how much of a hit is seen: the ground fades into the background far away."""
        low, high = self.config.fade
        t = np.clip((np.linalg.norm(point, axis=1) - low) / (high - low), 0, 1)
        faded = 1 - t * t * (3 - 2 * t)
        return np.where(self.labels[geom] == GROUND, faded, 1).astype(np.float32)

    def _normal(self, geom, prim, u, v, view, flat) -> Float32[np.ndarray, "N 3"]:
        corners = self.normals[self.offsets[geom] + prim]
        normal = corners[:, 0] * (1 - u - v)[:, None] + corners[:, 1] * u[:, None] + corners[:, 2] * v[:, None]
        normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        # Seen from inside an open mesh the surface has the other side.
        normal = np.where(np.einsum("ni,ni->n", normal, flat)[:, None] < 0, -normal, normal)
        back = np.minimum(np.einsum("ni,ni->n", normal, view) - 0.02, 0)
        normal = normal - back[:, None] * view
        return (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)

    def _visibility(self, point, normal, flat, turn) -> Float32[np.ndarray, "N 2"]:
        """Return which shares of the key light and of the dome a point sees."""
        config = self.config
        origin = (point + flat * np.float32(2e-4)).astype(np.float32)
        sun = np.array(config.light.sun_direction, np.float64)
        sun = np.tile((sun / np.linalg.norm(sun)).astype(np.float32), (len(point), 1))
        x, y = _tangents(sun[:1])
        seen = np.zeros((len(point), 2), np.float32)
        for number in range(config.sun_samples):
            a, b = _disc(number, config.sun_samples, turn)
            r = np.float32(config.light.sun_radius)
            rays = sun + r * (a[:, None] * x + b[:, None] * y)
            seen[:, 0] += self._free(origin, rays, np.float32(1e6)) / config.sun_samples
        x, y = _tangents(normal)
        for number in range(config.dome_samples):
            a, b = _disc(number, config.dome_samples, turn)
            up = np.sqrt(np.maximum(1 - a * a - b * b, np.float32(1e-4)))
            rays = a[:, None] * x + b[:, None] * y + up[:, None] * normal
            seen[:, 1] += self._free(origin, rays, np.float32(config.occlusion_reach)) / config.dome_samples
        return seen

    def _free(self, origin: np.ndarray, rays: np.ndarray, reach: np.float32) -> Float32[np.ndarray, "N"]:
        if not len(rays):
            return np.zeros(0, np.float32)
        limits = np.full(len(rays), reach, np.float32)
        blocked = self.scene.run(origin, np.ascontiguousarray(rays, np.float32), dists=limits, query="OCCLUDED")
        return (blocked < 0).astype(np.float32)


def _span(points: np.ndarray) -> np.ndarray:
    return np.stack([points.min(axis=0), points.max(axis=0)])


def _ground(reach: float, z: float) -> tuple[Float32[np.ndarray, "4 3"], Int32[np.ndarray, "2 3"]]:
    corners = np.array([[-reach, -reach, z], [reach, -reach, z], [reach, reach, z], [-reach, reach, z]], np.float32)
    return corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def _face_viewer(normal: np.ndarray, view: np.ndarray) -> Float32[np.ndarray, "N 3"]:
    unit = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    return np.where(np.einsum("ni,ni->n", unit, view)[:, None] < 0, -unit, unit).astype(np.float32)


def _pattern(index: np.ndarray, shape: tuple[int, int, int], top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two numbers in 0..1 per ray that differ as much as can be between neighbours.

    References:
        Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018 (R2 sequence in the plane).
    """
    sub = index % shape[2]
    pixel = index // shape[2]
    x, y = pixel % shape[1], pixel // shape[1] + top
    first = (0.7548776662466927 * x + 0.5698402909980532 * y + sub * 0.6180339887498949) % 1.0
    second = (0.5698402909980532 * x + 0.2451223337533073 * y + sub * 0.7548776662466927 + 0.5) % 1.0
    return first.astype(np.float32), second.astype(np.float32)


def _disc(number: int, count: int, turn: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return sample `number` of `count` in the unit disc: rings of equal area, the golden angle between them."""
    radius = np.sqrt((number + turn[0]) / count)
    angle = 2 * np.pi * (number * 0.3819660112501051 + turn[1])
    return radius * np.cos(angle).astype(np.float32), radius * np.sin(angle).astype(np.float32)


def _tangents(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two unit vectors across each normal (Duff et al., "Building an orthonormal basis, revisited", 2017)."""
    x, y, z = normal.T
    sign = np.where(z >= 0, 1, -1).astype(np.float32)
    a = -1 / (sign + z)
    b = x * y * a
    first = np.stack([1 + sign * x * x * a, sign * b, -sign * x], axis=1)
    return first, np.stack([b, sign + y * y * a, -y], axis=1)


def _smooth_visibility(
    sight: np.ndarray, normal: np.ndarray, depth: np.ndarray, config: RenderConfig
) -> Float32[np.ndarray, "H W 2"]:
    """Return sampled visibility without its grain: an a-trous filter that stops at edges of depth and normal.

    References:
        Dammertz et al., "Edge-avoiding a-trous wavelet transform", HPG 2010.
    """
    result = sight
    for level in range(config.smooth_passes):
        step = 2**level if level < 2 else 1
        total, weight = result.copy(), np.ones((*depth.shape, 1), np.float32)
        for dy in (-step, 0, step):
            for dx in (-step, 0, step):
                if dx or dy:
                    _add_neighbours(total, weight, result, normal, depth, dy, dx)
        result = total / weight
    return result


def _add_neighbours(total, weight, sight, normal, depth, dy: int, dx: int) -> None:
    height, width = depth.shape
    to = slice(max(-dy, 0), height - max(dy, 0)), slice(max(-dx, 0), width - max(dx, 0))
    by = slice(max(dy, 0), height - max(-dy, 0)), slice(max(dx, 0), width - max(-dx, 0))
    here, there = depth[to], depth[by]
    # Neighbouring pixels of a steep surface differ in depth by up to some widths of a pixel.
    near = (np.abs(here - there) < 0.02 * here) & (here > 0) & (there > 0)
    alike = np.einsum("hwi,hwi->hw", normal[to], normal[by])
    share = np.where(near & (alike > 0.9), 1.0 if dx == 0 or dy == 0 else 0.7, 0.0).astype(np.float32)[:, :, None]
    total[to] += share * sight[by]
    weight[to] += share
