"""What executors run: stages, items and outcomes. An item goes through all stages in a row."""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scenegen.errors import StageError


@dataclass(frozen=True)
class Rejection:
    """Why an item cannot go on: a limit it missed, with the measured value. It is a result, not an error."""

    stage: str
    """Stage that rejected the item."""
    reason: str
    """Short and stable: reports count by it."""
    value: float
    """What was measured, in `unit`; NaN where nothing can be measured."""
    limit: float | None
    """What was asked for, in `unit`."""
    unit: str
    message: str = ""
    """The whole story for a reader, with the fix."""


@dataclass(frozen=True)
class Resources:
    """What one running stage call takes from a machine."""

    cpus: float = 1.0
    """CPU cores [1]."""
    gpus: float = 0.0
    """CUDA devices, or a share of one [1]."""
    custom: tuple[tuple[str, float], ...] = ()
    """Custom resources of a cluster, as pairs of name and amount."""

    def __post_init__(self) -> None:
        amounts = {"cpus": self.cpus, "gpus": self.gpus} | dict(self.custom)
        for name, amount in amounts.items():
            if not 0 <= amount < float("inf"):
                raise StageError(f"resource {name} is {amount}, expected a finite amount >= 0")


@dataclass(frozen=True)
class Stage:
    """One step of the chain: an importable function with its configuration and its limits.

    The function is called as `f(record, config)`, or `f(record, config, scratch)` if it has a parameter `scratch`
    (a folder of its own, deleted afterwards), and returns the next record or a `Rejection`.
    """

    name: str
    """Unique in the chain; `[a-z][a-z0-9_]*`."""
    function: str
    """Address "module:function"."""
    input_type: type
    output_type: type
    config: Any = None
    """A frozen dataclass, or None."""
    version: str = "1"
    """Changes whenever the function would return something else for the same input."""
    resources: Resources = field(default_factory=Resources)
    deadline_s: float = 300.0
    """Longest a call may take [s]."""
    memory_bytes: int | None = None
    """Memory limit of a call [byte]; None for none."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise StageError(f"stage name {self.name!r} is not of the form [a-z][a-z0-9_]*")
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", self.function):
            raise StageError(f"stage {self.name}: function {self.function!r} is not of the form 'module:function'")
        if not 0 < self.deadline_s < float("inf"):
            raise StageError(f"stage {self.name}: deadline_s is {self.deadline_s}, expected a finite time > 0 s")
        if self.memory_bytes is not None and self.memory_bytes <= 0:
            raise StageError(f"stage {self.name}: memory_bytes is {self.memory_bytes}, expected > 0 or None")

    def resolve(self) -> Callable[..., Any]:
        """Import and return the function.

        Raises:
            StageError: The address names nothing that can be called.
        """
        module, _, name = self.function.partition(":")
        try:
            function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise StageError(f"stage {self.name}: cannot import {self.function}: {error}") from error
        if not callable(function):
            raise StageError(f"stage {self.name}: {self.function} is a {type(function).__name__}, not a function")
        return function


def wants_scratch(function: Callable[..., Any]) -> bool:
    """Return whether a stage function asks for a scratch folder."""
    return "scratch" in inspect.signature(function).parameters


def check_chain(stages: tuple[Stage, ...]) -> None:
    """Refuse a chain whose stages do not fit together.

    Raises:
        StageError: No stage, two stages of one name, or an output type that the next stage does not take.
    """
    if not stages:
        raise StageError("a chain needs at least one stage")
    names = [stage.name for stage in stages]
    if len(set(names)) != len(names):
        raise StageError(f"stages need unique names, got {names}")
    for first, second in itertools.pairwise(stages):
        if first.output_type is not second.input_type:
            raise StageError(
                f"stage {first.name} returns {first.output_type.__name__}, but stage {second.name} takes "
                f"{second.input_type.__name__}"
            )


@dataclass(frozen=True, eq=False)
class Item:
    """Something to be made: a stable name and the record that the first stage takes."""

    id: str
    record: Any


@dataclass(frozen=True)
class StageTime:
    """What one stage took for one item. Varies from run to run, and is never part of a result."""

    stage: str
    seconds: float
    """Wall time [s]."""
    cpu_seconds: float
    """Processor time [s]."""
    stored: bool
    """True when the result was found in the store, and the times are those of the run that made it."""


@dataclass(frozen=True, eq=False)
class Finished:
    """An item that went through all stages."""

    item: Item
    digest: str
    """Content hash of the last record."""
    timings: tuple[StageTime, ...]
    load: Callable[[], Any] = field(repr=False)
    """Reads the last record from the store."""

    @property
    def record(self) -> Any:
        """The last record, read from the store at each access, so that a large run does not fill the memory."""
        return self.load()


@dataclass(frozen=True, eq=False)
class Rejected:
    """An item that missed a limit."""

    item: Item
    rejection: Rejection
    timings: tuple[StageTime, ...]


@dataclass(frozen=True, eq=False)
class Quarantined:
    """An item at which a stage failed twice: crash, hang, too much memory, or an error of the program."""

    item: Item
    stage: str
    """Stage that failed."""
    input_key: str
    """Content hash of the record that the stage was given, to be found in the store."""
    attempts: int
    stderr: str
    """What the last attempt left: the error, its traceback and the end of the child's output."""
    timings: tuple[StageTime, ...] = ()


Outcome = Finished | Rejected | Quarantined


def check_items(items: Sequence[Item]) -> None:
    """Refuse items that share a name.

    Raises:
        StageError: Two items have one id (names it).
    """
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise StageError(f"two items are named {item.id!r}; every item needs a name of its own")
        seen.add(item.id)
