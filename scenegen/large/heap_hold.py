"""A heap that both engines hold: what does not is taken out, the rest comes to rest anew and is judged again.

In a heap of hundreds some objects always creep on, such as a nut that rolls over another. Others poured in their place
push all the rest, of which again some creep. Taken out, they leave a gap into which little slips. So more objects are
poured than are asked for, and what is too much in the end comes off the top. The verdict is of what is delivered: all
of it, from its poses alone, in both engines.
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

    def wedged_in(of: Sequence[SceneObject]) -> dict[str, str]:
        return _against(find_wedged(world(of), config.checks), of)

    def judge(of: Sequence[SceneObject]) -> tuple[Witness, dict[str, str]]:
        witness = verify_in_both(world(of), of, config.checks, until_refused=False)
        return witness, _against(witness.refused, of) or _against_all(witness.refused, of)

    taken, heap = dict(lost), _without(lost, objects)
    while len(heap) >= job.poured:
        failing = wedged_in(heap)
        if not failing:
            rested = rest_half_way(heap, furniture, ground, config.heap_rest, config.checks)
            heap, failing = at_rest(rested, Settled({}, {}, np.nan, ()), job)
            failing |= wedged_in(heap)
        if not failing:
            held = heap
            witness, failing = judge(held)
            if not failing and len(heap) > job.poured:
                held = _without(_highest(heap, len(heap) - job.poured), heap)
                witness, failing = judge(held)
            if not failing:
                return HeldHeap(tuple(held), taken, witness)
        taken |= failing
        heap = _without(failing, heap)
    return HeldHeap(tuple(heap), taken, None)


def _without(gone: Collection[str], of: Sequence[SceneObject]) -> list[SceneObject]:
    return [one for one in of if one.name not in gone]


def _against_all(refused: Sequence[Check], objects: Sequence[SceneObject]) -> dict[str, str]:
    """Return all objects, and what checks that name none of them say of the whole; nobody where none is refused."""
    said = "; ".join(check.describe() for check in refused)
    return dict.fromkeys((one.name for one in objects), said) if refused else {}


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
