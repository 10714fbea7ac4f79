"""Floor plans of the large layouts: how many bays, totes or tiles, where they are, and how many objects each gets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from physics.materials import Material, find_material
from physics.model import Model
from scenegen.errors import SceneError
from scenegen.large.floor import Cell, Fixture, FloorPlan, Job, share_out
from scenegen.large.options import (
    BaySize,
    FloorClutterConfig,
    LargeLayoutConfig,
    ShareConfig,
    ToteGridConfig,
    WarehouseConfig,
)
from scenegen.scenes.supports import BinSize, Region, box_model, make_bin

OPEN_AIR = 2.0
"""Free height above what has nothing over it [m]."""


@dataclass(frozen=True)
class Demand:
    """What must be known of the assets before a floor can be planned."""

    footprint: float
    """Mean area of the square box around a footprint, gap included [m^2]."""
    volume: float
    """Mean volume of the convex hull of an object that is poured [m^3]."""


def plan_floor(options: LargeLayoutConfig, objects: int, demand: Demand, *, packing: float) -> FloorPlan:
    """Return the floor of a layout for a number of objects.

    Args:
        options: The layout.
        objects: Objects in the scene [1].
        demand: Room that an object takes.
        packing: Share of a bin that the convex hulls of poured objects may fill [1].

    Raises:
        SceneError: The bays, totes or tiles that were asked for do not hold so many (says how many they hold).
    """
    if isinstance(options, WarehouseConfig):
        return _warehouse(options, objects, demand, packing)
    if isinstance(options, ToteGridConfig):
        return _tote_grid(options, objects, demand, packing)
    return _floor_clutter(options, objects, demand)


def split_objects(objects: int, shares: ShareConfig) -> tuple[int, int, int]:
    """Return how many objects stand, lie in stacks, and are poured [1]."""
    poured, stacked = round(objects * shares.poured), round(objects * shares.stacked)
    stacked -= stacked == 1  # one object is no stack
    return objects - poured - stacked, stacked, poured


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


def _warehouse(options: WarehouseConfig, objects: int, demand: Demand, packing: float) -> FloorPlan:
    bay, tote = options.bay, options.bin
    _check_pouring(tote, options.shares.objects_per_bin, demand, packing)
    standing, stacked, poured = split_objects(objects, options.shares)
    across = _count_along(bay.length, tote.length + 2 * tote.wall, options.bin_gap)
    deep = _count_along(bay.depth, tote.width + 2 * tote.wall, options.bin_gap)
    bins_per_bay = bay.bin_levels * across * deep
    boards = bay.levels - bay.bin_levels
    board_room = options.shares.fill * bay.length * bay.depth / demand.footprint
    bins = math.ceil(poured / options.shares.objects_per_bin)
    needed = max(
        _ratio(bins, bins_per_bay, "bins", "bay.bin_levels"),
        _ratio(standing + stacked, math.floor(boards * board_room), "objects that stand", "bay.levels"),
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
    stands, stacks = share_out(standing, bays), _in_stacks(stacked, bays)
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
        jobs.append(_pour_job(title, foot, tote, count, packing, height))
    levels = list(range(bay.bin_levels, bay.levels))
    stands, stacks = share_out(standing, len(levels)) if levels else [], _in_stacks(stacked, len(levels))
    for level, alone, piled in zip(levels, stands, stacks, strict=True):
        centre = origin + np.array([0.0, 0.0, bay.first + level * bay.spacing])
        # The lid of the top board is the sky.
        height = bay.spacing - bay.board if level + 1 < bay.levels else OPEN_AIR
        region = Region(centre, np.array([bay.length / 2, bay.depth / 2]), height)
        jobs.append(Job(f"{name}_board_{level}", region, standing=alone, stacked=piled))
    return Cell(name, tuple(fixtures), tuple(jobs))


def _tote_grid(options: ToteGridConfig, objects: int, demand: Demand, packing: float) -> FloorPlan:
    tote = options.bin
    _check_pouring(tote, options.objects_per_bin, demand, packing)
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
        cells.append(
            Cell(name, (Fixture(name, "bin", foot),), (_pour_job(name, foot, tote, count, packing, OPEN_AIR),))
        )
    return FloorPlan({"bin": make_bin(tote, find_material(options.bin_material)).model}, tuple(cells))


def _floor_clutter(options: FloorClutterConfig, objects: int, demand: Demand) -> FloorPlan:
    standing, stacked, _ = split_objects(objects, options.shares)
    room = math.floor(options.shares.fill * options.tile**2 / demand.footprint)
    needed = _ratio(objects, room, "objects", "tile")
    tiles = needed if options.tiles is None else options.tiles
    if tiles < needed:
        raise SceneError(
            f"{objects} objects do not fit into {tiles} tiles of {options.tile:g} m, which hold {tiles * room}; ask "
            f"for fewer, or raise options.tiles to {needed}"
        )
    columns = math.ceil(math.sqrt(tiles))
    cells = []
    half = np.full(2, options.tile / 2)
    for number, (alone, piled) in enumerate(zip(share_out(standing, tiles), _in_stacks(stacked, tiles), strict=True)):
        centre = np.array([number % columns * options.tile, number // columns * options.tile, 0.0])
        name = f"tile_{number:04d}"
        cells.append(Cell(name, (), (Job(name, Region(centre, half, OPEN_AIR), standing=alone, stacked=piled),)))
    return FloorPlan({}, tuple(cells))


def _in_stacks(stacked: int, places: int) -> list[int]:
    """Return how many stacked objects each place gets: never one alone."""
    if not places:
        return []
    pairs = share_out(stacked // 2, places)
    counts = [2 * pair for pair in pairs]
    counts[0] += stacked % 2
    return counts


def _pour_job(name: str, foot: np.ndarray, tote: BinSize, count: int, packing: float, height: float) -> Job:
    """Return the job of filling a bin; `height` is free above its floor."""
    region = Region(foot + np.array([0.0, 0.0, tote.wall]), np.array([tote.length, tote.width]) / 2, np.inf)
    room = packing * region.area * tote.depth
    return Job(f"{name}_in", region, poured=count, container=name, pour_room=room, pour_height=height)


def _count_along(length: float, size: float, gap: float) -> int:
    return max(math.floor((length + gap) / (size + gap)), 0)


def _ratio(wanted: int, each: int, what: str, fix: str) -> int:
    if wanted and not each:
        raise SceneError(f"{wanted} {what} are wanted, but there is no room for one; raise options.{fix}")
    return math.ceil(wanted / each) if wanted else 0


def _check_pouring(tote: BinSize, count: int, demand: Demand, packing: float) -> None:
    room = packing * tote.length * tote.width * tote.depth
    if count * demand.volume > room:
        raise SceneError(
            f"{count} objects a bin do not fit: their convex hulls take {1e3 * count * demand.volume:.1f} litres on "
            f"average, {packing:.0%} of a bin are {1e3 * room:.1f}; ask for at most "
            f"{math.floor(room / demand.volume)}, for smaller ones (mix.largest_poured), or enlarge the bin"
        )
