"""The engines under the closed forms of contact: the part of `scenegen selftest` that needs no verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from physics.errors import PhysicsError
from physics.laws import LAWS, Measurement
from scenegen.errors import ScenegenError
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.stage import Finished, Item, Stage
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest
from scenegen.run import STORE, Execute


@dataclass(frozen=True)
class LawRequest:
    """One law in one engine at one size."""

    item_id: str
    law: str
    engine: str
    """Name of the engine, or "geometry"."""
    size: float
    """Length of the body [m]."""


@dataclass(frozen=True)
class LawAnswer:
    """What the engine showed."""

    request: LawRequest
    measurement: Measurement
    error: str
    """Why nothing could be measured, which breaks the law; empty where it was."""

    @property
    def right(self) -> bool:
        """Whether the law holds."""
        return not self.error and self.measurement.holds


def run_law_selftest(out: Path, execute: Execute, observer: Observer, *, sizes: Sequence[float]) -> list[LawAnswer]:
    """Hold every engine against every law at every size; the same call again takes up what is left.

    Args:
        out: Output folder.
        execute: Executor of the steps.
        observer: Is told what happens.
        sizes: Lengths of the bodies [m].

    Raises:
        ScenegenError: the output folder cannot be written, or an engine crashed.
    """
    cases = [(law.name, engine, size) for law in LAWS for engine in law.engines for size in sizes]
    items = [Item(f"law_{number:05d}", LawRequest(f"law_{number:05d}", *case)) for number, case in enumerate(cases)]
    stage = Stage("law", f"{__name__}:measure_law", LawRequest, LawAnswer, version=code_digest())
    outcomes = execute([stage], items, Store(out / STORE), observer=observer)
    broken = [str(outcome) for outcome in outcomes.values() if not isinstance(outcome, Finished)]
    if broken:
        raise ScenegenError(f"{len(broken)} of {len(items)} laws could not be measured; the first: {broken[0]}")
    return [outcome.record for outcome in outcomes.values() if isinstance(outcome, Finished)]


def measure_law(request: LawRequest, config: None) -> LawAnswer:
    """Stage: hold one engine against one law; an engine that refuses the body breaks it."""
    del config
    law = next(law for law in LAWS if law.name == request.law)
    try:
        return LawAnswer(request, law.measure(request.engine, request.size), "")
    except PhysicsError as error:
        return LawAnswer(request, Measurement(math.nan, math.nan, math.nan, ""), str(error))
