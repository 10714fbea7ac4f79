"""Results on disk, addressed by content, so that a run can be killed at any moment and started again.

    objects/ab/abcd...   one record (json) or one large array; the name is the SHA-256 of the content
    stages/<stage>/ab/<key>   which object a stage made of which input; a few words and their checksum
    times/<stage>/ab/<key>    how long that took; may vary, and nothing is computed from it
    ledger.jsonl   one line for each result when it was computed; may vary
    claims         empty; a byte of it is locked for each result that is being computed

Files are written beside their place and renamed, hence whole or absent. Every read verifies its hash; what does not
match is removed, reported and computed again. Nothing is pickled.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scenegen.errors import CodecError, CorruptRecordError, StoreError
from scenegen.pipeline.codec import array_bytes, decode, dump_json, encode, field_hints, record_digest, schema_digest
from scenegen.pipeline.stage import Rejection, Stage, StageTime

FORMAT = 1
"""Version of the layout on disk."""
INLINE_BYTES = 2048
"""Arrays up to this size are kept in the record's json; larger ones become objects that records share [byte]."""
LEDGER = "ledger.jsonl"
"""One line for each computed result, in the order in which they came; may vary."""
CLAIMS = "claims"
"""File whose bytes are locked."""
CLAIM_POLL_SECONDS = 0.1
"""How often a result that another process computes is looked at [s]."""
VOLATILE_FOLDERS = ("times", "scratch")
"""Folders of the store whose bytes may differ between runs of the same configuration."""


@dataclass(frozen=True)
class StoredResult:
    """What a stage made of an input."""

    digest: str
    """Content hash of the record or the rejection."""
    rejected: bool


def stage_key(stage: Stage, input_digest: str) -> str:
    """Return the SHA-256 that names the result of a stage for an input."""
    config = None if stage.config is None else record_digest(stage.config)
    types = [schema_digest(stage.input_type), schema_digest(stage.output_type)]
    return hashlib.sha256(
        dump_json([FORMAT, stage.name, stage.version, stage.function, config, types, input_digest])
    ).hexdigest()


class Store:
    """A folder of results. Any number of processes may read and write it at the same time."""

    def __init__(self, root: Path | str, *, create: bool = True):
        """Open a store, or make one.

        Raises:
            StoreError: The folder is not there, cannot be written, or has another layout.
        """
        self.root = Path(root).absolute()
        marker = self.root / "store.json"
        with explained(self.root, "open the store"):
            if create and not marker.exists():
                self.root.mkdir(parents=True, exist_ok=True)
                # The name tells two stores at one path apart, for example on the machines of a cluster.
                write_atomic(marker, dump_json({"format": FORMAT, "name": uuid.uuid4().hex}))
            text = marker.read_text()
        try:
            content = json.loads(text)
            self.name, layout = str(content["name"]), content["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{marker} is damaged ({error}); delete {self.root} and run again") from error
        if layout != FORMAT:
            raise StoreError(f"{self.root} has layout {layout}, expected {FORMAT}: use another output folder")

    # ---- results of stages ------------------------------------------------------------------------------------

    def find(self, stage: Stage, input_digest: str) -> StoredResult | None:
        """Return which object a stage made of an input, or None; the object itself is not read."""
        path = self._path("stages", stage_key(stage, input_digest), stage.name)
        try:
            words = path.read_text().split()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            words = []
        if len(words) != 3 or words[1] not in ("record", "rejection") or words[2] != _checksum(words[0], words[1]):
            self._discard(path)
            return None
        return StoredResult(words[0], words[1] == "rejection")

    def keep(self, stage: Stage, input_digest: str, result: Any, *, seconds: float, cpu_seconds: float) -> StoredResult:
        """Write what a stage made of an input: the record, then who made it."""
        rejected = isinstance(result, Rejection)
        digest = self.put(result, Rejection if rejected else stage.output_type)
        key, kind = stage_key(stage, input_digest), "rejection" if rejected else "record"
        times = dump_json({"seconds": seconds, "cpu_seconds": cpu_seconds})
        self._write(self._path("times", key, stage.name), times)
        pointer = f"{digest} {kind} {_checksum(digest, kind)}\n"
        self._write(self._path("stages", key, stage.name), pointer.encode())
        self._note_finished(stage, key)
        return StoredResult(digest, rejected)

    @contextlib.contextmanager
    def claimed(self, stage: Stage, input_digest: str, *, patience_s: float) -> Iterator[None]:
        """Hold a result that is being computed, so that other processes wait for it instead of computing it too.

        Workers outlive a driver that was killed, for as long as it takes to notice; the same command run again meets
        them here. Who has waited for `patience_s` goes on all the same: two that compute one result write equal bytes.
        A process holds one claim at a time.

        Args:
            stage: Stage of the result.
            input_digest: Its input.
            patience_s: Longest wait [s].
        """
        # A lock of one byte, at a place that the key decides: it leaves no file behind, and ends with its process.
        byte = int(stage_key(stage, input_digest)[:15], 16)
        with explained(self.root, "claim a result"):
            claims = os.open(self.root / CLAIMS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            latest = time.monotonic() + patience_s
            while True:
                try:
                    fcntl.lockf(claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
                    break
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EAGAIN):
                        break  # a file system without locks: nobody waits for anybody
                    if time.monotonic() > latest:
                        break
                time.sleep(CLAIM_POLL_SECONDS)
            yield
        finally:
            os.close(claims)

    def time_of(self, stage: Stage, input_digest: str, *, stored: bool) -> StageTime:
        """Return what a stage took when its result was made; NaN if that note is lost."""
        try:
            content = json.loads(self._path("times", stage_key(stage, input_digest), stage.name).read_text())
            return StageTime(stage.name, float(content["seconds"]), float(content["cpu_seconds"]), stored)
        except (OSError, ValueError, KeyError, TypeError):
            return StageTime(stage.name, math.nan, math.nan, stored)

    # ---- records ----------------------------------------------------------------------------------------------

    def put(self, record: Any, hint: type) -> str:
        """Write a record and the arrays it holds; return its content hash.

        Raises:
            CodecError: The record is not of that type, or cannot be written.
            StoreError: The disk is full or not writable.
        """
        value, arrays = encode(record, hint)
        rows = [self._put_array(array) for array in arrays]
        return self._put_object(dump_json({"type": hint.__qualname__, "arrays": rows, "record": value}))

    def load(self, digest: str, hint: type) -> Any:
        """Return the record of that content hash.

        Raises:
            CorruptRecordError: A file is missing, damaged, or holds another type; damaged files are removed.
        """
        value, arrays = self._stored(digest, hint)
        try:
            return decode(value, arrays, hint)
        except CodecError as error:
            raise CorruptRecordError(f"{self._path('objects', digest)}: {error}") from error

    def load_fields(self, digest: str, hint: type, names: Sequence[str]) -> dict[str, Any]:
        """Return some fields of a record; the others may be those of another version, which `load` refuses.

        Raises:
            CorruptRecordError: See `load`; or one of these fields is missing or of another version.
        """
        value, arrays = self._stored(digest, hint)
        hints = field_hints(hint)
        try:
            return {name: decode(value[name], arrays, hints[name]) for name in names}
        except (CodecError, KeyError, TypeError) as error:
            raise CorruptRecordError(f"{self._path('objects', digest)}: {error}") from error

    def _stored(self, digest: str, hint: type) -> tuple[Any, list[np.ndarray]]:
        """Return the json and the arrays of a record of a type."""
        content = self._content(digest)
        arrays = [self._load_array(row) for row in content["arrays"]]
        if content["type"] != hint.__qualname__:
            raise CorruptRecordError(
                f"{self._path('objects', digest)} holds {content['type']}, not {hint.__qualname__}"
            )
        return content["record"], arrays

    def intact(self, digest: str) -> bool:
        """Return whether a record and all its arrays are there with the right content."""
        try:
            for row in self._content(digest)["arrays"]:
                if "sha256" in row:
                    self._read_object(row["sha256"])
        except CorruptRecordError:
            return False
        return True

    # ---- the run that writes ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store for one run, and clear the scratch folders that killed runs left.

        Raises:
            StoreError: Another run holds it.
        """
        with explained(self.root, "lock the store"):
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(f"another run is writing to {self.root}; wait for it or use another folder") from None
            shutil.rmtree(self.root / "scratch", ignore_errors=True)
            yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend a folder that is deleted afterwards."""
        with explained(self.root, "make a scratch folder"):
            (self.root / "scratch").mkdir(exist_ok=True)
            folder = tempfile.mkdtemp(dir=self.root / "scratch")
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # ---- files ------------------------------------------------------------------------------------------------

    def _note_finished(self, stage: Stage, key: str) -> None:
        """Append to the ledger, from which one can count how often a result was computed."""
        with explained(self.root, "append to the ledger"):
            ledger = os.open(self.root / LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(ledger, dump_json({"stage": stage.name, "key": key}) + b"\n")
            finally:
                os.close(ledger)

    def _path(self, folder: str, digest: str, stage: str = "") -> Path:
        return self.root / folder / stage / digest[:2] / digest

    def _put_array(self, array: np.ndarray) -> dict[str, Any]:
        data = array_bytes(array)
        row: dict[str, Any] = {"dtype": array.dtype.newbyteorder("<").str, "shape": list(array.shape)}
        if len(data) <= INLINE_BYTES:
            return row | {"base64": base64.b64encode(data).decode()}
        return row | {"sha256": self._put_object(data)}

    def _load_array(self, row: dict[str, Any]) -> np.ndarray:
        data = self._read_object(row["sha256"]) if "sha256" in row else base64.b64decode(row["base64"])
        return np.frombuffer(data, dtype=np.dtype(row["dtype"])).reshape(row["shape"])  # read-only, as bytes are

    def _put_object(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self._path("objects", digest)
        try:
            if path.stat().st_size == len(data) and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
                return digest
        except OSError:  # absent, or unreadable and thus to be written anew
            pass
        self._write(path, data)
        return digest

    def _read_object(self, digest: str) -> bytes:
        path = self._path("objects", digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CorruptRecordError(f"cannot read {path}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != digest:
            self._discard(path)
            raise CorruptRecordError(f"{path} does not hold what its name says; it was removed")
        return data

    def _content(self, digest: str) -> dict[str, Any]:
        try:
            content = json.loads(self._read_object(digest))
        except ValueError as error:
            raise CorruptRecordError(f"{self._path('objects', digest)} is not a record: {error}") from error
        if not isinstance(content, dict) or set(content) != {"type", "arrays", "record"}:
            raise CorruptRecordError(f"{self._path('objects', digest)} is not a record")
        return content

    def _write(self, path: Path, data: bytes) -> None:
        with explained(path, "write"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)

    def _discard(self, path: Path) -> None:
        with explained(path, "remove the damaged file"):
            path.unlink(missing_ok=True)


def _checksum(digest: str, kind: str) -> str:
    return hashlib.sha256(f"{digest} {kind}".encode()).hexdigest()


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, also when the process is killed or the power fails."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


@contextlib.contextmanager
def explained(path: Path, action: str) -> Iterator[None]:
    """Turn an error of the operating system into one that says what to do."""
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "the disk is full: free some space and run the same command again, it resumes",
            errno.EDQUOT: "your quota is used up: free some space and run the same command again, it resumes",
            errno.EROFS: "the file system is read-only: choose another output folder",
            errno.EACCES: "no permission: choose an output folder that you may write to",
            errno.EPERM: "no permission: choose an output folder that you may write to",
            errno.ENOTDIR: "a part of the path is a file: choose another output folder",
            errno.ENOENT: "it is not there",
        }.get(error.errno or 0, "check the disk and the path")
        raise StoreError(f"cannot {action} at {path}: {error.strerror or error}; {advice}") from error
