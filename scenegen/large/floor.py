"""A floor plan: cells of fixed furniture, and how many objects stand, lie stacked or are poured where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.engine import Placement
from physics.model import Model
from physics.pose import Pose
from scenegen.scenes.supports import Region


@dataclass(frozen=True, eq=False)
class Fixture:
    """A piece of furniture, fixed in the world."""

    name: str
    """Unique in the scene."""
    kind: str
    """Which model of the floor plan."""
    position: Float64[np.ndarray, "3"]
    """Origin of the model in W; its axes are those of W [m]."""

    def placement(self, models: dict[str, Model]) -> Placement:
        """Return it as a body of a world."""
        return Placement(self.name, models[self.kind], Pose.translation(*self.position), fixed=True)

    def bounds(self, models: dict[str, Model]) -> Float64[np.ndarray, "2 3"]:
        """Return its smallest and largest corner in W [m]."""
        return models[self.kind].root.bounds + self.position


@dataclass(frozen=True, eq=False)
class Job:
    """Objects to be put into one region."""

    name: str
    """Unique in the scene; objects are named after it."""
    region: Region
    standing: int = 0
    """Objects that stand alone [1]."""
    stacked: int = 0
    """Objects in stacks [1]."""
    loads: tuple[int, ...] = ()
    """Objects that each piece of furniture in it carries, the furniture not counted [1]."""
    keep_clear: tuple[Float64[np.ndarray, "K 2"], ...] = ()
    """Convex outlines from above that nothing may stand on, such as doorways [m]."""
    poured: int = 0
    """Objects that are to lie in `container`, poured into it [1]."""
    layered: bool = False
    """Whether they are poured in layers, however few they are; many are in any case."""
    container: str = ""
    """Fixture that holds what is poured."""
    pour_room: float = 0.0
    """Volume that the convex hulls of poured objects may take [m^3]."""
    pour_height: float = np.inf
    """How far above its region a poured object may reach when it has come to rest [m]."""

    @property
    def carried(self) -> int:
        """Objects on its furniture [1]."""
        return sum(self.loads)

    @property
    def objects(self) -> int:
        """Objects in all, furniture that is free to move among them [1]."""
        return self.standing + self.stacked + self.poured + len(self.loads) + self.carried


@dataclass(frozen=True, eq=False)
class Cell:
    """A part of the floor that is filled on its own, with random draws of its own."""

    name: str
    fixtures: tuple[Fixture, ...]
    jobs: tuple[Job, ...]


@dataclass(frozen=True, eq=False)
class FloorPlan:
    """All cells of a scene."""

    models: dict[str, Model]
    """Furniture by kind."""
    cells: tuple[Cell, ...]

    @property
    def objects(self) -> int:
        """Objects in all [1]."""
        return sum(job.objects for cell in self.cells for job in cell.jobs)

    @property
    def fixtures(self) -> tuple[Fixture, ...]:
        """Furniture of all cells."""
        return tuple(fixture for cell in self.cells for fixture in cell.fixtures)


def share_out(total: int, places: int) -> list[int]:
    """Return whole numbers that differ by at most one and add up to `total`."""
    return [total // places + (number < total % places) for number in range(places)]
