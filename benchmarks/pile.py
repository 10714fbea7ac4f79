"""A poured pile against one model of everything: time to the same stillness, and the time of its verification apart.

Three ways to bring the same objects to rest in the same pit, one after the other in one process on one thread:

- ours: poured in layers that are held, then let go all at once (`scenegen.large.heap`);
- MuJoCo, naive: all objects start above the pit in one model, all free, at a step of 2 ms (its default), with the
  contacts and the solver of verdicts;
- PyBullet, naive: the same at 1/240 s (its default).

Still is a pile when no object is faster than `HeapConfig.rest` says for as long as it says, with all of
them free and sleep off, in all three. A naive model is stopped once it has taken as many times longer as the target
asks for; its time is then "more than".
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physics.drop_mujoco import open_mujoco
from physics.drop_pybullet import PybulletConfig, open_pybullet
from physics.engine import Engine, Placement, World
from physics.materials import find_material
from physics.mujoco_hold import HEAP
from scenegen.assets.library import take_assets
from scenegen.large.component import ComponentRequest, HeldComponent, hold_component
from scenegen.large.compose import LargeConfig
from scenegen.large.demand import measure_demand
from scenegen.large.fill import Member
from scenegen.large.floor import Fixture, Job
from scenegen.large.hold import HoldConfig
from scenegen.large.options import MixConfig, PileConfig
from scenegen.large.pile import plan_pile
from scenegen.large.pool import choose_assets, read_asset, weigh_assets
from scenegen.large.pour import draw_load, pour
from scenegen.scenes.place import place_above
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.settle import SettleConfig
from scenegen.scenes.supports import Region

MUJOCO_TIMES, PYBULLET_TIMES = 10.0, 5.0
"""Targets: how many times faster than each naive model."""
SPARE = 1.02
"""A naive model runs until the target is surely met [1]."""


@dataclass(frozen=True)
class Spent:
    """Time of one way to bring a pile to rest."""

    wall: float
    """Wall time [s]."""
    cpu: float
    """Processor time [s]."""
    simulated: float
    """Simulated time [s]."""
    still: bool
    """Whether the pile came to rest."""


def race(arguments: argparse.Namespace, out: Path) -> bool:
    """Bring one pile to rest, in three ways or ours alone, and verify ours; return whether all targets are met."""
    folders = sorted(asset.folder for asset in take_assets(arguments.library, out))
    known = [read_asset(str(out), folder) for folder in folders]
    mix = MixConfig(smallest=arguments.smallest)
    fitting = choose_assets(known, mix, mix.largest_poured)
    assets = [a for a in fitting if arguments.hulls[0] <= len(a.model.root.hulls) <= arguments.hulls[1]]
    if not assets:
        few, most = arguments.hulls
        print(f"no asset of {mix.smallest:g} to {mix.largest_poured:g} m has {few} to {most} hulls")
        return False
    packing = LargeConfig().packing
    demand = measure_demand((), assets, (), LargeConfig().place.gap)
    floor = plan_pile(PileConfig(mix=mix), arguments.objects, demand, packing)
    (job,) = floor.cells[0].jobs
    config = HoldConfig(str(out), floor.models, tuple(a.folder for a in assets), weigh_assets(assets, mix), layer=0)
    good, poured = True, ()
    if arguments.naive:
        good, poured = settle_against_naive(job, floor.fixtures[0].placement(floor.models), config, arguments.seed)
    else:
        print(f"{job.poured} wanted, of {len(assets)} assets", flush=True)
    if not arguments.verify:
        print("verification: not run")
        return good
    return verify(poured, job, floor.fixtures, config, arguments.seed) and good


def settle_against_naive(
    job: Job, container: Placement, config: HoldConfig, seed: int
) -> tuple[bool, tuple[SceneObject, ...]]:
    """Bring one pile to rest in three ways; return whether both targets are met, and our pile, empty if never still."""
    rng = np.random.default_rng(seed)
    objects = draw_load(job, config, rng)
    hulls = [len(one.asset.model.root.hulls) for one in objects]
    print(
        f"{len(objects)} objects, {job.poured} wanted, of {len({one.asset.folder for one in objects})} assets, "
        f"{min(hulls)} to {max(hulls)} hulls each, {np.mean(hulls):.1f} on average; pit of "
        f"{(2 * job.region.half).round(2).tolist()} m",
        flush=True,
    )
    begun = time.perf_counter(), time.process_time()
    ours, lost = pour(job, container, objects, config, rng, lost=(), first=True)
    taken = len(lost)
    for _ in range(config.rounds):
        if not lost:
            break
        ours, lost = pour(job, container, ours, config, rng, lost=lost, first=False)
        taken += len(lost)
    spent = Spent(time.perf_counter() - begun[0], time.process_time() - begun[1], np.nan, not lost)
    print(f"ours: {spent.wall:.0f} s wall, {spent.cpu:.0f} s CPU; {taken} objects replaced", flush=True)
    if not spent.still:
        print(f"ours did not come to rest: {lost}")
        return False, ()
    return _against_naive(objects, container, job.region, config, spent.cpu, seed), tuple(ours)


def _against_naive(
    objects: list[SceneObject], container: Placement, region: Region, config: HoldConfig, ours: float, seed: int
) -> bool:
    """Bring one model of everything to rest in each engine; return whether ours, of so many CPU seconds, is faster."""
    start = _above(objects, region, config, np.random.default_rng(seed))
    world = make_world([container], start, find_material(config.ground))
    half_sizes = {one.name: one.half_size for one in start}
    good = True
    for name, opener, times in (
        ("MuJoCo", lambda w: open_mujoco(w, config=HEAP), MUJOCO_TIMES),
        ("PyBullet", lambda w: open_pybullet(w, config=PybulletConfig(1 / 240, 0.1)), PYBULLET_TIMES),
    ):
        naive = run_naive(world, half_sizes, opener, config.heap.rest, SPARE * times * ours)
        factor = naive.cpu / ours
        good &= factor >= times
        print(
            f"{name}, naive: {'' if naive.still else 'more than '}{naive.wall:.0f} s wall, {naive.cpu:.0f} s CPU for "
            f"{naive.simulated:.2f} s simulated{'' if naive.still else ', not still'}; ours is "
            f"{'' if naive.still else 'more than '}{factor:.1f} times faster by CPU (at least {times:g})",
            flush=True,
        )
    return good


def run_naive(
    world: World, half_sizes: dict[str, float], opener: Callable[[World], Engine], config: SettleConfig, limit: float
) -> Spent:
    """Step one model of everything until it is still, or for `limit` seconds of processor time.

    Args:
        world: The pit, and all objects above it.
        half_sizes: Half of the largest extent of each object [m].
        opener: Loads it into an engine.
        config: When objects are still.
        limit: Processor time [s].
    """
    begun = time.perf_counter(), time.process_time()
    engine = opener(world)
    quiet, needed = 0, max(round(config.quiet_time / config.sample_time), 1)
    stride = max(round(config.sample_time / engine.timestep), 1)
    try:
        while quiet < needed and time.process_time() - begun[1] < limit:
            engine.step(stride)
            state = engine.state()
            speed = np.linalg.norm(state.linear_velocities, axis=1)
            spin = np.linalg.norm(state.angular_velocities, axis=1)
            moves = config.moving(speed, spin, np.array([half_sizes[name] for name in state.names]))
            quiet = 0 if moves.any() else quiet + 1
        simulated = float(engine.state().time)
    finally:
        engine.close()
    return Spent(time.perf_counter() - begun[0], time.process_time() - begun[1], simulated, quiet >= needed)


def verify(
    poured: Sequence[SceneObject], job: Job, fixtures: tuple[Fixture, ...], config: HoldConfig, seed: int
) -> bool:
    """Judge a pile in both engines, sleep off; return whether as many hold as are wanted.

    What is not poured yet is poured first, and more where too few hold, as in a scene.
    """
    members = tuple(Member(one.name, one.asset.folder, one.X_WB) for one in poured)
    bounds = fixtures[0].bounds(config.models) + np.array([[-0.5], [0.5]])
    begun = time.perf_counter(), time.process_time()
    found = hold_component(ComponentRequest("pile", seed, members, fixtures, bounds, pour=job), config)
    wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    said = f"NOT HELD: {found}"
    if isinstance(found, HeldComponent):
        hulls = [len(read_asset(config.root, member.folder).model.root.hulls) for member in found.members]
        said = (
            f"PASS, the {len(found.members)} wanted, of {min(hulls)} to {max(hulls)} hulls ({np.mean(hulls):.1f} on "
            f"average), hold in both engines; {len(found.replaced)} did not hold and were taken out or replaced"
        )
    what = "verification, apart" if poured else "poured and verified"
    print(f"{what}: {wall:.0f} s wall, {cpu:.0f} s CPU, coming to rest in both engines included: {said}")
    return isinstance(found, HeldComponent)


def _above(
    objects: list[SceneObject], region: Region, config: HoldConfig, rng: np.random.Generator
) -> list[SceneObject]:
    models = [one.asset.model for one in objects]
    poses = place_above(models, region, rng=rng, config=config.place, height=float(region.centre[2]) + 0.01)
    return [one.at(pose) for one, pose in zip(objects, poses, strict=True)]
