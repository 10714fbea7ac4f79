"""Pools of actors: how many of each kind the machines of a Ray can hold, now and as machines come and go."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scenegen.errors import ExecutorError
from scenegen.pipeline.chain import Chain
from scenegen.pipeline.ray_session import RaySession
from scenegen.pipeline.stage import Resources


@dataclass(eq=False)
class Actor:
    """The driver's view of one actor."""

    handle: Any
    ref: Any
    """What it is doing: starting, or a stage call; None while idle."""
    begun: float
    """When it was asked for [s, monotonic]."""
    due: float
    """When it is given up [s, monotonic]."""
    chain: Chain | None = None
    started: bool = False


@dataclass(eq=False)
class Pool:
    """Actors with the same resources, and the items that wait for one of them."""

    resources: Resources
    stages: tuple[str, ...]
    """Names of the stages that run here."""
    options: dict[str, Any]
    """Options of the actor in Ray's terms."""
    limit: int = 1
    """Most actors [1]."""
    fits: int = 1
    """Actors that the machines could hold if nothing else ran there [1]."""
    actors: list[Actor] = field(default_factory=list)
    queue: list[Chain] = field(default_factory=list)
    losses: int = 0
    """Times in a row that actors were lost before they were ready; several lost at once count once [1]."""
    last_loss: float = -math.inf
    """When that was last counted [s, monotonic]."""
    resting: float = -math.inf
    """Until when no more actors are asked for, as the last could not be placed [s, monotonic]."""

    @property
    def idle(self) -> Actor | None:
        """An actor that waits for work."""
        return next((actor for actor in self.actors if actor.started and actor.ref is None), None)

    @property
    def started(self) -> int:
        """Actors that are up [1]."""
        return sum(actor.started for actor in self.actors)

    @property
    def short(self) -> int:
        """Items that wait and that no actor, idle or coming, is there for [1]."""
        return len(self.queue) - sum(actor.ref is None or not actor.started for actor in self.actors)

    def starving_since(self) -> float | None:
        """Return since when items wait here while no actor is up, or None [s, monotonic]."""
        if not self.queue or self.started or not self.actors:
            return None
        return min(actor.begun for actor in self.actors)


@dataclass(frozen=True)
class Machines:
    """What the machines of a Ray have, alive ones only."""

    each: tuple[Mapping[str, float], ...]

    def hold(self, resources: Resources) -> int | None:
        """Return how many actors with these resources fit, each on one machine; None where they ask for nothing."""
        demand = {name: amount for name, amount in demand_of(resources).items() if amount > 0}
        if not demand:
            return None
        # A rounding margin: ten actors of 0.1 fit into 1.0.
        return sum(
            min(math.floor(machine.get(name, 0.0) / amount + 1e-9) for name, amount in demand.items())
            for machine in self.each
        )

    def describe(self) -> str:
        """Return the sum over all machines for a message."""
        total: dict[str, float] = {"CPU": 0.0, "GPU": 0.0}
        for machine in self.each:
            for name, amount in machine.items():
                total[name] = total.get(name, 0.0) + amount
        return f"{describe_amounts(total)} on {len(self.each)} machines"


def read_machines() -> Machines:
    """Ask Ray for its machines."""
    import ray

    return Machines(tuple(node["Resources"] for node in ray.nodes() if node["Alive"]))


def plan_pools(demands: Mapping[Resources, Sequence[str]], session: RaySession) -> dict[Resources, Pool]:
    """Return one pool for each demand, and how many actors it may have now.

    Args:
        demands: Names of the stages that ask for these resources.
        session: The Ray to run on.

    Raises:
        ExecutorError: A local Ray, or a cluster that starts no machines, lacks what a stage asks for.
    """
    machines = read_machines()
    pools = {}
    for resources, stages in demands.items():
        demand = demand_of(resources)
        if session.local:
            # The scheduler itself counts cores: an actor holds a share, so that the pools of all stages fit side by
            # side.
            demand["CPU"] = min(1.0, math.floor(1e4 / len(demands)) / 1e4) if resources.cpus else 0.0
        custom = {name: amount for name, amount in demand.items() if name not in ("CPU", "GPU")}
        pools[resources] = pool = Pool(
            resources,
            tuple(stages),
            {"num_cpus": demand["CPU"], "num_gpus": demand["GPU"], "resources": custom},
        )
        if session.local:
            pool.limit = _local_limit(pool, machines, session.workers or 1)
        elif machines.hold(resources) == 0 and not session.machine_wait_s:
            raise ExecutorError(describe_lack(pool, machines))
    if not session.local:
        resize_pools(pools.values(), machines, session)
    return pools


def resize_pools(pools: Iterable[Pool], machines: Machines, session: RaySession) -> None:
    """Set how many actors each pool may have on the machines that a cluster has now.

    One more than fits is asked for where the cluster may start machines: that is how Ray learns that it should.
    """
    spare = 1 if session.machine_wait_s else 0
    for pool in pools:
        fits = machines.hold(pool.resources)
        pool.fits = len(machines.each) if fits is None else fits
        if session.workers:
            pool.limit = max(1, session.workers if spare else min(session.workers, pool.fits))
        else:
            pool.limit = max(1, pool.fits + spare)


def _local_limit(pool: Pool, machines: Machines, workers: int) -> int:
    available = machines.each[0] if machines.each else {}
    needed = {n: a for n, a in demand_of(pool.resources).items() if n != "CPU" and a > 0}
    if any(amount > available.get(name, 0.0) for name, amount in needed.items()):
        raise ExecutorError(
            f"stage {', '.join(pool.stages)} asks for {describe_resources(pool.resources)}, this machine has "
            f"{describe_amounts(available)}. Lower executor.stages.<name>, or join a cluster with --address"
        )
    return max(1, min([workers, *(math.floor(available[name] / amount) for name, amount in needed.items())]))


def demand_of(resources: Resources) -> dict[str, float]:
    """Return resources under the names that Ray gives them."""
    return {"CPU": resources.cpus, "GPU": resources.gpus, **dict(resources.custom)}


def describe_lack(pool: Pool, machines: Machines, waited_s: float = 0.0) -> str:
    """Return the message that no machine of a cluster can hold an actor of a pool, with what to do."""
    waited = f" within {waited_s:g} s" if waited_s else ""
    return (
        f"no machine of the cluster could take stage {', '.join(pool.stages)}{waited}: it asks for "
        f"{describe_resources(pool.resources)} on one machine; the cluster has {machines.describe()}. Add such a "
        f"machine, or lower executor.stages.{pool.stages[0]}; where the cluster starts machines by itself, raise "
        "executor.machine_wait_s. What is done is kept: the same command resumes"
    )


def describe_resources(resources: Resources) -> str:
    """Return resources for a message."""
    return describe_amounts(demand_of(resources))


def describe_amounts(amounts: Mapping[str, float]) -> str:
    """Return amounts of Ray for a message, without what Ray keeps for itself."""
    shown = {name: amount for name, amount in sorted(amounts.items()) if ":" not in name and "memory" not in name}
    return ", ".join(f"{amount:g} {name}" for name, amount in shown.items())
