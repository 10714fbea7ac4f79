"""Topology of a triangle list: how often each edge is used, fans at vertices, connected shells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True, eq=False)
class Topology:
    """What can be said of faces (F, 3) without their positions."""

    wrong_edges: Int64[np.ndarray, "E 2"]
    """Vertex pairs that do not have exactly two faces."""
    turned_edges: Int64[np.ndarray, "T 2"]
    """Vertex pairs whose two faces run through them in the same direction: one of the faces is flipped."""
    wrong_vertices: Int64[np.ndarray, "W"]
    """Vertices whose faces do not form exactly one fan; unused vertices are among them."""
    shells: Int64[np.ndarray, "F"]
    """Number of the connected shell of each face."""
    shell_count: int
    """How many shells there are."""
    euler: int
    """Vertices - edges + faces, unused vertices left out."""

    @property
    def closed(self) -> bool:
        """Whether every edge has two faces that agree in direction and every vertex one fan."""
        return not (len(self.wrong_edges) or len(self.turned_edges) or len(self.wrong_vertices))

    @property
    def genus(self) -> float:
        """Handles summed over the shells; NaN unless the surface is closed."""
        return self.shell_count - self.euler / 2 if self.closed else float("nan")


def trace_topology(faces: np.ndarray, vertex_count: int) -> Topology:
    """Return the topology of faces (F, 3) whose indices lie in [0, vertex_count)."""
    faces = np.asarray(faces, dtype=np.int64)
    start, end = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    key = np.minimum(start, end) * vertex_count + np.maximum(start, end)
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.append(True, key[order][1:] != key[order][:-1]))
    uses = np.diff(np.append(first, len(key)))
    wrong = order[first[uses != 2]]
    one, two = order[first[uses == 2]], order[first[uses == 2] + 1]
    turned = one[start[one] == start[two]]
    shell_count, shells = _connect(one // 3, two // 3, len(faces))
    return Topology(
        wrong_edges=np.stack([start[wrong], end[wrong]], axis=1),
        turned_edges=np.stack([start[turned], end[turned]], axis=1),
        wrong_vertices=_wrong_vertices(faces, one, two, vertex_count),
        shells=shells,
        shell_count=shell_count,
        euler=len(np.unique(faces)) - len(first) + len(faces),
    )


def _wrong_vertices(faces: np.ndarray, one: np.ndarray, two: np.ndarray, vertex_count: int) -> np.ndarray:
    """Return vertices with another number of fans than one: corners of faces are joined across shared edges."""
    start = faces.reshape(-1)
    after = np.arange(len(start)).reshape(-1, 3)[:, [1, 2, 0]].reshape(-1)
    same = start[one] == start[two]
    pairs = [(one, np.where(same, two, after[two])), (after[one], np.where(same, after[two], two))]
    heads, tails = (np.concatenate(side) for side in zip(*pairs, strict=True))
    count, labels = _connect(heads, tails, len(start))
    owner = np.zeros(count, dtype=np.int64)
    owner[labels] = start
    return np.flatnonzero(np.bincount(owner, minlength=vertex_count) != 1)


def _connect(heads: np.ndarray, tails: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    if not count:
        return 0, np.zeros(0, dtype=np.int64)
    graph = coo_array((np.ones(len(heads), dtype=np.int8), (heads, tails)), shape=(count, count))
    found, labels = connected_components(graph, directed=False)
    return int(found), labels.astype(np.int64)
