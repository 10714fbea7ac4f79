"""Several workers that train one model: the mean of their gradients is that of the batch; runs on Ray Train resume."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from generators.errors import TrainingError
from generators.ssa.checkpoint import load_model, load_tensors
from generators.ssa.dataset import DatasetConfig, make_dataset
from generators.ssa.team import Team
from generators.ssa.train_config import PhaseConfig
from generators.ssa.trainer import STATE, Trainer, Wish
from generators.ssa.training_log import TrainingLog
from scenegen import cli

ROWS = 12


@dataclasses.dataclass
class Line:
    """A phase without chance: least squares."""

    config: PhaseConfig
    module: nn.Module
    name: str = "line"
    number: int = 1

    def count(self, *, test: bool = False) -> int:
        return ROWS

    def loss(self, module, rows, generator, *, test=False):
        x = torch.linspace(-1, 1, ROWS)[torch.from_numpy(rows)][:, None]
        return {"total": (module(x) - 3 * x + 1).square().mean()}


def train_line(folder: Path, team: Team) -> None:
    torch.manual_seed(0)
    phase = Line(PhaseConfig(steps=6, batch=4, rate=0.1, last_rate=0.1, warmup=0, ema=0.5), nn.Linear(1, 1))
    trainer = Trainer(phase, 0, folder, torch.device("cpu"), TrainingLog(folder), "same", 1, 6, team)
    trainer.resume()
    assert trainer.run(lambda report: Wish.GO)


def join_and_train(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    train_line(folder, Team.joined())
    torch.distributed.destroy_process_group()


def test_two_workers_take_the_steps_of_one(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
    train_line(alone, Team())
    torch.multiprocessing.spawn(join_and_train, (together,), nprocs=2)
    expected, made = (load_tensors(folder / STATE.format("line"))[0] for folder in (alone, together))
    for name, value in expected.items():
        torch.testing.assert_close(made[name], value, rtol=1e-5, atol=1e-6)
    logs = [TrainingLog(folder).lines() for folder in (alone, together)]
    assert np.allclose(*([line["loss"] for line in log] for log in logs), rtol=1e-5)


def test_shares_of_a_batch_are_equal_and_whole() -> None:
    rows = np.arange(8)
    shares = [Team(rank, 4).share(rows) for rank in range(4)]
    assert sorted(np.concatenate(shares)) == list(rows) and {len(share) for share in shares} == {2}
    with pytest.raises(TrainingError, match="batch of 8 cannot be shared by 3 workers"):
        Team(0, 3).share(rows)


@pytest.mark.ray
@pytest.mark.slow  # Ray Train starts and ends three times
@pytest.mark.filterwarnings("ignore")  # Ray Data, which Ray Train imports, warns of itself
def test_ray_train_stops_resumes_and_finishes(tmp_path: Path) -> None:
    make_dataset(
        DatasetConfig(families=("hammer",), per_family=6, test_share=0.4, held_out_share=0.0, seed=1), tmp_path / "data"
    )
    few = "{steps: 2, batch: 2, warmup: 1, ema: 0.9}"
    (tmp_path / "train.yaml").write_text(
        f"preset: nano\nlog_every: 1\ntest_every: 2\nstructure: {few}\ndenoiser: {few}\n"
        "vae: {steps: 2, batch: 2, warmup: 1, ema: 0.9, crop: 3}\n"
    )
    command = ["train", str(tmp_path / "train.yaml"), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    stopped = CliRunner().invoke(cli.app, [*command, "--workers", "2", "--minutes", "0"])
    assert stopped.exit_code == 1, stopped.output
    assert "goes on from" in stopped.output and not (tmp_path / "run" / "model").exists()
    finished = CliRunner().invoke(cli.app, [*command, "--workers", "2"])
    assert finished.exit_code == 0, finished.output
    assert "denoiser 2/2" in finished.output
    steps = [(line["phase"], line["step"]) for line in TrainingLog(tmp_path / "run").lines()]
    assert steps == [(phase, step) for phase in ("structure", "vae", "denoiser") for step in (1, 2)]
    assert json.loads((tmp_path / "run" / "model" / "model.json").read_text())["card"]["workers"] == 2
    assert load_model(tmp_path / "run" / "model").families == ("hammer",)
    odd = CliRunner().invoke(cli.app, [*command[:-1], str(tmp_path / "odd"), "--workers", "2", "--set", "vae.batch=3"])
    assert odd.exit_code == 2 and "cannot be shared by 2 workers" in odd.output
