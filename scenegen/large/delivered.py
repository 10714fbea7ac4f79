"""The delivered model against what was verified: identity, settings, and that components do not touch each other."""

# The bindings of MuJoCo are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from physics.check import Check
from physics.materials import find_material
from physics.mujoco_spec import MujocoConfig, compile_world
from physics.pose import Pose
from scenegen.large.scene import LargeScene
from scenegen.scenes.scene import SceneAsset, SceneObject, make_world
from scenegen.scenes.verify import SceneCheckConfig

POSE_TOLERANCE = 1e-9
"""X5: difference of positions [m] and quaternions [1] in the file."""
MASS_TOLERANCE = 1e-9
"""X5: relative difference of masses in the file [1]."""
GEOM_FIELDS = (
    "geom_friction",
    "geom_solref",
    "geom_solmix",
    "geom_solimp",
    "geom_condim",
    "geom_margin",
    "geom_gap",
    "geom_priority",
)
"""Contact settings of a geom."""
OPTIONS = ("timestep", "gravity", "integrator", "cone", "solver", "impratio", "tolerance", "iterations", "disableflags")
"""Options under which components were verified."""


def find_contacts(model: Any) -> Any:
    """Return `mujoco.MjData` of a loaded model where its objects lie, all awake: poses and contacts, nothing else."""
    import mujoco

    flags = int(model.opt.enableflags)
    # Of two that sleep MuJoCo looks for no contact: a file whose objects start asleep would have none at all.
    model.opt.enableflags = flags & ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    try:
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
    finally:
        model.opt.enableflags = flags
    return data


def count_touching(model: Any, data: Any) -> int:
    """Return how many objects touch another one; many in a bin touch its floor only."""
    bodies = model.geom_bodyid[np.reshape(data.contact.geom, (-1, 2))]
    free = model.body_dofnum > 0
    return len(np.unique(bodies[free[bodies].all(axis=1)]))


def check_delivered(
    model: Any, data: Any, scene: LargeScene, assets: Mapping[str, SceneAsset], config: SceneCheckConfig
) -> tuple[Check, ...]:
    """Judge a loaded model of the whole scene: nothing is simulated here, all was by component.

    Args:
        model: `mujoco.MjModel` of the written files.
        data: Its contacts, as `find_contacts` returns them.
        scene: What was verified.
        assets: Its assets by folder.
        config: Limits of S1.
    """
    names = [model.body(number).name for number in range(model.nbody)]
    return (
        *_identity(model, scene, assets, names),
        *_settings(model, scene, assets, names),
        *_contacts(model, data, scene, assets, names, config),
    )


def _identity(model: Any, scene: LargeScene, assets: Mapping[str, SceneAsset], names: list[str]) -> list[Check]:
    number = {name: row for row, name in enumerate(names)}
    declared = {member.name for member in scene.members}
    moving = {names[body] for body in model.jnt_bodyid.tolist()}
    fixed = {one.name for one in scene.fixtures} - set(names)
    errors = [np.zeros(3)]  # of position [m], orientation [1], mass [1]; NumPy's maximum keeps what is no number
    for member in scene.members:
        if member.name not in moving:
            continue
        body = number[member.name]
        start = int(model.jnt_qposadr[model.body_jntadr[body]])
        pose = model.qpos0[start : start + 7]
        shift = np.abs(pose[:3] - member.X_WB.position).max()
        turn = np.abs(pose[3:] - member.X_WB.quaternion).max()
        mass = assets[member.folder].model.root.inertial.mass
        errors.append(np.array([shift, turn, abs(model.body_mass[body] / mass - 1)]))
    shift, turn, weight = np.max(errors, axis=0).tolist()
    strays = float(len(moving ^ declared) + len(fixed))
    return [
        Check("X5", "objects missing or undeclared in the file", strays, "1", 0.0, engine="mujoco"),
        Check("X5", "position error in the file", shift, "m", POSE_TOLERANCE, engine="mujoco"),
        Check("X5", "orientation error in the file", turn, "1", POSE_TOLERANCE, engine="mujoco"),
        Check("X5", "mass error in the file", weight, "1", MASS_TOLERANCE, engine="mujoco"),
    ]


def _settings(model: Any, scene: LargeScene, assets: Mapping[str, SceneAsset], names: list[str]) -> list[Check]:
    """Compare geoms and options with those of a world made as the components were."""
    one_of_each = {member.folder: member.name for member in reversed(scene.members)}
    objects = [SceneObject(name, assets[folder], Pose.identity()) for folder, name in one_of_each.items()]
    fixtures = {one.kind: one for one in reversed(scene.fixtures)}
    furniture = [one.placement(scene.models) for one in fixtures.values()]
    world = make_world(furniture, objects, find_material(scene.ground))
    verified = compile_world(world, timestep_scale=1.0, config=MujocoConfig())
    number = {name: row for row, name in enumerate(names)}
    wrong = 0
    for name in ["world", *(one.name for one in furniture), *one_of_each.values()]:
        ours = _collision_geoms(verified, verified.body(name).id)
        theirs = _collision_geoms(model, number[name])
        wrong += int(len(ours) != len(theirs)) or sum(
            not np.allclose(getattr(verified, field)[ours], getattr(model, field)[theirs], rtol=1e-12, atol=0)
            for field in GEOM_FIELDS
        )
    unlike = [
        field
        for field in OPTIONS
        if not np.allclose(getattr(verified.opt, field), getattr(model.opt, field), rtol=1e-12)
    ]
    return [
        Check("X6", "geoms with other contact settings", float(wrong), "1", 0.0, engine="mujoco"),
        Check("X6", "other options", float(len(unlike)), "1", 0.0, engine="mujoco", detail=", ".join(unlike)),
    ]


def _collision_geoms(model: Any, body: int) -> np.ndarray:
    first = int(model.body_geomadr[body])
    rows = np.arange(first, first + int(model.body_geomnum[body])) if first >= 0 else np.zeros(0, int)
    return rows[model.geom_contype[rows] > 0]


def _contacts(
    model: Any,
    data: Any,
    scene: LargeScene,
    assets: Mapping[str, SceneAsset],
    names: list[str],
    config: SceneCheckConfig,
) -> list[Check]:
    """S1 of the whole, and the premise of judging components: no contact leads from one to another."""
    owner = {m.name: component or m.name for m, component in zip(scene.members, scene.components, strict=True)}
    least = {member.name: float(assets[member.folder].model.root.extents.min()) for member in scene.members}
    bodies = model.geom_bodyid[np.reshape(data.contact.geom, (-1, 2))]
    crossing, worst = set(), (0.0, 0.0, config.overlap_floor, "")
    for (a, b), distance in zip(bodies.tolist(), data.contact.dist.tolist(), strict=True):
        pair = names[a], names[b]
        if all(name in owner for name in pair) and owner[pair[0]] != owner[pair[1]]:
            crossing.add(" and ".join(pair))
        small = min(least.get(name, np.inf) for name in pair)
        limit = min(config.overlap_cap, max(config.overlap_floor, config.overlap_share * small))
        if -distance / limit > worst[0]:
            worst = (-distance / limit, -distance, limit, " and ".join(pair))
    warned = sum(int(warning.number) for warning in data.warning)
    warned += int((~np.isfinite(data.contact.dist)).sum())  # no comparison above sees what is no number
    fix = "What touches must be judged together: this is a mistake of the program."
    return [
        Check(
            "S6", "contacts between components", float(len(crossing)), "1", 0.0, engine="mujoco", fix=fix,
            detail="; ".join(sorted(crossing)[:3]),
        ),
        Check("S6", "deepest overlap of the whole", worst[1], "m", worst[2], body=worst[3], engine="mujoco"),
        Check("S6", "engine warnings", float(warned), "1", 0.0, engine="mujoco"),
    ]  # fmt: skip
