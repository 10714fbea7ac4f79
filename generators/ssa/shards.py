"""Shards: training volumes on disk, many objects to a file, and the data set that reads them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float16, Float32, Int16, Int64

from generators.errors import DatasetError
from generators.ssa.field_sampling import LatticeField
from generators.ssa.presets import BAND

FORMAT = 1
"""Version of the format."""
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
        """Return the shard of these objects."""
        sizes = [len(field.coords) for field in fields]
        return cls(
            np.concatenate([field.coords for field in fields]),
            np.concatenate([field.values for field in fields]).astype(np.float16),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.array(families, dtype=np.int64),
            np.array([field.extents for field in fields], dtype=np.float32),
            np.array([field.voxel_size for field in fields], dtype=np.float32),
            np.stack([field.coarse for field in fields]).astype(np.float16),
        )

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


def write_shard(shard: Shard, path: Path) -> str:
    """Write a shard as npz without pickle; return the SHA-256 of the file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: getattr(shard, name) for name in Shard.__dataclass_fields__})
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
            return Shard(**{name: arrays[name] for name in Shard.__dataclass_fields__})
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}; make the data set again") from error
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
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

    def nodes(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (sample, i, j, k) int32 (N, 4) and signed distance [voxel] float32 (N,) of some objects."""
        chosen = np.asarray(rows, dtype=np.int64)
        begin, size = self.shard.offsets[chosen], np.diff(self.shard.offsets)[chosen]
        sample = np.repeat(np.arange(len(chosen), dtype=np.int32), size)
        first = np.cumsum(size) - size
        place = np.arange(int(size.sum())) + np.repeat(begin - first, size)
        coords = np.concatenate([sample[:, None], self.shard.coords[place].astype(np.int32)], axis=1)
        # Half precision rounds the rim of the band to its border, which would read as beyond the band.
        rim = np.float32(BAND - 2**-9)
        return coords, np.clip(self.shard.values[place].astype(np.float32), -rim, rim)


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
    return Dataset(Shard.join([read_shard(folder / one["file"], one["sha256"]) for one in named]), index)
