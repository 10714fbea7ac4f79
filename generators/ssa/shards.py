"""Shards: training volumes on disk, many objects to a file, and the data set that reads them.

Distances are whole steps, so a shard has the same bytes on every machine, and neighbours differ by little: a lattice of
128 nodes a side takes 15 KB instead of the 63 KB of half precision.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float16, Float32, Int8, Int16, Int64, UInt8

from generators.errors import DatasetError
from generators.ssa.presets import BAND

if TYPE_CHECKING:
    from generators.ssa.field_sampling import LatticeField

FORMAT = 2
"""Version of the format."""
VALUE_STEPS = 32
"""Steps of signed distance per voxel; a value is the middle of its step, so none is 0 and all keep their sign [1]."""
COARSE_STEPS = 128
"""Steps of coarse signed distance per latent cell [1]."""
INDEX = "dataset.json"
"""Name of the file that describes a data set."""
SPLITS = ("train", "test", "held_out")
"""Seen in training; new seeds; boxes of a region that training never sees."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Objects in memory, one after the other."""

    coords: Int16[np.ndarray, "N 3"]
    """Nodes of the bands."""
    values: Float16[np.ndarray, "N"]
    """Signed distance [voxel]."""
    offsets: Int64[np.ndarray, "S+1"]
    """First node of each object, and the number of nodes."""
    family: Int64[np.ndarray, "S"]
    """Index of the family."""
    extents: Float32[np.ndarray, "S 3"]
    """Bounding boxes [m]."""
    voxel_size: Float32[np.ndarray, "S"]
    """Distance of nodes [m]."""
    coarse: Float16[np.ndarray, "S G G G"]
    """Signed distance at the centres of latent cells [latent cell]."""

    def __len__(self) -> int:
        return len(self.family)

    @classmethod
    def of(cls, fields: Sequence[LatticeField], families: Sequence[int]) -> Shard:
        """Return the shard of these objects; distances are rounded to steps."""
        sizes = [len(field.coords) for field in fields]
        steps = np.floor(np.concatenate([field.values for field in fields]) * VALUE_STEPS)
        most = round(BAND * VALUE_STEPS)
        coarse = np.rint(np.stack([field.coarse for field in fields]) * COARSE_STEPS) / COARSE_STEPS
        return cls(
            np.concatenate([field.coords for field in fields]),
            ((np.clip(steps, -most, most - 1) + 0.5) / VALUE_STEPS).astype(np.float16),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.array(families, dtype=np.int64),
            np.array([field.extents for field in fields], dtype=np.float32),
            np.array([field.voxel_size for field in fields], dtype=np.float32),
            coarse.astype(np.float16),
        )

    def take(self, rows: Sequence[int] | np.ndarray) -> Shard:
        """Return the shard of some objects, in the order given."""
        chosen = np.asarray(rows, dtype=np.int64)
        sizes = np.diff(self.offsets)[chosen]
        runs = [np.arange(int(self.offsets[row]), int(self.offsets[row + 1])) for row in chosen]
        place = np.concatenate([np.zeros(0, dtype=np.int64), *runs])
        each = {name: getattr(self, name)[chosen] for name in ("family", "extents", "voxel_size", "coarse")}
        return Shard(self.coords[place], self.values[place], np.cumsum([0, *sizes], dtype=np.int64), **each)

    @classmethod
    def join(cls, shards: Sequence[Shard]) -> Shard:
        """Return all objects of some shards as one."""
        sizes = np.concatenate([np.diff(shard.offsets) for shard in shards])
        rest = {
            name: np.concatenate([getattr(shard, name) for shard in shards])
            for name in cls.__dataclass_fields__
            if name != "offsets"
        }
        return cls(offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), **rest)


def write_atomically(path: Path, data: bytes) -> str:
    """Write a file so that it is there whole or not at all; return the SHA-256 of its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return hashlib.sha256(data).hexdigest()


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, whole or not at all."""
    write_atomically(path, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())


@dataclass(frozen=True, eq=False)
class _Packed:
    """A shard as it lies on disk."""

    nodes: UInt8[np.ndarray, "S R R Q"]
    """Which nodes are in the band, 8 to a byte along k."""
    values: Int8[np.ndarray, "N"]
    """Steps of distance of the nodes, in lexicographic order, less those of the node before."""
    family: Int64[np.ndarray, "S"]
    extents: Float32[np.ndarray, "S 3"]
    voxel_size: Float32[np.ndarray, "S"]
    coarse: Int16[np.ndarray, "S G G G"]
    """Steps of coarse distance, less those of the cell before along k."""

    @classmethod
    def of(cls, shard: Shard, resolution: int) -> _Packed:
        nodes = np.zeros((len(shard), resolution, resolution, -(-resolution // 8)), dtype=np.uint8)
        for row, (begin, end) in enumerate(zip(shard.offsets[:-1], shard.offsets[1:], strict=True)):
            held = np.zeros((resolution,) * 3, dtype=bool)
            held[tuple(shard.coords[begin:end].T)] = True
            nodes[row] = np.packbits(held, axis=2)
        steps = np.floor(shard.values.astype(np.float32) * VALUE_STEPS).astype(np.int8)
        coarse = np.rint(shard.coarse.astype(np.float32) * COARSE_STEPS).astype(np.int16)
        return cls(
            nodes,
            np.diff(steps, prepend=np.int8(0)),  # wraps around, and back again when it is summed
            shard.family,
            shard.extents,
            shard.voxel_size,
            np.diff(coarse, axis=3, prepend=np.int16(0)),
        )

    def shard(self) -> Shard:
        resolution = self.nodes.shape[1]
        flat = [np.flatnonzero(np.unpackbits(held, axis=2, count=resolution).view(bool)) for held in self.nodes]
        places = np.concatenate(flat).astype(np.int32)
        coords = np.empty((len(places), 3), dtype=np.int16)
        for axis in (2, 1, 0):
            places, coords[:, axis] = np.divmod(places, np.int32(resolution))
        steps = np.cumsum(self.values, dtype=np.int8)
        if len(coords) != len(steps):
            raise ValueError(f"{len(coords)} nodes, {len(steps)} values")
        return Shard(
            coords,
            ((steps.astype(np.float16) + np.float16(0.5)) / VALUE_STEPS).astype(np.float16),
            np.cumsum([0, *map(len, flat)], dtype=np.int64),
            self.family,
            self.extents,
            self.voxel_size,
            (np.cumsum(self.coarse, axis=3, dtype=np.int16).astype(np.float32) / COARSE_STEPS).astype(np.float16),
        )


def write_shard(shard: Shard, path: Path, *, resolution: int) -> str:
    """Write a shard as npz without pickle, compressed by LZMA; return the SHA-256 of the file.

    Args:
        shard: Objects made by `Shard.of`.
        path: Where the file goes.
        resolution: Nodes along a side of their lattice.
    """
    buffer, packed = io.BytesIO(), _Packed.of(shard, resolution)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as file:
        for name in _Packed.__dataclass_fields__:
            member = io.BytesIO()
            np.lib.format.write_array(member, getattr(packed, name), allow_pickle=False)
            # A ZipInfo of its own has a fixed date: equal shards are equal files.
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_LZMA)
    return write_atomically(path, buffer.getvalue())


def read_shard(path: Path, sha256: str | None = None) -> Shard:
    """Read a shard.

    Raises:
        DatasetError: the file is missing, not a shard, or not the one whose hash is given.
    """
    try:
        data = path.read_bytes()
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise DatasetError(f"{path} does not hold what {INDEX} says (wrong hash); make the data set again")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return _Packed(**{name: arrays[name] for name in _Packed.__dataclass_fields__}).shard()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}; make the data set again") from error
    except (zipfile.BadZipFile, lzma.LZMAError, KeyError, ValueError, EOFError) as error:
        raise DatasetError(f"{path} is not a shard ({error}); make the data set again") from error


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set, in memory."""

    shard: Shard
    index: Mapping[str, Any]
    """What dataset.json says."""

    def __len__(self) -> int:
        return len(self.shard)

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families, in the order of their indices."""
        return tuple(self.index["families"])

    @property
    def materials(self) -> dict[str, tuple[str, ...]]:
        """Materials that the objects of each family may be made of."""
        return {family: tuple(names) for family, names in self.index["materials"].items()}

    @property
    def boxes(self) -> dict[str, Float[np.ndarray, "n 3"]]:
        """Bounding boxes of the objects of each family [m]."""
        return {name: self.shard.extents[self.shard.family == i] for i, name in enumerate(self.families)}

    def first(self, count: int) -> Dataset:
        """Return the first objects of each family, at most as many as are asked for of each."""
        rows = [np.flatnonzero(self.shard.family == family)[:count] for family in range(len(self.families))]
        return Dataset(self.shard.take(np.sort(np.concatenate(rows))), self.index)

    def nodes(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (sample, i, j, k) int32 (N, 4) and signed distance [voxel] float32 (N,) of some objects."""
        chosen = np.asarray(rows, dtype=np.int64)
        begin, size = self.shard.offsets[chosen], np.diff(self.shard.offsets)[chosen]
        sample = np.repeat(np.arange(len(chosen), dtype=np.int32), size)
        first = np.cumsum(size) - size
        place = np.arange(int(size.sum())) + np.repeat(begin - first, size)
        coords = np.concatenate([sample[:, None], self.shard.coords[place].astype(np.int32)], axis=1)
        return coords, self.shard.values[place].astype(np.float32)


def read_index(folder: Path) -> dict[str, Any]:
    """Return what dataset.json of a folder says.

    Raises:
        DatasetError: there is none, or it is of another format.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{folder} holds no complete data set ({error.strerror}): run 'scenegen dataset'") from error
    except ValueError as error:
        raise DatasetError(f"{folder / INDEX} is not JSON ({error}); make the data set again") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise DatasetError(f"{folder / INDEX} is not of format {FORMAT}; make the data set again")
    return index


def load_dataset(folder: Path, split: str) -> Dataset:
    """Read one split of a data set, all hashes checked.

    Raises:
        DatasetError: there is no data set, no such split, or a damaged shard.
    """
    index = read_index(folder)
    named = [entry for entry in index["shards"] if entry["split"] == split]
    if not named:
        raise DatasetError(f"{folder} has no objects of split {split!r}; splits: {', '.join(SPLITS)}")
    with ThreadPoolExecutor() as pool:  # hashing and unpacking leave the interpreter to others
        shards = pool.map(lambda one: read_shard(folder / one["file"], one["sha256"]), named)
        return Dataset(Shard.join(list(shards)), index)
