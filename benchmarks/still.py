"""How still a written large scene lies: a share of its components and the largest of them, awake for some seconds.

The delivered model itself is stepped, as it is loaded by stock MuJoCo: the objects of the chosen components never
sleep, all others are asleep from the start and wake only where something touches them. What stands alone is a
component of one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet

from physics.pose import Pose
from scenegen.large.export import SCENE_MJB
from scenegen.scenes.publish import POSES

MOST_MOVED_M, MOST_TURNED = 1e-3, float(np.deg2rad(1.0))
"""Targets: how far any object may move [m] and turn [rad]."""
LOOK_S = 0.05
"""Time between two looks at who is awake [s]."""


@dataclass(frozen=True)
class Moved:
    """What became of the objects that were awake."""

    components: int
    objects: int
    """Objects that were kept awake [1]."""
    woken: tuple[str, ...]
    """Objects that were not, and woke at any time: something came to touch them."""
    distance: float
    """Farthest that the origin of any object moved [m]."""
    angle: float
    """Most that any object turned [rad]."""
    restless: tuple[str, ...]
    """Objects beyond either target, with how far they moved and turned."""


def still(scene: Path, *, seconds: float, share: float, largest: int, seed: int) -> bool:
    """Step a written scene, print how far its objects moved, and return whether all lie still."""
    begun = time.process_time()
    moved = step_awake(scene, seconds=seconds, share=share, largest=largest, seed=seed)
    good = moved.distance <= MOST_MOVED_M and moved.angle <= MOST_TURNED and not moved.woken
    print(
        f"after {seconds:g} s with {moved.objects} objects of {moved.components} components awake ({share:.0%} of all "
        f"and the {largest} largest): none moved more than {1e3 * moved.distance:.3f} mm (at most "
        f"{1e3 * MOST_MOVED_M:g}), none turned more than {np.rad2deg(moved.angle):.3f} degrees (at most "
        f"{np.rad2deg(MOST_TURNED):g}); {len(moved.woken)} others woke (none may) "
        f"({time.process_time() - begun:.0f} s of processor time)"
    )
    for line in moved.restless:
        print(f"  beyond: {line}")
    return good


def step_awake(scene: Path, *, seconds: float, share: float, largest: int, seed: int) -> Moved:
    """Step the compiled model of a scene with some of its components awake.

    Args:
        scene: Folder of the scene.
        seconds: How long [s].
        share: Share of the components that are drawn [1].
        largest: How many of the largest are taken as well [1].
        seed: Of the draw.
    """
    import mujoco

    components = read_components(scene)
    names = sorted(components)
    drawn = np.random.default_rng(seed).permutation(len(names))[: int(np.ceil(share * len(names)))]
    by_size = sorted(names, key=lambda name: (-len(components[name]), name))
    chosen = sorted({names[number] for number in drawn} | set(by_size[:largest]))
    awake = [member for name in chosen for member in components[name]]
    model = mujoco.MjModel.from_binary_path(str(scene / SCENE_MJB))
    model.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    trees = np.array([model.body_treeid[model.body(name).id] for name in awake])
    model.tree_sleep_policy[trees] = mujoco.mjtSleepPolicy.mjSLEEP_NEVER
    data = mujoco.MjData(model)
    before = _poses(model, data)
    up = np.zeros(model.ntree, dtype=bool)
    for _ in range(round(seconds / LOOK_S)):
        mujoco.mj_step(model, data, round(LOOK_S / model.opt.timestep))
        up |= np.asarray(data.tree_awake, dtype=bool)
    if not np.isfinite(data.qpos).all():
        raise SystemExit(f"{scene}: the state is no number after {seconds:g} s")
    after = _poses(model, data)
    distances = {name: float(np.linalg.norm(after[name].position - before[name].position)) for name in before}
    angles = {name: before[name].angle_to(after[name]) for name in before}
    restless = tuple(
        f"{name}: {1e3 * distances[name]:.3f} mm, {np.rad2deg(angles[name]):.3f} degrees"
        for name in sorted(before)
        if distances[name] > MOST_MOVED_M or angles[name] > MOST_TURNED
    )
    up[trees] = False
    woken = tuple(sorted(model.body(int(model.tree_bodyadr[tree])).name for tree in np.flatnonzero(up)))
    return Moved(len(chosen), len(awake), woken, max(distances.values()), max(angles.values()), restless)


def read_components(scene: Path) -> dict[str, list[str]]:
    """Return the objects of each component of a scene; one that stands alone is named as its object."""
    table = parquet.read_table(scene / POSES, columns=["object", "component"]).to_pydict()
    components: dict[str, list[str]] = {}
    for name, component in zip(table["object"], table["component"], strict=True):
        components.setdefault(component or name, []).append(name)
    return components


def _poses(model: Any, data: Any) -> dict[str, Pose]:
    """Return the pose of every free object."""
    joints = range(model.njnt)
    starts = [int(model.jnt_qposadr[joint]) for joint in joints]
    names = [model.body(int(model.jnt_bodyid[joint])).name for joint in joints]
    qpos = np.array(data.qpos)
    return {n: Pose(qpos[s : s + 3], qpos[s + 3 : s + 7]) for n, s in zip(names, starts, strict=True)}
