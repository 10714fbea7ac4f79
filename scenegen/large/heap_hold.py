"""A heap that both engines hold: what does not is taken out, nothing else is touched, and the rest is judged again.

In a heap of hundreds some objects always creep on, such as a nut that rolls over another. Others poured in their place
push all the rest, of which again some creep. Taken out, they leave the others where they were judged, and as a rule
carried little. So more objects are poured than are asked for, and what is too much in the end comes off the top. The
verdict is of what is delivered: all of it, from its poses alone, in both engines.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from physics.check import Check
from physics.engine import Placement, World
from physics.materials import find_material
from scenegen.large.floor import Job
from scenegen.large.heap_rest import find_wedged, rest_half_way
from scenegen.large.hold import HoldConfig, top_of
from scenegen.large.pour import at_rest
from scenegen.large.witness import Witness, verify_in_both
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.settle import Settled
from scenegen.scenes.verify import reasons_against


@dataclass(frozen=True, eq=False)
class HeldHeap:
    """What is left of a heap, and what does not hold."""

    objects: tuple[SceneObject, ...]
    """At rest."""
    taken: dict[str, str]
    """What was taken out because it does not hold, and why."""
    evidence: Witness | None
    """What both engines say of `objects`; None where too few are left, or nobody could be named."""


def hold_heap(
    objects: Sequence[SceneObject],
    lost: Mapping[str, str],
    job: Job,
    furniture: Sequence[Placement],
    config: HoldConfig,
) -> HeldHeap:
    """Bring a heap to rest and verify it, taking out what does not hold, until as many as wanted hold in both engines.

    Args:
        objects: The heap, about at rest; more than `job` wants.
        lost: Objects of it that cannot stay, and why.
        job: The pit that it lies in, and how many objects are wanted there.
        furniture: All that is near it.
        config: Times and limits.

    Raises:
        EngineError: The state is no longer a number.
    """
    ground = find_material(config.ground)

    def world(of: Sequence[SceneObject]) -> World:
        return make_world(furniture, of, ground)

    def without(gone: Collection[str], of: Sequence[SceneObject]) -> list[SceneObject]:
        return [one for one in of if one.name not in gone]

    taken = dict(lost)
    left = without(taken, objects)
    while len(left) >= job.poured and (wedged := _against(find_wedged(world(left), config.checks), left)):
        taken |= wedged
        left = without(wedged, left)
    if len(left) < job.poured:
        return HeldHeap(tuple(left), taken, None)
    rested, refused = rest_half_way(left, furniture, ground, config.heap_rest, config.checks)
    left, failing = at_rest(rested, Settled({}, {}, np.nan, ()), job)
    failing |= _against(refused, left)
    whole: list[SceneObject] = []  # what held before some came off the top
    while True:
        if failing:
            taken |= failing
            left, whole = without(failing, whole or left), []
        if len(left) < job.poured:
            return HeldHeap(tuple(left), taken, None)
        witness = verify_in_both(world(left), left, config.checks)
        failing = _against(witness.refused, left)
        if witness.refused and not failing:  # a check of the whole: nobody can be named
            why = "; ".join(check.describe() for check in witness.refused)
            return HeldHeap((), taken | dict.fromkeys((one.name for one in left), why), None)
        if not failing and len(left) == job.poured:
            return HeldHeap(tuple(left), taken, witness)
        if not failing:
            whole, left = left, without(_highest(left, len(left) - job.poured), left)


def _against(refused: Sequence[Check], objects: Sequence[SceneObject]) -> dict[str, str]:
    """Return the objects that refused checks name, and what they say; of two that overlap the one that reaches higher.

    What lies below carries others.
    """
    known = {one.name: one for one in objects}
    against = reasons_against(refused, known, lambda named: _highest([known[name] for name in sorted(named)], 1))
    return {name: "; ".join(said) for name, said in against.items()}


def _highest(objects: Sequence[SceneObject], count: int) -> list[str]:
    """Return the objects that reach highest: as a rule nothing lies on them."""
    order = np.argsort([-top_of(one) for one in objects], kind="stable")
    return [objects[row].name for row in order[:count]]
