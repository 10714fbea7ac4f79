"""Executor on Ray: a small streaming scheduler over actors. Same contract and same bytes as `run_serial`.

Stages that ask for the same resources share a pool of actors, so that a laptop holds one process for each worker and
not one for each worker and stage; a stage with resources of its own (a GPU) has actors of its own. The driver gives
work to whichever actor is free, the item that is furthest down the chain first, and keeps few items open at a time.
Native code runs in a child process of the actor, which takes crashes, hangs and memory; the driver's own deadline and
its replacement of dead actors are the outer net.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from physics.isolate import START_DEADLINE_S
from scenegen.errors import ExecutorError, StoreError
from scenegen.pipeline.attempt import Attempt, Attempter, AttemptKind
from scenegen.pipeline.chain import Chain, Ledger, Replace
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.ray_session import RaySession, ray_session
from scenegen.pipeline.stage import Item, Outcome, Resources, Stage, check_chain, check_items
from scenegen.pipeline.store import Store

OPEN_PER_WORKER = 2
"""Items under way for each worker: enough to keep it busy, few enough to finish what was begun [1]."""
GRACE_SECONDS = 2 * START_DEADLINE_S + 30.0
"""What an actor may take beyond a stage's deadline before it is killed: its child starts and imports first [s]."""
PLACE_SECONDS = 300.0
"""Longest wait for the first actor of a pool; a cluster may have to start a machine [s]."""
LOSSES = 3
"""Actors that may die in a row, or under one item, before this is held to be no accident [1]."""
POLL_SECONDS = 1.0
"""Longest wait before deadlines are looked at again [s]."""


def run_ray(
    stages: Sequence[Stage],
    items: Sequence[Item],
    store: Store,
    *,
    address: str | None = None,
    workers: int | None = None,
    observer: Observer,
    replace: Replace | None = None,
) -> dict[str, Outcome]:
    """Take every item through all stages on Ray and return how each ended; see `run_serial`.

    Args:
        stages: The chain; the output type of each is the input type of the next.
        items: What to make, each with a name of its own.
        store: Where results are kept; on a cluster a folder that all machines share.
        address: Of a cluster; None starts a local Ray. Ignored where this process holds a Ray already.
        workers: Stage calls at a time.
        observer: Is told what happens.
        replace: Asked after each item that was closed for another to take its place; see `run_serial`.

    Raises:
        StageError: The stages do not fit together, or two items have one name.
        StoreError: The store cannot be written, or another run holds it.
        ExecutorError: The cluster cannot be reached, cannot place a stage, or does not see the store.
    """
    check_chain(tuple(stages))
    check_items(items)
    with store.locked(), ray_session(address=address, workers=workers) as session:
        ledger = Ledger(stages, store, observer, replace)
        observer.chain_begun([stage.name for stage in stages], len(items))
        scheduler = _Scheduler(ledger, items, session)
        try:
            scheduler.run()
        finally:
            scheduler.close()
    return ledger.outcomes()


class Worker:
    """An actor: makes attempts, one at a time, in a child process of its own."""

    def __init__(self, root: str, store_name: str, stages: bytes, paths: list[str]):
        sys.path.extend(path for path in paths if path not in sys.path)
        self._stages: tuple[Stage, ...] = pickle.loads(stages)  # after the paths: it imports the stages' types
        self._trouble = ""
        try:
            store = Store(root, create=False)
            self._attempter = Attempter(store)
            if store.name != store_name:
                self._trouble = f"{root} holds another store there"
        except StoreError as error:
            self._trouble = str(error)

    def ready(self) -> str:
        """Return what keeps this actor from working, or nothing."""
        return self._trouble

    def attempt(self, index: int, input_digest: str, fresh: bool) -> Attempt:
        """Run one stage call."""
        return self._attempter.attempt(self._stages[index], input_digest, fresh=fresh)


@dataclass(eq=False)
class _Actor:
    """The driver's view of one actor."""

    handle: Any
    ref: Any
    """What it is doing: starting, or a stage call; None while idle."""
    due: float
    """When it is given up [s, monotonic]."""
    chain: Chain | None = None
    started: bool = False


@dataclass(eq=False)
class _Pool:
    """Actors with the same resources, and the items that wait for one of them."""

    resources: Resources
    limit: int
    """Most actors [1]."""
    options: dict[str, Any]
    """Options of the actor in Ray's terms."""
    actors: list[_Actor] = field(default_factory=list)
    queue: list[Chain] = field(default_factory=list)
    losses: int = 0
    """Actors lost in a row before they were ready."""

    @property
    def idle(self) -> _Actor | None:
        return next((actor for actor in self.actors if actor.started and actor.ref is None), None)

    @property
    def starting(self) -> bool:
        return any(not actor.started for actor in self.actors)


class _Scheduler:
    """One loop: admit items, hand out calls, wait, enter results, enforce deadlines."""

    def __init__(self, ledger: Ledger, items: Sequence[Item], session: RaySession):
        self.ledger = ledger
        self.session = session
        self.waiting = deque(enumerate(items))
        self.open: dict[tuple[int, int], Chain] = {}
        self.losses: dict[tuple[int, int], int] = {}
        demands = list(dict.fromkeys(stage.resources for stage in ledger.stages))
        self.pools = {demand: _plan_pool(demand, len(demands), session) for demand in demands}
        self.bound = OPEN_PER_WORKER * (session.workers or max(pool.limit for pool in self.pools.values()))

    def run(self) -> None:
        """Work until every item is closed."""
        while self._admit():
            self._grow()
            self._hand_out()
            self._collect()

    def close(self) -> None:
        """End the actors of this run."""
        for pool in self.pools.values():
            for actor in list(pool.actors):
                self._drop(pool, actor)

    # ---- items ------------------------------------------------------------------------------------------------

    def _admit(self) -> bool:
        """Open items up to the bound; return whether any is left."""
        while self.waiting and len(self.open) < self.bound:
            number, item = self.waiting.popleft()
            self._advance(self.ledger.open(item, (number, 0)))
        return bool(self.open)

    def _advance(self, chain: Chain, outcome: Outcome | None = None) -> None:
        """Close an item that ended, and its replacement if that has ended too; queue what has work left."""
        current: Chain | None = chain
        while current is not None:
            outcome = outcome or self.ledger.outcome(current)
            if outcome is None:
                self.open[current.place] = current
                self._pool_of(current).queue.append(current)
                return
            self.open.pop(current.place, None)
            current, outcome = self.ledger.close(current, outcome), None

    def _enter(self, chain: Chain, attempt: Attempt) -> None:
        if attempt.kind is AttemptKind.STORE_BROKEN:
            raise StoreError(attempt.message)
        self._advance(chain, self.ledger.record(chain, attempt))

    def _pool_of(self, chain: Chain) -> _Pool:
        return self.pools[self.ledger.stages[chain.index].resources]

    # ---- actors -----------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Start actors where items wait; the first one of every pool at once, so that none keeps another out."""
        if not any(pool.queue for pool in self.pools.values()):
            return
        for pool in self.pools.values():
            short = len(pool.queue) > sum(actor.ref is None or not actor.started for actor in pool.actors)
            if not pool.actors or (
                short and len(pool.actors) < pool.limit and (self.session.local or not pool.starting)
            ):
                pool.actors.append(self._start(pool))

    def _start(self, pool: _Pool) -> _Actor:
        import ray

        store = self.ledger.store
        actor_class: Any = ray.remote(Worker)
        handle = actor_class.options(max_restarts=0, max_task_retries=0, **pool.options).remote(
            str(store.root), store.name, pickle.dumps(self.ledger.stages), list(sys.path)
        )
        return _Actor(handle, handle.ready.remote(), time.monotonic() + PLACE_SECONDS)

    def _drop(self, pool: _Pool, actor: _Actor) -> None:
        import ray
        from ray.exceptions import RayError

        pool.actors.remove(actor)
        with contextlib.suppress(RayError):  # gone already
            ray.kill(actor.handle, no_restart=True)

    def _hand_out(self) -> None:
        """Give idle actors the items that are furthest down the chain, the oldest first."""
        while True:
            ready = [
                (chain, pool, actor)
                for pool in self.pools.values()
                if (actor := pool.idle) is not None and self._fits(pool)
                for chain in pool.queue
            ]
            if not ready:
                return
            chain, pool, actor = min(ready, key=lambda one: _urgency(one[0]))
            pool.queue.remove(chain)
            stage = self.ledger.stages[chain.index]
            actor.chain = chain
            actor.due = time.monotonic() + stage.deadline_s + GRACE_SECONDS
            actor.ref = actor.handle.attempt.remote(chain.index, chain.digest, chain.failures > 0)

    def _fits(self, pool: _Pool) -> bool:
        """Return whether one more call keeps within the workers of this machine."""
        if self.session.workers is None:
            return True
        busy = [p.resources.cpus for p in self.pools.values() for actor in p.actors if actor.chain is not None]
        return not busy or sum(busy) + pool.resources.cpus <= self.session.workers

    # ---- results ----------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Wait for something to happen, then enter it."""
        import ray

        actors = [(pool, actor) for pool in self.pools.values() for actor in pool.actors if actor.ref is not None]
        if not actors:
            return
        done, _ = ray.wait([actor.ref for _, actor in actors], num_returns=1, timeout=POLL_SECONDS)
        if done:  # several may be ready at once
            done, _ = ray.wait([actor.ref for _, actor in actors], num_returns=len(actors), timeout=0)
        now = time.monotonic()
        for pool, actor in actors:
            if actor.ref in done:
                self._finish(pool, actor)
            elif now > actor.due:
                self._give_up(pool, actor)

    def _finish(self, pool: _Pool, actor: _Actor) -> None:
        import ray
        from ray.exceptions import RayActorError

        try:
            answer: Any = ray.get(actor.ref)
        except RayActorError as error:
            self._lose(pool, actor, str(error))
            return
        chain, actor.ref, actor.chain = actor.chain, None, None
        if chain is not None:
            self._enter(chain, answer)
            return
        if answer:
            raise ExecutorError(
                f"a worker cannot see the store: {answer}. On a cluster --out must be a folder that all machines share"
            )
        actor.started, pool.losses = True, 0

    def _lose(self, pool: _Pool, actor: _Actor, message: str) -> None:
        """Replace a dead actor. Native code dies in the actor's child, so that the item is rarely to blame."""
        self._drop(pool, actor)
        if actor.chain is None:
            pool.losses += 1
            if pool.losses >= LOSSES:
                raise ExecutorError(f"{pool.losses} workers died in a row before they could start: {message}")
            return
        chain = actor.chain
        self.losses[chain.place] = losses = self.losses.get(chain.place, 0) + 1
        self.ledger.observer.noted(f"{chain.item.id}: lost its worker: {message.splitlines()[0] if message else ''}")
        if losses < LOSSES:
            pool.queue.append(chain)
        else:
            self._enter(chain, Attempt(AttemptKind.FAILED, f"{losses} workers died under it; the last: {message}"))

    def _give_up(self, pool: _Pool, actor: _Actor) -> None:
        """Kill an actor that its own deadline did not stop."""
        import ray

        if actor.chain is None:
            raise ExecutorError(
                f"no worker with {_describe(pool.resources)} could be placed within {PLACE_SECONDS:g} s; "
                f"the cluster has {_describe_all(ray.cluster_resources())}. Lower executor.stages.<name>.cpus or "
                "gpus, or add machines"
            )
        self._drop(pool, actor)
        self._enter(actor.chain, Attempt(AttemptKind.FAILED, "the worker did not answer by its deadline; killed"))


def _urgency(chain: Chain) -> tuple[int, tuple[int, int]]:
    return (-chain.index, chain.place)


def _plan_pool(resources: Resources, pool_count: int, session: RaySession) -> _Pool:
    """Return a pool that the machine, or the cluster, can hold.

    Raises:
        ExecutorError: A local Ray lacks what the resources ask for.
    """
    import ray

    available = ray.cluster_resources()
    demand = {"CPU": resources.cpus, "GPU": resources.gpus, **dict(resources.custom)}
    fits = [math.floor(available.get(name, 0.0) / amount) for name, amount in demand.items() if amount > 0]
    if session.local:
        # The scheduler itself counts cores: an actor holds a share, so that the pools of all stages fit side by side.
        demand["CPU"] = min(1.0, math.floor(1e4 / pool_count) / 1e4) if resources.cpus else 0.0
        others = [n for n in demand if n != "CPU" and demand[n] > available.get(n, 0.0)]
        if others:
            raise ExecutorError(
                f"a stage asks for {_describe(resources)}, this machine has {_describe_all(available)}. "
                "Lower executor.stages.<name>, or join a cluster with --address"
            )
        fits = [math.floor(available[n] / a) for n, a in demand.items() if n != "CPU" and a > 0]
        limit = min([session.workers or 1, *fits])
    else:
        limit = min([session.workers, *fits]) if session.workers else min(fits, default=1)
    options = {"num_cpus": demand.pop("CPU"), "num_gpus": demand.pop("GPU"), "resources": demand}
    return _Pool(resources, max(1, limit), options)


def _describe(resources: Resources) -> str:
    return _describe_all({"CPU": resources.cpus, "GPU": resources.gpus, **dict(resources.custom)})


def _describe_all(amounts: Mapping[str, float]) -> str:
    shown = {name: amount for name, amount in sorted(amounts.items()) if ":" not in name and "memory" not in name}
    return ", ".join(f"{amount:g} {name}" for name, amount in shown.items())
