"""Floor plan of a grid of totes, filled by pouring."""

from __future__ import annotations

import math

import numpy as np

from physics.materials import find_material
from scenegen.errors import SceneError
from scenegen.large.demand import OPEN_AIR, Demand, check_pouring, pour_job
from scenegen.large.floor import Cell, Fixture, FloorPlan, share_out
from scenegen.large.options import ToteGridConfig
from scenegen.scenes.supports import make_bin


def plan_tote_grid(options: ToteGridConfig, objects: int, demand: Demand, packing: float) -> FloorPlan:
    """Return totes for a number of objects; see `plan_floor`."""
    tote = options.bin
    check_pouring(tote, options.objects_per_bin, demand, packing)
    needed = math.ceil(objects / options.objects_per_bin)
    totes = needed if options.totes is None else options.totes
    if totes < needed:
        raise SceneError(
            f"{objects} objects do not fit into {totes} totes of {options.objects_per_bin}; ask for at most "
            f"{totes * options.objects_per_bin}, or raise options.totes to {needed}"
        )
    columns = math.ceil(math.sqrt(totes))
    pitch = np.array([tote.length, tote.width]) + 2 * tote.wall + options.gap
    cells = []
    for number, count in enumerate(share_out(objects, totes)):
        foot = np.array([*(np.array([number % columns, number // columns]) * pitch), 0.0])
        name = f"tote_{number:04d}"
        cells.append(Cell(name, (Fixture(name, "bin", foot),), (pour_job(name, foot, tote, count, packing, OPEN_AIR),)))
    return FloorPlan({"bin": make_bin(tote, find_material(options.bin_material)).model}, tuple(cells))
