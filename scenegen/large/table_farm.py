"""Floor plan of a table farm: rows of equal tables, each with objects alone and in stacks, as robot cells have them."""

from __future__ import annotations

import math

import numpy as np

from physics.materials import find_material
from scenegen.errors import SceneError
from scenegen.large.demand import OPEN_AIR, Demand, in_stacks, places_needed, split_objects
from scenegen.large.floor import Cell, Fixture, FloorPlan, Job, share_out
from scenegen.large.options import TableFarmConfig
from scenegen.scenes.supports import Region, make_table


def plan_table_farm(options: TableFarmConfig, objects: int, demand: Demand, packing: float) -> FloorPlan:
    """Return tables for a number of objects; see `plan_floor`. Nothing is poured: `packing` has no say."""
    table = make_table(options.table, find_material(options.material))
    (top,) = table.regions
    standing, stacked, _ = split_objects(objects, options.shares)
    room = math.floor(options.shares.fill * top.area / demand.footprint)
    most = room if options.objects_per_table is None else min(room, options.objects_per_table)
    needed = places_needed(objects, most, "objects", "table")
    tables = needed if options.tables is None else options.tables
    if tables < needed:
        raise SceneError(
            f"{objects} objects do not fit onto {tables} tables, which hold {tables * most}; ask for fewer, or raise "
            f"options.tables to {needed}"
        )
    pitch = np.array([options.table.length, options.table.width]) + options.aisle
    columns = math.ceil(math.sqrt(tables * pitch[1] / pitch[0]))
    cells = []
    for number, (alone, piled) in enumerate(zip(share_out(standing, tables), in_stacks(stacked, tables), strict=True)):
        foot = np.array([*(np.array([number % columns, number // columns]) * pitch), 0.0])
        name = f"table_{number:04d}"
        region = Region(top.centre + foot, top.half, OPEN_AIR)
        job = Job(f"{name}_top", region, standing=alone, stacked=piled)
        cells.append(Cell(name, (Fixture(name, "table", foot),), (job,)))
    return FloorPlan({"table": table.model}, tuple(cells))
