"""Layouts: which furniture stands in a scene, where objects belong on it, and how they get there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from physics.engine import Placement
from physics.materials import find_material
from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.scenes.supports import (
    BinSize,
    RackSize,
    Region,
    Support,
    TableSize,
    make_bin,
    make_rack,
    make_table,
)


@dataclass(frozen=True)
class TabletopConfig:
    """Objects that stand on a table, and clutter poured onto one end of it."""

    table: TableSize = field(default_factory=TableSize)
    material: str = "oak"
    """Material of the table."""
    poured_share: float = 0.3
    """Share of the objects that are poured [1]."""
    clutter_length: float = 0.45
    """Extent along x of the part of the table that clutter is poured onto [m]."""
    largest_poured: float = 0.2
    """Largest extent of an object that is poured [m]."""
    largest: float = 0.32
    """Largest extent of an object [m]."""

    def __post_init__(self) -> None:
        if not 0 <= self.poured_share <= 1:
            raise SceneError(f"poured_share is {self.poured_share}, expected a share from 0 to 1")


@dataclass(frozen=True)
class BinConfig:
    """Objects poured into an open container."""

    bin: BinSize = field(default_factory=BinSize)
    material: str = "polypropylene"
    """Material of the bin."""
    largest: float = 0.3
    """Largest extent of an object [m]."""


@dataclass(frozen=True)
class ShelfConfig:
    """Objects that stand on the boards of a rack."""

    rack: RackSize = field(default_factory=RackSize)
    material: str = "plywood"
    """Material of the rack."""
    largest: float = 0.4
    """Largest extent of an object [m]."""


LayoutConfig = TabletopConfig | BinConfig | ShelfConfig
LAYOUTS: dict[str, type] = {"tabletop": TabletopConfig, "bin": BinConfig, "shelf": ShelfConfig}
"""Configuration record of every layout, by name."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Furniture and the places that it offers."""

    furniture: tuple[Placement, ...]
    standing: tuple[Region, ...]
    """Regions on which objects are put at rest poses."""
    pouring: Region | None
    """Region above which the rest is poured."""
    poured_share: float
    """Share of the objects that are poured [1]."""
    largest: float
    """Largest extent of an object that is put [m]."""
    largest_poured: float
    """Largest extent of an object that is poured [m]."""
    regions: tuple[Region, ...]
    """Where objects may end up."""
    pour_volume: float = float("inf")
    """Space that poured objects must share [m^3]; without walls it has no bound."""


def make_layout(config: LayoutConfig) -> Layout:
    """Return the furniture and regions of a layout."""
    if isinstance(config, TabletopConfig):
        return _tabletop(config)
    if isinstance(config, BinConfig):
        support = make_bin(config.bin, find_material(config.material))
        region = support.regions[0]
        volume = region.area * config.bin.depth
        return Layout(_fixed("bin", support), (), region, 1.0, config.largest, config.largest, (region,), volume)
    support = make_rack(config.rack, find_material(config.material))
    return Layout(_fixed("rack", support), support.regions, None, 0.0, config.largest, 0.0, support.regions)


def _tabletop(config: TabletopConfig) -> Layout:
    support = make_table(config.table, find_material(config.material))
    top = support.regions[0]
    cut = min(config.clutter_length, 2 * top.half[0]) if config.poured_share > 0 else 0.0
    stand = _shifted(top, cut / 2, top.half - np.array([cut / 2, 0.0]))
    # Poured objects spread: they start over the middle of their end of the table.
    pour = _shifted(top, cut / 2 - top.half[0], np.array([cut / 2, top.half[1] / 2]))
    return Layout(
        _fixed("table", support), (stand,), pour, config.poured_share, config.largest, config.largest_poured, (top,)
    )


def _shifted(region: Region, x: float, half: np.ndarray) -> Region:
    return Region(region.centre + np.array([x, 0.0, 0.0]), half, region.clear_height)


def _fixed(name: str, support: Support) -> tuple[Placement, ...]:
    return (Placement(name, support.model, Pose.identity(), fixed=True),)
