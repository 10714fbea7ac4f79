"""The driver of a large scene: plan, stances, fill, components, merges, samples; until nothing is left unproven."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scenegen.errors import SceneError
from scenegen.large.boards import choose_furniture
from scenegen.large.capacity import check_size
from scenegen.large.carry import Load
from scenegen.large.component import ComponentRequest, HeldComponent
from scenegen.large.demand import measure_demand
from scenegen.large.fill import Choice, Group, Member, fill_cell
from scenegen.large.floor import FloorPlan, Job
from scenegen.large.hold import HoldConfig
from scenegen.large.hull_budget import HullBudget
from scenegen.large.layouts import plan_floor
from scenegen.large.near import BoxIndex, candidate_pairs, join
from scenegen.large.options import BARE_FLOOR, LargeLayoutConfig, MixConfig
from scenegen.large.pool import choose_assets, read_asset, weigh_assets
from scenegen.large.reach import Reach, may_touch, reach_at
from scenegen.large.scene import LargeScene, worst_checks
from scenegen.large.stances import AssetStances, Stance, StanceConfig, StanceRequest
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.stage import Finished, Item, Outcome, Rejected, Rejection, Stage
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest, item_rng
from scenegen.scenes.place import PlaceConfig
from scenegen.scenes.scene import SceneAsset

Execute = Callable[..., dict[str, Outcome]]
"""An executor: (stages, items, store, *, observer) -> outcomes."""

SECONDS_PER_POURED = 60.0
"""Deadline of a component, for each object that is poured: rounds of settling and verification of a heap [s]."""


@dataclass(frozen=True, eq=False)
class LargePlan:
    """What a large scene should hold."""

    name: str
    layout: str
    """Name of the layout, for the record."""
    options: LargeLayoutConfig
    objects: int
    """Objects in the scene [1]."""
    seed: int


@dataclass(frozen=True)
class LargeConfig:
    """How large scenes are made and judged."""

    ground: str = "concrete"
    """Material of the floor."""
    packing: float = 0.4
    """Share of a bin that the convex hulls of poured objects may fill [1]."""
    margin: float = 0.004
    """Objects of different components stay at least so far apart at all times of their verification [m]."""
    surround: float = 0.1
    """How far around a component furniture is taken into its model [m]."""
    sample_share: float = 0.05
    """Share of what stands as its stance does that is also verified where it stands [1]: of single objects, and of
    stacks, at least one of each stance."""
    least_assets: int = 50
    """Assets of a larger library that may stand in a scene of fewer objects [1]; not all of them hold or stack."""
    merges: int = 6
    """Times that components that came too close are merged and judged again, before the scene is given up [1]."""
    place: PlaceConfig = field(default_factory=PlaceConfig)


@dataclass(eq=False)
class _Held:
    """Progress of one scene: what is proven so far."""

    standing: dict[str, Group]
    """What stands as its stance was verified, an object alone or a stack with nothing near it, by its first object."""
    components: dict[str, HeldComponent] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)

    @property
    def objects_standing(self) -> int:
        """Objects whose proof is their stance [1]."""
        return sum(len(group.members) for group in self.standing.values())


class _Refused(Exception):
    """A part of the scene could not be made; carries the rejection."""

    def __init__(self, rejection: Rejection):
        super().__init__(rejection.message)
        self.rejection = rejection


def compose_large(
    plan: LargePlan,
    folders: Sequence[str],
    root: str,
    store: Store,
    execute: Execute,
    observer: Observer,
    config: LargeConfig,
) -> LargeScene | Rejection:
    """Make a large scene of certified assets; see the module.

    Args:
        plan: What to make.
        folders: Folders of the certified assets, relative to the output folder.
        root: Output folder of the run.
        store: Where stage results are kept.
        execute: Executor of the stages.
        observer: Is told what happens.
        config: Rules and limits.

    Raises:
        ScenegenError: The store cannot be written, or an executor is broken.
    """
    composer = _Composer(plan, [read_asset(root, folder) for folder in folders], root, store, execute, observer, config)
    try:
        return composer.compose()
    except SceneError as error:
        return Rejection("scene", "does not fit", float("nan"), None, "", str(error))
    except _Refused as refused:
        return refused.rejection


class _Composer:
    """One large scene in the making."""

    def __init__(
        self,
        plan: LargePlan,
        assets: Sequence[SceneAsset],
        root: str,
        store: Store,
        execute: Execute,
        observer: Observer,
        config: LargeConfig,
    ):
        self.plan, self.root, self.config = plan, root, config
        self._assets, self._store, self._execute, self._observer = assets, store, execute, observer

    def compose(self) -> LargeScene:
        """Return the scene, or raise why there is none."""
        options, mix = self.plan.options, self.plan.options.mix
        needs = options.needs
        poured = choose_assets(self._assets, mix, mix.largest_poured) if needs.pours else ()
        standing = self._standing(mix) if needs.support else ()
        furniture = choose_furniture(self._assets, needs.furniture) if needs.furniture else ()
        demand = measure_demand(standing, poured, furniture, self.config.place.gap)
        floor = plan_floor(options, self.plan.objects, demand, packing=self.config.packing)
        check_size(floor, [*standing, *poured], furniture, mix.mean_hulls)
        carried = standing if furniture else ()
        self._hold = HoldConfig(
            self.root, floor.models, tuple(asset.folder for asset in poured), weigh_assets(poured, mix),
            tuple(asset.folder for asset in carried), weigh_assets(carried, mix),
            ground=self.config.ground, place=self.config.place,
        )  # fmt: skip
        self._fixtures = floor.fixtures
        boxes = [one.bounds(floor.models) for one in self._fixtures]
        self._index = BoxIndex(np.array(boxes).reshape(-1, 2, 3))
        budget = HullBudget(self.root, floor, mix)
        budget.check(self._hold, standing)
        alone = self._stances(standing, mix) if standing else None
        upright = self._stances(furniture, needs.furniture, upright=True) if needs.furniture else None
        self._hold, alone, drawn = budget.apply(self._hold, alone)
        for note in drawn:
            self._observer.noted(f"{self.plan.name}: {note}")
        if upright and needs.furniture:
            upright = budget.furnish(upright, needs.furniture)
        groups = self._fill(floor, alone, upright)
        held = self._begin(floor, groups)
        self._merge(held)
        sampled = self._prove_standing(held)
        return self._scene(floor, held, sampled)

    # ---- what stands ------------------------------------------------------------------------------------------

    def _standing(self, mix: MixConfig) -> tuple[SceneAsset, ...]:
        """Return the assets that may stand: of a large library about as many as there are objects, drawn by weight.

        The stances of each cost seconds, whether it is used or not.
        """
        assets = tuple(asset for asset in choose_assets(self._assets, mix, mix.largest) if asset.rest_poses)
        count = max(self.plan.objects, self.config.least_assets)
        if len(assets) <= count:
            return assets
        rng = item_rng(self.plan.seed, self.plan.name, "assets")
        drawn = rng.choice(len(assets), count, replace=False, p=weigh_assets(assets, mix))
        return tuple(assets[number] for number in sorted(drawn.tolist()))

    def _stances(self, standing: Sequence[SceneAsset], mix: MixConfig, *, upright: bool = False) -> Choice:
        """Return the stances of all assets that stand, verified as stages."""
        support, stacks = self.plan.options.needs.support or BARE_FLOOR, self.plan.options.needs.stacks
        config = StanceConfig(self.root, self.config.ground)
        stage = Stage(
            "stance",
            "scenegen.large.stances:find_stances",
            StanceRequest,
            AssetStances,
            config,
            code_digest(),
            deadline_s=600.0,
        )  # fmt: skip
        items = [
            Item(f"stance_{asset.asset_id}", StanceRequest(asset.folder, support, stacks and not upright, upright))
            for asset in standing
        ]
        found = self._run(stage, items)
        stances: list[Stance] = []
        weights: list[float] = []
        for asset, weight, item in zip(standing, weigh_assets(standing, mix), items, strict=True):
            one: AssetStances = found[item.id]  # this stage rejects nothing: it says what it refused
            for reason in one.refused:
                self._observer.noted(f"{asset.folder}: does not stand on {support}: {reason}")
            for stance in one.stances:
                stances.append(stance)
                weights.append(float(weight) / len(one.stances))
        if not stances:
            raise SceneError(f"none of {len(standing)} assets holds still on {support}; see the notes of the run")
        return Choice(tuple(stances), np.array(weights))

    def _fill(self, floor: FloorPlan, choice: Choice | None, furniture: Choice | None) -> list[Group]:
        """Return what stands in all cells; each cell draws from a generator of its own."""
        if choice is None:
            return []
        groups: list[Group] = []
        for cell in floor.cells:
            rng = item_rng(self.plan.seed, f"{self.plan.name}/{cell.name}", "fill")
            groups += fill_cell(cell, choice, furniture, rng, self.config.place)
        return groups

    # ---- components -------------------------------------------------------------------------------------------

    def _begin(self, floor: FloorPlan, groups: Sequence[Group]) -> _Held:
        """Settle and verify bins, stacks, and what stands too close to each other; the rest stands alone."""
        members = [(member, group) for group in groups for member in group.members]
        reaches = [reach for group in groups for reach in self._reaches(group)]
        links = self._links(reaches)
        rows = {id(member): row for row, (member, _) in enumerate(members)}
        for group in groups:
            links += [(rows[id(group.members[0])], rows[id(other)]) for other in group.members[1:]]
        held = _Held({})
        requests: list[ComponentRequest] = []
        for numbers in join(len(members), links):
            together = [members[row] for row in numbers]
            loads = tuple(Load(member.name, group.load) for member, group in together if group.load)
            first = together[0][1]
            if not loads and len(together) == len(first.members) and all(group is first for _, group in together):
                held.standing[first.members[0].name] = first
            else:
                requests.append(self._request([member for member, _ in together], loads=loads))
        requests += [self._pour_request(job) for cell in floor.cells for job in cell.jobs if job.poured]
        self._observer.noted(
            f"{self.plan.name}: {floor.objects} objects in {len(floor.cells)} cells: {held.objects_standing} stand as "
            f"their stances do, {floor.objects - held.objects_standing} are in {len(requests)} components to be judged"
        )
        self._enter(held, requests)
        return held

    def _merge(self, held: _Held) -> None:
        """Merge components that came too close to anything, and judge them again; until none does."""
        for _ in range(self.config.merges):
            clusters = self._clashes(held)
            if not clusters:
                return
            requests = []
            for names in clusters:
                loads = tuple(load for name in names if name in held.components for load in held.components[name].loads)
                members = sorted((one for name in names for one in self._release(held, name)), key=lambda one: one.name)
                requests.append(replace(self._request(members, suffix="_merged"), loads=loads, loaded=True))
                held.merged.append(f"{requests[-1].name}: {' and '.join(names)}")
                self._observer.noted(f"{self.plan.name}: merged {held.merged[-1]}")
            self._enter(held, requests)
        raise _Refused(
            Rejection(
                "scene", "components kept meeting", float(len(held.merged)), float(self.config.merges), "1",
                f"after {self.config.merges} rounds of merging, components still came within {self.config.margin} m of "
                f"each other: {'; '.join(held.merged[-3:])}",
            )
        )  # fmt: skip

    def _clashes(self, held: _Held) -> list[list[str]]:
        """Return the groups of components, or objects that stand alone, that may touch; and those that escaped."""
        owners: list[str] = []
        reaches: list[Reach] = []
        for name, group in held.standing.items():
            owners += [name] * len(group.members)
            reaches += self._reaches(group)
        for name, component in held.components.items():
            for member, swept in zip(component.members, component.swept, strict=True):
                owners.append(name)
                reaches.append(self._reach(member, swept))
        names = list(dict.fromkeys(owners))
        row = {name: number for number, name in enumerate(names)}
        links = [(row[owners[a]], row[owners[b]]) for a, b in self._links(reaches, owners)]
        escaped = {name for name, component in held.components.items() if component.escaped}
        clusters = [[names[number] for number in numbers] for numbers in join(len(names), links)]
        return [cluster for cluster in clusters if len(cluster) > 1 or cluster[0] in escaped]

    def _links(self, reaches: Sequence[Reach], owners: Sequence[str] | None = None) -> list[tuple[int, int]]:
        """Return the pairs of objects that may touch; of different owners, where owners are given."""
        margin = self.config.margin
        boxes = np.array([one.box for one in reaches]).reshape(-1, 2, 3)
        grown = boxes + np.array([[-margin], [margin]])
        return [
            (a, b)
            for a, b in candidate_pairs(grown)
            if (owners is None or owners[a] != owners[b]) and may_touch(reaches[a], reaches[b], margin)
        ]

    def _enter(self, held: _Held, requests: Sequence[ComponentRequest]) -> None:
        """Run components as stages and enter what they found."""
        for one in self._judge(requests):
            held.components[one.name] = one
            held.replaced += one.replaced

    def _judge(self, requests: Sequence[ComponentRequest]) -> list[HeldComponent]:
        """Return components that hold.

        Raises:
            _Refused: One does not.
        """
        found = self._try(requests)
        for one in found:
            if isinstance(one, Rejection):
                raise _Refused(one)
        return [one for one in found if not isinstance(one, Rejection)]

    def _try(self, requests: Sequence[ComponentRequest]) -> list[HeldComponent | Rejection]:
        if not requests:
            return []
        stage = Stage(
            "component", "scenegen.large.component:hold_component", ComponentRequest, HeldComponent, self._hold,
            code_digest(), deadline_s=3600.0,
        )  # fmt: skip
        poured = max((request.pour.poured for request in requests if request.pour is not None), default=0)
        stage = replace(stage, deadline_s=max(stage.deadline_s, SECONDS_PER_POURED * poured))
        found = self._run(stage, [Item(request.name, request) for request in requests])
        return [found[request.name] for request in requests]

    def _run(self, stage: Stage, items: Sequence[Item]) -> dict[str, Any]:
        """Return the record or the rejection of every item by its name.

        Raises:
            _Refused: A stage could not be run for one of them.
        """
        outcomes = self._execute([stage], items, self._store, observer=self._observer)
        records: dict[str, Any] = {}
        for item in items:
            outcome = outcomes[item.id]
            if isinstance(outcome, Finished):
                records[item.id] = outcome.record
            elif isinstance(outcome, Rejected):
                records[item.id] = outcome.rejection
            else:
                raise _Refused(
                    Rejection("scene", f"stage {stage.name} failed", 1.0, 0.0, "1", f"{item.id}: {outcome.stderr}")
                )
        return records

    def _release(self, held: _Held, name: str) -> tuple[Member, ...]:
        """Take a component, or what stood as its stance, out of what is proven; return its objects."""
        if name in held.standing:
            return held.standing.pop(name).members
        return held.components.pop(name).members

    def _request(
        self, members: Sequence[Member], *, suffix: str = "", relax: bool = True, loads: tuple[Load, ...] = ()
    ) -> ComponentRequest:
        boxes = np.array([self._reach(member).box for member in members])
        box = np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])
        if loads:  # what stands on the highest board is at most so high
            box[1, 2] += self.plan.options.mix.largest * np.sqrt(3)
        name = self._component_name(members) + suffix
        return replace(self._boxed(name, tuple(members), box, None, relax), loads=loads)

    def _component_name(self, members: Sequence[Member]) -> str:
        return f"{self.plan.name}_{members[0].name}"

    def _pour_request(self, job: Job) -> ComponentRequest:
        container = next(one for one in self._fixtures if one.name == job.container)
        return self._boxed(f"{self.plan.name}_{job.name}", (), container.bounds(self._hold.models), job, True)

    def _boxed(
        self, name: str, members: tuple[Member, ...], box: np.ndarray, pour: Job | None, relax: bool
    ) -> ComponentRequest:
        """Return a request that knows all furniture around its box."""
        box = box + np.array([[-self.config.surround], [self.config.surround]])
        fixtures = tuple(self._fixtures[number] for number in self._index.overlapping(box))
        return ComponentRequest(name, self.plan.seed, members, fixtures, box, pour, relax)

    def _reach(self, member: Member, swept: np.ndarray | None = None) -> Reach:
        return reach_at(read_asset(self.root, member.folder), member.X_WB, swept)

    def _reaches(self, group: Group) -> list[Reach]:
        """Return what each object of a group needs while it stands as its stance."""
        members = zip(group.members, group.stance.growths, strict=True)
        return [self._reach(member).grown(growth) for member, growth in members]

    # ---- evidence ---------------------------------------------------------------------------------------------

    def _prove_standing(self, held: _Held) -> list[HeldComponent]:
        """Verify a share of what stands as its stance exactly where it stands.

        Where one of them does not hold, its stance is no proof: all that stand as it does are settled and judged on
        their own, and the share is filled up from what is left. What held on the spot is evidence for good.

        Raises:
            _Refused: Stances keep failing, or what stood as one of them holds nowhere.
        """
        rng = item_rng(self.plan.seed, self.plan.name, "sample")
        drawn = [sorted(held.standing)[number] for number in rng.permutation(len(held.standing))]
        proven: dict[str, HeldComponent] = {}
        for _ in range(self.config.merges):
            chosen = self._sample([held.standing[name] for name in drawn if name in held.standing])
            found = self._try([self._request(group.members, suffix="_sample", relax=False) for group in chosen])
            unsound = {
                id(group.stance): one for group, one in zip(chosen, found, strict=True) if isinstance(one, Rejection)
            }
            proven |= {one.members[0].name: one for one in found if not isinstance(one, Rejection)}
            if not unsound:
                return [one for name, one in sorted(proven.items()) if name in held.standing]
            names = [name for name, group in held.standing.items() if id(group.stance) in unsound]
            for rejection in unsound.values():
                held.unsound.append(rejection.message)
                self._observer.noted(f"{self.plan.name}: a stance does not hold on the spot: {rejection.message}")
            self._enter(held, [self._request(self._release(held, name)) for name in names])
            self._merge(held)
        raise _Refused(
            Rejection(
                "scene", "stances do not hold on the spot", float(len(held.unsound)), float(self.config.merges), "1",
                f"after {self.config.merges} rounds stances still failed where they were used: {held.unsound[-1]}",
            )
        )  # fmt: skip

    def _sample(self, drawn: Sequence[Group]) -> list[Group]:
        """Return what is verified on the spot: a share of single objects and of stacks, each stance of a stack once.

        A stack moves a little at a heading that is not that of its stance; a single object hardly does.

        Args:
            drawn: What stands as its stance, in random order: the first of each kind are taken.
        """
        chosen: list[Group] = []
        for stacked in (False, True):
            groups = [group for group in drawn if (len(group.members) > 1) is stacked]
            count = int(np.ceil(self.config.sample_share * len(groups)))
            of_each = list({id(group.stance): group for group in reversed(groups)}.values()) if stacked else []
            known = {id(group) for group in of_each}
            others = [group for group in groups if id(group) not in known]
            chosen += of_each + others[: max(count - len(of_each), 0)]
        return sorted(chosen, key=lambda group: group.members[0].name)

    def _scene(self, floor: FloorPlan, held: _Held, sampled: Sequence[HeldComponent]) -> LargeScene:
        stacks = [group for group in held.standing.values() if len(group.members) > 1]
        owners = {member.name: (member, "") for group in held.standing.values() for member in group.members}
        for group in stacks:
            owners |= {member.name: (member, self._component_name(group.members)) for member in group.members}
        for name, component in held.components.items():
            owners |= {member.name: (member, name) for member in component.members}
        if len(owners) != self.plan.objects:
            raise SceneError(
                f"{self.plan.name}: {self.plan.objects} objects were asked for and {len(owners)} are there: "
                "this is a mistake of the program"
            )
        used = {id(group.stance): group.stance for group in held.standing.values()}
        judged = [(one.name, one.checks) for one in (*held.components.values(), *sampled)]
        judged += [(stance.folder, stance.checks) for stance in used.values()]
        contacts = sum(one.contacts for one in held.components.values())
        contacts += sum(group.stance.contacts for group in held.standing.values())
        ordered = [owners[name] for name in sorted(owners)]
        sizes = [len(one.members) for one in (*held.components.values(), *stacks)]
        counts = {
            "alone": len(held.standing) - len(stacks), "in_components": sum(sizes), "components": len(sizes),
            "largest_component": max(sizes, default=0), "sampled": len(sampled), "stances": len(used),
            "stacks": len(stacks),
        }  # fmt: skip
        return LargeScene(
            self.plan.name, self.plan.layout, self.plan.seed, floor.models, floor.fixtures,
            tuple(member for member, _ in ordered), tuple(owner for _, owner in ordered), self.config.ground, contacts,
            worst_checks(judged), tuple(held.replaced), tuple(held.merged),
            tuple(sorted(self._component_name(group.members) for group in stacks)), tuple(held.unsound), counts,
        )  # fmt: skip
