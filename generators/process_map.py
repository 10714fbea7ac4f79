"""An ordered map over processes; in this process where one is enough."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Any, Protocol, TypeVar

from generators.errors import ParameterError

T = TypeVar("T")
R = TypeVar("R")


class OrderedMap(Protocol):
    """Yields the results of a function in the order of its arguments."""

    def __call__(self, function: Callable[[T], R], arguments: Sequence[T], /) -> Iterator[R]:
        """Call the function on each argument; it and they travel between processes."""
        ...


class ProcessMap:
    """Holds the processes; `with ProcessMap(2) as apply: list(apply(function, arguments))`.

    Raises:
        ParameterError: Less than one process.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ParameterError(f"workers is {workers}, at least 1 is needed")
        self.executor = (
            ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) if workers > 1 else None
        )

    def __enter__(self) -> OrderedMap:
        """Return the map."""
        apply: Any = self.executor.map if self.executor else map
        return apply

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the processes; what was not begun is left out after an error."""
        if self.executor:
            self.executor.shutdown(cancel_futures=kind is not None)
