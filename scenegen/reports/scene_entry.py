"""One scene of a report: how it ended, where its objects are, and the evidence that they rest there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from physics.check import SEVERITY, Check, Verdict
from physics.pose import frozen
from scenegen.reports.report_entry import ACCEPTED


@dataclass(frozen=True, eq=False)
class PoseTable:
    """The objects of a scene, in the order of poses.parquet."""

    names: tuple[str, ...]
    asset_ids: tuple[str, ...]
    families: tuple[str, ...]
    components: tuple[str, ...]
    """Component of each object; empty where it stands alone, or where the scene was judged as one model."""
    positions: Float64[np.ndarray, "N 3"]
    """Origin of each object in W [m]."""
    quaternions: Float64[np.ndarray, "N 4"]
    """Orientation of each object in W, (w, x, y, z) [1]."""

    def __post_init__(self) -> None:
        for name in ("positions", "quaternions"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def component_sizes(self) -> dict[int, int]:
        """How many components have each number of objects; those that stand alone are components of one [1]."""
        members = Counter(name for name in self.components if name)
        sizes = Counter(members.values())
        sizes[1] += sum(not name for name in self.components)
        return {size: count for size, count in sorted(sizes.items()) if count}


@dataclass(frozen=True, eq=False)
class SceneEntry:
    """One scene of a report."""

    name: str
    """Names its page and its files too: letters, digits and "_"."""
    status: str
    """A verdict, or what counts as one: `rejected`, `quarantined`, or `unreadable` where its folder is damaged."""
    state: str
    """How the run says that it ended."""
    layout: str = ""
    reason: str = ""
    """Why there is no verdict; empty where there is one."""
    asked: int | None = None
    """Objects asked for; None where the configuration does not say [1]."""
    folder: str = ""
    """Relative to the output folder; empty where there is none."""
    digest: str = ""
    """SHA-256 of scene.json, which holds the hashes of all files beside it."""
    seed: int = 0
    ground: str = ""
    """Material of the floor."""
    checks: tuple[Check, ...] = ()
    engines: tuple[tuple[str, str], ...] = ()
    """Name and version of each engine that verified it."""
    notes: tuple[str, ...] = ()
    """What an engine could not represent."""
    poses: PoseTable | None = None
    counts: dict[str, int] | None = None
    """Of a scene that was judged by components: objects alone and in components, components, the largest, samples and
    stances [1]; None where it was judged as one model."""
    geoms: int | None = None
    """Geoms of the loaded scene; None where they were not counted [1]."""
    replaced: tuple[str, ...] = ()
    """Objects that were taken out, and why."""
    merged: tuple[str, ...] = ()
    """Components that came too close to each other and were judged again as one."""
    furniture: Float64[np.ndarray, "F 2 3"] = field(default_factory=lambda: np.zeros((0, 2, 3)))
    """Smallest and largest corner of every box of every piece of furniture in W [m]."""
    pieces: int = 0
    """Pieces of furniture [1]."""
    pictures: tuple[tuple[str, Path], ...] = ()
    """Label and file of each colour picture, the most telling first."""
    files: tuple[tuple[str, str], ...] = ()
    """Label and path, relative to the output folder, of files to look at or to load."""

    @property
    def accepted(self) -> bool:
        """Whether the scene may be used: PASS or WARN."""
        return self.status in ACCEPTED

    @property
    def findings(self) -> tuple[Check, ...]:
        """Checks that do not pass, the worst first."""
        bad = [check for check in self.checks if check.verdict is not Verdict.PASS]
        return tuple(sorted(bad, key=lambda check: -SEVERITY.index(check.verdict)))

    @property
    def worst(self) -> str:
        """One line: the worst finding, or the reason why there is no verdict; empty for a PASS."""
        return self.reason or (self.findings[0].describe() if self.findings else "")


def share_of_limit(check: Check) -> float | None:
    """Return how much of its limit a check takes up: 1 at the limit, more beyond it; None for information.

    Where a floor of the engine applies the smaller share counts, as it does for the verdict. A limit of zero is taken
    up by nothing or exceeded without bound.
    """
    if check.limit is None:
        return None
    share = _share(check.value, check.limit, check.sense)
    if check.floor_value is not None and check.floor_limit is not None:
        share = min(share, _share(check.floor_value, check.floor_limit, "<="))
    return share


def closest_check(checks: Sequence[Check]) -> Check | None:
    """Return the check that came closest to its limit, or is farthest beyond; None where none has a limit."""
    limited = [check for check in checks if check.limit is not None]
    return max(limited, key=_severity, default=None)


def _severity(check: Check) -> tuple[int, float]:
    return SEVERITY.index(check.verdict), share_of_limit(check) or 0.0


def _share(value: float, limit: float, sense: str) -> float:
    if math.isnan(value):
        return math.inf
    small, large = (value, limit) if sense == "<=" else (limit, value)
    if large > 0:
        return max(small, 0.0) / large
    return 0.0 if small <= large else math.inf
