"""Processes that train one network together: each takes a share of every batch, and gradients are averaged.

Synchronous data parallelism (Goyal et al. 2017, arXiv 1706.02677, section 2.3). A process that was started alone is a
team of one. Only the first of a team writes files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

from generators.errors import TrainingError

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """This process among those that train together."""

    rank: int = 0
    """Number of this process, from 0 on."""
    size: int = 1
    """Processes of the team [1]."""

    @classmethod
    def joined(cls) -> Team:
        """Return the team of torch's process group, or a team of one where there is no group."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this process writes files and says how it goes."""
        return self.rank == 0

    @property
    def stream(self) -> tuple[int, ...]:
        """What tells the chance of this process from that of the others; nothing in a team of one."""
        return (self.rank,) if self.size > 1 else ()

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of a batch that this process takes.

        Raises:
            TrainingError: the batch cannot be divided equally.
        """
        if len(rows) % self.size:
            raise TrainingError(f"a batch of {len(rows)} cannot be shared by {self.size} workers; make it a multiple")
        return rows[self.rank :: self.size]

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors of single precision by their mean over the team, in one exchange."""
        if self.size == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([x.flatten() for x in tensors])
        distributed.all_reduce(flat)
        for x, mean in zip(tensors, (flat / self.size).split([x.numel() for x in tensors]), strict=True):
            x.copy_(mean.view_as(x))

    def agree(self, value: T) -> T:
        """Return what the first of the team says."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Let the first do something, and the others wait until it is done; gives whether this is the first."""
        yield self.first
        if self.size > 1:
            distributed.barrier()
