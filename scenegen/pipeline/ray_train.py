"""Training on many processes or GPUs: Ray Train starts a team that shares every batch, and again if it dies."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scenegen.errors import ExecutorError
from scenegen.pipeline.ray_session import ray_session

if TYPE_CHECKING:
    from generators.ssa.train_config import TrainConfig

FAILURES = 3
"""Deaths of a worker after which training goes on from its last saved state; one more ends it [1]."""
POLL_SECONDS = 0.5
"""Time between two looks for progress lines [s]."""
PROGRESS = "progress.txt"
"""File in the folder of a run to which the first of the team writes its progress lines."""


def train_on_ray(
    config: TrainConfig,
    data: Path,
    out: Path,
    *,
    workers: int,
    address: str | None,
    minutes: float | None,
    say: Callable[[str], None],
    only: str | None = None,
    as_is: bool = False,
) -> bool:
    """Train with a team of Ray workers, each with one GPU where the configuration says `cuda`; return whether finished.

    Args:
        config: Settings; the batches must be multiples of `workers`.
        data: Data set, in a folder that all nodes see.
        out: Folder of the run, likewise.
        workers: Processes of the team.
        address: Cluster to join; None starts a local Ray.
        minutes: Stop after so long, resumable.
        say: Takes progress lines.
        only: Phase to train; all of them where not given.
        as_is: Take phases that were begun as they were saved last.

    Raises:
        TrainingError: a batch cannot be shared equally.
        ExecutorError: Ray Train is not installed, the cluster does not answer, or workers died too often.
    """
    from generators.ssa.team import Team

    for phase in (config.vae, config.structure, config.denoiser):
        Team(size=workers).share(np.arange(phase.batch))  # a worker's error is tried again, this one need not be
    trainer_class = _trainer_class()
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    on_gpu = config.device.startswith("cuda")
    asked = {"config": config, "data": str(data.resolve()), "out": str(out.resolve())}
    asked |= {"minutes": minutes, "only": only, "as_is": as_is}
    out.mkdir(parents=True, exist_ok=True)
    progress = out / PROGRESS
    progress.write_text("", encoding="utf-8")
    with ray_session(address=address, workers=workers + 1), _Echo(progress, say):  # one CPU for Ray Train's own actor
        trainer = trainer_class(
            _train_in_team,
            train_loop_config=asked,
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpu),
            run_config=RunConfig(
                name="ray", storage_path=str(out.resolve()), failure_config=FailureConfig(max_failures=FAILURES)
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # Ray Train wraps what workers raise; the last line names it
            raise ExecutorError(f"training on {workers} workers failed: {_reason(error)}") from error
    from generators.ssa.train import MODEL

    return (out / (MODEL if only is None else f"{only}.json")).exists()


def _trainer_class() -> type:
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    try:
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise ExecutorError(
            "training on several workers needs Ray Train: pip install --constraint requirements.lock '.[train]'"
        ) from error
    return TorchTrainer


def _train_in_team(asked: dict) -> None:
    """Train as one of the team. Runs in a Ray worker, where torch's process group is up."""
    from generators.ssa.train import train
    from scenegen.learn import Clock, Watch

    out = Path(asked["out"])

    def say(line: str) -> None:
        with (out / PROGRESS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    watch = Watch(Clock(say), asked["minutes"])
    how = {"only": asked["only"], "as_is": asked["as_is"]}
    train(asked["config"], Path(asked["data"]), out, watch, encoded=watch.encoded, **how)


class _Echo:
    """Says the lines that are added to a file, for as long as it is entered."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        with self._path.open(encoding="utf-8") as file:
            ended = False
            while not ended:
                ended = self._ended.wait(POLL_SECONDS)
                for line in file:
                    self._say(line.rstrip("\n"))


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
