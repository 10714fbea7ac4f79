"""A heap that both engines hold: what does not is taken out, what lay around it comes to rest anew, and all is judged.

In a heap of hundreds some objects always creep on, such as a nut that rolls over another. Others poured in their place
push all the rest, of which again some creep. Taken out, they leave gaps into which little slips: that comes to rest,
and is judged, with all else held where it lies. So more objects are poured than are asked for, and what is too much in
the end comes off the top. The verdict is of what is delivered: all of it, nothing held, from its poses alone, in both
engines.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from physics.check import Check
from physics.engine import Placement
from physics.materials import find_material
from scenegen.large.floor import Job
from scenegen.large.heap_rest import find_wedged, rest_half_way
from scenegen.large.hold import HoldConfig, top_of
from scenegen.large.near import BoxIndex
from scenegen.large.pool import shell_points
from scenegen.large.pour import at_rest
from scenegen.large.reach import reach_at
from scenegen.large.witness import Witness, verify_in_both
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.settle import Settled
from scenegen.scenes.verify import reasons_against

NEAR = 0.002
"""Objects whose boxes, grown by so much on all sides, overlap may touch; what moves further loosens what does [m]."""


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

    def rest(heap: list[SceneObject], loose: set[str]) -> tuple[list[SceneObject], set[str]]:
        while loose:
            free, held = _apart(heap, loose)
            ends = rest_half_way(free, [*furniture, *held], ground, config.heap_rest, config.checks)
            before, heap = heap, _replaced(heap, ends)
            moved = {a.name for a, b in zip(free, ends, strict=True) if _distance(a, b) > NEAR}
            further = (_near(moved, before) | _near(moved, heap)) - loose
            if not further:  # else what lay on that which moved would be left in the air
                break
            loose = loose | further
        return heap, loose

    def wedged_in(of: Sequence[SceneObject]) -> dict[str, str]:
        return _against(find_wedged(make_world(furniture, of, ground), config.checks), of)

    def judge(of: Sequence[SceneObject], around: Sequence[Placement]) -> Witness:
        return verify_in_both(make_world(around, of, ground), of, config.checks, until_refused=False)

    wedged = wedged_in(_without(lost, objects))
    taken = dict(lost) | wedged
    heap = _without(taken, objects)
    loose = {one.name for one in heap}  # what has to come to rest
    while len(heap) >= job.poured:
        heap, loose = rest(heap, loose)
        _, failing = at_rest(heap, Settled({}, {}, np.nan, ()), job)
        failing |= wedged_in(_without(failing, heap))
        if not failing and 0 < len(loose) < len(heap):  # cheap, and no verdict: what it leaves is judged below
            free, held = _apart(heap, loose)
            failing = _against(judge(free, [*furniture, *held]).refused, free)
        if not failing:
            whole = heap
            witness = judge(whole, furniture)
            if not witness.refused and len(heap) > job.poured:
                whole = _without(_highest(heap, len(heap) - job.poured), heap)
                witness = judge(whole, furniture)
            if not witness.refused:
                return HeldHeap(tuple(whole), taken, witness)
            failing = _against(witness.refused, whole) or _against_all(witness.refused, heap)
        loose = _near(_near(failing.keys(), heap), heap) - failing.keys()
        taken, heap = taken | failing, _without(failing, heap)
    return HeldHeap(tuple(heap), taken, None)


def _apart(heap: Sequence[SceneObject], loose: Collection[str]) -> tuple[list[SceneObject], list[Placement]]:
    """Return what of a heap is loose, and all else, held where it lies."""
    free = [one for one in heap if one.name in loose]
    held = [Placement(one.name, one.asset.model, one.X_WB, fixed=True) for one in heap if one.name not in loose]
    return free, held


def _replaced(objects: Sequence[SceneObject], ends: Sequence[SceneObject]) -> list[SceneObject]:
    known = {one.name: one for one in ends}
    return [known.get(one.name, one) for one in objects]


def _distance(a: SceneObject, b: SceneObject) -> float:
    """Return the farthest that a corner of an object is moved [m]."""
    corners = shell_points(a.asset)
    return float(np.linalg.norm(a.X_WB.apply(corners) - b.X_WB.apply(corners), axis=1).max())


def _near(names: Collection[str], objects: Sequence[SceneObject]) -> set[str]:
    """Return some objects and what may touch them, by the boxes around them."""
    boxes = np.array([reach_at(one.asset, one.X_WB).grown(NEAR).box for one in objects]).reshape(-1, 2, 3)
    index = BoxIndex(boxes)
    meant = [box for one, box in zip(objects, boxes, strict=True) if one.name in names]
    return {objects[row].name for box in meant for row in index.overlapping(box)}


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
