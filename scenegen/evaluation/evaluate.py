"""`scenegen evaluate`: all figures of a checkpoint, with baselines in the same run, as one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from generators.process_map import OrderedMap
from scenegen.errors import ConfigError
from scenegen.evaluation.certification import Certified, certify_samples
from scenegen.evaluation.likeness import Likeness, measure_likeness, real_clouds
from scenegen.evaluation.raw import RawFigures, raw_figures
from scenegen.evaluation.real import first_objects, held_out_boxes, nearest_objects
from scenegen.evaluation.samples import Sample, draw_samples

if TYPE_CHECKING:
    from generators.ssa.generator import LearnedConfig
    from generators.ssa.model import LearnedModel
    from scenegen.assets.build import BuildConfig

Say = Callable[[str], None]

LEAST_SAMPLES = 8
"""With fewer samples no figure means anything [1]."""
RECONSTRUCTED = 48
"""Test objects that are reconstructed [1]."""
LEARNED, TRAINING, RETRIEVAL = "learned", "training objects", "retrieval"
"""Names of the sets that are always there."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How much is drawn."""

    samples: int = 64
    certify: int = 32
    """The first so many samples go through the whole chain; at most `samples`."""
    seed: int = 0
    known: int = 48
    """Training objects of each family among which the nearest is looked for [1]."""

    def __post_init__(self) -> None:
        if self.samples < LEAST_SAMPLES:
            raise ConfigError(f"{self.samples} samples tell nothing; ask for at least {LEAST_SAMPLES}")
        if not 0 <= self.certify <= self.samples:
            raise ConfigError(f"{self.certify} samples to certify, but {self.samples} are drawn")


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured."""

    checkpoint: str
    preset: str
    families: tuple[str, ...]
    config: EvaluationConfig
    steps: int
    guidance: float
    reconstruction: tuple[float, float]
    """Median IoU of test objects and their reconstructions, and the worst tenth of it [1]."""
    raw: dict[str, RawFigures]
    """By checkpoint: "learned", then the baselines."""
    likeness: dict[str, Likeness]
    """By set: the checkpoints, training objects in the samples' place, and the training objects of nearest box."""
    certified: Certified
    samples: tuple[Sample, ...] = field(repr=False, default=())
    """Those of "learned"; not part of the record."""


def evaluate(
    checkpoint: Path,
    data: Path,
    *,
    config: EvaluationConfig,
    learned: LearnedConfig,
    build: Callable[[], BuildConfig],
    baselines: Mapping[str, Path],
    say: Say,
    apply: OrderedMap,
) -> Evaluation:
    """Measure a checkpoint on boxes that training never saw.

    Args:
        checkpoint: Folder or JSON of the model.
        data: The data set that it was trained on.
        config: How much is drawn.
        learned: Sampler and limits of the field.
        build: Gives the chain that certifies; called only when there is something to certify.
        baselines: Other checkpoints by name, drawn for the same boxes and seeds.
        say: Takes progress lines.
        apply: Maps over samples, in any number of processes; the figures do not depend on it.

    Raises:
        CheckpointError: a checkpoint is missing, damaged or of another architecture.
        DatasetError: the data set is missing or damaged.
        ConfigError: data and checkpoint do not belong together, or a baseline has a name that is taken.
    """
    from generators.ssa.point_metrics import surface_cloud
    from generators.ssa.reconstruction import reconstruction_iou
    from generators.ssa.shards import load_dataset

    if taken := set(baselines) & {LEARNED, TRAINING, RETRIEVAL}:
        raise ConfigError(f"a baseline cannot be called {taken.pop()!r}: that set is there already")
    checkpoints = {LEARNED: checkpoint, **baselines}
    model, *_ = [_load(path, data) for path in checkpoints.values()]

    iou = reconstruction_iou(model, load_dataset(data, "test"), RECONSTRUCTED, rng=np.random.default_rng(config.seed))
    say(f"reconstructed {len(iou)} test objects: median IoU {np.median(iou):.3f}")

    families, cell = model.families, model.preset.downsampling
    asked = held_out_boxes(data, families, config.samples)
    per_family = -(-config.samples // len(families))
    references = real_clouds(first_objects(data, "unseen", families, per_family, cell), apply)
    known = real_clouds(first_objects(data, "seen", families, config.known, cell), apply)
    say(f"surfaced {len(references)} unseen and {len(known)} seen objects")
    raw: dict[str, RawFigures] = {}
    likeness: dict[str, Likeness] = {}
    drawn: dict[str, tuple[Sample, ...]] = {}
    for name, path in checkpoints.items():
        found = []
        for sample in draw_samples(path, asked, seed=config.seed, config=learned, apply=apply):
            found.append(sample)
            if len(found) % 8 == 0:
                say(f"{name}: {len(found)} of {config.samples} samples")
        drawn[name] = tuple(found)
        raw[name] = raw_figures(found)
        clouds = [surface_cloud(sample.mesh) for sample in found if sample.mesh is not None]
        if len(clouds) > 1:
            likeness[name] = measure_likeness(clouds, references, known, apply=apply)
    trained = real_clouds(first_objects(data, "seen", families, per_family, cell), apply)
    retrieved = real_clouds(nearest_objects(data, asked, cell), apply)
    likeness[TRAINING] = measure_likeness(trained, references, None, apply=apply)
    likeness[RETRIEVAL] = measure_likeness(retrieved, references, None, apply=apply)
    say("compared with held-out objects")

    certified = Certified(0, 0, 0, {})
    if config.certify:
        asked_for = drawn[LEARNED][: config.certify]
        certified = certify_samples(
            asked_for, build(), lambda done, total: say(f"certified or rejected {done} of {total}"), apply=apply
        )
    return Evaluation(
        checkpoint=str(checkpoint),
        preset=model.preset.name,
        families=model.families,
        config=config,
        steps=learned.sampler.steps,
        guidance=learned.sampler.guidance,
        reconstruction=(float(np.median(iou)), float(np.percentile(iou, 10))),
        raw=raw,
        likeness=likeness,
        certified=certified,
        samples=drawn[LEARNED],
    )


def _load(checkpoint: Path, data: Path) -> LearnedModel:
    """Read a checkpoint, and refuse one that another data set was made for."""
    from generators.ssa.checkpoint import load_model
    from generators.ssa.shards import load_dataset

    model, held_out = load_model(checkpoint), load_dataset(data, "held_out")
    if held_out.index["preset"] != model.preset.name:
        raise ConfigError(
            f"{data} was made for preset {held_out.index['preset']}, the checkpoint {checkpoint} is of preset "
            f"{model.preset.name}; give the data set that it was trained on"
        )
    return model
