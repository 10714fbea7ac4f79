"""From a generated band of signed distance to a volume: signs everywhere, conflicts counted, nothing repaired silently.

A band says nothing about the nodes beyond it. They form connected regions; the band nodes that touch a region tell its
sign. Where they disagree the band has a hole, and the coarse signed distance of stage 1 decides node by node.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32
from scipy import ndimage

from generators.errors import VolumeError
from generators.ssa.presets import BAND
from generators.volume import SparseVolume

LARGEST_SIDE = 256
"""Most nodes along a side: signs are found on the dense lattice, 30 bytes a node [1]."""
LEAST_VALUE = 1e-4
"""Distance that stands for exactly 0, on the outside [voxel]."""

LEAST_CLEARANCE = 0.05
"""Distance outside that a node of a wall too thin for the lattice gets at least [voxel]."""


@dataclass(frozen=True, eq=False)
class SampledField:
    """What the networks say about one object, on the lattice of the preset."""

    coords: Int32[np.ndarray, "N 3"]
    """Nodes of the band, in lexicographic order."""
    values: Float32[np.ndarray, "N"]
    """Signed distance, negative inside [voxel]."""
    coarse: Float32[np.ndarray, "G G G"]
    """Signed distance at the centres of the latent cells [latent cell]."""
    downsampling: int
    """Nodes per latent cell and side [1]."""
    extents: tuple[float, float, float]
    """Bounding box that was asked for [m]."""
    family: str = ""
    seed: int = 0

    @property
    def resolution(self) -> int:
        """Nodes along a side of the lattice [1]."""
        return self.downsampling * len(self.coarse)


@dataclass(frozen=True)
class FieldConfig:
    """What is counted as a defect, and how many defects are too many."""

    mixed_limit: float = 0.1
    """Share of touching band nodes that may disagree with the sign of their region [1]."""
    steepest: float = 2.0
    """Change between neighbours of different sign above which their edge is a jump; a distance has 1 [voxel]."""
    speck_share: float = 0.01
    """Pieces of at most this share of the largest are removed, hollows of at most this share of it filled, and all of
    them counted [1]."""
    thinnest: float = 0.5
    """Walls thinner than this along an axis are below what the lattice shows, and cut away node by node [voxel]."""
    thin_rounds: int = 4
    """Passes after which cutting stops: each pass may bare a node of the wall behind [1]."""
    defect_limit: float = 0.05
    """Conflicts, jumps, filled and cut nodes over band nodes above which there is no volume [1]."""


@dataclass(frozen=True, eq=False)
class FieldVolume:
    """A volume, or the reason why there is none, and what was found on the way."""

    volume: SparseVolume | None
    """In the body frame: z up, origin at the centre of the base of the bounding box."""
    reason: str | None
    """Why there is no volume."""
    conflicts: int = 0
    """Band nodes that touch a node beyond the band of the other sign [1]."""
    jumps: int = 0
    """Edges within the band that change sign too steeply [1]."""
    filled: int = 0
    """Nodes that the volume needs and the band lacked [1]."""
    disagreeing: int = 0
    """Nodes beyond the band whose sign is not that of the coarse distance [1]."""
    pieces: int = 0
    """Pieces that are in the volume [1]."""
    specks: int = 0
    """Pieces that were removed [1]."""
    speck_nodes: int = 0
    """Nodes inside the pieces that were removed [1]."""
    thin: int = 0
    """Nodes of walls too thin for the lattice, now outside [1]."""
    pores: int = 0
    """Hollows that were filled [1]."""
    pore_nodes: int = 0
    """Nodes of the hollows that were filled [1]."""
    voids: int = 0
    """Hollows without a way out that are larger; they are kept [1]."""
    extents: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Bounding box of the surface [m]."""


def field_volume(field: SampledField, *, config: FieldConfig | None = None) -> FieldVolume:
    """Return the volume of a generated field, scaled so that its longest side is the longest asked for.

    Whether the solid is in pieces, hollow or thin is for the checks of the pipeline to say; it is not repaired here.

    Raises:
        VolumeError: the field breaks its own invariants (not a result of poor generation).
    """
    config = config or FieldConfig()
    known, values = _dense(field)
    if not len(field.coords):
        return FieldVolume(None, "empty: stage 1 or the decoder left no node")
    coarse = _upsampled(field.coarse, field.downsampling)
    votes = _touching(values, known)
    values = np.where(known, values, _beyond(votes, known, coarse, config))
    conflicts = int((known & _any_neighbour(~known & (values < 0)) & (values > 0)).sum())
    conflicts += int((known & _any_neighbour(~known & (values > 0)) & (values < 0)).sum())
    jumps = _jumps(values, known, config.steepest)
    disagreeing = int((~known & ((values < 0) != (coarse < 0))).sum())
    values, thin = _without_thin_walls(values, config.thinnest, config.thin_rounds)
    values, pieces, specks, speck_nodes = _without_specks(values, config.speck_share)
    values, pores, pore_nodes = _without_pores(values, config.speck_share)
    found = FieldVolume(
        None, None, conflicts, jumps, 0, disagreeing, pieces, specks, speck_nodes, thin, pores, pore_nodes
    )
    if not pieces:
        return replace(found, reason="empty: no node is inside")
    if _on_border(values < 0):
        return replace(found, reason="the solid reaches the border of the lattice")
    needed = _crossed_corners(values < 0)
    found = replace(found, filled=int((needed & ~known).sum()), voids=_voids(values < 0))
    defects = (conflicts + jumps + found.filled + thin) / len(field.coords)
    if defects > config.defect_limit:
        reason = (
            f"conflicts, jumps, filled and cut nodes are {defects:.1%} of the band, limit {config.defect_limit:.1%}"
        )
        return replace(found, reason=reason)
    return _scaled(found, values, np.argwhere(known | needed).astype(np.int32), max(field.extents))


def _scaled(found: FieldVolume, values: np.ndarray, nodes: np.ndarray, longest: float) -> FieldVolume:
    """Return the finding with the volume at its size [m], on its base."""
    low, high = _span(values)
    voxel = longest / float((high - low).max())
    x, y, z = (-voxel * np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])).tolist()
    volume = SparseVolume(nodes, values[tuple(nodes.T)] * np.float32(voxel), voxel, (x, y, z))
    sides = (voxel * (high - low)).tolist()
    return replace(found, volume=volume, extents=(sides[0], sides[1], sides[2]))


def _dense(field: SampledField) -> tuple[Bool[np.ndarray, "R R R"], Float32[np.ndarray, "R R R"]]:
    """Return which nodes are in the band, and their values."""
    side = field.resolution
    if side > LARGEST_SIDE:
        raise VolumeError(f"the lattice has {side} nodes a side, signs are found for up to {LARGEST_SIDE}")
    if field.coords.shape != (len(field.values), 3) or not np.isfinite(field.values).all():
        raise VolumeError(f"coords {field.coords.shape} and values {field.values.shape} must match and be finite")
    if len(field.coords) and (field.coords.min() < 0 or field.coords.max() >= side):
        raise VolumeError(f"nodes {field.coords.min()} to {field.coords.max()} leave a lattice of {side}")
    if not np.isfinite(field.coarse).all() or not all(0 < x < np.inf for x in field.extents):
        raise VolumeError(f"the coarse distance must be finite, and extents {field.extents} m positive")
    known = np.zeros((side, side, side), dtype=bool)
    values = np.zeros((side, side, side), dtype=np.float32)
    place = tuple(field.coords.T)
    known[place] = True
    values[place] = np.where(np.abs(field.values) < LEAST_VALUE, _nudged(field.values), field.values)
    return known, values


def _nudged(values: np.ndarray) -> np.ndarray:
    return np.where(values < 0, -LEAST_VALUE, LEAST_VALUE).astype(np.float32)


def _upsampled(coarse: np.ndarray, factor: int) -> Float32[np.ndarray, "R R R"]:
    """Return the coarse distance at the nodes [voxel], linear between centres of cells, clipped to the band."""
    nodes = coarse.astype(np.float32) * np.float32(factor)
    places = (np.arange(factor * len(coarse)) - (factor - 1) / 2) / factor
    low = np.clip(np.floor(places).astype(np.int64), 0, len(coarse) - 2)
    share = np.clip(places - low, 0, 1).astype(np.float32)
    for axis in range(3):
        weight = share.reshape([-1 if a == axis else 1 for a in range(3)])
        nodes = (1 - weight) * nodes.take(low, axis) + weight * nodes.take(low + 1, axis)
    return np.clip(nodes, -BAND, BAND)


@dataclass(frozen=True, eq=False)
class _Regions:
    """Connected regions of nodes beyond the band and what touches them."""

    labels: Int32[np.ndarray, "R R R"]
    """Number of the region, 0 in the band."""
    inside: Float64[np.ndarray, "L"]
    """Touching band nodes inside, per region; edges are counted."""
    outside: Float64[np.ndarray, "L"]


def _touching(values: np.ndarray, known: np.ndarray) -> _Regions:
    """Return the 6-connected regions beyond the band; the border of the lattice touches as a band of outside would."""
    labels, count = _label(~known)
    votes = np.zeros((2, count + 1))
    for axis in range(3):
        for one, other in (_ends(axis), _ends(axis)[::-1]):
            edge = ~known[one] & known[other]
            positive = values[other][edge] > 0
            region = labels[one][edge]
            votes[0] += np.bincount(region[~positive], minlength=count + 1)
            votes[1] += np.bincount(region[positive], minlength=count + 1)
        for end in (0, -1):
            votes[1] += np.bincount(labels.take(end, axis).ravel(), minlength=count + 1)
    return _Regions(labels, votes[0], votes[1])


def _beyond(regions: _Regions, known: np.ndarray, coarse: np.ndarray, config: FieldConfig) -> np.ndarray:
    """Return +-BAND beyond the band, by the vote of each region, or the coarse distance where the vote is mixed."""
    total = np.maximum(regions.inside + regions.outside, 1)
    minority = np.minimum(regions.inside, regions.outside) / total
    voted = np.where(regions.inside > regions.outside, -BAND, BAND).astype(np.float32)
    mixed = (minority > config.mixed_limit)[regions.labels]
    fallback = np.where(np.abs(coarse) < LEAST_VALUE, _nudged(coarse), coarse)
    return np.where(mixed & ~known, fallback, voted[regions.labels]).astype(np.float32)


def _label(mask: np.ndarray, *, neighbours: Literal[6, 26] = 6) -> tuple[Int32[np.ndarray, "R R R"], int]:
    """Return the number of the connected piece of each node, 0 outside of the mask, and how many pieces there are."""
    shape = ndimage.generate_binary_structure(3, 1 if neighbours == 6 else 3)
    labels = np.zeros(mask.shape, dtype=np.int32)
    ndimage.label(mask, structure=shape, output=labels)
    return labels, int(labels.max(initial=0))


def _ends(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the slices of the first and the second end of every edge along an axis."""
    first = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
    second = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
    return first, second


def _any_neighbour(mask: np.ndarray) -> np.ndarray:
    """Return the nodes that have one of the 6 neighbours in the mask."""
    near = np.zeros_like(mask)
    for axis in range(3):
        first, second = _ends(axis)
        near[first] |= mask[second]
        near[second] |= mask[first]
    return near


def _jumps(values: np.ndarray, known: np.ndarray, steepest: float) -> int:
    count = 0
    for axis in range(3):
        a, b = _ends(axis)
        change = ((values[a] < 0) != (values[b] < 0)) & (np.abs(values[a] - values[b]) > steepest)
        count += int((change & known[a] & known[b]).sum())
    return count


def _without_thin_walls(values: np.ndarray, thinnest: float, rounds: int) -> tuple[np.ndarray, int]:
    """Return the values with walls below the lattice's resolution turned outside, and how many nodes were turned.

    A wall thinner than a voxel crosses some axis on both sides of one node. Its thickness there is found by linear
    interpolation, as the surface is.
    """
    values, turned = values.copy(), 0
    for _ in range(rounds):
        thin = np.zeros(values.shape, dtype=bool)
        for axis in range(3):
            middle, before, after = (
                np.moveaxis(values, axis, 0)[part] for part in (slice(1, -1), slice(-2), slice(2, None))
            )
            sheet = np.nonzero((middle < 0) & (before > 0) & (after > 0))
            inner, one, other = middle[sheet], before[sheet], after[sheet]
            thickness = inner / (inner - one) + inner / (inner - other)
            np.moveaxis(thin, axis, 0)[1:-1][sheet] |= thickness < thinnest
        if not thin.any():
            break
        values[thin] = np.maximum(-values[thin], np.float32(LEAST_CLEARANCE))
        turned += int(thin.sum())
    return values, turned


def _without_specks(values: np.ndarray, share: float) -> tuple[np.ndarray, int, int, int]:
    """Return the values with small pieces turned outside, then pieces kept, pieces removed and their nodes."""
    labels, count = _label(values < 0)  # 6-connected, as surfaces separate inside corners
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    small = (sizes > 0) & (sizes <= share * sizes.max())
    removed = small[labels]
    return np.where(removed, -values, values), count - int(small.sum()), int(small.sum()), int(removed.sum())


def _without_pores(values: np.ndarray, share: float) -> tuple[np.ndarray, int, int]:
    """Return the values with small hollows turned inside, then how many were filled and their nodes.

    Where two parts of a training object touch, their union has a sheet of small distances deep inside, and a network
    that learned it leaves bubbles there.
    """
    labels, count = _label(values > 0, neighbours=26)  # 26-connected, where the inside is 6-connected
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    open_ends = np.unique(np.concatenate([labels.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]))
    small = (sizes > 0) & (sizes <= share * (values < 0).sum())
    small[open_ends] = False
    filled = small[labels]
    return np.where(filled, -values, values), int(small.sum()), int(filled.sum())


def _on_border(inside: np.ndarray) -> bool:
    return any(bool(inside.take(end, axis).any()) for axis in range(3) for end in (0, -1))


def _crossed_corners(inside: np.ndarray) -> np.ndarray:
    """Return the corners of all cells that have corners on both sides."""
    some, every = inside, inside
    for axis in range(3):
        a, b = _ends(axis)
        some, every = some[a] | some[b], every[a] & every[b]
    corners = np.pad(some & ~every, 1)
    for axis in range(3):
        a, b = _ends(axis)
        corners = corners[a] | corners[b]
    return corners


def _voids(inside: np.ndarray) -> int:
    """Return the number of hollows; the outside is 26-connected where the inside is 6-connected."""
    return _label(~inside, neighbours=26)[1] - 1


def _span(values: np.ndarray) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Return the bounding box of the surface [voxel]: its extremes lie on edges along the axis of the extreme."""
    low, high = np.zeros(3), np.zeros(3)
    for axis in range(3):
        a, b = _ends(axis)
        crossed = (values[a] < 0) != (values[b] < 0)
        first, second = values[a][crossed].astype(np.float64), values[b][crossed].astype(np.float64)
        places = np.nonzero(crossed)[axis] + first / (first - second)
        low[axis], high[axis] = places.min(), places.max()
    return low, high
