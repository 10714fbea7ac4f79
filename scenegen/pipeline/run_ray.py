"""Executor on Ray: a small streaming scheduler over actors. Same contract and same bytes as `run_serial`.

Stages that ask for the same resources share a pool of actors, so that a laptop holds one process for each worker and
not one for each worker and stage; a stage with resources of its own (a GPU) has actors of its own. The driver gives
work to whichever actor is free, the item that is furthest down the chain first, and keeps few items open at a time.
Native code runs in a child process of the actor, which takes crashes, hangs and memory; the driver's own deadline and
its replacement of dead actors are the outer net.

On a cluster, machines may come and go: what was lost is done again on those that are left, actors are asked for as new
ones join, and a pool that lost its last machine gets room from the others.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from physics.isolate import START_DEADLINE_S
from scenegen.arithmetic import arithmetic_digest
from scenegen.errors import ExecutorError
from scenegen.pipeline.attempt import Attempt, AttemptKind
from scenegen.pipeline.chain import Chain, Ledger, Replace
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.ray_pool import Actor, Pool, describe_lack, plan_pools, read_machines, resize_pools
from scenegen.pipeline.ray_session import MACHINE_WAIT_SECONDS, RaySession, ray_session
from scenegen.pipeline.ray_worker import Worker
from scenegen.pipeline.stage import Item, Outcome, Resources, Stage, check_chain, check_items
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest

OPEN_PER_WORKER = 2
"""Items under way for each worker: enough to keep it busy, few enough to finish what was begun [1]."""
GRACE_SECONDS = 2 * START_DEADLINE_S + 30.0
"""What an actor may take beyond a stage's deadline before it is killed: its child starts and imports first [s]."""
START_SECONDS = START_DEADLINE_S + 30.0
"""What an actor may take to start on a machine that has room for it: it imports first [s]."""
ROOM_SECONDS = 10.0
"""How long a pool without any actor waits for one before another pool, which has work, makes room [s]."""
SPARE_SECONDS = 5.0
"""How long before a pool that has no work makes room; and how long it then asks for nothing itself [s]."""
LOOK_SECONDS = 5.0
"""How often a cluster is asked for its machines [s]."""
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
    machine_wait_s: float = MACHINE_WAIT_SECONDS,
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
        machine_wait_s: Longest wait for a machine that a cluster lacks; 0 where it starts none [s].
        observer: Is told what happens.
        replace: Asked after each item that was closed for another to take its place; see `run_serial`.

    Raises:
        StageError: The stages do not fit together, or two items have one name.
        StoreError: The store cannot be written, or another run holds it.
        ExecutorError: The cluster cannot be reached, lacks what a stage asks for, does not see the store, runs other
            code, or rounds otherwise.
    """
    check_chain(tuple(stages))
    check_items(items)
    with (
        store.locked(),
        ray_session(address=address, workers=workers, machine_wait_s=machine_wait_s) as session,
    ):
        ledger = Ledger(stages, store, observer, replace)
        observer.chain_begun([stage.name for stage in stages], len(items))
        scheduler = _Scheduler(ledger, items, session)
        try:
            scheduler.run()
        finally:
            scheduler.close()
    return ledger.outcomes()


class _Scheduler:
    """One loop: admit items, hand out calls, wait, enter results, enforce deadlines."""

    def __init__(self, ledger: Ledger, items: Sequence[Item], session: RaySession):
        self.ledger = ledger
        self.session = session
        self.waiting = deque(enumerate(items))
        self.open: dict[tuple[int, int], Chain] = {}
        self.losses: dict[tuple[tuple[int, int], int], int] = {}
        demands: dict[Resources, list[str]] = {}
        for stage in ledger.stages:
            demands.setdefault(stage.resources, []).append(stage.name)
        self.pools = plan_pools(demands, session)
        self._looked = time.monotonic()
        if not session.local:
            self._say_what_lacks()

    def run(self) -> None:
        """Work until every item is closed."""
        while self._admit():
            self._look()
            self._make_room()
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
        calls = self.session.workers or max(pool.limit for pool in self.pools.values())
        while self.waiting and len(self.open) < OPEN_PER_WORKER * calls:
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
        attempt.check()
        self._advance(chain, self.ledger.record(chain, attempt))

    def _pool_of(self, chain: Chain) -> Pool:
        return self.pools[self.ledger.stages[chain.index].resources]

    # ---- actors -----------------------------------------------------------------------------------------------

    def _say_what_lacks(self) -> None:
        machines = read_machines()
        for pool in self.pools.values():
            if machines.hold(pool.resources) == 0:
                wait = self.session.machine_wait_s
                self.ledger.observer.noted(f"waiting up to {wait:g} s for a machine: {describe_lack(pool, machines)}")

    def _look(self) -> None:
        """Follow the machines of a cluster."""
        now = time.monotonic()
        if not self.session.local and now > self._looked + LOOK_SECONDS:
            self._looked = now
            resize_pools(self.pools.values(), read_machines(), self.session)

    def _starving(self, patience_s: float = SPARE_SECONDS) -> Pool | None:
        """Return a pool that got no actor although it asked a while ago, and there are machines for it."""
        latest = time.monotonic() - patience_s
        waits = ((pool.starving_since(), pool) for pool in self.pools.values() if pool.fits)
        return next((pool for since, pool in waits if since is not None and since < latest), None)

    def _make_room(self) -> None:
        """End an idle actor where another pool cannot get its first: machines were lost, or others took them all."""
        starving = None if self.session.local else self._starving()
        if starving is None:
            return
        others = [pool for pool in self.pools.values() if pool is not starving and pool.started]
        for pool in others:
            for actor in [actor for actor in pool.actors if not actor.started]:
                self._drop(pool, actor)  # it would take the room that is being made
        patient = self._starving(ROOM_SECONDS) is None
        givers = [pool for pool in others if pool.idle is not None and not (pool.queue and patient)]
        if givers:
            giver = max(givers, key=lambda pool: pool.started)
            assert giver.idle is not None  # by the line above
            self._drop(giver, giver.idle)
            giver.resting = time.monotonic() + SPARE_SECONDS

    def _grow(self) -> None:
        """Start actors where items wait; the first one of every pool at once, so that none keeps another out."""
        if not any(pool.queue for pool in self.pools.values()):
            return
        starving, now = self._starving(), time.monotonic()
        for pool in self.pools.values():
            if now < pool.resting:
                continue
            if not pool.actors:
                pool.actors.append(self._start(pool))
            elif starving is None:
                wanted = min(pool.short, pool.limit - len(pool.actors))
                # Here one at a time, as each start takes a core; on a cluster all at once.
                for _ in range(min(wanted, 1) if self.session.local else wanted):
                    pool.actors.append(self._start(pool))

    def _start(self, pool: Pool) -> Actor:
        import ray

        store, now = self.ledger.store, time.monotonic()
        actor_class: Any = ray.remote(Worker)
        handle = actor_class.options(max_restarts=0, max_task_retries=0, **pool.options).remote(
            str(store.root), store.name, code_digest(), arithmetic_digest(), pickle.dumps(self.ledger.stages),
            list(sys.path),
        )  # fmt: skip
        return Actor(handle, handle.ready.remote(), now, now + max(START_SECONDS, self.session.machine_wait_s))

    def _drop(self, pool: Pool, actor: Actor) -> None:
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

    def _fits(self, pool: Pool) -> bool:
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

    def _finish(self, pool: Pool, actor: Actor) -> None:
        import ray
        from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError, WorkerCrashedError

        try:
            answer: Any = ray.get(actor.ref)
        except (RayActorError, NodeDiedError, WorkerCrashedError, OutOfMemoryError, ObjectLostError) as error:
            if getattr(error, "actor_init_failed", False):
                raise ExecutorError(f"a worker cannot start: {error}") from error
            self._lose(pool, actor, str(error))
            return
        chain, actor.ref, actor.chain = actor.chain, None, None
        if chain is not None:
            self._enter(chain, answer)
            return
        if answer:
            raise ExecutorError(answer)
        actor.started, pool.losses = True, 0

    def _lose(self, pool: Pool, actor: Actor, message: str) -> None:
        """Replace a dead actor. Native code dies in the actor's child, so that the item is rarely to blame."""
        self._drop(pool, actor)
        if actor.chain is None:
            if actor.begun < pool.last_loss:
                return  # lost together with one that was counted, as where a machine dies
            pool.losses, pool.last_loss = pool.losses + 1, time.monotonic()
            if pool.losses >= LOSSES:
                raise ExecutorError(f"workers died {pool.losses} times in a row before they could start: {message}")
            return
        chain = actor.chain
        if self.ledger.store.find(self.ledger.stages[chain.index], chain.digest) is not None:
            self._enter(chain, Attempt(AttemptKind.STORED))  # it died after its work was done
            return
        where = (chain.place, chain.index)
        self.losses[where] = losses = self.losses.get(where, 0) + 1
        self.ledger.observer.noted(f"{chain.item.id}: lost its worker: {_headline(message)}")
        if losses < LOSSES:
            pool.queue.append(chain)
        else:
            self._enter(chain, Attempt(AttemptKind.FAILED, f"{losses} workers died under it; the last: {message}"))

    def _give_up(self, pool: Pool, actor: Actor) -> None:
        """Kill an actor that its own deadline did not stop, or that no machine could take."""
        self._drop(pool, actor)
        if actor.chain is not None:
            self._enter(actor.chain, Attempt(AttemptKind.FAILED, "the worker did not answer by its deadline; killed"))
            return
        if not pool.started:
            raise ExecutorError(describe_lack(pool, read_machines(), actor.due - actor.begun))
        # Others are at work; a machine that went away and did not come back holds up none of them.
        pool.resting = time.monotonic() + max(START_SECONDS, self.session.machine_wait_s)


def _urgency(chain: Chain) -> tuple[int, tuple[int, int]]:
    return (-chain.index, chain.place)


def _headline(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "no message")
