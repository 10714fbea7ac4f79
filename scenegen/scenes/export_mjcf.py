"""A scene as MJCF: stock MuJoCo loads `scene.xml` and finds every object at rest, under the verified options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from physics.check import Check
from physics.drop_mujoco import load_mujoco_file
from physics.mass import MassProperties
from physics.mesh_io import write_obj
from physics.mujoco_spec import MujocoConfig, write_world_xml
from physics.pose import Pose
from scenegen.scenes.scene import Scene, SceneObject
from scenegen.scenes.verify import SceneCheckConfig, verify_scene

SCENE_XML = "scene.xml"
"""File in the scene's folder."""
MESHES = "meshes"
"""Folder beside it for the meshes of the furniture."""


def export_mjcf(scene: Scene, folder: Path, mesh_files: Mapping[str, str]) -> Path:
    """Write `scene.xml` and the meshes of the furniture.

    Args:
        scene: A verified scene.
        folder: The scene's folder.
        mesh_files: Path of every hull of the objects by the digest of its mesh, relative to `folder`.

    Returns:
        Path of the file.
    """
    files = dict(mesh_files)
    for placement in scene.furniture:
        for number, hull in enumerate(placement.model.root.hulls):
            path = Path(MESHES) / f"{placement.name}_{number:03d}.obj"
            (folder / MESHES).mkdir(exist_ok=True)
            write_obj(hull.mesh, folder / path)
            files[hull.mesh.digest] = path.as_posix()
    target = folder / SCENE_XML
    write_world_xml(scene.world, target, mesh_files=files, name=scene.name, config=MujocoConfig())
    return target


def read_back_mjcf(scene: Scene, path: Path, config: SceneCheckConfig) -> tuple[Check, ...]:
    """Load a written scene with stock MuJoCo and judge it again: names, masses, poses, and that it stands still."""
    engine = load_mujoco_file(path, scene.world)
    try:
        state = engine.state()
        declared = {one.name: one for one in scene.objects}
        names = set(state.names) ^ set(declared)
        known = sorted(set(state.names) & set(declared))
        inertials = engine.inertials()
        shift = max((_distance(state.pose(name), declared[name].X_WB) for name in known), default=0.0)
        turn = max((state.pose(name).angle_to(declared[name].X_WB) for name in known), default=0.0)
        masses = max((_mass_error(inertials[name], declared[name]) for name in known), default=0.0)
        loaded = (
            Check("X5", "objects missing or undeclared in the file", float(len(names)), "1", 0.0, engine="mujoco"),
            Check("X5", "position error in the file", shift, "m", 1e-6, engine="mujoco"),
            Check("X5", "orientation error in the file", turn, "rad", 1e-6, engine="mujoco"),
            Check("X5", "mass error in the file", masses, "1", 1e-6, engine="mujoco"),
        )
        return loaded + verify_scene(scene.world, engine, config)
    finally:
        engine.close()


def _distance(a: Pose, b: Pose) -> float:
    return float(np.linalg.norm(a.position - b.position))


def _mass_error(held: MassProperties, one: SceneObject) -> float:
    return abs(held.mass / one.asset.model.root.inertial.mass - 1)
