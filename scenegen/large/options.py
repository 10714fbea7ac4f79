"""Options of the large layouts, as a configuration file gives them."""

from __future__ import annotations

from dataclasses import dataclass, field

from scenegen.errors import SceneError
from scenegen.scenes.supports import BinSize


@dataclass(frozen=True)
class MixConfig:
    """Which assets are drawn, and how often."""

    families: dict[str, float] = field(default_factory=dict)
    """Weight of each family [1]; one that is not named is not drawn. Empty: all alike."""
    materials: tuple[str, ...] = ()
    """Only assets all of whose parts are of these materials. Empty: any."""
    smallest: float = 0.0
    """Smallest largest-extent of an object [m]."""
    largest: float = 0.4
    """Largest extent of an object that stands [m]."""
    largest_poured: float = 0.2
    """Largest extent of an object that is poured [m]."""

    def __post_init__(self) -> None:
        if any(not weight > 0 for weight in self.families.values()):
            raise SceneError(f"mix.families needs weights > 0, got {self.families}")


@dataclass(frozen=True)
class ShareConfig:
    """How objects are put; the rest stands alone."""

    poured: float = 0.36
    """Share that is poured into bins [1]."""
    stacked: float = 0.12
    """Share that lies in stacks [1]."""
    objects_per_bin: int = 9
    """Objects in one bin [1]; the cost of a bin grows faster than in line beyond a dozen."""
    fill: float = 0.3
    """Share of a board that footprints may cover, gaps included [1]."""

    def __post_init__(self) -> None:
        if not (self.poured >= 0 and self.stacked >= 0 and self.poured + self.stacked <= 1):
            raise SceneError(
                f"shares poured {self.poured} and stacked {self.stacked} need to be >= 0 and to add up to at most 1"
            )
        if self.objects_per_bin < 1 or not 0 < self.fill < 1:
            raise SceneError(
                f"objects_per_bin is {self.objects_per_bin}, expected >= 1; fill is {self.fill}, expected within (0, 1)"
            )


@dataclass(frozen=True)
class BaySize:
    """One bay of pallet racking: boards between four posts, open on all sides."""

    length: float = 2.7
    """Length of the boards along x; EN 15620 names 2.7 for three pallets [m]."""
    depth: float = 1.0
    """Depth of the boards along y [m]."""
    levels: int = 5
    """Boards [1]."""
    bin_levels: int = 2
    """Of these, the lowest carry bins [1]."""
    first: float = 0.15
    """Height of the first board [m]."""
    spacing: float = 0.55
    """Vertical distance between boards [m]."""
    board: float = 0.03
    """Thickness of boards [m]."""
    post: float = 0.09
    """Side of the posts [m]."""

    def __post_init__(self) -> None:
        if not 0 <= self.bin_levels <= self.levels or self.levels < 1 or not self.spacing > self.board:
            raise SceneError(
                f"a bay of {self.levels} levels, {self.bin_levels} of them for bins, {self.spacing} m apart with "
                f"boards of {self.board} m cannot be; expected 0 <= bin_levels <= levels and spacing > board"
            )


TOTE = BinSize(length=0.36, width=0.56, depth=0.26, wall=0.01)
"""Inner sizes of a tote of 400 x 600 mm."""


@dataclass(frozen=True)
class WarehouseConfig:
    """Aisles of racks: bins and objects on boards."""

    bay: BaySize = field(default_factory=BaySize)
    bin: BinSize = TOTE
    bays: int | None = None
    """Bays in all [1]; as many as the objects need when not given."""
    bays_per_row: int = 12
    """Bays in one row [1]."""
    aisle: float = 2.4
    """Width of the aisles [m]."""
    bin_gap: float = 0.03
    """Distance between bins [m]."""
    material: str = "plywood"
    """Material of the boards."""
    bin_material: str = "polypropylene"
    shares: ShareConfig = field(default_factory=ShareConfig)
    mix: MixConfig = field(default_factory=MixConfig)

    def __post_init__(self) -> None:
        if self.bays_per_row < 1:
            raise SceneError(f"bays_per_row is {self.bays_per_row}, expected >= 1")


@dataclass(frozen=True)
class ToteGridConfig:
    """Totes side by side on the floor, filled by pouring."""

    bin: BinSize = TOTE
    totes: int | None = None
    """Totes in all [1]; as many as the objects need when not given."""
    gap: float = 0.05
    """Distance between totes [m]."""
    bin_material: str = "polypropylene"
    objects_per_bin: int = 9
    """Objects in one tote [1]."""
    mix: MixConfig = field(default_factory=MixConfig)

    def __post_init__(self) -> None:
        if self.objects_per_bin < 1:
            raise SceneError(f"objects_per_bin is {self.objects_per_bin}, expected >= 1")


@dataclass(frozen=True)
class FloorClutterConfig:
    """Objects strewn over the bare floor, alone and in stacks."""

    tile: float = 2.0
    """Side of a square of floor that is filled on its own [m]."""
    tiles: int | None = None
    """Squares in all [1]; as many as the objects need when not given."""
    shares: ShareConfig = field(default_factory=lambda: ShareConfig(poured=0.0, stacked=0.1, fill=0.3))
    mix: MixConfig = field(default_factory=MixConfig)

    def __post_init__(self) -> None:
        if self.shares.poured:
            raise SceneError(f"shares.poured is {self.shares.poured}, but a bare floor has no bins; expected 0")


LargeLayoutConfig = WarehouseConfig | ToteGridConfig | FloorClutterConfig
