"""Making training data, training the learned generator and measuring it, with a clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenegen.config_records import read_record
from scenegen.config_text import apply_override, kind_of, parse_text
from scenegen.errors import ConfigError

if TYPE_CHECKING:
    from generators.ssa.dataset import DatasetConfig, Made
    from generators.ssa.train_config import TrainConfig
    from generators.ssa.trainer import StepReport, Wish
    from scenegen.evaluation.evaluate import Evaluation

Say = Callable[[str], None]

SAVE_SECONDS = 60.0
"""Time between two saved states: the most work a kill can cost [s]."""
LINE_SECONDS = 5.0
"""Least time between two progress lines [s]."""


def load_dataset_config(path: Path, overrides: Sequence[str] = (), meshes: Sequence[Path] = ()) -> DatasetConfig:
    """Read the configuration of a data set; each folder of meshes adds a class of its name.

    Raises:
        ConfigError: Names the file, the key and what was expected.
    """
    from generators.ssa.dataset import DatasetConfig

    data = _load(path, overrides)
    if meshes:
        classes = [{"family": folder.resolve().name, "folder": str(folder)} for folder in meshes]
        data["meshes"] = [*data.get("meshes", ()), *classes]
    return read_record(data, DatasetConfig, source=str(path))


def load_train_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read the configuration of a training run.

    Raises:
        ConfigError: Names the file, the key and what was expected.
    """
    from generators.ssa.train_config import TrainConfig

    return read_record(_load(path, overrides), TrainConfig, source=str(path))


def _load(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    try:
        data: Any = parse_text(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file in UTF-8: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, got {kind_of(data)}")
    for override in overrides:
        apply_override(data, override)
    return data


def make_data(config: DatasetConfig, out: Path, *, workers: int, say: Say) -> Made:
    """Make a data set with progress lines, and say what was refused."""
    from generators.ssa.dataset import MeshSource, make_dataset
    from physics.mesh_io import read_mesh
    from physics.thin_sheet import find_thin_sheet

    clock = Clock(say)
    made = make_dataset(
        config,
        out,
        workers=workers,
        meshes=MeshSource(read_mesh, find_thin_sheet),
        observe=lambda done, total: clock.tick("objects", done, total),
    )
    count = {split: 0 for split in ("train", "test", "held_out")}
    for entry in made.index["shards"]:
        count[entry["split"]] += entry["objects"]
    say(f"{out}: " + ", ".join(f"{number} {split}" for split, number in count.items()))
    for family, draws in made.index["draws"].items():
        say(f"  {family}: {draws} draws, walls of {config.least_wall_voxels:g} voxels or more kept")
    for note in made.index["notes"]:
        say(f"  {note[0]}: {note[1]}")
    for file, why in made.refused:
        say(f"  skipped {file}: {why}")
    return made


def train_model(
    config: TrainConfig,
    data: Path,
    out: Path,
    *,
    minutes: float | None,
    say: Say,
    workers: int = 1,
    address: str | None = None,
    only: str | None = None,
    as_is: bool = False,
) -> bool:
    """Train with progress lines; save every minute, and stop in time where minutes are given. Return whether finished.

    Where `only` names a phase, that one is trained and the model is left for a call without it. With `as_is`, phases
    that were begun are taken as they were saved last.

    Several workers share every batch, through Ray Train, on this machine or on the cluster at the address.
    """
    if workers > 1 or address is not None:
        from scenegen.pipeline.ray_train import train_on_ray

        finished = train_on_ray(
            config, data, out, workers=workers, address=address, minutes=minutes, say=say, only=only, as_is=as_is
        )
    else:
        from generators.ssa.train import train

        watch = Watch(Clock(say), minutes)
        finished = train(config, data, out, watch, encoded=watch.encoded, only=only, as_is=as_is).finished
    taken = None if only is None or getattr(config, only).steps else getattr(config, only).start
    made = f"nothing to train: the {only} is taken from {taken}" if taken else f"trained: {out / (only or 'model')}"
    say(made if finished else f"stopped; the same command goes on from {out}")
    return finished


def evaluate_model(
    checkpoint: Path,
    data: Path,
    settings: Mapping[str, int],
    baselines: Sequence[str],
    *,
    steps: int | None,
    guidance: float | None,
    workers: int,
    say: Say,
) -> Evaluation:
    """Measure a checkpoint with the limits and engines of a plain run.

    Args:
        checkpoint: Folder or JSON of the model.
        data: The data set that it was trained on.
        settings: Fields of `EvaluationConfig`.
        baselines: Other checkpoints, each as NAME=DIR.
        steps: Euler steps; those of a run where not given.
        guidance: Guidance; that of a run where not given.
        workers: Processes that draw and certify samples.
        say: Takes progress lines.

    Raises:
        ConfigError: a setting is impossible, or a baseline is not NAME=DIR.
    """
    from generators.process_map import ProcessMap
    from generators.ssa.flow import SamplerConfig
    from generators.ssa.generator import LearnedConfig
    from scenegen.assets.draw import GeneratorConfig
    from scenegen.config import check_config
    from scenegen.evaluation.evaluate import EvaluationConfig, evaluate
    from scenegen.run import build_config, measure_engines

    config = EvaluationConfig(**settings)
    others = {}
    for text in baselines:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise ConfigError(f"--baseline {text!r}: expected NAME=DIR, such as window=runs/window/model")
        others[name] = Path(folder)
    plain = GeneratorConfig()
    sampler = SamplerConfig(
        steps=plain.steps if steps is None else steps, guidance=plain.guidance if guidance is None else guidance
    )
    run = check_config({"name": "evaluation", "objects": [{"families": ["mug"], "count": 1}]}, source="evaluate")
    with ProcessMap(workers) as apply:
        return evaluate(
            checkpoint,
            data,
            config=config,
            learned=LearnedConfig(sampler=sampler),
            build=lambda: build_config(run, measure_engines(run.drop)),
            baselines=others,
            say=say,
            apply=apply,
        )


@dataclass
class Clock:
    """Progress lines with rate and time left."""

    say: Say
    begun: float = field(default_factory=time.monotonic)
    said: float = 0.0
    what: str = ""
    first: int = 0

    def tick(self, what: str, done: int, total: int, more: str = "") -> None:
        """Say how far something is, if the last line is long enough ago."""
        now = time.monotonic()
        if what != self.what:
            self.what, self.begun, self.first = what, now, done
        if now - self.said < LINE_SECONDS and done < total:
            return
        self.said = now
        rate = (done - self.first) / max(now - self.begun, 1e-9)
        pace = f"  {rate:.3g}/s  {_span((total - done) / rate)} left" if rate > 0 else ""
        self.say(f"{what} {done}/{total}{more}{pace}")


@dataclass
class Watch:
    """Observer of training: says how it goes, asks for a saved state, stops in time."""

    clock: Clock
    minutes: float | None
    begun: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)

    def __call__(self, report: StepReport) -> Wish:
        """Answer one step."""
        from generators.ssa.trainer import Wish

        test = "" if report.test is None else f"  test {report.test:.4g}"
        self.clock.tick(
            report.phase, report.step, report.steps, f"  loss {report.loss:.4g}{test}  lr {report.rate:.2g}"
        )
        now = time.monotonic()
        if self.minutes is not None and now - self.begun > 60 * self.minutes:
            return Wish.STOP
        if now - self.saved > SAVE_SECONDS:
            self.saved = now
            return Wish.SAVE
        return Wish.GO

    def encoded(self, done: int, total: int) -> None:
        """Say how many objects are encoded."""
        self.clock.tick("objects encoded", done, total)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
