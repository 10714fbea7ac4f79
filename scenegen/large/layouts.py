"""Which planner lays out the floor of which large layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scenegen.large.apartment import plan_apartment
from scenegen.large.demand import Demand
from scenegen.large.floor import FloorPlan
from scenegen.large.floor_clutter import plan_floor_clutter
from scenegen.large.options import (
    ApartmentConfig,
    FloorClutterConfig,
    LargeLayoutConfig,
    PileConfig,
    TableFarmConfig,
    ToteGridConfig,
    WarehouseConfig,
)
from scenegen.large.pile import plan_pile
from scenegen.large.table_farm import plan_table_farm
from scenegen.large.tote_grid import plan_tote_grid
from scenegen.large.warehouse import plan_warehouse

PLANNERS: dict[type, Callable[[Any, int, Demand, float], FloorPlan]] = {
    WarehouseConfig: plan_warehouse,
    ToteGridConfig: plan_tote_grid,
    PileConfig: plan_pile,
    FloorClutterConfig: plan_floor_clutter,
    TableFarmConfig: plan_table_farm,
    ApartmentConfig: plan_apartment,
}
"""Planner of each layout: (options, objects, demand, packing) -> floor."""


def plan_floor(options: LargeLayoutConfig, objects: int, demand: Demand, *, packing: float) -> FloorPlan:
    """Return the floor of a layout for a number of objects.

    Args:
        options: The layout.
        objects: Objects in the scene [1].
        demand: Room that an object takes.
        packing: Share of a bin that the convex hulls of poured objects may fill [1].

    Raises:
        SceneError: What was asked for does not hold so many (says how many it holds, and what to change).
    """
    return PLANNERS[type(options)](options, objects, demand, packing)
