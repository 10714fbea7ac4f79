"""What a run made, in numbers: summary.json and the closing table."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from physics.check import Verdict
from scenegen.config import ExecutorConfig, RunConfig
from scenegen.pipeline.stage import Finished, Outcome, Quarantined, Rejected
from scenegen.pipeline.store import LEDGER, explained, write_atomic
from scenegen.provenance import config_digest, git_commit, library_versions

SUMMARY = "summary.json"
"""File in the output folder."""
RESOLVED_CONFIG = "config.yaml"
"""File in the output folder."""
VERIFIED = "verified"
"""State of a scene that passed its checks."""
VOLATILE_FIELDS = ("seconds", "objects_per_minute", "stages", "quarantined")
"""Top-level fields of summary.json that may differ between two runs of one configuration. All others are equal."""
VOLATILE_FILES = (SUMMARY, LEDGER)
"""Files of an output folder that hold such fields, or the order of events."""


@dataclass(frozen=True)
class StageSummary:
    """Times of one stage over all items that it saw."""

    stage: str
    calls: int
    stored: int
    """Calls that an earlier run had made."""
    seconds: float
    """Wall time in all [s]."""
    cpu_seconds: float
    """Processor time in all [s]."""
    median_seconds: float
    """Median wall time of a call [s]."""


@dataclass(frozen=True)
class RunSummary:
    """The numbers of one run."""

    name: str
    config_digest: str
    requested: int
    """Objects asked for [1]."""
    generated: int
    """Objects drawn, replacements included [1]."""
    certified: int
    """Objects with a verdict of PASS or WARN [1]."""
    duplicates: int
    """Objects that came out the same as an earlier one; they do not count as certified [1]."""
    verdicts: dict[str, int]
    """Certified objects by verdict [1]."""
    families: dict[str, int]
    """Certified objects by family [1]."""
    rejected: dict[str, int]
    """Rejected draws by "stage: reason" [1]."""
    quarantined: tuple[dict[str, Any], ...]
    """Items at which a stage failed twice: item, stage, input key, error."""
    scenes: dict[str, str]
    """How each scene ended."""
    placed: int
    """Objects placed in scenes [1]."""
    versions: dict[str, str] = field(default_factory=library_versions)
    commit: str | None = field(default_factory=git_commit)
    seconds: float = math.nan
    """Wall time of this run [s]."""
    objects_per_minute: float = math.nan
    """Certified objects by wall time, or 0 where all were there already [1/min]."""
    stages: tuple[StageSummary, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is there and certified."""
        return self.certified >= self.requested and all(state == VERIFIED for state in self.scenes.values())


def summarize(
    config: RunConfig,
    outcomes: Mapping[str, Outcome],
    scenes: Mapping[str, Outcome],
    *,
    verdicts: Mapping[str, str],
    placed: int,
    seconds: float,
) -> RunSummary:
    """Return the numbers of a run.

    Args:
        config: What was asked for.
        outcomes: How every drawn item ended; the record of each item names its `family`.
        scenes: How every scene ended, by name.
        verdicts: Verdict of each finished item by id; an item that made the same asset as an earlier one has none.
        placed: Objects placed in the scenes [1].
        seconds: Wall time of the run [s].
    """
    certified = {item_id for item_id, verdict in verdicts.items() if verdict in (Verdict.PASS, Verdict.WARN)}
    rejected, quarantined = count_outcomes(outcomes)
    fresh = sum(item_id in certified and not _all_stored(outcome) for item_id, outcome in outcomes.items())
    return RunSummary(
        name=config.name,
        config_digest=config_digest(dataclasses.replace(config, executor=ExecutorConfig())),
        requested=sum(batch.count for batch in config.objects),
        generated=len(outcomes),
        certified=len(certified),
        duplicates=sum(isinstance(one, Finished) and item_id not in verdicts for item_id, one in outcomes.items()),
        verdicts=dict(sorted(Counter(map(str, verdicts.values())).items())),
        families=dict(sorted(Counter(outcomes[item_id].item.record.family for item_id in certified).items())),
        rejected=rejected,
        quarantined=quarantined,
        scenes={name: _state(outcome) for name, outcome in scenes.items()},
        placed=placed,
        seconds=seconds,
        objects_per_minute=60.0 * fresh / seconds,
        stages=sum_stages(outcomes) + sum_stages(scenes),
    )


def count_outcomes(outcomes: Mapping[str, Outcome]) -> tuple[dict[str, int], tuple[dict[str, Any], ...]]:
    """Return rejections by "stage: reason", most frequent first, and the quarantined items."""
    reasons = Counter(
        f"{outcome.rejection.stage}: {outcome.rejection.reason}"
        for outcome in outcomes.values()
        if isinstance(outcome, Rejected)
    )
    quarantined = tuple(
        {
            "item": outcome.item.id,
            "stage": outcome.stage,
            "input_key": outcome.input_key,
            "attempts": outcome.attempts,
            "error": outcome.stderr,
        }
        for outcome in outcomes.values()
        if isinstance(outcome, Quarantined)
    )
    return dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))), quarantined


def sum_stages(outcomes: Mapping[str, Outcome]) -> tuple[StageSummary, ...]:
    """Return the times of each stage, in the order in which items meet them."""
    times: dict[str, list[Any]] = {}
    for outcome in outcomes.values():
        for time in outcome.timings:
            times.setdefault(time.stage, []).append(time)
    longest = max((o.timings for o in outcomes.values()), key=len, default=())
    order = [time.stage for time in longest]
    rows = []
    for stage in sorted(times, key=lambda name: order.index(name) if name in order else len(order)):
        known = sorted(time.seconds for time in times[stage] if not math.isnan(time.seconds))
        rows.append(
            StageSummary(
                stage=stage,
                calls=len(times[stage]),
                stored=sum(time.stored for time in times[stage]),
                seconds=sum(known),
                cpu_seconds=sum(time.cpu_seconds for time in times[stage] if not math.isnan(time.cpu_seconds)),
                median_seconds=known[len(known) // 2] if known else math.nan,
            )
        )
    return tuple(rows)


def write_summary(summary: RunSummary, out: Path) -> Path:
    """Write summary.json whole, and return its path."""
    path = out / SUMMARY
    with explained(path, "write"):
        write_atomic(path, (json.dumps(_plain(summary), indent=2, allow_nan=False) + "\n").encode())
    return path


def stable_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a summary that are equal for equal configurations."""
    return {name: value for name, value in content.items() if name not in VOLATILE_FIELDS}


def save_config(config: RunConfig, out: Path) -> Path:
    """Write the resolved configuration, every default spelt out, into the output folder; `run` reads it as it is.

    Raises:
        StoreError: The folder cannot be made or written.
    """
    path = out / RESOLVED_CONFIG
    content = dataclasses.asdict(config, dict_factory=lambda pairs: {k: v for k, v in pairs if v is not None})
    content.pop("executor")  # has no influence on the results
    text = yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False, allow_unicode=True)
    with explained(path, "write"):
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(path, f"# resolved configuration of this run\n{text}".encode())
    return path


def print_summary(summary: RunSummary, console: Console, *, written: Sequence[Path] = ()) -> None:
    """Print the closing tables, and name what was written."""
    funnel = Table(title=f"run {summary.name}", show_header=False, title_justify="left")
    funnel.add_row("requested", str(summary.requested))
    funnel.add_row("generated", str(summary.generated))
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in summary.verdicts.items())
    funnel.add_row("certified", f"{summary.certified}" + (f" ({verdicts})" if verdicts else ""))
    if summary.duplicates:
        funnel.add_row("duplicates", f"{summary.duplicates} (all parameters given: the same object again)")
    funnel.add_row("families", str(len(summary.families)))
    for reason, count in summary.rejected.items():
        funnel.add_row("rejected", f"{count} x {reason}")
    for one in summary.quarantined:
        funnel.add_row("quarantined", f"{one['item']} at {one['stage']}: {_first_line(one['error'])}")
    for scene, state in summary.scenes.items():
        funnel.add_row("scene", f"{scene}: {state}")
    funnel.add_row("placed", str(summary.placed))
    funnel.add_row("time", f"{summary.seconds:.0f} s, {summary.objects_per_minute:.1f} certified objects a minute")
    funnel.add_row("config", summary.config_digest[:16])
    console.print(funnel)
    stages = Table(title="stages", title_justify="left")
    for heading in ("stage", "calls", "from store", "wall s", "cpu s", "median s"):
        stages.add_column(heading, justify="left" if heading == "stage" else "right")
    for row in summary.stages:
        stages.add_row(
            row.stage, str(row.calls), str(row.stored), f"{row.seconds:.1f}", f"{row.cpu_seconds:.1f}",
            f"{row.median_seconds:.2f}",
        )  # fmt: skip
    console.print(stages)
    for path in written:
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def _all_stored(outcome: Outcome) -> bool:
    return all(time.stored for time in outcome.timings)


def _state(outcome: Outcome) -> str:
    if isinstance(outcome, Finished):
        return VERIFIED
    if isinstance(outcome, Rejected):
        return f"rejected: {outcome.rejection.reason}: {outcome.rejection.message}"
    return f"quarantined at {outcome.stage}: {_first_line(outcome.stderr)}"


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")[:100]


def _plain(summary: RunSummary) -> dict[str, Any]:
    """Return json values; NaN, which json lacks, becomes null."""

    def plain(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        return value

    content = {name: plain(value) for name, value in vars(summary).items() if name != "stages"}
    content["stages"] = [plain(vars(row)) for row in summary.stages]
    return content
