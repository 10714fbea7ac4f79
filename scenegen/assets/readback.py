"""Reading an asset's files back with the programs that users load them with, against the numbers of asset.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from physics.check import Check
from physics.engine import Placement, World
from physics.errors import PhysicsError
from physics.mass import MassProperties, combine_masses, integrate_mesh
from physics.mesh import Mesh
from physics.mesh_io import read_mesh
from physics.model import Body, Hull, Model
from physics.mujoco_spec import MujocoConfig, contact_settings, verdict_timestep
from physics.pose import Pose
from scenegen.assets.export_glb import Z_UP_TO_Y_UP
from scenegen.assets.export_mjcf import COLLISION_GROUP, VISUAL_GROUP
from scenegen.assets.layout import MODEL_URDF, MODEL_XML, VISUAL_GLB, hull_paths, mesh_name, part_paths
from scenegen.assets.package import load_asset
from scenegen.assets.tree import walk_tree


@dataclass(frozen=True)
class ReadbackConfig:
    """How exactly a format must give back what was written."""

    exact: float = 1e-9
    """Largest relative error of numbers that a format holds as doubles [1]."""
    bullet_inertia: float = 1e-5
    """Largest relative error of the inertia in PyBullet, which diagonalises it by itself [1]."""
    single: float = 1e-5
    """Largest error of coordinates kept in single precision, over the largest extent [1]."""
    integral: float = 1e-4
    """Largest relative error of mass properties integrated over single-precision coordinates [1]."""


@dataclass(frozen=True, eq=False)
class _Found:
    """What a reader holds about one body."""

    inertial: MassProperties
    bounds: Float64[np.ndarray, "2 3"] | None
    hull_count: int
    hull_bounds: Float64[np.ndarray, "2 3"] | None


def read_back(folder: Path, *, config: ReadbackConfig | None = None) -> tuple[Check, ...]:
    """Return checks X1 (MJCF in MuJoCo), X2 (URDF in PyBullet), X3 (GLB) and X4 (OBJ of surfaces and hulls).

    Args:
        folder: Folder of an asset, published or staged.
        config: Allowed errors.

    Raises:
        AssetError: The folder is incomplete or was changed.
    """
    config = config or ReadbackConfig()
    folder = Path(folder)
    model = load_asset(folder).model
    return (
        *_engine_checks("X1", "MJCF", "mujoco", model, _read_mjcf(folder, model), config.exact, config),
        *_contact_checks(folder, model, config),
        *_engine_checks("X2", "URDF", "pybullet", model, _read_urdf(folder, model), config.bullet_inertia, config),
        *_glb_checks(folder, model, config),
        *_obj_checks(folder, model, config),
    )


# ---- comparison ------------------------------------------------------------------------------------------------


def _engine_checks(
    identifier: str, form: str, engine: str, model: Model, found: dict[str, _Found] | str, inertia: float, config
) -> list[Check]:
    if isinstance(found, str):
        return [_check(identifier, f"{form} can be loaded", np.nan, 0.0, engine=engine, detail=found)]
    names = set(found) ^ {body.name for body in model.bodies}
    checks = [_check(identifier, f"bodies missing or unknown in {form}", len(names), 0.0, engine=engine)]
    for body in [body for body in model.bodies if body.name in found]:
        one = found[body.name]
        more = {"body": body.name, "engine": engine}
        checks += _inertial_checks(
            identifier, form, body.inertial, one.inertial, body.size, (config.exact, inertia), **more
        )
        count = abs(one.hull_count - len(body.hulls))
        detail = f"{one.hull_count} of {len(body.hulls)}"
        checks.append(_check(identifier, f"collision shapes missing in {form}", count, 0.0, detail=detail, **more))
        hull_bounds = _bounds([hull.mesh for hull in body.hulls])
        for what, ours, theirs in (("surface", body.bounds, one.bounds), ("hull", hull_bounds, one.hull_bounds)):
            error = np.nan if theirs is None else float(np.abs(ours - theirs).max()) / body.size
            checks.append(_check(identifier, f"{what} bounds in {form} over L", error, config.single, **more))
    return checks


def _inertial_checks(
    identifier: str,
    form: str,
    ours: MassProperties,
    theirs: MassProperties,
    size: float,
    limits: tuple[float, float],
    **more: str,
) -> list[Check]:
    scale = float(np.abs(ours.inertia).max())
    errors = {
        "mass": (abs(theirs.mass / ours.mass - 1), limits[0]),
        "centre of mass": (float(np.linalg.norm(theirs.com - ours.com)) / size, limits[0]),
        "inertia": (float(np.abs(theirs.inertia - ours.inertia).max()) / scale, limits[1]),
    }
    return [_check(identifier, f"{name} in {form}", error, limit, **more) for name, (error, limit) in errors.items()]


def _check(identifier: str, name: str, value: float, limit: float, **more: str) -> Check:
    fix = "The writer of this format lost something; do not use the file."
    return Check(identifier, name, float(value), "1", limit, fix=fix, **more)  # type: ignore[arg-type]


def _bounds(meshes: list[Mesh] | list[np.ndarray]) -> Float64[np.ndarray, "2 3"]:
    points = np.concatenate([mesh.vertices if isinstance(mesh, Mesh) else mesh for mesh in meshes])
    return np.stack([points.min(axis=0), points.max(axis=0)])


def _from_principal(mass: float, moments: np.ndarray, X_BI: Pose) -> MassProperties:
    tensor = X_BI.rotation @ np.diag(moments) @ X_BI.rotation.T
    return MassProperties(mass, X_BI.position, (tensor + tensor.T) / 2)


# ---- readers ---------------------------------------------------------------------------------------------------


def _read_mjcf(folder: Path, model: Model) -> dict[str, _Found] | str:
    import mujoco

    try:
        loaded = mujoco.MjModel.from_xml_path(str(folder / MODEL_XML))  # pyright: ignore[reportAttributeAccessIssue]
    except ValueError as error:
        return " ".join(str(error).split())
    found = {}
    for index in range(1, loaded.nbody):
        name = loaded.body(index).name
        points: dict[int, list[np.ndarray]] = {VISUAL_GROUP: [], COLLISION_GROUP: []}
        for geom in np.flatnonzero(loaded.geom_bodyid == index):
            mesh = loaded.geom_dataid[geom]
            start, count = loaded.mesh_vertadr[mesh], loaded.mesh_vertnum[mesh]
            pose = Pose.from_quaternion(loaded.geom_quat[geom], loaded.geom_pos[geom])
            vertices = loaded.mesh_vert[start : start + count].astype(np.float64)
            points[int(loaded.geom_group[geom])].append(pose.apply(vertices))
        pose = Pose.from_quaternion(loaded.body_iquat[index], loaded.body_ipos[index])
        hulls, parts = points[COLLISION_GROUP], points[VISUAL_GROUP]
        found[name] = _Found(
            _from_principal(float(loaded.body_mass[index]), loaded.body_inertia[index], pose),
            _bounds(parts) if parts else None,
            len(hulls),
            _bounds(hulls) if hulls else None,
        )
    return found


def _contact_checks(folder: Path, model: Model, config: ReadbackConfig) -> list[Check]:
    """X1: contacts and options in the loaded MJCF must be those that the asset was verified with."""
    import mujoco

    try:
        loaded = mujoco.MjModel.from_xml_path(str(folder / MODEL_XML))  # pyright: ignore[reportAttributeAccessIssue]
    except ValueError:
        return []  # the check that the file can be loaded has failed already
    wanted = MujocoConfig()
    alone = World((Placement(model.name, model, Pose.identity()),), None)
    errors = {
        "time step": abs(loaded.opt.timestep / verdict_timestep(alone, wanted) - 1),
        "impratio": abs(loaded.opt.impratio / wanted.impratio - 1),
    }
    present = {loaded.geom(index).name for index in range(loaded.ngeom)}
    geoms = {mesh_name(path): (body.hull_material(hull), body.size) for body, hull, path in _hulls(model)}
    if not geoms.keys() <= present:
        return []  # the check that counts collision shapes has failed already
    for field in ("friction", "solref", "solimp", "solmix"):
        held = getattr(loaded, f"geom_{field}")
        differences = [
            np.abs(held[loaded.geom(name).id] - contact_settings(material, wanted, size=size)[field]).max()
            for name, (material, size) in geoms.items()
        ]
        errors[field] = float(np.max(differences))
    return [
        _check("X1", f"{name} in MJCF, as verified", error, config.exact, engine="mujoco")
        for name, error in errors.items()
    ]


def _hulls(model: Model) -> list[tuple[Body, Hull, str]]:
    bodies = {body.name: body for body in model.bodies}
    return [(bodies[owner], hull, path) for owner, hull, path in hull_paths(model)]


def _read_urdf(folder: Path, model: Model) -> dict[str, _Found] | str:
    import pybullet

    client = pybullet.connect(pybullet.DIRECT)
    try:
        flags = pybullet.URDF_USE_INERTIA_FROM_FILE
        handle = pybullet.loadURDF(str(folder / MODEL_URDF), flags=flags, physicsClientId=client)
        links = [(-1, pybullet.getBodyInfo(handle, physicsClientId=client)[0].decode())]
        for joint in range(pybullet.getNumJoints(handle, physicsClientId=client)):
            info = pybullet.getJointInfo(handle, joint, physicsClientId=client)
            links.append((joint, info[12].decode()))
        return {name: _bullet_link(pybullet, client, handle, link) for link, name in links}
    except pybullet.error as error:
        return str(error)
    finally:
        pybullet.disconnect(client)


def _bullet_link(pybullet, client: int, handle: int, link: int) -> _Found:
    mass, _, moments, position, xyzw = pybullet.getDynamicsInfo(handle, link, physicsClientId=client)[:5]
    X_BI = Pose.from_quaternion(np.array([xyzw[3], *xyzw[:3]]), np.array(position))
    shapes = pybullet.getCollisionShapeData(handle, link, physicsClientId=client)
    points = []
    for shape in shapes:
        # Bullet gives a shape's pose in the inertial frame and the file that it read.
        X_IS = Pose.from_quaternion(np.array([shape[6][3], *shape[6][:3]]), np.array(shape[5]))
        points.append(X_BI.compose(X_IS).apply(read_mesh(shape[4].decode()).vertices))
    visuals = []
    for shape in pybullet.getVisualShapeData(handle, physicsClientId=client):
        if shape[1] == link:
            X_BS = Pose.from_quaternion(np.array([shape[6][3], *shape[6][:3]]), np.array(shape[5]))
            visuals.append(X_BS.apply(read_mesh(shape[4].decode()).vertices))
    return _Found(
        _from_principal(mass, np.array(moments), X_BI),
        _bounds(visuals) if visuals else None,
        len(shapes),
        _bounds(points) if points else None,
    )


def _glb_checks(folder: Path, model: Model, config: ReadbackConfig) -> list[Check]:
    import trimesh

    scene = trimesh.load_scene(folder / VISUAL_GLB)
    expected = [(node.X_MB, part) for node in walk_tree(model) for part in node.body.parts]
    masses, vertices = [], []
    to_ours = Z_UP_TO_Y_UP.inverse()
    dense = _density_by_material(model)
    for node in scene.graph.nodes_geometry:
        transform, geometry = scene.graph[node]
        shape = scene.geometry[geometry]
        points = to_ours.apply(trimesh.transform_points(shape.vertices, transform))
        density = dense[shape.visual.material.name]
        masses.append(integrate_mesh(Mesh(points, np.asarray(shape.faces)), density=density))
        vertices.append(points)
    count = abs(len(masses) - len(expected))
    checks = [_check("X3", "parts missing in GLB", count, 0.0, detail=f"{len(masses)} of {len(expected)}")]
    if not masses:
        return checks
    ours = combine_masses([integrate_mesh(p.surface, density=p.material.density).moved(X) for X, p in expected])
    bounds = _bounds([X.apply(part.surface.vertices) for X, part in expected])
    size = float(np.ptp(bounds, axis=0).max())
    checks += _inertial_checks("X3", "GLB", ours, combine_masses(masses), size, (config.integral, config.integral))
    error = float(np.abs(_bounds(vertices) - bounds).max()) / size
    return [*checks, _check("X3", "bounds in GLB over L", error, config.single)]


def _density_by_material(model: Model) -> dict[str, float]:
    return {part.material.name: part.material.density for body in model.bodies for part in body.parts}


def _obj_checks(folder: Path, model: Model, config: ReadbackConfig) -> list[Check]:
    files = sorted(path.name for path in (folder / "collision").glob("*.obj"))
    wanted = sorted(Path(path).name for _, _, path in hull_paths(model))
    detail = f"{len(files)} of {len(wanted)}"
    checks = [_check("X4", "hull files missing or unknown", len(set(files) ^ set(wanted)), 0.0, detail=detail)]
    for body in model.bodies:
        pairs = [(hull.mesh, path) for owner, hull, path in hull_paths(model) if owner == body.name]
        pairs += [(part.surface, path) for owner, part, path in part_paths(model) if owner == body.name]
        errors = [_obj_error(mesh, folder / path, body) for mesh, path in pairs]
        worst = int(np.argmax([np.inf if np.isnan(error) else error for error in errors]))
        checks.append(
            _check("X4", "volume or bounds in OBJ", errors[worst], config.exact, body=body.name, detail=pairs[worst][1])
        )
    return checks


def _obj_error(mesh: Mesh, path: Path, body: Body) -> float:
    try:
        found = read_mesh(path)
    except PhysicsError:
        return np.nan
    shift = float(np.abs(found.bounds - mesh.bounds).max()) / body.size
    return max(abs(found.volume / mesh.volume - 1), shift)
