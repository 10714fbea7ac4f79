"""Floor plan of a bare floor: squares that are strewn with objects."""

from __future__ import annotations

import math

import numpy as np

from scenegen.errors import SceneError
from scenegen.large.demand import OPEN_AIR, Demand, in_stacks, places_needed, split_objects
from scenegen.large.floor import Cell, FloorPlan, Job, share_out
from scenegen.large.options import FloorClutterConfig
from scenegen.scenes.supports import Region


def plan_floor_clutter(options: FloorClutterConfig, objects: int, demand: Demand, packing: float) -> FloorPlan:
    """Return squares of floor for a number of objects; see `plan_floor`. Nothing is poured: `packing` has no say."""
    standing, stacked, _ = split_objects(objects, options.shares)
    room = math.floor(options.shares.fill * options.tile**2 / demand.footprint)
    needed = places_needed(objects, room, "objects", "tile")
    tiles = needed if options.tiles is None else options.tiles
    if tiles < needed:
        raise SceneError(
            f"{objects} objects do not fit into {tiles} tiles of {options.tile:g} m, which hold {tiles * room}; ask "
            f"for fewer, or raise options.tiles to {needed}"
        )
    columns = math.ceil(math.sqrt(tiles))
    cells = []
    half = np.full(2, options.tile / 2)
    for number, (alone, piled) in enumerate(zip(share_out(standing, tiles), in_stacks(stacked, tiles), strict=True)):
        centre = np.array([number % columns * options.tile, number // columns * options.tile, 0.0])
        name = f"tile_{number:04d}"
        cells.append(Cell(name, (), (Job(name, Region(centre, half, OPEN_AIR), standing=alone, stacked=piled),)))
    return FloorPlan({}, tuple(cells))
