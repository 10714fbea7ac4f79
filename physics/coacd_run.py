"""CoACD in a child process with limits that do not depend on how busy the machine is.

CoACD can abort, hang or fill the memory. It may use so much CPU time and memory, so that equal input gives equal hulls
under any load; a wall deadline stands far behind them and is an error of the machine, never a reason for other hulls.
"""

from __future__ import annotations

import atexit
import math
import os
import resource
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from physics.errors import HullError as HullFault
from physics.isolate import Sandbox


class Preprocess(StrEnum):
    """CoACD's own remeshing. It takes an unknown word for "auto"; here there are no unknown words."""

    OFF = "off"
    ON = "on"


@dataclass(frozen=True)
class CoacdConfig:
    """Options of CoACD (Wei et al. 2022), as of 1.0.14; its defaults are in brackets."""

    threshold: float = 0.05
    """Concavity that is tolerated [half of L] (0.05)."""
    nodes: int = 20
    """Cuts per node of the search tree (20)."""
    iterations: int = 10
    """Iterations of the search (150): 10 give as good hulls in a fifth of the time, 20/10/2 in its notation."""
    depth: int = 2
    """Depth of the search (3)."""
    resolution: int = 1000
    """Samples of its distance (2000)."""
    merge: bool = True
    """Whether hulls are merged in the end (True)."""
    seed: int = 0
    """Seed of its search (0)."""
    preprocess: Preprocess = Preprocess.OFF
    """Remeshing (auto): 12 to 21 times slower and worse on a closed mesh, and it inflates."""

    def __post_init__(self) -> None:
        if self.preprocess not in tuple(Preprocess):
            raise HullFault(f"preprocess must be one of {[p.value for p in Preprocess]}, got {self.preprocess!r}")
        if not 0.01 <= self.threshold <= 1.0:
            raise HullFault(f"threshold must lie in 0.01 .. 1, got {self.threshold}; CoACD aborts outside")
        if min(self.nodes, self.iterations, self.depth, self.resolution) < 1:
            raise HullFault(f"nodes, iterations, depth and resolution must be positive, got {self}")


@dataclass(frozen=True)
class ChildLimits:
    """What one run of CoACD may use."""

    cpu_s: float = 60.0
    """CPU time [s], in whole seconds of the child; on families and foreign meshes runs take 1 to 40."""
    wall_s: float = 1800.0
    """Wall time [s]; a machine that gives the child less than a thirtieth of a core is at fault."""
    memory_bytes: int = 4 * 2**30
    """Memory [byte]."""

    def __post_init__(self) -> None:
        if not 0 < self.cpu_s < self.wall_s:
            raise HullFault(f"cpu_s must lie between 0 and wall_s ({self.wall_s} s), got {self.cpu_s} s")


def coacd_hulls(
    vertices: np.ndarray, faces: np.ndarray, config: CoacdConfig, most_vertices: int, limits: ChildLimits
) -> list[np.ndarray]:
    """Run CoACD in a child process and return the vertices of each hull.

    Raises:
        ChildCrashed: It aborted, or used up its CPU time (SIGXCPU).
        ChildOutOfMemory: It used up its memory.
        ChildTimedOut: The wall deadline passed.
    """
    return _sandbox(limits.memory_bytes).call(
        run_coacd, vertices, faces.astype(np.int32), config, most_vertices, limits.cpu_s, deadline_s=limits.wall_s
    )


def run_coacd(
    vertices: np.ndarray, faces: np.ndarray, config: CoacdConfig, most_vertices: int, cpu_s: float
) -> list[np.ndarray]:
    """Run CoACD in this process and return the vertices of each hull.

    Meant for a child process: beyond `cpu_s` of CPU time the kernel ends the process by SIGXCPU.
    """
    import coacd

    used = resource.getrusage(resource.RUSAGE_SELF)
    before, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime + cpu_s), hard))

    coacd.set_log_level("error")
    hulls = coacd.run_coacd(
        coacd.Mesh(vertices, faces),
        threshold=config.threshold,
        preprocess_mode=config.preprocess.value,
        resolution=config.resolution,
        mcts_nodes=config.nodes,
        mcts_iterations=config.iterations,
        mcts_max_depth=config.depth,
        merge=config.merge,
        decimate=True,
        max_ch_vertex=most_vertices,
        seed=config.seed,
    )
    resource.setrlimit(resource.RLIMIT_CPU, (before, hard))
    return [np.asarray(points, dtype=np.float64) for points, _ in hulls]


_sandboxes: dict[tuple[int, int], Sandbox] = {}


def _sandbox(memory_bytes: int) -> Sandbox:
    """Return this process's child for CoACD: its start is paid once, not per object."""
    key = (os.getpid(), memory_bytes)
    if key not in _sandboxes:
        _sandboxes[key] = Sandbox(memory_bytes=memory_bytes)
        atexit.register(_sandboxes[key].close)
    return _sandboxes[key]
