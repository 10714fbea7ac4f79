"""LearnedGenerator: objects sampled from a trained checkpoint, behind the interface of every generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from generators.blueprint import Blueprint, BodyBlueprint, PartBlueprint
from generators.errors import BackendError, FamilyError, ParameterError, VolumeError
from generators.families import FAMILIES
from generators.ssa.checkpoint import MODEL_FILE, load_model
from generators.ssa.field import FieldConfig, FieldVolume, field_volume
from generators.ssa.flow import SamplerConfig
from generators.ssa.model import LearnedModel
from generators.ssa.presets import FILL, Preset
from generators.ssa.sample import SampledField, sample_fields

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
class SampleRequest:
    """One sample before the networks run: all that chance decides of it."""

    family: str
    extents: tuple[float, float, float]
    """Bounding box [m]."""
    material: str
    seed: int
    """Decides its noise, whatever else is in the batch."""


@dataclass(frozen=True)
class LearnedGenerator:
    """Draws a bounding box of the family's training objects and samples one object of that size.

    On a CPU it runs on one thread, so equal chance gives equal bytes wherever it runs, one object at a time or in equal
    batches: matrix products of another batch size differ in their last bits. On CUDA a sample is equal within the
    tolerance of its kernels. The checkpoint is read at the first use and kept by the process.
    """

    checkpoint: Path
    config: LearnedConfig = field(default_factory=LearnedConfig)
    device: str = "cpu"
    """Where the networks run."""

    @property
    def model(self) -> LearnedModel:
        """Trained networks.

        Raises:
            CheckpointError: The file is missing, damaged or of another architecture.
            BackendError: CUDA is asked for where there is none.
        """
        return _loaded(self.file, self.device)

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
    """Return the blueprint of one sample of a model; arguments and errors as `LearnedGenerator.generate`."""
    config = config or LearnedConfig()
    if resolution != body_voxels(model.preset):
        raise ParameterError(
            f"resolution is {resolution} voxels along the longest side, but the learned model (preset "
            f"{model.preset.name}) makes {body_voxels(model.preset)}; ask for that, or train another preset"
        )
    request = request_sample(model, family, rng=rng, parameters=parameters or {})
    (sampled,) = sample_together(model, [request], config=config.sampler)
    return blueprint_of(request, sampled, config=config.field)


def request_sample(
    model: LearnedModel, family: str, *, rng: np.random.Generator, parameters: Mapping[str, float]
) -> SampleRequest:
    """Draw box, material and seed of one sample; arguments and errors as `LearnedGenerator.generate`."""
    model.index_of(family)
    extents = draw_extents(model, family, rng, parameters)
    material = _draw_material(model, family, rng)
    return SampleRequest(family, extents, material, int(rng.integers(SEEDS)))


def sample_together(
    model: LearnedModel, requests: Sequence[SampleRequest], *, config: SamplerConfig
) -> list[SampledField]:
    """Run the networks on several samples as one batch.

    Raises:
        BackendError: The device has no memory for so many.
    """
    try:
        with one_thread():
            return sample_fields(
                model,
                families=[request.family for request in requests],
                extents=[request.extents for request in requests],
                seeds=[request.seed for request in requests],
                config=config,
            )
    except torch.OutOfMemoryError as error:
        smaller = f"set generator.batch={len(requests) // 2}" if len(requests) > 1 else "take another device"
        raise BackendError(f"{model.device} has no memory for a batch of {len(requests)} samples; {smaller}") from error


def blueprint_of(request: SampleRequest, sampled: SampledField, *, config: FieldConfig) -> Blueprint:
    """Make the solid of a sample.

    Raises:
        VolumeError: The sample bounds no solid; the text says why.
    """
    family = request.family
    found = field_volume(sampled, config=config)
    if found.volume is None:
        raise VolumeError(f"{family}: the sample of seed {request.seed} bounds no solid: {found.reason}")
    part = PartBlueprint(family, found.volume, request.material, genus=family_genus(family))
    sides = dict(zip(SIDES, request.extents, strict=True))
    record = sides | _record(found) | {"seed": float(request.seed)}
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
def _loaded(checkpoint: Path, device: str) -> LearnedModel:
    return load_model(checkpoint, device)
