"""What an executor tells about a run while it is going on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from scenegen.pipeline.stage import Outcome, StageTime


class Observer(Protocol):
    """Follows a run. Calls come from one thread, the driver's, in no particular order of items."""

    def chain_begun(self, stages: Sequence[str], item_count: int) -> None:
        """A chain of stages begins to work on so many items."""
        ...

    def stage_passed(self, item_id: str, time: StageTime) -> None:
        """One item went through one stage and was not rejected, now or in an earlier run (`time.stored`)."""
        ...

    def item_closed(self, outcome: Outcome) -> None:
        """One item is finished, rejected or quarantined."""
        ...

    def item_added(self, item_id: str) -> None:
        """A new draw takes the place of an item that did not finish."""
        ...

    def noted(self, message: str) -> None:
        """Something that the user should know: a failed attempt, a damaged file."""
        ...


class SilentObserver:
    """Follows nothing."""

    def chain_begun(self, stages: Sequence[str], item_count: int) -> None:
        """Ignore it."""

    def stage_passed(self, item_id: str, time: StageTime) -> None:
        """Ignore it."""

    def item_closed(self, outcome: Outcome) -> None:
        """Ignore it."""

    def item_added(self, item_id: str) -> None:
        """Ignore it."""

    def noted(self, message: str) -> None:
        """Ignore it."""
