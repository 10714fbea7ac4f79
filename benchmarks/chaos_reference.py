"""What an undisturbed serial run made, as what a disturbed one is held against: calls, objects, files."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from scenegen.config import STAGES, load_config
from scenegen.pipeline.in_flight import CallInFlight, process_name
from scenegen.pipeline.observer import SilentObserver
from scenegen.pipeline.outcomes import ItemTrail, read_outcomes
from scenegen.pipeline.run_serial import run_serial
from scenegen.pipeline.store import LEDGER, Store, stage_key
from scenegen.reports.summary import VOLATILE_FILES
from scenegen.run import MANIFEST, STORE, asset_stages, measure_all_floors


@dataclass(frozen=True)
class KnownCall:
    """One stage call of the run, which every run of the configuration makes."""

    item: str
    stage: str
    input: str
    """Content hash of the record that the stage takes."""
    output: str
    """Content hash of what it makes, a record or a rejection."""
    last: bool
    """True where the item ends with it."""


def read_calls(out: Path) -> dict[str, KnownCall]:
    """Return the stage calls of all objects of a finished run by the name of the process that makes them."""
    calls = {}
    for trail in read_trails(out):
        digest = trail.request
        for stage in STAGES:
            output = trail.records.get(stage) or (trail.rejection if stage == trail.stage else "")
            if not output:
                break
            last = stage == trail.stage or len(trail.records) == list(trail.records).index(stage) + 1
            calls[process_name(stage, digest)] = KnownCall(trail.item, stage, digest, output, last)
            digest = output
    return calls


def read_trails(out: Path) -> tuple[ItemTrail, ...]:
    """Return how every object of a run ended."""
    return read_outcomes(Store(out / STORE, create=False)) or ()


def known(calls: Mapping[str, KnownCall], call: CallInFlight) -> KnownCall | None:
    """Return which call of the run a process is making; None for those that are not of an object."""
    return calls.get(f"{call.stage}:{call.digest}")


def object_path(out: Path, digest: str) -> Path:
    """Return where a store keeps a record or an array."""
    return out / STORE / "objects" / digest[:2] / digest


def tree_hashes(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every delivered file; the store and the files that may vary are left out."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in VOLATILE_FILES and not path.relative_to(out).parts[0].startswith(".")
    }


@dataclass(frozen=True)
class Comparison:
    """How a disturbed run differs from the undisturbed one; all zero is the target."""

    lost: int
    """Objects that did not end as they should, and files that are not there [1]."""
    doubled: int
    """Files that should not be there, assets listed twice, and results computed twice without a fault to blame [1]."""
    changed: int
    """Files with other bytes, and stored objects that do not hold what their names say [1]."""
    files: int
    """Files compared [1]."""
    objects: int
    """Objects compared [1]."""
    recomputed: int
    """Results computed again because stored files were damaged, as they should be [1]."""
    twice: tuple[str, ...] = ()
    """What was computed twice without a fault to blame: item, stage and how often more."""
    stray: tuple[str, ...] = ()
    """Files that should not be there."""

    @property
    def clean(self) -> bool:
        """True when nothing is lost, doubled or changed, and something was compared."""
        return not (self.lost or self.doubled or self.changed) and self.files > 0 and self.objects > 0


def compare(reference: Path, out: Path, config: Path, overrides: Iterable[str], damaged: set[str]) -> Comparison:
    """Hold a disturbed run against the undisturbed one.

    Args:
        reference: Output folder of the undisturbed serial run.
        out: Output folder of the disturbed one.
        config: Configuration of both.
        overrides: What was set on the command line of both.
        damaged: Items whose stored files were damaged; their results may have been computed again.
    """
    wanted, found = tree_hashes(reference), tree_hashes(out)
    ends = {trail.item: (trail.ended, trail.records) for trail in read_trails(reference)}
    came = {trail.item: (trail.ended, trail.records) for trail in read_trails(out)}
    assets = Counter(row["asset_id"] for row in pq.read_table(out / MANIFEST).to_pylist())
    twice = computed_twice(out, config, list(overrides))
    rotten = sum(
        hashlib.sha256(path.read_bytes()).hexdigest() != path.name
        for path in (out / STORE / "objects").rglob("*")
        if path.is_file() and not path.name.startswith(".partial-")
    )
    return Comparison(
        lost=sum(came.get(item) != end for item, end in ends.items()) + len(wanted.keys() - found.keys()),
        doubled=len(found.keys() - wanted.keys())
        + len(came.keys() - ends.keys())
        + sum(count > 1 for count in assets.values())
        + sum(count for (item, _), count in twice.items() if item not in damaged),
        changed=sum(found[path] != digest for path, digest in wanted.items() if path in found) + rotten,
        files=len(wanted),
        objects=len(ends),
        recomputed=sum(count for (item, _), count in twice.items() if item in damaged),
        stray=tuple(sorted(found.keys() - wanted.keys())),
        twice=tuple(f"{item} {stage} {count}" for (item, stage), count in sorted(twice.items()) if item not in damaged),
    )


def computed_twice(out: Path, config: Path, overrides: list[str]) -> Counter[tuple[str, str]]:
    """Return by item and stage how many results were computed more than once, by the ledger of the store."""
    # A line that was cut off when the disk was full has no whole key.
    keys = Counter(re.findall(r'"key":"([0-9a-f]{64})"', (out / STORE / LEDGER).read_text()))
    run, store = load_config(config, overrides), Store(out / STORE)
    stages = asset_stages(run, measure_all_floors(run.drop, store, run_serial, SilentObserver()), out)
    owners = {}
    for trail in read_trails(out):
        digest = trail.request
        for stage in stages:
            owners[stage_key(stage, digest)] = (trail.item, stage.name)
            digest = trail.records.get(stage.name, "")
            if not digest:
                break
    twice: Counter[tuple[str, str]] = Counter()
    for key, count in keys.items():
        twice[owners.get(key, ("floors or scene", key[:6]))] += count - 1
    return +twice


def record_files(out: Path, digest: str) -> list[Path]:
    """Return the files that hold a record: itself, and its large arrays."""
    path = object_path(out, digest)
    rows = json.loads(path.read_bytes())["arrays"]
    return [path, *(object_path(out, row["sha256"]) for row in rows if "sha256" in row)]
