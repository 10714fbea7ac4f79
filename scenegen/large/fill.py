"""A cell filled with objects at verified stances: each cell draws from a generator of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.large.floor import Cell, Job
from scenegen.large.stances import Stance
from scenegen.scenes.place import PlaceConfig, separated
from scenegen.scenes.supports import Region

Z = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, eq=False)
class Member:
    """An object of a large scene."""

    name: str
    folder: str
    """Folder of its asset, relative to the output folder."""
    X_WB: Pose


@dataclass(frozen=True, eq=False)
class Group:
    """Objects that were put together: one that stands alone, a stack, or a piece of furniture."""

    members: tuple[Member, ...]
    stance: Stance
    load: int = 0
    """Objects that it is to carry, as furniture [1]."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Stances to draw from, with their probabilities."""

    stances: tuple[Stance, ...]
    weights: Float64[np.ndarray, "S"]
    """Probability of each stance [1]."""

    def draw(self, rng: np.random.Generator, height: float, copies: int | None = None) -> Stance:
        """Return a stance that fits under a height, of so many copies; of several where `copies` is None.

        Raises:
            SceneError: There is none.
        """
        fits = [
            number
            for number, one in enumerate(self.stances)
            if one.height < height and (len(one.poses) > 1 if copies is None else len(one.poses) == copies)
        ]
        if not fits:
            what = "stack" if copies != 1 else "object"
            raise SceneError(f"no {what} that holds still is below {height:.3g} m; raise the height, or widen 'mix'")
        weights = self.weights[fits]
        return self.stances[fits[int(rng.choice(len(fits), p=weights / weights.sum()))]]


class _Floor:
    """The free room of one region: outlines that are taken."""

    def __init__(self, region: Region, keep_clear: Sequence[np.ndarray], config: PlaceConfig):
        self.region, self.config = region, config
        self.outlines: list[np.ndarray] = []
        self.centres = np.zeros((0, 2))
        self.radii = np.zeros(0)
        for outline in keep_clear:
            self._take(outline)

    def find(
        self, outline: np.ndarray, rng: np.random.Generator, *, along_wall: bool = False
    ) -> tuple[float, np.ndarray] | None:
        """Return a heading and a place where an outline is free of all others, and take it; None where none is.

        Along a wall, its back is to an edge of the region and its front, +x, to the middle.
        """
        gap = self.config.gap
        for _ in range(self.config.tries):
            side = int(rng.integers(4)) if along_wall else -1
            yaw = side * np.pi / 2 if along_wall else float(rng.uniform(0, 2 * np.pi))
            turned = outline @ np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
            low = self.region.centre[:2] - self.region.half + gap - turned.min(axis=0)
            high = self.region.centre[:2] + self.region.half - gap - turned.max(axis=0)
            if (low > high).any():
                continue
            spot = rng.uniform(low, high)
            if along_wall:
                spot[side % 2] = (low, low, high, high)[side][side % 2]
            placed = turned + spot
            if self._free(placed):
                self._take(placed)
                return yaw, spot
        return None

    def _free(self, placed: np.ndarray) -> bool:
        centre, radius = _circle(placed)
        near = np.linalg.norm(self.centres - centre, axis=1) < self.radii + radius + 2 * self.config.gap
        return all(separated(placed, self.outlines[i], self.config.gap) for i in np.flatnonzero(near))

    def _take(self, placed: np.ndarray) -> None:
        centre, radius = _circle(placed)
        self.outlines.append(placed)
        self.centres = np.vstack([self.centres, centre])
        self.radii = np.append(self.radii, radius)


def _circle(outline: np.ndarray) -> tuple[np.ndarray, float]:
    """Return a circle about an outline: its centre and radius [m]."""
    centre = outline.mean(axis=0)
    return centre, float(np.linalg.norm(outline - centre, axis=1).max())


def fill_cell(
    cell: Cell, choice: Choice, furniture: Choice | None, rng: np.random.Generator, config: PlaceConfig
) -> list[Group]:
    """Return what stands in a cell, alone, in stacks, and as furniture.

    What is poured into its bins and what its furniture carries is drawn when it is settled.

    Args:
        cell: What to fill.
        choice: Stances to draw from.
        furniture: Stances of furniture, where the layout has any.
        rng: The cell's own generator.
        config: Gaps and patience.

    Raises:
        SceneError: A job finds no room (says how many objects fitted).
    """
    groups: list[Group] = []
    for job in cell.jobs:
        if job.standing or job.stacked or job.loads:
            groups += _fill_region(job, choice, furniture, rng, config)
    return groups


def _fill_region(
    job: Job, choice: Choice, furniture: Choice | None, rng: np.random.Generator, config: PlaceConfig
) -> list[Group]:
    height = job.region.clear_height - config.gap
    drawn: list[tuple[Stance, int | None]] = [(one, None) for one in _draw_stacks(job.stacked, choice, rng, height)]
    drawn += [(choice.draw(rng, height, copies=1), None) for _ in range(job.standing)]
    if furniture is not None:
        drawn += [(furniture.draw(rng, height, copies=1), load) for load in job.loads]
    drawn.sort(key=lambda one: -float(np.ptp(one[0].outline, axis=0).max()))  # large ones are hardest to find room for
    floor = _Floor(job.region, job.keep_clear, config)
    groups: list[Group] = []
    count = 0
    for stance, load in drawn:
        found = floor.find(stance.outline, rng, along_wall=load is not None)
        if found is None:
            raise SceneError(
                f"{job.name}: {job.standing + job.stacked + len(job.loads)} objects were to stand on "
                f"{(2 * job.region.half).round(2).tolist()} m, which had room for {count}; lower how much of it "
                "is filled ('fill' in the options), or mix.largest"
            )
        yaw, spot = found
        lift = Pose.from_axis_angle(Z, yaw, np.array([*spot, job.region.centre[2]]))
        members = []
        for pose in stance.poses:
            members.append(Member(f"{job.name}_{count:03d}", stance.folder, lift.compose(pose)))
            count += 1
        groups.append(Group(tuple(members), stance, load or 0))
    return groups


def _draw_stacks(stacked: int, choice: Choice, rng: np.random.Generator, height: float) -> list[Stance]:
    """Return stacks of `stacked` objects in all."""
    stacks: list[Stance] = []
    left = stacked
    while left > 0:
        sizes: Sequence[int] = sorted(
            {len(one.poses) for one in choice.stances if 1 < len(one.poses) <= left and len(one.poses) != left - 1}
        )
        if not sizes:
            raise SceneError(
                f"stacks of {stacked} objects cannot be made: no asset stacks that high; set shares.stacked to 0"
            )
        stacks.append(choice.draw(rng, height, copies=int(rng.choice(sizes))))
        left -= len(stacks[-1].poses)
    return stacks
