"""A world that should be at rest, verified in both engines, and the boxes that its objects need meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.check import Check, Verdict
from physics.engine import State, World
from scenegen.large.pool import shell_points
from scenegen.large.tracked import TrackedEngine
from scenegen.scenes.engines import OPEN_ENGINE
from scenegen.scenes.scene import SceneObject
from scenegen.scenes.verify import SceneCheckConfig, verify_scene


@dataclass(frozen=True, eq=False)
class Witness:
    """What the engines say of a world: both, or one that refuses it."""

    checks: tuple[Check, ...]
    swept: Float64[np.ndarray, "N 2 3"]
    """Box that holds each object at all times of the verification, in every engine [m]."""
    contacts: int
    """Most contacts that an engine saw at once [1]."""
    state: State
    """Where the last engine that was asked left the objects."""

    @property
    def refused(self) -> tuple[Check, ...]:
        """Checks that do not hold; none where both engines agree that the world is at rest."""
        return tuple(check for check in self.checks if check.verdict in (Verdict.FAIL, Verdict.UNDECIDED))


def verify_in_both(
    world: World, objects: Sequence[SceneObject], config: SceneCheckConfig, *, until_refused: bool = True
) -> Witness:
    """Judge a world from rest with sleep off (S1 to S3, S5), in one engine after the other.

    Args:
        world: What to judge.
        objects: What is free in it.
        config: Times and limits.
        until_refused: False to ask the second engine even where the first refuses the world, so that all that fails is
            known at once.

    Raises:
        EngineError: An engine refuses to load the world, or its state is no longer a number.
    """
    corners = {one.name: shell_points(one.asset) for one in objects}
    witness: Witness | None = None
    for open_engine in OPEN_ENGINE.values():
        engine = TrackedEngine(open_engine(world), corners, config.sample_seconds)
        try:
            checks = verify_scene(world, engine, config)
            found = Witness(checks, engine.swept, engine.most_contacts, engine.state())
        finally:
            engine.close()
        witness = found if witness is None else _both(witness, found)
        if until_refused and witness.refused:
            break
    assert witness is not None  # there are engines
    return witness


def _both(first: Witness, second: Witness) -> Witness:
    lower = np.minimum(first.swept[:, 0], second.swept[:, 0])
    upper = np.maximum(first.swept[:, 1], second.swept[:, 1])
    swept, contacts = np.stack([lower, upper], axis=1), max(first.contacts, second.contacts)
    return Witness((*first.checks, *second.checks), swept, contacts, second.state)
