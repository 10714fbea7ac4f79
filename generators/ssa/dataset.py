"""Training data: members of analytic families and foreign meshes, made into shards by any number of processes.

Every object has a seed of its own and a place that was fixed before any was made, so the bytes do not depend on the
number of processes, and a run that was interrupted goes on at the shard where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from generators.errors import DatasetError, GeneratorError
from generators.families.family import Part
from generators.procedural import find_family
from generators.process_map import OrderedMap, ProcessMap
from generators.ssa.field_sampling import (
    LatticeField,
    Sheet,
    lattice_surface,
    sample_mesh,
    sample_solid,
    thickened_bounds,
)
from generators.ssa.presets import FILL, PRESETS, Preset
from generators.ssa.shards import FORMAT, INDEX, SPLITS, Shard, read_shard, write_json, write_shard
from generators.voxelize import unresolved_area
from physics.mesh import Mesh

LEAST_NOTED = 1e-3
"""Share of the area of a mesh from which on closed gaps are listed [1]."""
MeshReader = Callable[[Path], Mesh]
"""Reads a mesh file; a function at the top of a module, so that it travels between processes."""
SheetFinder = Callable[[Mesh, float], Sheet | None]
"""Finds the middle of all walls thinner than so much [m]; a function at the top of a module, too."""


@dataclass(frozen=True)
class MeshSource:
    """How files become meshes."""

    read: MeshReader
    thin_sheet: SheetFinder


@dataclass(frozen=True)
class MeshClass:
    """A folder of meshes as one class."""

    family: str
    """Name of the class."""
    folder: str
    materials: tuple[str, ...] = ("polypropylene",)
    """Materials that its objects may be made of."""
    scale: float = 1.0
    """Metres per unit of the files."""
    thicken: bool = True
    """Whether walls thinner than `least_wall_voxels` are made as thick as that; what is lost otherwise is refused."""


@dataclass(frozen=True)
class DatasetConfig:
    """What is drawn, and how it is divided."""

    preset: str = "nano"
    families: tuple[str, ...] = ()
    """Analytic families."""
    per_family: int = 600
    """Objects of each family [1]."""
    meshes: tuple[MeshClass, ...] = ()
    seed: int = 0
    least_wall_voxels: float = 2.0
    """Thinnest wall or gap [voxel]; members with a thinner one are drawn again."""
    attempts: int = 200
    """Draws for one object before the family is refused as too thin for the lattice [1]."""
    test_share: float = 0.1
    """Share of the objects that are kept for tests: new seeds, the same ranges [1]."""
    held_out_share: float = 0.1
    """Share of each family whose boxes are kept out of training: a range of height over width [1]."""
    unresolved_limit: float = 0.05
    """Share of a mesh's outer area that may bound lost walls; a mesh that loses more is refused [1]."""
    shard_objects: int = 100
    """Objects per file [1]."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise DatasetError(f"preset {self.preset!r} is none of {', '.join(PRESETS)}")
        if not self.families and not self.meshes:
            raise DatasetError("a data set needs families or meshes, got neither")
        names = [*self.families, *(one.family for one in self.meshes)]
        if len(set(names)) != len(names):
            raise DatasetError(f"a family is named twice: {', '.join(names)}")
        if min(self.per_family, self.shard_objects, self.attempts) < 1 or self.seed < 0:
            raise DatasetError("per_family, shard_objects and attempts must be at least 1, and seed at least 0")
        if not (0 <= self.test_share < 1 and 0 <= self.held_out_share < 1 and self.least_wall_voxels > 0):
            raise DatasetError("test_share and held_out_share must lie in [0, 1), and least_wall_voxels be positive")
        for family in self.families:
            find_family(family)


@dataclass(frozen=True)
class Item:
    """One object before it is made."""

    family: str
    number: int
    """Place within the family."""
    extents: tuple[float, float, float]
    """Bounding box [m]."""
    draws: int = 1
    """Draws that it took, too thin ones included [1]."""
    file: str | None = None
    """Mesh file; None for a member of an analytic family."""
    scale: float = 1.0
    thicken: bool = False
    open_edges: int = 0
    """Edges of a mesh that do not join two triangles; it is closed by its winding number [1]."""
    split: str = "train"

    @property
    def aspect(self) -> float:
        """Height over the longer horizontal side [1]."""
        x, y, z = self.extents
        return z / max(x, y)


@dataclass(frozen=True)
class Made:
    """What became of a plan."""

    index: dict[str, Any]
    """What dataset.json says."""
    refused: tuple[tuple[str, str], ...] = field(default=())
    """Mesh files that are not in the data set, and why."""


def make_dataset(
    config: DatasetConfig,
    folder: Path,
    *,
    workers: int = 1,
    meshes: MeshSource | None = None,
    observe: Callable[[int, int], None] | None = None,
) -> Made:
    """Write a data set; the same call again goes on where it stopped.

    Args:
        config: What to draw.
        folder: Where the shards and dataset.json go; dataset.json is written last.
        workers: Processes; the bytes do not depend on it.
        meshes: Reads mesh files; needed where `config.meshes` names folders.
        observe: Called with the objects that are done, and all.

    Raises:
        DatasetError: a folder of meshes that is empty, a family too thin for the lattice, or a folder that holds
            another data set.
    """
    _claim(folder, config)
    with ProcessMap(workers) as apply:
        items, refused = _plan(config, meshes, apply)
        items = _split(items, config)
        batches = _batches(items, config.shard_objects)
        tasks = [(config, folder, name, batch, meshes) for name, batch in batches]
        entries, notes, done = [], [], 0
        for entry, wrong, said in apply(_make_shard, tasks):
            entries += [entry] if entry else []
            refused += wrong
            notes += said
            done += (entry["objects"] if entry else 0) + len(wrong)
            if observe:
                observe(done, len(items))
    index = _index(config, items, entries, refused, notes)
    write_json(folder / INDEX, index)
    return Made(index, tuple(refused))


def _claim(folder: Path, config: DatasetConfig) -> None:
    """Make the folder this configuration's own, or refuse it."""
    path, mine = folder / "config.json", json.loads(json.dumps(asdict(config)))
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != mine:
            raise DatasetError(f"{folder} holds a data set of another configuration; choose another folder")
        return
    if folder.exists() and any(folder.glob("*.npz")):
        raise DatasetError(f"{folder} holds shards but no config.json; choose another folder")
    write_json(path, mine)


def _plan(
    config: DatasetConfig, meshes: MeshSource | None, apply: OrderedMap
) -> tuple[list[Item], list[tuple[str, str]]]:
    """Return every object with its box, and the mesh files that cannot be read."""
    drawn = [(config, family, number) for family in config.families for number in range(config.per_family)]
    items: list[Item] = list(apply(_draw, drawn))
    refused: list[tuple[str, str]] = []
    for group in config.meshes:
        files = _mesh_files(Path(group.folder))
        if meshes is None:
            raise DatasetError(f"{group.folder}: meshes need a reader")
        measured = apply(_measure, [(config, group, number, file, meshes) for number, file in enumerate(files)])
        for file, result in zip(files, measured, strict=True):
            if isinstance(result, Item):
                items.append(result)
            else:
                refused.append((str(file), result))
        if not any(item.family == group.family for item in items):
            raise DatasetError(f"{group.folder}: none of {len(files)} meshes can be used; the first: {refused[-1][1]}")
    return items, refused


def _mesh_files(folder: Path) -> list[Path]:
    suffixes = (".obj", ".stl", ".ply", ".glb", ".off")
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; --meshes takes a folder with {', '.join(suffixes)} files")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    if not files:
        raise DatasetError(f"{folder} holds no mesh; expected {', '.join(suffixes)} files, in subfolders too")
    return files


def _rng(seed: int, family: str, number: int) -> np.random.Generator:
    """Return the chance of one object, which depends on nothing but these three."""
    word = int.from_bytes(hashlib.sha256(family.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, word, number])


def _parts(config: DatasetConfig, family: str, number: int) -> tuple[tuple[Part, ...], np.ndarray, int]:
    """Return the parts of a member that is thick enough for the lattice, its box (2, 3) [m], and the draws it took."""
    kind, rng = find_family(family), _rng(config.seed, family, number)
    length = FILL * PRESETS[config.preset].resolution
    for draw in range(1, config.attempts + 1):
        parts = kind.make(kind.sample(rng))
        bounds = np.stack(
            [
                np.min([part.solid.bounds[0] for part in parts], axis=0),
                np.max([part.solid.bounds[1] for part in parts], axis=0),
            ]
        )
        voxel = float((bounds[1] - bounds[0]).max()) / length
        if min(part.solid.wall for part in parts) >= config.least_wall_voxels * voxel:
            return parts, bounds, draw
    raise DatasetError(
        f"{family}: none of {config.attempts} draws has walls of {config.least_wall_voxels:g} voxels at preset "
        f"{config.preset}; leave the family out, lower least_wall_voxels, or take a finer preset"
    )


def _draw(task: tuple[DatasetConfig, str, int]) -> Item:
    config, family, number = task
    _, bounds, draws = _parts(config, family, number)
    x, y, z = (bounds[1] - bounds[0]).tolist()
    return Item(family, number, (x, y, z), draws)


def _measure(task: tuple[DatasetConfig, MeshClass, int, Path, MeshSource]) -> Item | str:
    """Return the item of a mesh file, with the box that it has once it is thickened, or why it cannot be read."""
    config, group, number, file, meshes = task
    try:
        mesh = meshes.read(file)
    except Exception as error:  # a foreign file may break a reader in any way; it is listed, never hidden
        return f"cannot be read: {type(error).__name__}: {error}"
    if not len(mesh.faces) or not float(mesh.extents.min()) > 0 or not np.isfinite(mesh.extents).all():
        return f"has {len(mesh.faces)} faces and a box of {mesh.extents.tolist()}: no solid"
    mesh = Mesh(mesh.vertices * group.scale, mesh.faces)
    try:
        sheet = _thin_sheet(config, mesh, meshes.thin_sheet) if group.thicken else None
    except Exception as error:
        return f"cannot be thickened: {error}"
    low, high = thickened_bounds(mesh, sheet)
    x, y, z = (high - low).tolist()
    return Item(
        group.family,
        number,
        (x, y, z),
        file=str(file),
        scale=group.scale,
        thicken=group.thicken,
        open_edges=_open_edges(mesh),
    )


def _thin_sheet(config: DatasetConfig, mesh: Mesh, find: SheetFinder) -> Sheet | None:
    # The thicker solid is at most a wall longer, and its voxels so much larger.
    wall = config.least_wall_voxels * float(mesh.extents.max())
    return find(mesh, wall / (FILL * PRESETS[config.preset].resolution - config.least_wall_voxels))


def _open_edges(mesh: Mesh) -> int:
    """Return how many edges, by position, are not run through once in each direction as often."""
    _, vertex = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = vertex.reshape(-1)[mesh.faces].astype(np.int64)
    first, second = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    key = np.minimum(first, second) * len(mesh.vertices) + np.maximum(first, second)
    _, edge = np.unique(key, return_inverse=True)
    return int((np.bincount(edge.reshape(-1), np.sign(second - first)) != 0).sum())


def _split(items: Sequence[Item], config: DatasetConfig) -> list[Item]:
    """Return the items with their splits: a range of aspects is held out, and of the rest every n-th is for tests.

    The range lies at three quarters of the aspects of a family, so that training sees boxes on both sides of it.
    """
    result = []
    for family, group in groupby(items, key=lambda item: item.family):
        members = list(group)
        aspects = np.array([item.aspect for item in members])
        low, high = np.quantile(
            aspects, np.clip([0.75 - config.held_out_share / 2, 0.75 + config.held_out_share / 2], 0, 1)
        )
        tests = _rng(config.seed, f"{family} split", 0).random(len(members)) < config.test_share
        for item, test in zip(members, tests, strict=True):
            held_out = config.held_out_share > 0 and low <= item.aspect <= high and high > low
            result.append(replace(item, split="held_out" if held_out else "test" if test else "train"))
    return result


def _batches(items: Sequence[Item], size: int) -> list[tuple[str, list[Item]]]:
    """Return shard names and their items: by split, families mixed as they were planned."""
    batches = []
    for split in SPLITS:
        chosen = [item for item in items if item.split == split]
        for place in range(0, len(chosen), size):
            batches.append((f"{split}-{place // size:05d}.npz", chosen[place : place + size]))
    return batches


def _make_shard(
    task: tuple[DatasetConfig, Path, str, list[Item], MeshSource | None],
) -> tuple[dict[str, Any] | None, list[tuple[str, str]], list[tuple[str, str]]]:
    """Make one shard, unless a whole one is there.

    Returns its entry in the index, the files that could not be made with the reason, and those that were altered.
    """
    config, folder, name, items, meshes = task
    note = folder / f"{name}.json"
    if note.exists() and (folder / name).exists():
        said = json.loads(note.read_text(encoding="utf-8"))
        read_shard(folder / name, said["entry"]["sha256"])
        refused, altered = ([(file, why) for file, why in said[key]] for key in ("refused", "altered"))
        return said["entry"], refused, altered
    fields: list[LatticeField] = []
    families, refused, altered = [], [], []
    order = [*config.families, *(one.family for one in config.meshes)]
    for item in items:
        try:
            made, changed = _make(config, item, meshes)
            fields.append(made)
            families.append(order.index(item.family))
            altered += [(item.file, changed)] if changed and item.file else []
        except GeneratorError as error:
            if item.file is None:
                raise
            refused.append((item.file, str(error)))
    if not fields:
        return None, refused, []
    resolution = PRESETS[config.preset].resolution
    digest = write_shard(Shard.of(fields, families), folder / name, resolution=resolution)
    entry = {"file": name, "split": items[0].split, "objects": len(fields), "sha256": digest}
    write_json(note, {"entry": entry, "refused": refused, "altered": altered})
    return entry, refused, altered


def _make(config: DatasetConfig, item: Item, meshes: MeshSource | None) -> tuple[LatticeField, str]:
    """Return the field of an object, and in words how a mesh was altered."""
    preset: Preset = PRESETS[config.preset]
    if item.file is None:
        parts, bounds, _ = _parts(config, item.family, item.number)
        distances = [part.solid.distance for part in parts]
        return sample_solid(distances, bounds, resolution=preset.resolution, downsampling=preset.downsampling), ""
    if meshes is None:
        raise DatasetError(f"{item.file}: meshes need a reader")
    mesh = meshes.read(Path(item.file))
    mesh = Mesh(mesh.vertices * item.scale, mesh.faces)
    sheet = _thin_sheet(config, mesh, meshes.thin_sheet) if item.thicken else None
    made = sample_mesh(
        mesh,
        resolution=preset.resolution,
        downsampling=preset.downsampling,
        closed=item.open_edges == 0,
        sheet=sheet,
    )
    # What was thickened is off by up to half of the wall, a quarter of a voxel more for its lattice.
    reach = made.voxel_size if sheet is None else max(made.voxel_size, sheet.radius + made.voxel_size / 4)
    unresolved = unresolved_area(mesh, lattice_surface(made, thickened_bounds(mesh, sheet)), reach=reach)
    if unresolved.walls > config.unresolved_limit:
        raise DatasetError(
            f"{unresolved.walls:.1%} of its outer area is thinner than the lattice resolves, limit "
            f"{config.unresolved_limit:.1%}"
        )
    changes = []
    if sheet is not None:
        changes.append(
            f"thickened to {config.least_wall_voxels:g} voxels under {sheet.share:.1%} of its area, where walls were "
            f"{sheet.thinnest / made.voxel_size:.2g} voxels and more"
        )
    if unresolved.gaps >= LEAST_NOTED:
        changes.append(
            f"gaps closed under {unresolved.gaps:.1%} of its area, which are narrower than the lattice shows"
        )
    return made, "; ".join(changes)


def _index(
    config: DatasetConfig,
    items: Sequence[Item],
    entries: Sequence[dict[str, Any]],
    refused: Sequence[tuple[str, str]],
    altered: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    preset = PRESETS[config.preset]
    materials = {}
    for family in config.families:
        kind = find_family(family)
        parts = kind.make(kind.sample(_rng(config.seed, family, 0)))
        materials[family] = sorted({name for part in parts for name in part.materials})
    materials |= {one.family: list(one.materials) for one in config.meshes}
    held_out = {
        family: [
            f(item.aspect for item in items if item.family == family and item.split == "held_out") for f in (min, max)
        ]
        for family in materials
        if any(item.family == family and item.split == "held_out" for item in items)
    }
    draws = Counter()
    for item in items:
        draws[item.family] += item.draws
    return {
        "format": FORMAT,
        "config": json.loads(json.dumps(asdict(config))),
        "preset": config.preset,
        "resolution": preset.resolution,
        "downsampling": preset.downsampling,
        "families": list(materials),
        "materials": materials,
        "draws": dict(draws),
        "held_out_aspects": held_out,
        "notes": [
            *([one.file, f"open at {one.open_edges} edges, closed"] for one in items if one.open_edges),
            *map(list, altered),
        ],
        "refused": [list(pair) for pair in refused],
        "shards": list(entries),
    }
