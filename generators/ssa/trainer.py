"""The loop of one phase: AdamW, cosine, average of the weights; stopped and resumed anywhere with the same weights.

All chance of a step follows from the seed, the phase and the number of the step, so a checkpoint holds the weights,
their average and the moments of the optimiser, and nothing else.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from generators.errors import TrainingError
from generators.ssa.checkpoint import load_tensors, load_weights, save_tensors
from generators.ssa.phases import Phase
from generators.ssa.team import Team
from generators.ssa.train_config import PhaseConfig
from generators.ssa.training_log import TrainingLog

STATE = "state_{}.json"
"""Name of the resumable state of a phase."""
TEST_STREAM = 1 << 20
"""Step number whose chance the losses on the test split use."""


class Wish(StrEnum):
    """What an observer wants after a step; it has no influence on the weights."""

    GO = "go"
    SAVE = "save"
    STOP = "stop"


@dataclass(frozen=True)
class StepReport:
    """One optimiser step that is done."""

    phase: str
    step: int
    """Steps done in this phase [1]."""
    steps: int
    """Steps of this phase [1]."""
    loss: float
    rate: float
    """Learning rate [1]."""
    test: float | None = None
    """Last loss on the test split, with averaged weights."""


Observer = Callable[[StepReport], Wish]


def learning_rate(config: PhaseConfig, step: int) -> float:
    """Return the rate of a step, from 0 on: linear warm-up, then a cosine (Loshchilov & Hutter 2017, equation 5)."""
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.last_rate + (config.rate - config.last_rate) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def chance(seed: int, *stream: int, device: torch.device | str = "cpu") -> tuple[np.random.Generator, torch.Generator]:
    """Return the generators of one stream of a seed, for NumPy and for torch on a device."""
    sequence = np.random.SeedSequence([seed, *stream])
    word = sequence.generate_state(1, np.uint64)[0]
    return np.random.default_rng([seed, *stream]), torch.Generator(device).manual_seed(int(word) >> 1)


@dataclass
class Trainer:
    """Trains the network of one phase."""

    phase: Phase
    seed: int
    folder: Path
    """Where the state and the log go."""
    device: torch.device
    log: TrainingLog
    identity: str
    """Hash of everything that the weights depend on."""
    log_every: int = 20
    test_every: int = 200
    team: Team = field(default_factory=Team)
    """Who shares the batches; the same weights are in all of them at every step."""
    bfloat16: bool = False
    """Whether matrix products are taken in that precision."""
    step: int = 0
    test_loss: float | None = None
    average: nn.Module = field(init=False)
    """The network with averaged weights."""

    def __post_init__(self) -> None:
        config = self.phase.config
        self.phase.module.to(self.device).train()
        self.average = copy.deepcopy(self.phase.module).eval().requires_grad_(False)
        self.parameters = [p for p in self.phase.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=self.device.type == "cuda",
        )

    def run(self, observe: Observer) -> bool:
        """Train to the last step; return False where the observer stopped it. The state is saved in both cases."""
        steps, window = self.phase.config.steps, []
        while self.step < steps:
            terms = self.one_step()
            window.append(terms)
            if self.step % self.log_every == 0 or self.step == steps:
                if self.team.first:
                    self._write_line(window)
                window = []
            wish = self.team.agree(observe(self._report(terms["total"])) if self.team.first else Wish.GO)
            if wish == Wish.STOP and self.step < steps:
                self.save()
                return False
            if wish == Wish.SAVE:
                self.save()
        self.save()
        return True

    def one_step(self) -> dict[str, float]:
        """Do one optimiser step; return the losses.

        Raises:
            TrainingError: the loss is not finite, or the device has no memory left for the batch.
        """
        config = self.phase.config
        rows_rng, generator = chance(self.seed, self.phase.number, self.step, device=self.device)
        if self.team.size > 1:
            generator = chance(self.seed, self.phase.number, self.step, *self.team.stream, device=self.device)[1]
        count = self.phase.count()
        rows = self.team.share(np.sort(rows_rng.choice(count, size=config.batch, replace=config.batch > count)))
        rate = learning_rate(config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        try:
            with self._precision():
                terms = self.phase.loss(self.phase.module, rows, generator)
            self.optimizer.zero_grad(set_to_none=True)
            terms["total"].backward()
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"phase {self.phase.name}: the device has no memory for a batch of {config.batch}; "
                f"set {self.phase.name}.batch={max(1, config.batch // 2)}"
            ) from error
        losses = torch.stack([term.detach().float() for term in terms.values()])
        self._exchange(losses)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, config.clip)
        *values, norm = torch.cat([losses, norm.detach().float()[None]]).tolist()  # one wait for the device
        values = dict(zip(terms, values, strict=True))
        if not math.isfinite(values["total"]) or not math.isfinite(norm):
            raise TrainingError(
                f"phase {self.phase.name}, step {self.step}: loss {values['total']}, gradient {norm}: "
                f"training diverged; lower {self.phase.name}.rate (now {config.rate})"
            )
        self.optimizer.step()
        self._follow()
        self.step += 1
        return values

    @torch.no_grad()
    def _exchange(self, losses: Tensor) -> None:
        """Average gradients and losses over the team; a weight that a share did not use has gradient zero there."""
        if self.team.size > 1:
            for parameter in self.parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self.team.average([*(p.grad for p in self.parameters if p.grad is not None), losses])

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the weights."""
        decay = min(self.phase.config.ema, (1 + self.step) / (10 + self.step))
        own, average = self.phase.module.state_dict(), self.average.state_dict()
        moving = [name for name, value in average.items() if value.is_floating_point()]
        mine = [own[name] for name in moving]
        torch._foreach_lerp_([average[name] for name in moving], mine, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
        for name in average.keys() - set(moving):
            average[name].copy_(own[name])

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)

    @torch.no_grad()
    def _test(self) -> float:
        """Return the loss of the averaged weights on a batch of the test split that is always the same."""
        rows_rng, generator = chance(self.seed, self.phase.number, TEST_STREAM, device=self.device)
        count = self.phase.count(test=True)
        rows = np.sort(rows_rng.choice(count, size=min(count, 4 * self.phase.config.batch), replace=False))
        with self._precision():
            return float(self.phase.loss(self.average, rows, generator, test=True)["total"])

    def _write_line(self, window: list[dict[str, float]]) -> None:
        means = {name: float(np.mean([terms[name] for terms in window])) for name in window[0]}
        line: dict[str, Any] = {"phase": self.phase.name, "step": self.step, "loss": means.pop("total")}
        line |= {"terms": means, "rate": learning_rate(self.phase.config, self.step - 1)}
        if self.step % self.test_every == 0 or self.step == self.phase.config.steps:
            self.test_loss = line["test"] = self._test()
        self.log.write(line)

    def _report(self, loss: float) -> StepReport:
        rate = learning_rate(self.phase.config, self.step - 1)
        return StepReport(self.phase.name, self.step, self.phase.config.steps, loss, rate, self.test_loss)

    @property
    def _state(self) -> Path:
        return self.folder / STATE.format(self.phase.name)

    def save(self) -> None:
        """Write the state, whole or not at all."""
        with self.team.alone() as first:
            if first:
                self._save()

    def _save(self) -> None:
        tensors: dict[str, Tensor] = {}
        for kind, module in (("weights", self.phase.module), ("average", self.average)):
            tensors |= {f"{kind}.{name}": value for name, value in module.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adamw.{number}.{name}": value for name, value in moments.items()}
        meta = {"phase": self.phase.name, "step": self.step, "identity": self.identity, "test": self.test_loss}
        save_tensors(self._state, tensors, meta)

    def resume(self) -> None:
        """Go on from the saved state of this phase, if there is one.

        Raises:
            TrainingError: the state is of a run with other settings or data.
            CheckpointError: the state is damaged.
        """
        path = self._state
        if not path.exists():
            self._cut_log()
            return
        tensors, meta = load_tensors(path, self.device)
        if meta["identity"] != self.identity:
            raise TrainingError(
                f"{self.folder} holds a run with other settings or data; choose another folder, restore them, "
                f"or remove {path} to train phase {self.phase.name} again from its first step"
            )
        self._take(tensors, str(path))
        self.step, self.test_loss = int(meta["step"]), meta["test"]
        self._cut_log()

    def _cut_log(self) -> None:
        """Drop lines beyond the step; the others of the team have read the state when this returns."""
        with self.team.alone() as first:
            if first:
                self.log.cut(self.phase.name, self.step)

    def _take(self, tensors: dict[str, Tensor], source: str) -> None:
        def within(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        load_weights(self.phase.module, within("weights."), source=source)
        load_weights(self.average, within("average."), source=source)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in within("adamw.").items():
            number, _, moment = name.partition(".")
            moments.setdefault(int(number), {})[moment] = value.cpu() if moment == "step" else value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
