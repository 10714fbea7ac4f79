"""A small real chain for the tests of the executors: numbers to an array, to its square, to a sum."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scenegen.pipeline.stage import Item, Rejection, Stage


@dataclass(frozen=True)
class Seed:
    name: str
    number: int
    behaviour: str = "work"
    """What the second stage does: work, reject, crash, hang, hog, raise, lie, crash_once."""


@dataclass(frozen=True, eq=False)
class Grid:
    seed: Seed
    values: np.ndarray
    squares: np.ndarray | None = None


@dataclass(frozen=True)
class Total:
    seed: Seed
    total: float


@dataclass(frozen=True)
class Settings:
    log: str
    """Folder of the append-only log of finished calls."""
    seconds: float = 0.0
    size: int = 1000


def note(config: Settings, stage: str, seed: Seed) -> None:
    with open(Path(config.log) / "calls.log", "ab", buffering=0) as log:
        log.write(f"{stage} {seed.name}\n".encode())


def draw(seed: Seed, config: Settings) -> Grid:
    note(config, "draw", seed)
    time.sleep(config.seconds)
    return Grid(seed, np.arange(config.size, dtype=np.float64) * seed.number)


def square(grid: Grid, config: Settings, scratch: Path) -> Grid | Rejection:
    note(config, "square", grid.seed)
    time.sleep(config.seconds)
    behaviour = grid.seed.behaviour
    if behaviour == "reject":
        return Rejection("square", "too large", float(grid.seed.number), 3.0, "1", "take a smaller number")
    if behaviour == "crash":
        os.write(2, b"native code is about to die\n")
        ctypes.string_at(0)
    if behaviour == "crash_once":
        marker = Path(config.log) / f"{grid.seed.name}.crashed"
        if not marker.exists():
            marker.touch()
            ctypes.string_at(0)
    if behaviour == "hang":
        ctypes.PyDLL(None).sleep(600)
    if behaviour == "hog":
        np.ones(4 * 2**30, dtype=np.uint8)
    if behaviour == "raise":
        raise ValueError("three is not two")
    if behaviour == "lie":
        return Total(grid.seed, 0.0)  # type: ignore[return-value]
    (scratch / "note.txt").write_text("in the scratch folder")
    return replace(grid, squares=grid.values**2)


def add(grid: Grid, config: Settings) -> Total:
    assert grid.squares is not None
    note(config, "add", grid.seed)
    time.sleep(config.seconds)
    return Total(grid.seed, float(grid.squares.sum()))


def chain(
    log: Path, *, deadline_s: float = 30.0, memory_bytes: int | None = None, **settings: float
) -> tuple[Stage, ...]:
    config = Settings(str(log), **settings)  # type: ignore[arg-type]
    limits = {"deadline_s": deadline_s, "memory_bytes": memory_bytes}
    return (
        Stage("draw", "pipeline_stages:draw", Seed, Grid, config, **limits),
        Stage("square", "pipeline_stages:square", Grid, Grid, config, **limits),
        Stage("add", "pipeline_stages:add", Grid, Total, config, **limits),
    )


def items(count: int, **behaviours: str) -> list[Item]:
    """Items item0, item1...; `item3="crash"` makes one misbehave."""
    return [Item(f"item{n}", Seed(f"item{n}", n + 1, behaviours.get(f"item{n}", "work"))) for n in range(count)]
