"""Drawing an object: which generator makes it, and what is said where it cannot."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from generators.blueprint import Blueprint
from generators.errors import ParameterError, VolumeError
from generators.procedural import ProceduralGenerator
from scenegen.pipeline.stage import Rejection
from scenegen.provenance import item_rng

if TYPE_CHECKING:
    from generators.ssa.generator import LearnedGenerator, SampleRequest
    from generators.ssa.sample import SampledField

BUNDLED = {"bundled": "small", "bundled-small": "small", "bundled-nano": "nano"}
"""Names of the checkpoints that ship with the package, and their presets."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Which generator makes the volumes."""

    kind: Literal["procedural", "ssa", "mixed"] = "procedural"
    """`procedural`: analytic families. `ssa`: the learned generator, for families that its checkpoint knows. `mixed`:
    either, by chance."""
    resolution: Annotated[int, Field(ge=32, le=1024)] = 128
    """Voxels along the longest side of what is drawn procedurally; the learned generator's is that of its checkpoint
    [1]."""
    checkpoint: str = "bundled"
    """`bundled` (or `bundled-small`), `bundled-nano`, or the folder `model/` that `scenegen train` wrote."""
    learned_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of draws by the learned generator in `mixed` [1]."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 12
    """Euler steps of the learned generator's sampler [1]."""
    guidance: Annotated[float, Field(ge=0, le=20)] = 1.5
    """Its classifier-free guidance; 1 is none [1]."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where its networks run. Bytes are equal on CPUs; on CUDA a sample is equal within a tolerance."""
    batch: Annotated[int, Field(ge=1, le=1024)] = 1
    """Objects that are sampled together, neighbours in the request: what is in a batch follows from that alone [1]."""


@dataclass(frozen=True)
class Mate:
    """One object of a batch."""

    item_id: str
    family: str
    parameters: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DrawConfig:
    """How objects are drawn, with everything that decides the result."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    weights: str = ""
    """SHA-256 of the checkpoint's tensors, so that a result of other weights is not taken for one of these."""


def draw_config(generator: GeneratorConfig) -> DrawConfig:
    """Return how a run draws.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or of another architecture.
    """
    if generator.kind == "procedural":
        return DrawConfig(replace(GeneratorConfig(), resolution=generator.resolution))
    from generators.ssa.checkpoint import load_model, load_tensors

    if generator.checkpoint not in BUNDLED:  # stages run in other processes, with another working folder
        generator = replace(generator, checkpoint=str(Path(generator.checkpoint).resolve()))
    learned = open_learned(generator)
    load_model(learned.file)  # so that a bad checkpoint is one error of the run and not of each object
    return DrawConfig(generator, load_tensors(learned.file)[1]["tensors"]["sha256"])


def draw_object(
    config: GeneratorConfig,
    *,
    family: str,
    seed: int,
    item_id: str,
    parameters: Mapping[str, float],
    batch: Sequence[Mate] = (),
) -> tuple[Blueprint, tuple[str, ...]] | Rejection:
    """Return the blueprint of one object, with notes on how it was drawn, or why there is none.

    A family that the checkpoint does not know is drawn procedurally, and a note says so.

    Args:
        config: Which generator.
        family: Name of the family.
        seed: Seed of the run.
        item_id: Name of the object in it.
        parameters: What is given instead of drawn.
        batch: Objects that the learned generator samples with this one, itself among them; empty for it alone.
    """
    rng, notes = item_rng(seed, item_id, "generate"), ()
    try:
        if _is_learned(config, seed, item_id):
            learned = open_learned(config)
            if family in learned.families:
                return _draw_learned(config, Mate(item_id, family, dict(parameters)), seed, batch)
            notes = (f"{family}: not known to the learned generator, drawn procedurally",)
        made = ProceduralGenerator().generate(family, rng=rng, resolution=config.resolution, parameters=parameters)
    except ParameterError as error:
        return Rejection("generate", "impossible parameters", float("nan"), None, "", str(error))
    except VolumeError as error:
        return Rejection("generate", "the sample bounds no solid", float("nan"), None, "", str(error))
    return made, notes


def _is_learned(config: GeneratorConfig, seed: int, item_id: str) -> bool:
    """Return whether an object is for the learned generator, as long as that knows its family."""
    if config.kind != "mixed":
        return config.kind == "ssa"
    return bool(item_rng(seed, item_id, "kind").random() < config.learned_share)


def _draw_learned(
    config: GeneratorConfig, own: Mate, seed: int, batch: Sequence[Mate]
) -> tuple[Blueprint, tuple[str, ...]]:
    """Sample one object, in its batch; the objects of that which are not for the learned generator are left out."""
    from generators.ssa.generator import blueprint_of, request_sample

    learned = open_learned(config)

    def request(one: Mate) -> SampleRequest:
        rng = item_rng(seed, one.item_id, "generate")
        return request_sample(learned.model, one.family, rng=rng, parameters=one.parameters)

    together = [
        one for one in batch or (own,) if one.family in learned.families and _is_learned(config, seed, one.item_id)
    ]
    fields = _sampled(config, tuple(request(one) for one in together))
    made = blueprint_of(request(own), fields[together.index(own)], config=learned.config.field)
    if (config.device, len(together)) == ("cpu", 1):
        return made, ()
    return made, (f"sampled on {config.device} in a batch of {len(together)}",)


@functools.lru_cache(maxsize=2)
def _sampled(config: GeneratorConfig, requests: tuple[SampleRequest, ...]) -> list[SampledField]:
    """Return the fields of a batch; kept, as the calls that follow here are most often for the others in it."""
    from generators.ssa.generator import sample_together

    learned = open_learned(config)
    return sample_together(learned.model, requests, config=learned.config.sampler)


@functools.cache
def open_learned(config: GeneratorConfig) -> LearnedGenerator:
    """Return the learned generator that a configuration names; its weights are read at the first use."""
    from generators.ssa.flow import SamplerConfig
    from generators.ssa.generator import BUNDLED_CHECKPOINTS, LearnedConfig, LearnedGenerator

    preset = BUNDLED.get(config.checkpoint)
    file = Path(config.checkpoint) if preset is None else BUNDLED_CHECKPOINTS[preset]
    sampler = replace(SamplerConfig(), steps=config.steps, guidance=config.guidance)
    return LearnedGenerator(file, LearnedConfig(sampler=sampler), config.device)
