"""Objects poured into a bin: drawn to its room, let fall with only the bin there, replaced where they stick out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from physics.drop_mujoco import open_mujoco
from physics.engine import Placement
from physics.errors import EngineError
from physics.materials import find_material
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.large.floor import Job
from scenegen.large.hold import HoldConfig, draw_poured, top_of
from scenegen.large.pool import read_asset, shell_points, shell_volume
from scenegen.scenes.place import place_above
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.settle import Settled, settle
from scenegen.scenes.supports import Region

CELL = 0.05
"""Side of the cells by which the surface of a heap is seen, over the width of its container [1]."""
CRUST = 0.1
"""Depth below the deepest hollow of a heap's surface to which its objects are there when more is poured on it [m]."""


def draw_load(job: Job, config: HoldConfig, rng: np.random.Generator) -> list[SceneObject]:
    """Return what is poured into a bin, as much as it has room for; places come later.

    Raises:
        SceneError: The bin does not hold so many.
    """
    room = job.pour_room
    smallest = min(shell_volume(read_asset(config.root, folder)) for folder in config.poured)
    drawn: list[SceneObject] = []
    for number in range(job.poured):
        # What is left must hold the smallest of those that still come.
        asset = draw_poured(config, rng, room - smallest * (job.poured - number - 1))
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
    rested: list[SceneObject] = kept
    lost_now: dict[str, str] = {}
    for begin in range(0, len(fresh), config.layer):
        rested, lost_here = _pour_layer(job, container, rested, fresh[begin:][: config.layer], config, rng)
        lost_now |= lost_here
    return sorted(rested, key=lambda one: one.name), lost_now


def _pour_layer(
    job: Job,
    container: Placement,
    rested: Sequence[SceneObject],
    fresh: Sequence[SceneObject],
    config: HoldConfig,
    rng: np.random.Generator,
) -> tuple[list[SceneObject], dict[str, str]]:
    """Let some objects fall onto those that lie there; return all of them, and those that cannot stay.

    As many as fit into one layer move all together. Where there are more, those below are held fast, and of these only
    what can be touched from above is there: the cost of a heap then grows with its size, and not with its square. What
    is held fast is set free, all at once, when the component is judged.
    """
    height = max([float(job.region.centre[2]), *map(top_of, rested)]) + config.place.pour_clearance
    poses = place_above([one.asset.model for one in fresh], job.region, rng=rng, config=config.place, height=height)
    fresh = [one.at(pose) for one, pose in zip(fresh, poses, strict=True)]
    held: list[SceneObject] = []
    if len(rested) + len(fresh) > config.layer:
        held, moving = find_crust(rested, job.region), fresh
    else:
        moving = sorted([*rested, *fresh], key=lambda one: one.name)
    fixed = [Placement(one.name, one.asset.model, one.X_WB, fixed=True) for one in held]
    engine = open_mujoco(
        make_world([container, *fixed], moving, find_material(config.ground)), timestep_scale=config.coarse_step
    )
    try:
        end = settle(engine, moving, (job.region,), config.fall if held else config.pour)
    except EngineError as error:
        return [*rested, *fresh], {one.name: str(error) for one in fresh}
    finally:
        engine.close()
    settled, lost = at_rest(moving, end, job)
    below = [one for one in rested if one.name not in {other.name for other in settled}]
    return [*below, *settled], lost


def find_crust(objects: Sequence[SceneObject], region: Region) -> list[SceneObject]:
    """Return the objects of a heap that something from above is likely to touch.

    Seen from above, the box of each object covers some cells of a lattice. An object whose top is below the lowest of
    the highest tops of all cells, by more than `CRUST`, is taken to be out of reach. One that is touched all the same
    overlaps what was poured; the component is judged with all of them there and free, so that this is seen.
    """
    if not objects:
        return []
    points = [one.X_WB.apply(shell_points(one.asset)) for one in objects]
    side = CELL * float(2 * region.half.min())
    count = np.ceil(2 * region.half / side).astype(int)
    surface = np.full(count, float(region.centre[2]))
    for cloud in points:
        low, high = (
            (bound - region.centre[:2] + region.half) / side for bound in (cloud.min(axis=0)[:2], cloud.max(axis=0)[:2])
        )
        (a, b), (c, d) = np.clip(np.ceil(low), 0, count).astype(int), np.clip(np.floor(high), 0, count).astype(int)
        surface[a:c, b:d] = np.maximum(surface[a:c, b:d], cloud[:, 2].max())
    lowest = float(surface.min()) - CRUST
    return [one for one, cloud in zip(objects, points, strict=True) if cloud[:, 2].max() > lowest]


def at_rest(objects: Sequence[SceneObject], end: Settled, job: Job | None) -> tuple[list[SceneObject], dict[str, str]]:
    """Return objects where they came to rest, and those that are lost: what sticks out too far of a bin is."""
    rested = [one.at(end.poses.get(one.name, one.X_WB)) for one in objects]
    lost = dict(end.lost)
    if job is not None:
        limit = float(job.region.centre[2]) + job.pour_height
        for one in rested:
            if top_of(one) > limit and one.name not in lost:
                lost[one.name] = f"sticks out of the bin: {top_of(one) - limit:.3g} m too high"
    return rested, lost


def _redrawn(one: SceneObject, config: HoldConfig, rng: np.random.Generator) -> SceneObject:
    """Return another object of the same name, no bulkier than the one that failed."""
    asset = draw_poured(config, rng, shell_volume(one.asset))
    return SceneObject(one.name, asset or one.asset, one.X_WB)
