"""Floor plan of a warehouse: rows of pallet racks back to back, bins on the lowest boards, objects on the others."""

from __future__ import annotations

import math

import numpy as np

from physics.materials import Material, find_material
from physics.model import Model
from scenegen.errors import SceneError
from scenegen.large.demand import (
    OPEN_AIR,
    Demand,
    check_pouring,
    count_along,
    in_stacks,
    places_needed,
    pour_job,
    split_objects,
)
from scenegen.large.floor import Cell, Fixture, FloorPlan, Job, share_out
from scenegen.large.options import BaySize, WarehouseConfig
from scenegen.scenes.supports import Region, box_model, make_bin


def make_bay(size: BaySize, material: Material) -> Model:
    """Return a bay of racking with its feet on z = 0, centred on the z axis."""
    x, y, p = size.length / 2, size.depth / 2, size.post
    top = size.first + size.levels * size.spacing
    boxes = {
        f"post_{number}": ((a, b, 0.0), (a + p, b + p, top))
        for number, (a, b) in enumerate((a, b) for a in (-x - p, x) for b in (-y, y - p))
    }
    for level in range(size.levels):
        z = size.first + level * size.spacing
        boxes[f"board_{level}"] = ((-x, -y, z - size.board), (x, y, z))
    return box_model("bay", boxes, material)


def plan_warehouse(options: WarehouseConfig, objects: int, demand: Demand, packing: float) -> FloorPlan:
    """Return aisles of racks for a number of objects; see `plan_floor`."""
    bay, tote = options.bay, options.bin
    check_pouring(tote, options.shares.objects_per_bin, demand, packing)
    standing, stacked, poured = split_objects(objects, options.shares)
    across = count_along(bay.length, tote.length + 2 * tote.wall, options.bin_gap)
    deep = count_along(bay.depth, tote.width + 2 * tote.wall, options.bin_gap)
    bins_per_bay = bay.bin_levels * across * deep
    boards = bay.levels - bay.bin_levels
    board_room = options.shares.fill * bay.length * bay.depth / demand.footprint
    bins = math.ceil(poured / options.shares.objects_per_bin)
    needed = max(
        places_needed(bins, bins_per_bay, "bins", "bay.bin_levels"),
        places_needed(standing + stacked, math.floor(boards * board_room), "objects that stand", "bay.levels"),
        1,
    )
    bays = needed if options.bays is None else options.bays
    if bays < needed:
        most = min(
            math.floor(bays * bins_per_bay * options.shares.objects_per_bin / max(options.shares.poured, 1e-9)),
            math.floor(bays * boards * board_room / max(1 - options.shares.poured, 1e-9)),
        )
        raise SceneError(
            f"{objects} objects do not fit into {bays} bays, which hold about {most}; ask for fewer, "
            f"or raise options.bays to {needed}"
        )
    bin_counts = share_out(poured, bins) if bins else []
    bins_of = share_out(bins, bays)
    stands, stacks = share_out(standing, bays), in_stacks(stacked, bays)
    cells, used = [], 0
    for number in range(bays):
        counts = bin_counts[used : used + bins_of[number]]
        used += bins_of[number]
        cells.append(_bay_cell(options, number, counts, stands[number], stacks[number], (across, deep), packing))
    models = {
        "bay": make_bay(bay, find_material(options.material)),
        "bin": make_bin(tote, find_material(options.bin_material)).model,
    }
    return FloorPlan(models, tuple(cells))


def _bay_cell(
    options: WarehouseConfig,
    number: int,
    bins: list[int],
    standing: int,
    stacked: int,
    grid: tuple[int, int],
    packing: float,
) -> Cell:
    """Return one bay: bins on its lowest boards, objects on the others."""
    bay, tote = options.bay, options.bin
    row, column = divmod(number, options.bays_per_row)
    pair, side = divmod(row, 2)  # rows stand back to back, with an aisle between pairs
    origin = np.array(
        [
            column * (bay.length + 2 * bay.post),
            pair * (2 * bay.depth + options.bin_gap + options.aisle) + side * (bay.depth + options.bin_gap),
            0.0,
        ]
    )
    name = f"bay_{number:04d}"
    fixtures, jobs = [Fixture(name, "bay", origin)], []
    across, deep = grid
    for place, count in enumerate(bins):
        level, spot = divmod(place, across * deep)
        i, j = divmod(spot, deep)
        pitch = np.array([tote.length + 2 * tote.wall + options.bin_gap, tote.width + 2 * tote.wall + options.bin_gap])
        offset = (np.array([i, j]) - (np.array([across, deep]) - 1) / 2) * pitch
        foot = origin + np.array([*offset, bay.first + level * bay.spacing])
        title = f"{name}_bin_{place:02d}"
        fixtures.append(Fixture(title, "bin", foot))
        height = bay.spacing - bay.board - tote.wall
        jobs.append(pour_job(title, foot, tote, count, packing, height))
    levels = list(range(bay.bin_levels, bay.levels))
    stands, stacks = share_out(standing, len(levels)) if levels else [], in_stacks(stacked, len(levels))
    for level, alone, piled in zip(levels, stands, stacks, strict=True):
        centre = origin + np.array([0.0, 0.0, bay.first + level * bay.spacing])
        # The lid of the top board is the sky.
        height = bay.spacing - bay.board if level + 1 < bay.levels else OPEN_AIR
        region = Region(centre, np.array([bay.length / 2, bay.depth / 2]), height)
        jobs.append(Job(f"{name}_board_{level}", region, standing=alone, stacked=piled))
    return Cell(name, tuple(fixtures), tuple(jobs))
