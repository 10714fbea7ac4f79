"""A heap that both engines hold: what does not is taken out, the others come to rest anew, and all is judged again.

In a heap of hundreds some objects always creep on, such as a nut that rolls over another. Others poured in their place
push all the rest, of which again some creep. Taken out, they leave gaps into which little slips. So more objects are
poured than are asked for, and as fewer and fewer fail, of what is too much that is taken away which the rest misses
least. Nothing is held while the others come to rest: between held neighbours an object can jam, to be thrown out once
they are let go. The verdict is of what is delivered, from its poses alone, in both engines.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from physics.check import Check
from physics.engine import Placement
from physics.materials import find_material
from scenegen.large.floor import Job
from scenegen.large.heap_rest import find_wedged, rest_half_way
from scenegen.large.hold import HoldConfig, top_of
from scenegen.large.pour import at_rest
from scenegen.large.ties import find_ties
from scenegen.large.witness import Witness, verify_in_both
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.settle import Settled
from scenegen.scenes.verify import reasons_against

SPARE = 3
"""Objects above the number wanted that are kept for each that failed in the last verdict [1]: fewer fail in each."""


@dataclass(frozen=True, eq=False)
class HeldHeap:
    """What is left of a heap, and what does not hold."""

    objects: tuple[SceneObject, ...]
    """What is left."""
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

    def lightened(of: list[SceneObject], most: int) -> list[SceneObject]:
        if len(of) <= most:
            return of
        ties = find_ties(make_world(furniture, of, ground), of)
        return _without(sorted(ties, key=ties.__getitem__)[: len(of) - most], of)

    def wedged_in(of: Sequence[SceneObject]) -> dict[str, str]:
        return _against(find_wedged(make_world(furniture, of, ground), config.checks), of)

    def judge(of: Sequence[SceneObject]) -> Witness:
        return verify_in_both(make_world(furniture, of, ground), of, config.checks, until_refused=False)

    wedged = wedged_in(_without(lost, objects))
    taken = dict(lost) | wedged
    heap = _without(taken, objects)
    resting = config.heap_rest
    while len(heap) >= job.poured:
        heap = rest_half_way(heap, furniture, ground, resting, config.checks)
        _, failing = at_rest(heap, Settled({}, {}, np.nan, ()), job)
        failing |= wedged_in(_without(failing, heap))
        if not failing:
            witness = judge(heap)
            resting = replace(resting, slipping=resting.closing)
            if not witness.refused and len(heap) == job.poured:
                return HeldHeap(tuple(heap), taken, witness)
            if witness.refused:
                failing = _against(witness.refused, heap) or _against_all(witness.refused, heap)
            heap = lightened(_without(failing, heap), job.poured + SPARE * len(failing))
        taken, heap = taken | failing, _without(failing, heap)
    return HeldHeap(tuple(heap), taken, None)


def _without(gone: Collection[str], of: Sequence[SceneObject]) -> list[SceneObject]:
    return [one for one in of if one.name not in gone]


def _against_all(refused: Sequence[Check], objects: Sequence[SceneObject]) -> dict[str, str]:
    """Return all objects, and what checks that name none of them say of the whole."""
    return dict.fromkeys((one.name for one in objects), "; ".join(check.describe() for check in refused))


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
