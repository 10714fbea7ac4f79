"""LearnedGenerator: objects sampled from a trained checkpoint, behind the interface of every generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from generators.blueprint import Blueprint, BodyBlueprint, PartBlueprint
from generators.errors import FamilyError, ParameterError, VolumeError
from generators.families import FAMILIES
from generators.ssa.checkpoint import MODEL_FILE, load_model
from generators.ssa.field import FieldConfig, FieldVolume, field_volume
from generators.ssa.flow import SamplerConfig
from generators.ssa.model import LearnedModel
from generators.ssa.presets import FILL, Preset
from generators.ssa.sample import sample_fields

SIDES = ("extent_x", "extent_y", "extent_z")
"""Names of the parameters that fix a side of the bounding box [m]."""
BUNDLED_CHECKPOINTS = {name: Path(__file__).with_name("weights") / name / MODEL_FILE for name in ("small", "nano")}
"""Checkpoints that ship with the package, by preset."""
BUNDLED_CHECKPOINT = BUNDLED_CHECKPOINTS["small"]
"""The one that is taken where none is named."""
SEEDS = 2**53
"""Seeds are below this, so that a float of the record holds them exactly [1]."""
GENUS_DRAWS = 256
"""Members of an analytic family that are drawn to learn how many handles they have [1]."""


@dataclass(frozen=True)
class LearnedConfig:
    """How samples are drawn and which of them are volumes."""

    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    field: FieldConfig = field(default_factory=FieldConfig)


@dataclass(frozen=True)
class LearnedGenerator:
    """Draws a bounding box of the family's training objects and samples one object of that size.

    Runs on one CPU thread, one object at a time, so equal chance gives equal bytes wherever it runs. The checkpoint is
    read at the first use and kept by the process.
    """

    checkpoint: Path
    config: LearnedConfig = field(default_factory=LearnedConfig)

    @property
    def model(self) -> LearnedModel:
        """Trained networks.

        Raises:
            CheckpointError: The file is missing, damaged or of another architecture.
        """
        return _loaded(self.file)

    @property
    def file(self) -> Path:
        """JSON of the checkpoint."""
        path = self.checkpoint.resolve()
        return path / MODEL_FILE if path.is_dir() else path

    @property
    def families(self) -> tuple[str, ...]:
        """Families that the checkpoint knows; all others are for another generator."""
        return self.model.families

    @property
    def resolution(self) -> int:
        """Voxels along the longest side of every body; fixed by the checkpoint [1]."""
        return body_voxels(self.model.preset)

    def generate(
        self,
        family: str,
        *,
        rng: np.random.Generator,
        resolution: int,
        parameters: Mapping[str, float] | None = None,
    ) -> Blueprint:
        """Return the blueprint of one sample; see `generators.generator.Generator`.

        Args:
            family: Name of a family that the checkpoint knows.
            rng: Draws box, noise and material.
            resolution: Must be `self.resolution`.
            parameters: Sides of the bounding box by name (`SIDES`) [m]; the others are those of a training object.

        Raises:
            FamilyError: The checkpoint does not know the family, or holds no box or material of it.
            ParameterError: A parameter is unknown or impossible, or the resolution is not that of the checkpoint.
            VolumeError: The sample bounds no solid; the text says why.
        """
        return sample_blueprint(
            self.model, family, rng=rng, resolution=resolution, parameters=parameters, config=self.config
        )


def sample_blueprint(
    model: LearnedModel,
    family: str,
    *,
    rng: np.random.Generator,
    resolution: int,
    parameters: Mapping[str, float] | None = None,
    config: LearnedConfig | None = None,
) -> Blueprint:
    """Return the blueprint of one sample of a model on the CPU; arguments and errors as `LearnedGenerator.generate`."""
    config = config or LearnedConfig()
    model.index_of(family)
    if resolution != body_voxels(model.preset):
        raise ParameterError(
            f"resolution is {resolution} voxels along the longest side, but the learned model (preset "
            f"{model.preset.name}) makes {body_voxels(model.preset)}; ask for that, or train another preset"
        )
    if model.device.type != "cpu":
        raise ParameterError(f"the model lies on {model.device}; blueprints are sampled on the CPU, to the same bytes")
    extents = draw_extents(model, family, rng, parameters or {})
    material = _draw_material(model, family, rng)
    seed = int(rng.integers(SEEDS))
    with one_thread():
        (sampled,) = sample_fields(model, families=[family], extents=[extents], seeds=[seed], config=config.sampler)
    found = field_volume(sampled, config=config.field)
    if found.volume is None:
        raise VolumeError(f"{family}: the sample of seed {seed} bounds no solid: {found.reason}")
    part = PartBlueprint(family, found.volume, material, genus=family_genus(family))
    record = {name: side for name, side in zip(SIDES, extents, strict=True)} | _record(found) | {"seed": float(seed)}
    return Blueprint(family, (BodyBlueprint(family, (part,)),), parameters=record, generator="learned")


@lru_cache(maxsize=len(FAMILIES))
def family_genus(family: str) -> tuple[int, ...] | None:
    """Return the numbers of handles that members of an analytic family have, of which a sample must have one [1].

    None for objects of several parts and for those learned from meshes: nothing is known of their handles.
    """
    if family not in FAMILIES:
        return None
    rng = np.random.default_rng(0)
    members = [FAMILIES[family].make(FAMILIES[family].sample(rng)) for _ in range(GENUS_DRAWS)]
    if any(len(parts) > 1 for parts in members):
        return None
    return tuple(sorted({parts[0].solid.genus for parts in members}))


def body_voxels(preset: Preset) -> int:
    """Return the voxels along the longest side of a body [1]."""
    return round(FILL * preset.resolution)


def draw_extents(
    model: LearnedModel, family: str, rng: np.random.Generator, parameters: Mapping[str, float]
) -> tuple[float, float, float]:
    """Return the bounding box of one training object of the family, with the sides that are given [m].

    Raises:
        FamilyError: The model holds no box of the family.
        ParameterError: A parameter is no side, or no positive length.
    """
    for name, value in parameters.items():
        if name not in SIDES:
            raise ParameterError(f"{family}: {name!r} is no parameter of the learned generator; it takes {SIDES}")
        if not (np.isfinite(value) and value > 0):
            raise ParameterError(f"{family}: {name} is {value} m, expected a positive length")
    boxes = model.boxes.get(family)
    if boxes is None or not len(boxes):
        raise FamilyError(f"the learned model holds no bounding boxes of {family!r}; train it on a data set with them")
    drawn = boxes[int(rng.integers(len(boxes)))]
    x, y, z = (float(parameters.get(name, side)) for name, side in zip(SIDES, drawn, strict=True))
    return x, y, z


def _draw_material(model: LearnedModel, family: str, rng: np.random.Generator) -> str:
    materials = model.materials.get(family, ())
    if not materials:
        raise FamilyError(f"the learned model names no material of {family!r}; train it on a data set with materials")
    return materials[int(rng.integers(len(materials)))]


def _record(found: FieldVolume) -> dict[str, float]:
    """Return what was counted on the way from the field to the volume."""
    counted = (
        *("conflicts", "jumps", "filled", "disagreeing", "pieces", "specks", "speck_nodes", "thin"),
        *("pores", "pore_nodes", "voids"),
    )
    return {f"field_{name}": float(getattr(found, name)) for name in counted}


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: sums in one order, equal bytes on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _loaded(checkpoint: Path) -> LearnedModel:
    return load_model(checkpoint)
