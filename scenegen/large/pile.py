"""Floor plan of poured piles: pits of equal size, each filled with one heap whose objects all lean on each other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from physics.materials import find_material
from scenegen.errors import SceneError
from scenegen.large.demand import OPEN_AIR, Demand, pour_job
from scenegen.large.floor import Cell, Fixture, FloorPlan, share_out
from scenegen.large.options import PileConfig
from scenegen.scenes.supports import make_bin

SLACK = 1.1
"""Room of a pit over what its objects take on average: what is drawn may be larger than the mean [1]."""


def plan_pile(options: PileConfig, objects: int, demand: Demand, packing: float) -> FloorPlan:
    """Return pits for a number of objects; see `plan_floor`.

    A pit is as wide as its heap needs to fill it to the brim, and at least as wide as it was asked for.
    """
    needed = math.ceil(objects / options.objects_per_pile)
    piles = needed if options.piles is None else options.piles
    if piles < needed:
        raise SceneError(
            f"{objects} objects do not fit into {piles} piles of {options.objects_per_pile}; ask for at most "
            f"{piles * options.objects_per_pile}, or raise options.piles to {needed}"
        )
    counts = share_out(objects, piles)
    packing *= options.density
    side = math.sqrt(SLACK * max(counts) * demand.volume / (packing * options.pit.depth))
    pit = replace(options.pit, length=max(side, options.pit.length), width=max(side, options.pit.width))
    columns = math.ceil(math.sqrt(piles))
    pitch = np.array([pit.length, pit.width]) + 2 * pit.wall + options.gap
    cells = []
    for number, count in enumerate(counts):
        foot = np.array([*(np.array([number % columns, number // columns]) * pitch), 0.0])
        name = f"pile_{number:04d}"
        job = pour_job(name, foot, pit, count, packing, OPEN_AIR)
        cells.append(Cell(name, (Fixture(name, "pit", foot),), (job,)))
    return FloorPlan({"pit": make_bin(pit, find_material(options.material)).model}, tuple(cells))
