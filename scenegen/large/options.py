"""Options of the large layouts, as a configuration file gives them."""

from __future__ import annotations

from dataclasses import dataclass, field

from scenegen.errors import SceneError
from scenegen.scenes.supports import BinSize, TableSize

BARE_FLOOR = "floor"
"""Support of objects that stand on the ground."""


@dataclass(frozen=True)
class Needs:
    """What a layout puts where."""

    support: str | None
    """Material that objects stand on, or `BARE_FLOOR`; None where nothing stands."""
    stacks: bool
    """Whether it has stacks."""
    pours: bool
    """Whether objects are poured."""
    furniture: MixConfig | None = None
    """Which assets carry objects; None where none do."""


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
    most_hulls: int | None = None
    """Most collision hulls of an object [1]; any number when not given. Time and memory of a scene, and of each of its
    steps, grow with the hulls of all objects."""
    mean_hulls: float | None = None
    """Expected number of collision hulls of an object at most [1]: assets of many are drawn less often, see
    `scenegen.large.hull_budget`. Any when not given. What finds no room, or fails and is replaced, can change the
    mean of a scene by a little; furniture has a budget of its own."""

    def __post_init__(self) -> None:
        if self.most_hulls is not None and self.most_hulls < 1:
            raise SceneError(f"mix.most_hulls is {self.most_hulls}, expected >= 1")
        if self.mean_hulls is not None and not 1 <= self.mean_hulls < float("inf"):
            raise SceneError(f"mix.mean_hulls is {self.mean_hulls:g}, expected a number >= 1")
        if any(not weight > 0 for weight in self.families.values()):
            raise SceneError(f"mix.families needs weights > 0, got {self.families}")


@dataclass(frozen=True)
class ShareConfig:
    """How objects are put; the rest stands alone.

    As they are, more than 40 % of a warehouse's objects touch another: all in stacks, and about half of those in bins.
    """

    poured: float = 0.12
    """Share that is poured into bins [1]; what costs most, as every bin is judged on its own."""
    stacked: float = 0.36
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
    bin_levels: int = 1
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
    """Bays in one row [1]. A step of sleeping objects costs MuJoCo less in few long rows than in many short ones."""
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

    @property
    def needs(self) -> Needs:
        """What is put where."""
        shares = self.shares
        return Needs(self.material if shares.poured < 1 else None, shares.stacked > 0, shares.poured > 0)


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

    @property
    def needs(self) -> Needs:
        """What is put where."""
        return Needs(None, stacks=False, pours=True)


@dataclass(frozen=True)
class PileConfig:
    """One heap of up to 1,500 objects, poured into a walled pit."""

    length: float | None = None
    """Inner extent of the pit along x [m]; as long as the objects need when not given."""
    width: float | None = None
    """Inner extent along y [m]; as wide as the objects need when not given."""
    depth: float = 0.4
    """Inner height of its walls, which nothing may stick out of [m]."""
    wall: float = 0.02
    """Thickness of floor and walls [m]."""
    aspect: float = 6.0
    """Length over width, where neither is given [1]: a step of a long pit is solved faster than one of a square pit."""
    material: str = "plywood"
    """Material of the pit."""
    mix: MixConfig = field(default_factory=MixConfig)

    def __post_init__(self) -> None:
        sizes = {"length": self.length, "width": self.width, "depth": self.depth, "wall": self.wall}
        for name, size in sizes.items():
            if size is not None and not 0 < size <= 100:
                raise SceneError(f"{name} of the pit is {size} m, expected within (0, 100]")
        if not 1 <= self.aspect <= 100:
            raise SceneError(f"aspect is {self.aspect}, expected from 1 to 100")

    @property
    def needs(self) -> Needs:
        """What is put where."""
        return Needs(None, stacks=False, pours=True)


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

    @property
    def needs(self) -> Needs:
        """What is put where."""
        return Needs(BARE_FLOOR, self.shares.stacked > 0, pours=False)


@dataclass(frozen=True)
class TableFarmConfig:
    """Rows of equal tables, each with objects alone and in stacks."""

    table: TableSize = field(default_factory=TableSize)
    material: str = "oak"
    """Material of the tables."""
    tables: int | None = None
    """Tables in all [1]; as many as the objects need when not given."""
    objects_per_table: int | None = None
    """Most objects on one table [1]; as many as `shares.fill` allows when not given."""
    aisle: float = 1.0
    """Distance between tables [m]."""
    shares: ShareConfig = field(default_factory=lambda: ShareConfig(poured=0.0, stacked=0.2, fill=0.3))
    mix: MixConfig = field(default_factory=MixConfig)

    def __post_init__(self) -> None:
        if self.shares.poured:
            raise SceneError(f"shares.poured is {self.shares.poured}, but tables have no bins; expected 0")
        if self.objects_per_table is not None and self.objects_per_table < 1:
            raise SceneError(f"objects_per_table is {self.objects_per_table}, expected >= 1")

    @property
    def needs(self) -> Needs:
        """What is put where."""
        return Needs(self.material, self.shares.stacked > 0, pours=False)


@dataclass(frozen=True)
class RoomSize:
    """A room between four walls, a doorway in the middle of each."""

    length: float = 4.5
    """Inner extent along x [m]."""
    width: float = 3.6
    """Inner extent along y [m]."""
    height: float = 2.4
    """Height of the walls [m]."""
    wall: float = 0.1
    """Thickness of a wall [m]."""
    door: float = 0.9
    """Width of a doorway [m]."""
    door_height: float = 2.0
    """Height of a doorway [m]."""

    def __post_init__(self) -> None:
        if not (0 < self.door < min(self.length, self.width) and 0 < self.door_height < self.height):
            raise SceneError(
                f"a doorway of {self.door} x {self.door_height} m does not fit into walls of {self.length} or "
                f"{self.width} x {self.height} m; make it smaller, or the room larger"
            )


@dataclass(frozen=True)
class ApartmentConfig:
    """Rooms with furniture that carries objects. The furniture are certified assets too, and as free to move."""

    room: RoomSize = field(default_factory=RoomSize)
    rooms: int | None = None
    """Rooms in all [1]; as many as the furniture needs when not given."""
    wall_material: str = "plywood"
    furniture: MixConfig = field(
        default_factory=lambda: MixConfig(families={"table": 1.0, "shelf": 1.0}, smallest=0.3, largest=2.5)
    )
    """Which assets are furniture; those without a level board are left out."""
    objects_per_furniture: int = 4
    """Objects on one piece of furniture [1]."""
    objects_beside: int = 1
    """Objects on the floor, for each piece of furniture [1]."""
    fill: float = 0.2
    """Share of a room's floor that footprints may cover, gaps included [1]."""
    mix: MixConfig = field(default_factory=MixConfig)

    def __post_init__(self) -> None:
        if self.objects_per_furniture < 1 or self.objects_beside < 0 or not 0 < self.fill < 1:
            raise SceneError(
                f"objects_per_furniture is {self.objects_per_furniture}, expected >= 1; objects_beside is "
                f"{self.objects_beside}, expected >= 0; fill is {self.fill}, expected within (0, 1)"
            )

    @property
    def needs(self) -> Needs:
        """What is put where."""
        return Needs(BARE_FLOOR, stacks=False, pours=False, furniture=self.furniture)


LargeLayoutConfig = (
    WarehouseConfig | ToteGridConfig | PileConfig | FloorClutterConfig | TableFarmConfig | ApartmentConfig
)
