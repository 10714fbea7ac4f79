"""Stage: objects that may touch each other, settled in a small model of their own and verified in both engines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.check import Check
from physics.drop_mujoco import open_mujoco
from physics.engine import Placement
from physics.errors import EngineError
from physics.materials import Material, find_material
from scenegen.errors import SceneError
from scenegen.large.carry import Load, Pool, find_fallen, put_on
from scenegen.large.fill import Member
from scenegen.large.floor import Fixture, Job
from scenegen.large.heap_hold import hold_heap
from scenegen.large.hold import HoldConfig
from scenegen.large.pool import read_asset
from scenegen.large.pour import at_rest, draw_load, pour
from scenegen.large.witness import Witness, verify_in_both
from scenegen.pipeline.stage import Rejection
from scenegen.provenance import item_rng
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.settle import settle
from scenegen.scenes.supports import Region
from scenegen.scenes.verify import check_overlap, failing_objects, reasons_against


@dataclass(frozen=True, eq=False)
class ComponentRequest:
    """What is to be settled and verified on its own."""

    name: str
    seed: int
    members: tuple[Member, ...]
    """Objects that have a place; of a bin all that lie in it at rest, or none where it is still to be filled."""
    fixtures: tuple[Fixture, ...]
    """All furniture that reaches into `box`."""
    box: Float64[np.ndarray, "2 3"]
    """Where the component may be: outside of it nothing is known of the furniture [m]."""
    pour: Job | None = None
    """The bin that is filled."""
    relax: bool = True
    """False to judge the members as they are."""
    loads: tuple[Load, ...] = ()
    """What some of the members carry."""
    loaded: bool = False
    """Whether what they carry is among the members; else it is drawn and put on them."""

    @property
    def draws(self) -> bool:
        """Whether objects are drawn, so that others can take the place of those that fail."""
        return self.pour is not None or bool(self.loads and not self.loaded)


@dataclass(frozen=True, eq=False)
class HeldComponent:
    """Objects at rest, with the evidence."""

    name: str
    members: tuple[Member, ...]
    swept: Float64[np.ndarray, "N 2 3"]
    """Box that holds each object at all times of the verification [m]."""
    contacts: int
    """Most contacts seen at once [1]."""
    checks: tuple[Check, ...]
    replaced: tuple[str, ...]
    """What was taken out because it does not hold, and why."""
    escaped: bool
    """True when an object left the request's box: the component must be judged again in a larger one."""
    loads: tuple[Load, ...] = ()
    """What some of the members carry."""


def hold_component(request: ComponentRequest, config: HoldConfig) -> HeldComponent | Rejection:
    """Settle and verify one component; what fails in a bin or on furniture is replaced, up to `rounds` times.

    Of a heap it is taken out, and replaced where too few are left.
    """
    rng = item_rng(request.seed, request.name, "component")
    replaced: list[str] = []
    reasons: dict[str, str] = {}
    objects = [_object(member, config) for member in request.members]
    if request.pour is not None and not objects:
        objects = draw_load(request.pour, config, rng)
    for number in range(config.rounds):
        if request.pour is not None:
            first = number == 0 and not request.members
            if first or reasons:
                container = next(one for one in request.fixtures if one.name == request.pour.container)
                objects, reasons = pour(
                    request.pour, container.placement(config.models), objects, config, rng, lost=reasons, first=first
                )
        elif request.draws:
            try:
                objects, reasons = _load(request, objects, config, rng, lost=reasons), {}
            except SceneError as error:
                return Rejection("component", "no room on furniture", np.nan, None, "", str(error))
        if request.pour is not None and request.pour.layered:
            objects, reasons, evidence = _hold_heap(request, request.pour, objects, reasons, config)
        elif not reasons:
            objects, reasons, evidence = _hold_still(request, objects, config)
        else:
            evidence = None
        replaced += [f"{name}: {reason}" for name, reason in sorted(reasons.items())]
        if evidence is not None:
            return _held(request, objects, evidence, replaced)
        if not request.draws:
            break
    worst = "; ".join(replaced[-3:])
    carriers = sorted({load.carrier for load in request.loads} & set(reasons))
    reason = "furniture does not stand under its load" if carriers else "objects never held"
    more = (
        f" ({', '.join(carriers)} among them: load it less, or leave it out of options.furniture)" if carriers else ""
    )
    return Rejection(
        "component", reason, float(len(reasons)), 0.0, "1",
        f"{request.name}: {len(reasons)} of {len(objects)} objects did not hold still{more}: {worst}",
    )  # fmt: skip


def _load(
    request: ComponentRequest,
    objects: Sequence[SceneObject],
    config: HoldConfig,
    rng: np.random.Generator,
    *,
    lost: Collection[str],
) -> list[SceneObject]:
    """Return furniture where it was put, and what it carries: what was lost is replaced by other draws.

    Where the furniture itself was lost, all that it carries is.
    """
    pool = Pool(tuple(read_asset(config.root, folder) for folder in config.carried), config.carried_weights)
    known = {one.name: one for one in objects}
    placed = [_object(member, config) for member in request.members]
    home = {one.name: one for one in placed}
    for load in request.loads:
        stays = [] if load.carrier in lost else [known[name] for name in load.names if name in known.keys() - set(lost)]
        missing = [name for name in load.names if name not in {one.name for one in stays}]
        fresh = put_on(home[load.carrier], missing, stays, pool, rng, config.place)
        placed += sorted([*stays, *fresh], key=lambda one: one.name)
    return placed


def _held(
    request: ComponentRequest,
    objects: Sequence[SceneObject],
    evidence: Witness,
    replaced: list[str],
) -> HeldComponent:
    members = tuple(Member(one.name, one.asset.folder, one.X_WB) for one in objects)
    swept = evidence.swept
    escaped = bool((swept[:, 0] < request.box[0]).any() or (swept[:, 1] > request.box[1]).any())
    return HeldComponent(
        request.name, members, swept, evidence.contacts, evidence.checks, tuple(replaced), escaped, request.loads
    )


def _object(member: Member, config: HoldConfig) -> SceneObject:
    return SceneObject(member.name, read_asset(config.root, member.folder), member.X_WB)


def _hold_heap(
    request: ComponentRequest, job: Job, objects: list[SceneObject], lost: dict[str, str], config: HoldConfig
) -> tuple[list[SceneObject], dict[str, str], Witness | None]:
    """Judge a heap, of which some are lost already.

    Returns:
        What holds, or else what rests and what was taken out; the latter by name and why; and the evidence where
        enough hold.
    """
    furniture = [one.placement(config.models) for one in request.fixtures]
    try:
        heap = hold_heap(objects, lost, job, furniture, config)
    except EngineError as error:  # the state is no longer a number
        return objects, {one.name: str(error) for one in objects}, None
    if heap.evidence is not None:
        return list(heap.objects), heap.taken, heap.evidence
    return [*heap.objects, *(one for one in objects if one.name in heap.taken)], heap.taken, None


def _hold_still(
    request: ComponentRequest, objects: list[SceneObject], config: HoldConfig
) -> tuple[list[SceneObject], dict[str, str], Witness | None]:
    """Judge a component; where it creeps, let it, and judge it again from there.

    Returns:
        The objects at rest, those that fail and why, and the evidence where none fails.
    """
    reasons: dict[str, str] = {}
    for _ in range(1 + config.relaxations if request.relax else 1):
        rested, later, reasons, evidence = _judge(request, objects, config)
        if evidence is not None and not reasons:
            return rested, {}, evidence
        if evidence is None:
            return rested, reasons, None
        wedged = failing_objects([check for check in evidence.refused if check.id == "S1"]) & reasons.keys()
        if request.draws and wedged:  # what is this deep at rest is wedged: no waiting frees it
            return rested, {name: reasons[name] for name in sorted(wedged)}, None
        objects = later
    return objects, reasons, None


def _judge(
    request: ComponentRequest, objects: list[SceneObject], config: HoldConfig
) -> tuple[list[SceneObject], list[SceneObject], dict[str, str], Witness | None]:
    """Let a component relax among all its furniture, then verify it from rest in both engines.

    Returns:
        The objects at rest, and after the verification; those that fail and why; and the evidence (none where it did
        not come to that).
    """
    furniture = [one.placement(config.models) for one in request.fixtures]
    ground = find_material(config.ground)
    try:
        if request.relax:
            objects, lost = _relax(request, objects, furniture, ground, config)
            lost |= find_fallen(request.loads, objects)
            if lost:
                return objects, objects, lost, None
        witness = verify_in_both(make_world(furniture, objects, ground), objects, config.checks)
    except EngineError as error:  # the state is no longer a number
        return objects, objects, {one.name: str(error) for one in objects}, None
    bad, state = witness.refused, witness.state
    reasons = _reasons(bad, objects, request)
    if bad and not reasons:  # a check of the whole: nobody can be named, so that all are
        reasons = dict.fromkeys(sorted(one.name for one in objects), "; ".join(check.describe() for check in bad))
    later = [one.at(state.pose(one.name)) for one in objects] if np.isfinite(state.positions).all() else objects
    return objects, later, reasons, witness


def _relax(
    request: ComponentRequest,
    objects: list[SceneObject],
    furniture: Sequence[Placement],
    ground: Material,
    config: HoldConfig,
) -> tuple[list[SceneObject], dict[str, str]]:
    """Let objects come to rest among all furniture; return them, and why some cannot stay.

    Two that are seen here to overlap too deeply need not be shown to both engines. A state that is no number says
    nothing here: the verification refuses it.
    """
    overlaps: list[Check] = []
    world = make_world(furniture, objects, ground)
    engine = open_mujoco(world)
    try:
        end = settle(engine, objects, (_whole(request.box),), config.relax)
        if request.draws:
            overlaps = check_overlap(engine.contacts(), world, engine.name, config.checks)
    finally:
        engine.close()
    objects, lost = at_rest(objects, end, request.pour)
    return objects, lost | _reasons([one for one in overlaps if one.verdict != "PASS"], objects, request)


def _reasons(refused: Sequence[Check], objects: Sequence[SceneObject], request: ComponentRequest) -> dict[str, str]:
    """Return what refused checks say against each object that they name, and what checks of the whole say besides.

    Of a piece of furniture and what overlaps it, the latter is meant: it can be put elsewhere.
    """
    carriers = {load.carrier for load in request.loads}
    names = [one.name for one in objects]
    against = reasons_against(refused, names, of_overlap=lambda named: named - carriers or named)
    whole = [check.describe() for check in refused if not check.body]
    return {name: "; ".join([*said, *whole]) for name, said in against.items()}


def _whole(box: np.ndarray) -> Region:
    """Return the region that is a box."""
    centre = box.mean(axis=0)
    return Region(np.array([*centre[:2], box[0, 2]]), np.ptp(box, axis=0)[:2] / 2, float(np.ptp(box[:, 2])))
