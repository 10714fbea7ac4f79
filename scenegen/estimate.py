"""What a run will take, said before it starts: time, memory and disk, from what such runs have taken.

Estimates hold within a factor of two on a core of 2024; they are there to refuse what cannot fit, and to tell minutes
from days.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from scenegen.assets.library import find_assets
from scenegen.config import LargeSceneConfig, RunConfig
from scenegen.errors import ConfigError
from scenegen.large.capacity import BYTES_PER_HULL, BYTES_PER_PAIR
from scenegen.large.options import ApartmentConfig, LargeLayoutConfig, MixConfig, PileConfig, ToteGridConfig

CERTIFIED_SHARE = {"procedural": 0.96, "ssa": 0.7, "mixed": 0.85}
"""Share of the draws that is certified, by kind of generator: the others are drawn again [1]."""
ASSET_SECONDS = 12.0
"""Processor time from seed to certificate, the mean over all families [s]."""
SCENE_SECONDS = 2.2
"""Processor time of one object in a scene that is verified as one model [s]."""
STANCE_SECONDS = 3.8
"""Processor time of the stances of one asset in a large scene [s]."""
POURED_SECONDS = 1.2
"""Processor time of one object that is poured into a bin, settled and verified there in both engines [s]."""
CARRIED_SECONDS = 0.5
"""The same of one object on furniture that is free to move, and of the furniture [s]."""
STANDING_SECONDS = 0.09
"""Processor time of one object that stands as its stance: one in twenty is verified where it stands [s]."""
PUBLISH_SECONDS = 0.015
"""Processor time of one object in the file and the pictures of a large scene [s]."""
ASSET_BYTES = 5 * 2**20
"""Folder of an asset and its results in the store [byte]."""
OBJECT_BYTES = 60 * 2**10
"""Share of an object in the files of its scene [byte]."""
WORKER_BYTES = 600 * 2**20
"""Memory of one stage call [byte]."""
DRIVER_BYTES = 2**30
"""Memory of the driver and of Ray [byte]."""
HULLS = 40
"""Hulls of an asset, for which the times above were measured [1]."""


@dataclass(frozen=True)
class Estimate:
    """What a run will take."""

    draws: int
    """Objects to be drawn, those included that will be refused [1]."""
    placed: int
    """Objects in scenes [1]."""
    cpu_seconds: float
    """Processor time [s]."""
    workers: int
    """Stage calls at a time [1]."""
    memory_bytes: int
    disk_bytes: int

    @property
    def seconds(self) -> float:
        """Wall time on as many cores as workers [s]."""
        return self.cpu_seconds / self.workers

    def describe(self) -> str:
        """Return one line for a user."""
        return (
            f"{self.draws} draws, {self.placed} objects in scenes: about {_minutes(self.seconds)} with {self.workers} "
            f"workers ({_minutes(self.cpu_seconds)} of processor time), {self.memory_bytes / 2**30:.1f} GiB of memory, "
            f"{self.disk_bytes / 2**30:.1f} GiB of disk"
        )


def estimate_run(config: RunConfig) -> Estimate:
    """Return what a run from the start will take; one that is taken up again takes less."""
    asked = sum(batch.count for batch in config.objects)
    draws = round(asked / CERTIFIED_SHARE[config.generator.kind])
    imported = len(find_assets(Path(config.assets["import"]))) if "import" in config.assets else 0
    large = [scene for scene in config.scenes if isinstance(scene, LargeSceneConfig)]
    small = sum(scene.objects for scene in config.scenes if not isinstance(scene, LargeSceneConfig))
    placed = small + sum(scene.objects for scene in large)
    cpu = draws * ASSET_SECONDS + small * SCENE_SECONDS
    cpu += sum(scene.objects * (_object_seconds(scene.options) + PUBLISH_SECONDS) for scene in large)
    cpu += min(asked + imported, max((scene.objects for scene in large), default=0)) * STANCE_SECONDS
    workers = 1 if config.executor.kind == "serial" else config.executor.workers or os.cpu_count() or 1
    whole = [_model_bytes(scene.objects, scene.options.mix) for scene in large]
    memory = DRIVER_BYTES + max([workers * WORKER_BYTES, *(WORKER_BYTES + size for size in whole)])
    disk = (draws + imported) * ASSET_BYTES + placed * OBJECT_BYTES
    return Estimate(draws, placed, cpu, workers, memory, disk)


def _object_seconds(options: LargeLayoutConfig) -> float:
    """Return the processor time of one object of a large scene, on average [s]: it grows with the hulls of objects."""
    share = _hulls(options.mix) / HULLS
    if isinstance(options, ApartmentConfig):
        return share * CARRIED_SECONDS
    poured = 1.0 if isinstance(options, ToteGridConfig | PileConfig) else options.shares.poured
    return share * (poured * POURED_SECONDS + (1 - poured) * STANDING_SECONDS)


def _hulls(mix: MixConfig) -> float:
    """Return the hulls of an object of a large scene, on average [1]."""
    return min(HULLS, mix.most_hulls or HULLS, mix.mean_hulls or HULLS)


def _model_bytes(objects: int, mix: MixConfig) -> int:
    """Return the memory of a large scene as one model [byte]."""
    return round(objects * _hulls(mix)) * BYTES_PER_HULL + BYTES_PER_PAIR * objects**2


def check_budget(estimate: Estimate, config: RunConfig, out: Path) -> None:
    """Refuse a run that will not fit, before anything is computed.

    Args:
        estimate: What the run will take.
        config: Its configuration, with the budgets `executor.memory_gib` and `executor.disk_gib`.
        out: Its output folder, on whose disk it will write.

    Raises:
        ConfigError: Says what is too small, by how much, and what to do.
    """
    budgets: tuple[tuple[str, int, float | None, Callable[[], float]], ...] = (
        ("memory", estimate.memory_bytes, config.executor.memory_gib, lambda: psutil.virtual_memory().available),
        ("disk", estimate.disk_bytes, config.executor.disk_gib, lambda: _free_disk(out)),
    )
    for what, needed, given, free in budgets:
        if given is not None and needed > given * 2**30:
            raise ConfigError(
                f"the run needs about {needed / 2**30:.1f} GiB of {what}, and executor.{what}_gib is {given:g}; "
                "raise it, use fewer workers, or ask for fewer objects"
            )
        # A cluster's memory is not this machine's; its output folder is.
        elsewhere = what == "memory" and config.executor.address is not None
        missing = needed - _size(out) if what == "disk" else needed
        if not elsewhere and missing > free():
            raise ConfigError(
                f"the run needs about {missing / 2**30:.1f} GiB of {what}, and {free() / 2**30:.1f} GiB are free; "
                "free some, use fewer workers, or ask for fewer objects or hulls (mix.mean_hulls, mix.most_hulls)"
            )


def _size(folder: Path) -> int:
    """Return what a run that is taken up again has written already [byte]."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _free_disk(path: Path) -> float:
    """Return what is free on the disk of a folder that may not be there yet [byte]; infinite where that has no size."""
    usage = shutil.disk_usage(next(folder for folder in (path, *path.absolute().parents) if folder.exists()))
    return usage.free if usage.total else math.inf


def _minutes(seconds: float) -> str:
    if seconds < 90 * 60:
        return f"{max(seconds / 60, 1):.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
