"""Floor plan of a pile: one walled pit on the floor, into which all objects are poured."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from physics.materials import find_material
from scenegen.errors import SceneError
from scenegen.large.demand import Demand, pour_job
from scenegen.large.floor import Cell, Fixture, FloorPlan
from scenegen.large.options import PileConfig
from scenegen.scenes.supports import BinSize, make_bin

MOST_PILED = 1500
"""Objects of one pile [1]. They are judged as one; that 1,000 take hours on one core is an estimate."""
SPARE = 1.5
"""Room of a pit that is sized for its objects, over what they need on average [1]: what is drawn differs from it, and
what lies loose along the walls takes more. At 1.15 some of 30 objects stuck out in every round."""


def plan_pile(options: PileConfig, objects: int, demand: Demand, packing: float) -> FloorPlan:
    """Return a pit for a number of objects; see `plan_floor`."""
    if objects > MOST_PILED:
        raise SceneError(
            f"{objects} objects in one pile are more than the {MOST_PILED} that are judged as one; ask for at most "
            f"{MOST_PILED}, or choose tote_grid, whose totes are judged one by one"
        )
    pit = size_pit(options, objects, demand, packing)
    room = packing * pit.length * pit.width * pit.depth
    if objects * demand.volume > room:
        raise SceneError(
            f"{objects} objects do not fit into a pit of {pit.length:g} x {pit.width:g} x {pit.depth:g} m: their "
            f"convex hulls take {1e3 * objects * demand.volume:.1f} litres on average, {packing:.0%} of the pit are "
            f"{1e3 * room:.1f}; ask for at most {math.floor(room / demand.volume)}, for smaller ones "
            "(mix.largest_poured), or enlarge options.length, width or depth"
        )
    foot = np.zeros(3)
    job = replace(pour_job("pile", foot, pit, objects, packing, pit.depth), layered=True)
    model = make_bin(pit, find_material(options.material)).model
    return FloorPlan({"bin": model}, (Cell("pile", (Fixture("pile", "bin", foot),), (job,)),))


def size_pit(options: PileConfig, objects: int, demand: Demand, packing: float) -> BinSize:
    """Return the inner sizes of the pit: those given, the others so that the objects fit.

    Its length is several times its width, and bodies are numbered along it: then each touches others of like numbers
    only, the equations of the contacts have a narrow band, and a step costs in line with the objects. In a square pit,
    numbered as poured, a step of 400 objects took five times as long (1.2 s against 0.27 s).
    """
    least = 2 * options.mix.largest_poured
    area = SPARE * objects * demand.volume / (packing * options.depth)
    width, length = options.width, options.length
    if width is None:
        width = max(least, math.sqrt(area / options.aspect) if length is None else area / length)
    if length is None:
        length = max(least, area / width)
    return BinSize(length, width, options.depth, options.wall)
