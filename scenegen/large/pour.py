"""Objects poured into a bin: drawn to its room, let fall with only the bin there, replaced where they stick out."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from physics.drop_mujoco import open_mujoco
from physics.engine import Placement
from physics.errors import EngineError
from physics.materials import find_material
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.large.floor import Job
from scenegen.large.heap import order_along, pour_heap
from scenegen.large.hold import HoldConfig, draw_poured, top_of
from scenegen.large.pool import read_asset, shell_volume
from scenegen.scenes.place import place_above
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.settle import Settled, settle


def draw_load(job: Job, config: HoldConfig, rng: np.random.Generator) -> list[SceneObject]:
    """Return what is poured into a bin, and of a heap some more, as far as there is room; places come later.

    Raises:
        SceneError: The bin does not hold so many.
    """
    room = job.pour_room
    smallest = min(shell_volume(read_asset(config.root, folder)) for folder in config.poured)
    drawn: list[SceneObject] = []
    spare = math.ceil(config.heap_spare * job.poured) if job.layered else 0
    for number in range(job.poured + spare):
        # What is left must hold the smallest of those that still come.
        asset = draw_poured(config, rng, room - smallest * max(job.poured - number - 1, 0))
        if asset is None and number >= job.poured:
            break
        if asset is None:
            raise SceneError(f"{job.name}: {job.poured} objects do not fit into the bin, {number} do")
        room -= shell_volume(asset)
        drawn.append(SceneObject(f"{job.name}_{number:03d}", asset, Pose.identity()))
    return drawn


def pour(
    job: Job,
    container: Placement,
    objects: Sequence[SceneObject],
    config: HoldConfig,
    rng: np.random.Generator,
    *,
    lost: Collection[str],
    first: bool,
) -> tuple[list[SceneObject], dict[str, str]]:
    """Let objects fall into a bin, nothing but the bin there; return them at rest, and those that cannot stay.

    What was lost before is replaced by another draw, on top of the others.
    """
    falling = {one.name for one in objects} if first else set(lost)
    kept = [one for one in objects if one.name not in falling]
    fresh = objects if first else [_redrawn(one, config, rng) for one in objects if one.name in falling]
    layers = _pour_in_layers if job.layered or len(objects) > config.layer else _pour_at_once
    rested, lost_now = layers(job, container, kept, fresh, config, rng)
    return sorted(rested, key=lambda one: one.name), lost_now


def _pour_at_once(
    job: Job,
    container: Placement,
    rested: Sequence[SceneObject],
    fresh: Sequence[SceneObject],
    config: HoldConfig,
    rng: np.random.Generator,
) -> tuple[list[SceneObject], dict[str, str]]:
    """Let some objects fall onto those that lie there, all of them free; return all, and those that cannot stay."""
    height = max([float(job.region.centre[2]), *map(top_of, rested)]) + config.place.pour_clearance
    poses = place_above([one.asset.model for one in fresh], job.region, rng=rng, config=config.place, height=height)
    fresh = [one.at(pose) for one, pose in zip(fresh, poses, strict=True)]
    moving = sorted([*rested, *fresh], key=lambda one: one.name)
    engine = open_mujoco(
        make_world([container], moving, find_material(config.ground)), timestep_scale=config.coarse_step
    )
    try:
        end = settle(engine, moving, (job.region,), config.pour)
    except EngineError as error:
        return [*rested, *fresh], {one.name: str(error) for one in fresh}
    finally:
        engine.close()
    return at_rest(moving, end, job)


def _pour_in_layers(
    job: Job,
    container: Placement,
    rested: Sequence[SceneObject],
    fresh: Sequence[SceneObject],
    config: HoldConfig,
    rng: np.random.Generator,
) -> tuple[list[SceneObject], dict[str, str]]:
    """Pour a heap of many onto what lies there; return all of it, and those that cannot stay.

    Where all are new, they are named in the order in which they lie along the pit; see `size_pit`.
    """
    try:
        heap = pour_heap(rested, fresh, container, job.region, find_material(config.ground), config.heap, rng)
    except EngineError as error:
        return [*rested, *fresh], {one.name: str(error) for one in fresh}
    lying, lost = [one.at(heap.poses.get(one.name, one.X_WB)) for one in (*rested, *fresh)], heap.lost
    if not rested:
        ordered = order_along(lying, job.region)
        new = dict(zip((one.name for one in ordered), sorted(one.name for one in ordered), strict=True))
        lost = {new[name]: reason for name, reason in lost.items()}
        lying = [SceneObject(new[one.name], one.asset, one.X_WB) for one in ordered]
    return at_rest(lying, Settled({}, lost, heap.seconds, ()), job)


def at_rest(objects: Sequence[SceneObject], end: Settled, job: Job | None) -> tuple[list[SceneObject], dict[str, str]]:
    """Return objects where they came to rest, and those that are lost: what left its bin or sticks out too far is."""
    rested = [one.at(end.poses.get(one.name, one.X_WB)) for one in objects]
    lost = dict(end.lost)
    if job is not None:
        limit = float(job.region.centre[2]) + job.pour_height
        for one in rested:
            com = one.X_WB.apply(one.asset.model.root.inertial.com)
            if (np.abs(com - job.region.centre)[:2] > job.region.half).any() and one.name not in lost:
                lost[one.name] = f"left the bin: centre of mass at {np.round(com, 3).tolist()} m"
            elif top_of(one) > limit and one.name not in lost:
                lost[one.name] = f"sticks out of the bin: {top_of(one) - limit:.3g} m too high"
    return rested, lost


def _redrawn(one: SceneObject, config: HoldConfig, rng: np.random.Generator) -> SceneObject:
    """Return another object of the same name, no bulkier than the one that failed."""
    asset = draw_poured(config, rng, shell_volume(one.asset))
    return SceneObject(one.name, asset or one.asset, one.X_WB)
