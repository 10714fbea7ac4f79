"""Executor without Ray: a loop, one item after the other. For debugging, and the oracle of the determinism tests."""

from __future__ import annotations

from collections.abc import Sequence

from scenegen.pipeline.attempt import Attempter
from scenegen.pipeline.chain import Chain, Ledger, Replace
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.stage import Item, Outcome, Stage, check_chain, check_items
from scenegen.pipeline.store import Store


def run_serial(
    stages: Sequence[Stage],
    items: Sequence[Item],
    store: Store,
    *,
    observer: Observer,
    replace: Replace | None = None,
) -> dict[str, Outcome]:
    """Take every item through all stages and return how each ended.

    Results that the store has already are not computed again. Each call runs in a child process with a deadline
    and a memory limit; an item whose stage fails twice is quarantined, and the run goes on.

    Args:
        stages: The chain; the output type of each is the input type of the next.
        items: What to make, each with a name of its own.
        store: Where results are kept.
        observer: Is told what happens.
        replace: Asked after each item that was closed for another to take its place; its answer may depend
            on that item's outcome only, so that order and restarts do not matter.

    Returns:
        Outcome of each item by id, in the order of `items`, each followed by its replacements.

    Raises:
        StageError: The stages do not fit together, or two items have one name.
        StoreError: The store cannot be written, or another run holds it.
    """
    check_chain(tuple(stages))
    check_items(items)
    with store.locked():
        ledger = Ledger(stages, store, observer, replace)
        observer.chain_begun([stage.name for stage in stages], len(items))
        attempter = Attempter(store)
        try:
            for number, item in enumerate(items):
                chain: Chain | None = ledger.open(item, (number, 0))
                while chain is not None:
                    chain = _finish(chain, ledger, attempter)
        finally:
            attempter.close()
    return ledger.outcomes()


def _finish(chain: Chain, ledger: Ledger, attempter: Attempter) -> Chain | None:
    """Run the rest of one item's stages; return the chain that takes its place, if any."""
    outcome = ledger.outcome(chain)
    while outcome is None:
        attempt = attempter.attempt(ledger.stages[chain.index], chain.digest, fresh=chain.failures > 0)
        attempt.check()
        outcome = ledger.record(chain, attempt)
    return ledger.close(chain, outcome)
