"""Drawing an object: which generator makes it, and what is said where it cannot."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from generators.blueprint import Blueprint
from generators.errors import ParameterError, VolumeError
from generators.procedural import ProceduralGenerator
from scenegen.pipeline.stage import Rejection
from scenegen.provenance import item_rng

if TYPE_CHECKING:
    from generators.ssa.generator import LearnedGenerator

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
    config: GeneratorConfig, *, family: str, seed: int, item_id: str, parameters: Mapping[str, float]
) -> tuple[Blueprint, tuple[str, ...]] | Rejection:
    """Return the blueprint of one object, with notes on how it was drawn, or why there is none.

    A family that the checkpoint does not know is drawn procedurally, and a note says so.
    """
    rng, notes = item_rng(seed, item_id, "generate"), ()
    try:
        if config.kind != "procedural" and _is_learned(config, item_rng(seed, item_id, "kind")):
            learned = open_learned(config)
            if family in learned.families:
                return learned.generate(family, rng=rng, resolution=learned.resolution, parameters=parameters), ()
            notes = (f"{family}: not known to the learned generator, drawn procedurally",)
        made = ProceduralGenerator().generate(family, rng=rng, resolution=config.resolution, parameters=parameters)
    except ParameterError as error:
        return Rejection("generate", "impossible parameters", float("nan"), None, "", str(error))
    except VolumeError as error:
        return Rejection("generate", "the sample bounds no solid", float("nan"), None, "", str(error))
    return made, notes


def _is_learned(config: GeneratorConfig, rng: np.random.Generator) -> bool:
    return config.kind == "ssa" or bool(rng.random() < config.learned_share)


@functools.cache
def open_learned(config: GeneratorConfig) -> LearnedGenerator:
    """Return the learned generator that a configuration names; its weights are read at the first use."""
    from generators.ssa.flow import SamplerConfig
    from generators.ssa.generator import BUNDLED_CHECKPOINTS, LearnedConfig, LearnedGenerator

    preset = BUNDLED.get(config.checkpoint)
    file = Path(config.checkpoint) if preset is None else BUNDLED_CHECKPOINTS[preset]
    sampler = replace(SamplerConfig(), steps=config.steps, guidance=config.guidance)
    return LearnedGenerator(file, LearnedConfig(sampler=sampler))
