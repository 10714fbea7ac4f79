"""What is to be verified, and what its file does not say: units, up axis, material. Nothing of that is guessed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from physics.materials import find_material
from scenegen.errors import ConfigError

Units = Literal["m", "cm", "mm", "in"]
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}
"""Length of each unit [m]."""
MESHES = (".obj", ".stl", ".ply", ".off", ".glb", ".gltf")
"""Mesh formats that are read, by ending."""
UNITLESS = (".obj", ".stl", ".ply", ".off")
"""Formats that say neither unit nor up axis."""
MODELS = (".urdf", ".xml")
"""Formats that declare mass and collision geometry: URDF and MJCF."""
FORMATS = (*MESHES, *MODELS)
LARGEST_FILE = 512 * 2**20
"""Larger files are refused [byte]."""


@dataclass(frozen=True)
class VerifyOptions:
    """What the files do not say, and what may be altered before they are judged."""

    units: Units | None = None
    """Unit of lengths in mesh files, which do not say it; URDF and glTF are in metres, whatever is said here."""
    up: Literal["y", "z"] = "z"
    """Up axis of mesh files; URDF is z up and glTF y up, whatever is said here."""
    material: str = "beech"
    """Friction of everything, and density of meshes where `density` is not given."""
    density: float | None = None
    """Density of meshes [kg/m^3]; None for that of the material."""
    derive_inertia: bool = False
    """Judge a URDF or MJCF with the inertia of its visual solid at the declared mass; marked as altered."""
    solidify: bool = False
    """Judge the solid that a mesh winds round where it is open, crosses itself or falls apart; marked as altered."""
    resolution: int = 96
    """Voxels along the longest side for `solidify` [1]."""
    pose_drops: int = 0
    """Drops of each object for the distribution of its rest poses (D13), 385 for 5 %; 0 leaves it out [1]."""

    def __post_init__(self) -> None:
        find_material(self.material)
        if self.density is not None and not (np.isfinite(self.density) and self.density > 0):
            raise ConfigError(f"density is {self.density} kg/m^3, expected a positive number")
        if self.pose_drops < 0:
            raise ConfigError(f"pose_drops is {self.pose_drops}, expected 0 or more")
        if not 16 <= self.resolution <= 512:
            raise ConfigError(f"resolution is {self.resolution} voxels, expected 16 to 512")


@dataclass(frozen=True)
class VerifyRequest:
    """One file."""

    item_id: str
    path: str
    content: str
    """SHA-256 of the file and, for a model, of the files beside and below it: a changed file is judged anew."""
    seed: int
    options: VerifyOptions


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files to judge: those given, and all of a known format in folders that are given, in order.

    Raises:
        ConfigError: a path does not exist, a folder holds nothing that can be judged, or a format is unknown.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in FORMATS and file.is_file())
            inside = _without_pieces(inside)
            if not inside:
                raise ConfigError(f"{path} holds no file that can be judged; formats: {', '.join(FORMATS)}")
            found += inside
        elif not path.exists():
            raise ConfigError(f"{path}: there is no such file or folder")
        elif path.suffix.lower() not in FORMATS:
            raise ConfigError(f"{path}: format {path.suffix or '(none)'} is not one of {', '.join(FORMATS)}")
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def _without_pieces(files: list[Path]) -> list[Path]:
    """Leave out meshes that a model beside or above them names: they are pieces of it, and judged with it."""
    named: dict[Path, bytes] = {}
    for file in files:
        if file.suffix.lower() in MODELS:
            with contextlib.suppress(OSError):  # an unreadable model gets its own row
                named[file.parent] = named.get(file.parent, b"") + file.read_bytes()
    return [
        file
        for file in files
        if file.suffix.lower() in MODELS
        or not any(file.name.encode() in named[folder] for folder in file.parents if folder in named)
    ]


def make_requests(paths: Sequence[Path], options: VerifyOptions, *, seed: int = 0) -> list[VerifyRequest]:
    """Return one request per file.

    Raises:
        ConfigError: see `find_files`; or a mesh is among them and no unit was given.
    """
    files = find_files(paths)
    unclear = [path for path in files if path.suffix.lower() in UNITLESS]
    if unclear and options.units is None:
        raise ConfigError(f"{unclear[0]}: a mesh does not say in which unit it is; give --units m, cm, mm or in")
    return [_request(path, options, seed) for path in files]


def _request(path: Path, options: VerifyOptions, seed: int) -> VerifyRequest:
    """Return the request for a file, named after it: what else is judged must not make its results another's."""
    place, content = str(path.absolute()), _content(path)
    name = hashlib.sha256(f"{place}\0{content}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return VerifyRequest(f"file_{name}", place, content, seed, options)


def _content(path: Path) -> str:
    """Return a hash of what a file says; of an unreadable one, of that."""
    sha = hashlib.sha256()
    files = sorted(path.parent.rglob("*")) if path.suffix.lower() in MODELS else [path]
    for file in files:
        if file.is_file() and (file == path or file.suffix.lower() in (*MESHES, ".xml")):
            try:
                sha.update(file.name.encode() + b"\0" + file.read_bytes())
            except OSError as error:
                sha.update(f"{file.name}\0{error.errno}".encode())
    return sha.hexdigest()
