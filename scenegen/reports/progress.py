"""Progress of a run: a bar for each stage in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from scenegen.pipeline.stage import Outcome, Quarantined, Rejected, StageTime

LINE_SECONDS = 10.0
"""Least time between two plain lines [s]."""


@dataclass
class StageCount:
    """What one stage has done so far."""

    passed: int = 0
    rejected: int = 0
    quarantined: int = 0
    stored: int = 0
    """Of those that passed, taken from the store."""

    @property
    def done(self) -> int:
        """Items that this stage is through with."""
        return self.passed + self.rejected + self.quarantined


class RunProgress:
    """An observer that shows what goes on, and remembers the counts. Use as a context manager.

    Example:
        with RunProgress(Console(stderr=True)) as progress:
            run(config, out, run_serial, progress)
    """

    def __init__(self, console: Console):
        self.console = console
        self.counts: dict[str, StageCount] = {}
        self._items = 0
        self._closed = 0
        self._begun = self._said = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("{task.description:16}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[funnel]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> RunProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self._end_chain()

    def chain_begun(self, stages: Sequence[str], item_count: int) -> None:
        """Show a bar for each stage."""
        self._end_chain()
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._items, self._closed, self._begun = item_count, 0, time.monotonic()
        self.counts = {stage: StageCount() for stage in stages}
        self._tasks = {stage: self._bars.add_task(stage, total=item_count, funnel="") for stage in stages}
        if not self.console.is_terminal:
            self._line(f"{item_count} items, stages: {', '.join(stages)}")

    def stage_passed(self, item_id: str, time: StageTime) -> None:
        """Count it."""
        count = self.counts[time.stage]
        count.passed += 1
        count.stored += time.stored
        self._show(time.stage)

    def item_closed(self, outcome: Outcome) -> None:
        """Count it where it ended; later stages will not see it."""
        self._closed += 1
        if isinstance(outcome, Rejected):
            ended = outcome.timings[-1].stage
            self.counts[ended].rejected += 1
        elif isinstance(outcome, Quarantined):
            ended = outcome.stage
            self.counts[ended].quarantined += 1
        else:
            ended = None
        later = list(self.counts)
        for stage in later[later.index(ended) :] if ended else later[-1:]:
            self._show(stage)
        if not self.console.is_terminal and time.monotonic() - self._said > LINE_SECONDS:
            self._line(self._summary())

    def item_added(self, item_id: str) -> None:
        """Make room for it."""
        self._items += 1
        for stage in self.counts:
            self._show(stage)

    def noted(self, message: str) -> None:
        """Print it above the bars."""
        self.console.print(f"note: {message}", style="yellow", markup=False, highlight=False)

    def _end_chain(self) -> None:
        if self._items and not self.console.is_terminal:
            self._line(self._summary())

    def _expected(self, stage: str) -> int:
        """Return how many items will reach a stage, as far as is known."""
        total = self._items
        for name, count in self.counts.items():
            if name == stage:
                break
            total -= count.rejected + count.quarantined
        return total

    def _show(self, stage: str) -> None:
        count = self.counts[stage]
        minutes = (time.monotonic() - self._begun) / 60
        rate = (count.done - count.stored) / minutes if minutes > 0 else 0.0
        funnel = f"{count.passed} passed, {count.rejected} rejected, {count.quarantined} quarantined, {rate:.1f}/min"
        self._bars.update(self._tasks[stage], completed=count.done, total=self._expected(stage), funnel=funnel)

    def _summary(self) -> str:
        rejected = sum(count.rejected for count in self.counts.values())
        quarantined = sum(count.quarantined for count in self.counts.values())
        seconds = time.monotonic() - self._begun
        fresh = self._closed - min((count.stored for count in self.counts.values()), default=0)
        left = f", about {seconds / fresh * (self._items - self._closed):.0f} s left" if fresh > 0 else ""
        finished = self._closed - rejected - quarantined
        return (
            f"{self._closed} of {self._items} done in {seconds:.0f} s: {finished} finished, {rejected} rejected, "
            f"{quarantined} quarantined, {60 * self._closed / max(seconds, 1e-3):.1f}/min{left}"
        )

    def _line(self, text: str) -> None:
        self._said = time.monotonic()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
