"""How far one item has come, read off the store; and the ledger of its failed attempts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scenegen.pipeline.attempt import Attempt, AttemptKind
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.stage import Finished, Item, Outcome, Quarantined, Rejected, Rejection, Stage, StageTime
from scenegen.pipeline.store import Store, StoredResult

ATTEMPTS = 2
"""Failed attempts at one stage after which an item is quarantined [1]."""
REWINDS = 3
"""How often an item may be taken back because its files were damaged, before it is quarantined [1]."""

Replace = Callable[[Outcome], Item | None]
"""Gives the item that takes the place of one that did not finish, or None."""


@dataclass(eq=False)
class Chain:
    """One item on its way through the stages. The executors own it and change it."""

    item: Item
    place: tuple[int, int]
    """Position in the request, then how many items were drawn for this place before."""
    digest: str
    """Content hash of the record that the next stage takes."""
    index: int = 0
    """Number of the next stage."""
    failures: int = 0
    """Failed attempts at the next stage."""
    rewinds: int = 0
    times: list[StageTime] = field(default_factory=list)


class Ledger:
    """Opens, advances and closes the chains of a run; the same bookkeeping for every executor."""

    def __init__(self, stages: Sequence[Stage], store: Store, observer: Observer, replace: Replace | None):
        self.stages = tuple(stages)
        self.store = store
        self.observer = observer
        self._replace = replace
        self._outcomes: dict[tuple[int, int], Outcome] = {}

    def open(self, item: Item, place: tuple[int, int]) -> Chain:
        """Write an item's record to the store and take up what earlier runs have done."""
        chain = Chain(item, place, self.store.put(item.record, self.stages[0].input_type))
        self._take_up(chain)
        return chain

    def outcome(self, chain: Chain) -> Outcome | None:
        """Return how the item ended, or None while a stage is left to be run."""
        times = tuple(chain.times)
        if chain.index < 0:
            return Rejected(chain.item, self.store.load(chain.digest, Rejection), times)
        if chain.index == len(self.stages):
            load = functools.partial(self.store.load, chain.digest, self.stages[-1].output_type)
            return Finished(chain.item, chain.digest, times, load)
        return None

    def record(self, chain: Chain, attempt: Attempt) -> Outcome | None:
        """Enter an attempt; return how the item ended, if it did."""
        stage = self.stages[chain.index]
        if attempt.kind is AttemptKind.STORED:
            result = self.store.find(stage, chain.digest)
            if result is not None:
                self._pass(chain, result, stored=False)
                return self.outcome(chain)
            message = f"the result of stage {stage.name} is not in {self.store.root}: deleted, or the code was changed"
            attempt = Attempt(AttemptKind.FAILED, f"{message} while it ran")
        self.observer.noted(f"{chain.item.id}: {stage.name} {attempt.kind}: {_headline(attempt.message)}")
        if attempt.kind is AttemptKind.CORRUPT and chain.rewinds < REWINDS:
            chain.rewinds += 1
            self._rewind(chain)
            return self.outcome(chain)
        chain.failures += 1
        if chain.failures < ATTEMPTS and attempt.kind is AttemptKind.FAILED:
            return None
        return Quarantined(chain.item, stage.name, chain.digest, chain.failures, attempt.message, tuple(chain.times))

    def close(self, chain: Chain, outcome: Outcome) -> Chain | None:
        """Enter how an item ended; return the chain of the item that takes its place, if there is one."""
        self._outcomes[chain.place] = outcome
        self.observer.item_closed(outcome)
        if self._replace is None:
            return None
        item = self._replace(outcome)
        if item is None:
            return None
        self.observer.item_added(item.id)
        return self.open(item, (chain.place[0], chain.place[1] + 1))

    def outcomes(self) -> dict[str, Outcome]:
        """Return all outcomes in the order of the request, each followed by its replacements."""
        return {self._outcomes[place].item.id: self._outcomes[place] for place in sorted(self._outcomes)}

    def _take_up(self, chain: Chain) -> None:
        """Move a chain behind the last stored result that is intact."""
        inputs, results = [chain.digest], []
        for stage in self.stages:
            result = self.store.find(stage, inputs[-1])
            if result is None:
                break
            results.append(result)
            inputs.append(result.digest)
            if result.rejected:
                break
        while results and not self.store.intact(results[-1].digest):
            self.observer.noted(
                f"{chain.item.id}: the stored result of {self.stages[len(results) - 1].name} is damaged; computed again"
            )
            results.pop()
        for result in results:
            self._pass(chain, result, stored=True)

    def _rewind(self, chain: Chain) -> None:
        chain.index, chain.failures = 0, 0
        chain.times.clear()
        chain.digest = self.store.put(chain.item.record, self.stages[0].input_type)
        self._take_up(chain)

    def _pass(self, chain: Chain, result: StoredResult, *, stored: bool) -> None:
        time = self.store.time_of(self.stages[chain.index], chain.digest, stored=stored)
        chain.times.append(time)
        chain.digest, chain.failures = result.digest, 0
        chain.index = -1 if result.rejected else chain.index + 1
        if not result.rejected:
            self.observer.stage_passed(chain.item.id, time)


def _headline(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no message"
