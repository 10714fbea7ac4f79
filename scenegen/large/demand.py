"""How much room objects need, and how they are shared out among the places of a floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenegen.errors import SceneError
from scenegen.large.floor import Job, share_out
from scenegen.large.options import ShareConfig
from scenegen.large.pool import shell_points, shell_volume
from scenegen.scenes.scene import SceneAsset
from scenegen.scenes.supports import BinSize, Region

OPEN_AIR = 2.0
"""Free height above what has nothing over it [m]."""


@dataclass(frozen=True)
class Demand:
    """What must be known of the assets before a floor can be planned."""

    footprint: float
    """Mean area of the square box around a footprint, gap included [m^2]."""
    volume: float
    """Mean volume of the convex hull of an object that is poured [m^3]."""
    furniture: float = 0.0
    """Mean area of the square box around a piece of furniture, gap included [m^2]; 0 where a layout has none."""


def measure_demand(
    standing: Sequence[SceneAsset], poured: Sequence[SceneAsset], furniture: Sequence[SceneAsset], gap: float
) -> Demand:
    """Return the room that an object takes on average."""
    volumes = [shell_volume(asset) for asset in poured]
    return Demand(
        _mean_footprint(standing, gap) or 0.01,
        float(np.mean(volumes)) if volumes else 0.0,
        _mean_footprint(furniture, gap),
    )


def _mean_footprint(assets: Sequence[SceneAsset], gap: float) -> float:
    """Return the mean area of the boxes around footprints at rest, gap included; 0 without assets [m^2]."""
    spans = [np.ptp(pose.apply(shell_points(asset)), axis=0)[:2] + gap for asset in assets for pose in asset.rest_poses]
    return float(np.mean([np.prod(span) for span in spans])) if spans else 0.0


def split_objects(objects: int, shares: ShareConfig) -> tuple[int, int, int]:
    """Return how many objects stand, lie in stacks, and are poured [1]."""
    poured, stacked = round(objects * shares.poured), round(objects * shares.stacked)
    stacked -= stacked == 1  # one object is no stack
    return objects - poured - stacked, stacked, poured


def in_stacks(stacked: int, places: int) -> list[int]:
    """Return how many stacked objects each place gets: never one alone."""
    if not places:
        return []
    pairs = share_out(stacked // 2, places)
    counts = [2 * pair for pair in pairs]
    counts[0] += stacked % 2
    return counts


def pour_job(name: str, foot: np.ndarray, tote: BinSize, count: int, packing: float, height: float) -> Job:
    """Return the job of filling a bin; `height` is free above its floor."""
    region = Region(foot + np.array([0.0, 0.0, tote.wall]), np.array([tote.length, tote.width]) / 2, np.inf)
    room = packing * region.area * tote.depth
    return Job(f"{name}_in", region, poured=count, container=name, pour_room=room, pour_height=height)


def count_along(length: float, size: float, gap: float) -> int:
    """Return how many things of a size fit along a length, with gaps between them [1]."""
    return max(math.floor((length + gap) / (size + gap)), 0)


def places_needed(wanted: int, each: int, what: str, fix: str) -> int:
    """Return how many places hold what is wanted, each so many [1].

    Raises:
        SceneError: A place holds none; `fix` is the option that makes it larger.
    """
    if wanted and not each:
        raise SceneError(f"{wanted} {what} are wanted, but there is no room for one; raise options.{fix}")
    return math.ceil(wanted / each) if wanted else 0


def check_pouring(tote: BinSize, count: int, demand: Demand, packing: float) -> None:
    """Refuse bins that would overflow.

    Raises:
        SceneError: Says how many objects a bin holds.
    """
    room = packing * tote.length * tote.width * tote.depth
    if count * demand.volume > room:
        raise SceneError(
            f"{count} objects a bin do not fit: their convex hulls take {1e3 * count * demand.volume:.1f} litres on "
            f"average, {packing:.0%} of a bin are {1e3 * room:.1f}; ask for at most "
            f"{math.floor(room / demand.volume)}, for smaller ones (mix.largest_poured), or enlarge the bin"
        )
