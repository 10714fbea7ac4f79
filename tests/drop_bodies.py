"""Bodies for the drop tests, and the engines that they are dropped in."""

from __future__ import annotations

import functools
import importlib.util
import itertools

import numpy as np
import trimesh

from physics import truth as solids
from physics.drop import run_drops
from physics.drop_mujoco import open_mujoco
from physics.drop_record import DropConfig, DropRecord
from physics.engine import Engine, World
from physics.errors import EngineError
from physics.floors import REFERENCE_MATERIAL, EngineFloors, OpenEngine, convex_body, measure_floors, prism
from physics.mass import combine_masses, integrate_mesh
from physics.mesh import Mesh
from physics.model import Body, Hull, Model, Part

ENGINES = ("mujoco", "pybullet") if importlib.util.find_spec("pybullet") else ("mujoco",)


def opener(engine: str) -> OpenEngine:
    if engine == "mujoco":
        return open_mujoco
    from physics.drop_pybullet import open_pybullet

    return open_pybullet


@functools.cache
def floors(engine: str) -> EngineFloors:
    return measure_floors(opener(engine))


def drop(model: Model, engine: str, *, seed: int = 0, opened: OpenEngine | None = None, **options) -> DropRecord:
    config = options.pop("config", DropConfig())
    return run_drops(
        model,
        opened or opener(engine),
        ground=REFERENCE_MATERIAL,
        floors=floors(engine),
        config=config,
        rng=np.random.default_rng(seed),
        **options,
    )


def failing(record: DropRecord) -> set[str]:
    return {check.id for check in record.checks if check.verdict == "FAIL"}


def report(record: DropRecord) -> str:
    return "\n".join([record.model, *(check.describe() for check in record.checks)])


def convex(name: str, mesh: Mesh) -> Model:
    """A convex body whose hull has no vertices but its corners."""
    hull = trimesh.convex.convex_hull(mesh.vertices)
    return Model(name, (convex_body(name, Mesh(hull.vertices, hull.faces), REFERENCE_MATERIAL),))


def union(name: str, meshes: list[Mesh], densities: list[float] | None = None) -> Model:
    """Rigidly joined convex pieces of one part; pieces may weigh differently."""
    pieces = [convex_body(name, mesh, REFERENCE_MATERIAL) for mesh in meshes]
    masses = [piece.inertial for piece in pieces]
    if densities is not None:
        masses = [integrate_mesh(mesh, density=density) for mesh, density in zip(meshes, densities, strict=True)]
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)])
    part = Part(name, Mesh(vertices, faces), REFERENCE_MATERIAL)
    return Model(name, (Body(name, (part,), tuple(Hull(mesh, name) for mesh in meshes), combine_masses(masses)),))


def block(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> Mesh:
    outline = np.array([[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]])
    return prism(outline, z[1] - z[0]).translated(np.array([0.0, 0.0, z[0]]))


def cuboid(name: str, x: float, y: float, z: float) -> Model:
    return convex(name, block((-x / 2, x / 2), (-y / 2, y / 2), (0.0, z)))


def l_bar() -> Model:
    return union("l_bar", [block((0, 0.1), (0, 0.04), (0, 0.04)), block((0, 0.04), (0.04, 0.1), (0, 0.04))])


def ring(count: int = 12, major: float = 0.05, width: float = 0.015, height: float = 0.02) -> Model:
    """A ring of wedges, its centre of mass in the hole."""
    angles = 2 * np.pi * np.arange(count + 1) / count
    wedges = []
    for a, b in itertools.pairwise(angles):
        inner, outer = major - width / 2, major + width / 2
        corners = [(outer, a), (outer, b), (inner, b), (inner, a)]
        wedges.append(prism(np.array([[r * np.cos(t), r * np.sin(t)] for r, t in corners]), height))
    return union("ring", wedges)


def hammer() -> Model:
    """A steel head on a wooden handle, lying on its side."""
    head = block((0.24, 0.27), (-0.05, 0.05), (0.0, 0.03))
    handle = block((0.0, 0.24), (-0.012, 0.012), (0.004, 0.026))
    return union("hammer", [head, handle], [7850.0, 700.0])


def needle(length: float = 0.1, width: float = 0.002) -> Model:
    """A thin double pyramid, which can only lie."""
    side = width / 2
    waist = [[side, 0, length / 2], [0, side, length / 2], [-side, 0, length / 2], [0, -side, length / 2]]
    vertices = np.array([[0, 0, 0], *waist, [0, 0, length]])
    edges = ((1, 2), (2, 3), (3, 4), (4, 1))
    faces = [[0, b, a] for a, b in edges] + [[5, a, b] for a, b in edges]
    return convex("needle", Mesh(vertices, np.array(faces)))


def cylinder(radius: float = 0.03, height: float = 0.1, sides: int = 32) -> Model:
    return convex("cylinder", solids.cylinder(radius, height, segments=sides).mesh)


def refusing(world: World, **options: object) -> Engine:
    raise EngineError("the engine refuses this world")
