"""How every item of a chain ended, kept in the store beside the results, so that a report can find the evidence.

    outcomes.json   one row for each item: its records by content hash, and what stopped it

A stage's result is named by its code and its input, so later code could not find it; a content hash does not change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scenegen.errors import StoreError
from scenegen.pipeline.stage import Finished, Outcome, Quarantined, Rejected, Rejection, Stage
from scenegen.pipeline.store import Store, explained, write_atomic

OUTCOMES = "outcomes.json"
"""File in the store."""
FORMAT = 1
"""Version of its layout."""


@dataclass(frozen=True)
class ItemTrail:
    """Where one item's records are, and what became of it."""

    item: str
    request: str
    """Content hash of the record that the first stage took."""
    records: dict[str, str]
    """Content hash of what each stage made, in the order of the stages."""
    ended: str
    """"finished", "rejected" or "quarantined"."""
    stage: str = ""
    """Stage that rejected the item or broke at it."""
    rejection: str = ""
    """Content hash of the rejection."""
    error: str = ""
    """What the stage left that broke."""


def keep_outcomes(store: Store, stages: Sequence[Stage], outcomes: Mapping[str, Outcome]) -> None:
    """Write how every item ended.

    Raises:
        StoreError: The store cannot be written.
    """
    rows = [asdict(follow(store, stages, outcome)) for outcome in outcomes.values()]
    path, data = store.root / OUTCOMES, (json.dumps({"format": FORMAT, "items": rows}, indent=1) + "\n").encode()
    with explained(path, "write"):
        if not path.exists() or path.read_bytes() != data:
            write_atomic(path, data)


def read_outcomes(store: Store) -> tuple[ItemTrail, ...] | None:
    """Return how every item ended, or None where no such file was kept.

    Raises:
        StoreError: The file is damaged.
    """
    path = store.root / OUTCOMES
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise StoreError(f"{path} has layout {content['format']}, expected {FORMAT}; run the same command again")
        return tuple(ItemTrail(**row) for row in content["items"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); run the same command again, it resumes") from error


def follow(store: Store, stages: Sequence[Stage], outcome: Outcome) -> ItemTrail:
    """Return the records of one item, read off the results that the store keeps."""
    request = digest = store.put(outcome.item.record, stages[0].input_type)
    records: dict[str, str] = {}
    told: dict[str, Any] = {"ended": "finished"}
    for stage in stages:
        result = store.find(stage, digest)
        if result is None:
            break
        if result.rejected:
            told = {"ended": "rejected", "stage": stage.name, "rejection": result.digest}
            break
        records[stage.name] = digest = result.digest
    if isinstance(outcome, Quarantined):
        told = {"ended": "quarantined", "stage": outcome.stage, "error": outcome.stderr}
    assert isinstance(outcome, Finished | Rejected | Quarantined)
    return ItemTrail(outcome.item.id, request, records, **told)


def load_rejection(store: Store, trail: ItemTrail) -> Rejection:
    """Return why an item was rejected."""
    return store.load(trail.rejection, Rejection)
