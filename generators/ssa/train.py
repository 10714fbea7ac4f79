"""Training of the learned generator: autoencoder, structure, latents; each phase resumes from any kill."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from generators.errors import TrainingError
from generators.ssa.bands import Bands, Structures
from generators.ssa.checkpoint import (
    MODEL_FILE,
    find_device,
    load_card,
    load_network,
    load_statistics,
    load_tensors,
    load_weights,
    network_digest,
    save_model,
    save_tensors,
)
from generators.ssa.model import LearnedModel
from generators.ssa.phases import (
    Asked,
    DenoiserTraining,
    Latents,
    Phase,
    StructureTraining,
    VaeTraining,
    encode_split,
    latent_statistics,
)
from generators.ssa.presets import PRESETS
from generators.ssa.shards import Dataset, load_dataset
from generators.ssa.team import Team
from generators.ssa.train_config import TrainConfig
from generators.ssa.trainer import Observer, Trainer, chance
from generators.ssa.training_log import TrainingLog
from generators.ssa.vae import SparseVae

MODEL = "model"
"""Folder of the trained model within that of the run."""
LOCK = "lock"
"""File in it that is locked while a training writes there."""
PHASES = ("structure", "vae", "denoiser")
"""Phases in the order of training, each a field of `TrainConfig`."""


@dataclass(frozen=True)
class Trained:
    """Where a run stands."""

    finished: bool
    """Whether all that was asked for is trained."""
    model: Path | None
    """JSON of the model, once all phases are."""


def train(
    config: TrainConfig,
    data: Path,
    folder: Path,
    observe: Observer,
    *,
    only: str | None = None,
    as_is: bool = False,
    encoded: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a model; the same call again goes on where it was stopped or killed.

    Called in every process of a `Team`, it shares the batches among them; all must see the same folder.

    Args:
        config: Settings; all but the device must stay those the run was begun with.
        data: Folder of a data set of the same preset.
        folder: Where state, log, plot and model go.
        observe: Called after each step; says whether to go on, save, or stop.
        only: Phase to train, with those that it needs; its file in the folder may be carried into that of another run
            of the same settings and data. All of them where not given.
        as_is: Take a phase that was begun as trained, by the average of its weights at the last saved step.
        encoded: Called while a split is encoded, with the objects that are done and all of them.

    Raises:
        DatasetError: no such data set, a damaged one, or one without a test split.
        TrainingError: a data set of another preset, a folder of another run, another training in it, divergence, or
            no memory.
        CheckpointError: a damaged state.
        BackendError: CUDA is asked for where there is none.
    """
    if only is not None and only not in PHASES:
        raise TrainingError(f"there is no phase {only!r}; phases are {', '.join(PHASES)}")
    with _alone_in(folder, Team.joined()):
        return _train(config, data, folder, observe, only=only, as_is=as_is, encoded=encoded)


@contextlib.contextmanager
def _alone_in(folder: Path, team: Team) -> Iterator[None]:
    """Hold a folder for one training: two that write into it would both resume from what the other saved last.

    Raises:
        TrainingError: another training holds it.
    """
    if team.size > 1:  # Ray Train holds its own folder, and restarts where the lock of a lost machine may still be
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise TrainingError(f"cannot write to {folder}: {error.strerror}; choose another folder") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f"another training is writing to {folder}; wait for it or use another folder") from None
        except OSError:  # a file system without locks: nobody is kept out
            pass
        yield
    finally:
        os.close(lock)


def _train(
    config: TrainConfig,
    data: Path,
    folder: Path,
    observe: Observer,
    *,
    only: str | None,
    as_is: bool,
    encoded: Callable[[int, int], None] | None,
) -> Trained:
    device = find_device(config.device)
    torch.backends.cudnn.benchmark = device.type == "cuda"  # stage 1 has the same shapes at every step
    train_split, test_split = load_dataset(data, "train"), load_dataset(data, "test")
    if train_split.index["preset"] != config.preset:
        raise TrainingError(
            f"{data} was made for preset {train_split.index['preset']}, the training asks for {config.preset}"
        )
    _check_encoder(config)
    model = _untrained(config, train_split)
    if config.per_family is not None:
        train_split = train_split.first(config.per_family)
    team = Team.joined()
    run = _Run(config, folder, device, train_split.index, TrainingLog(folder), team, as_is)

    factor = model.preset.downsampling
    learned, tested = [
        (Structures.of(split, factor, device), Asked.of(split, device)) for split in (train_split, test_split)
    ]
    if only is None or "structure" in config.needs(only):
        structure = StructureTraining(model.structure, config.structure, learned, tested)
        done = run.complete(structure, observe)
        if not done or only == "structure":
            return Trained(done, None)
    bands = Bands.of(train_split, device), Bands.of(test_split, device)
    vae = VaeTraining(model.vae, config.vae, model.preset, *bands)
    model.vae.encoder.requires_grad_(not config.vae.keep_encoder)
    done = run.complete(vae, observe)
    if not done or only == "vae":
        return Trained(done, None)
    if not config.denoiser.steps:
        mean, std = run.take_denoiser(model.denoiser)
        return Trained(True, None) if only == "denoiser" else run.finish(model, mean, std, train_split)
    latents, unseen = [
        Latents(*run.latents(model.vae, band, name, encoded), asked, structures)
        for band, name, (structures, asked) in zip(bands, ("train", "test"), (learned, tested), strict=True)
    ]
    mean, std = latent_statistics(latents)
    denoiser = DenoiserTraining(model.denoiser, config.denoiser, latents, unseen, mean, std, model.structure)
    done = run.complete(denoiser, observe)
    if not done or only == "denoiser":
        return Trained(done, None)
    return run.finish(model, mean, std, train_split)


def _untrained(config: TrainConfig, data: Dataset) -> LearnedModel:
    """Return networks whose first weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chance(config.seed, 0)[1].initial_seed())
        return LearnedModel.new(
            PRESETS[config.preset],
            data.families,
            boxes=data.boxes,
            materials=data.materials,
            attention=config.attention,
        )


@dataclass(frozen=True)
class _Run:
    config: TrainConfig
    folder: Path
    device: torch.device
    index: Mapping[str, Any]
    """What the data set says of itself."""
    log: TrainingLog
    team: Team
    as_is: bool
    steps: dict[str, int] = field(default_factory=dict)
    """Steps that each phase was trained for [1]."""

    def complete(self, phase: Phase, observe: Observer) -> bool:
        """Train a phase, or load what it gave; leave averaged weights in its module. Return False where stopped."""
        path, identity = self.folder / f"{phase.name}.json", identity_of(self.config, self.index, phase.name)
        if phase.config.start is not None:
            load_network(Path(phase.config.start), phase.name, phase.module, self.index["families"])
        if not phase.config.steps:
            self._freeze(phase.name, phase.module, steps=0)
            return True
        if not path.exists():
            trainer = Trainer(
                phase,
                self.config.seed,
                self.folder,
                self.device,
                self.log,
                identity,
                bfloat16=self.config.precision == "bfloat16"
                or (self.config.precision, self.device.type) == ("auto", "cuda"),
                log_every=self.config.log_every,
                test_every=self.config.test_every,
                team=self.team,
            )
            trainer.resume()
            if not (self.as_is and trainer.step) and not trainer.run(observe):
                return False
            with self.team.alone() as first:
                if first:
                    meta = {"identity": identity, "phase": phase.name, "step": trainer.step}
                    save_tensors(path, trainer.average.state_dict(), meta)
        tensors, meta = load_tensors(path, self.device)
        if meta["identity"] != identity:
            raise TrainingError(f"{self.folder} holds a run with other settings or data; choose another folder")
        load_weights(phase.module, tensors, source=str(path))
        self._freeze(phase.name, phase.module, steps=meta.get("step", phase.config.steps))
        return True

    def _freeze(self, name: str, module: nn.Module, *, steps: int) -> None:
        self.steps[name] = steps
        module.to(self.device).eval().requires_grad_(False)

    def take_denoiser(self, module: nn.Module) -> tuple[Tensor, Tensor]:
        """Take stage 2 as it is; return the statistics of the latents that it was trained on."""
        start = Path(str(self.config.denoiser.start))
        load_network(start, "denoiser", module, self.index["families"])
        self._freeze("denoiser", module, steps=0)
        return load_statistics(start)

    def finish(self, model: LearnedModel, mean: Tensor, std: Tensor, data: Dataset) -> Trained:
        """Write the model."""
        finished = replace(model, latent_mean=mean.cpu(), latent_std=std.cpu())
        with self.team.alone() as first:
            if first:
                card = _card(self.config, data, self.log, finished) | {"workers": self.team.size, "steps": self.steps}
                save_model(
                    finished, self.folder / MODEL, card=card, half=self.config.half, attention=self.config.attention
                )
        return Trained(True, self.folder / MODEL / MODEL_FILE)

    def latents(
        self, vae: SparseVae, bands: Bands, name: str, encoded: Callable[[int, int], None] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode a split, or read what was encoded before; return coords, features and offsets."""
        path, identity = self.folder / f"latents_{name}.json", identity_of(self.config, self.index, "vae")
        with self.team.alone() as first:
            if first and not path.exists():
                save_tensors(path, encode_split(vae, bands, observe=encoded), {"identity": identity})
        tensors, meta = load_tensors(path, self.device)
        if meta["identity"] != identity or len(tensors["offsets"]) != len(bands) + 1:
            raise TrainingError(f"{path} is of a run with other settings or data; choose another folder")
        return tensors["coords"], tensors["features"], tensors["offsets"]


def _check_encoder(config: TrainConfig) -> None:
    """Refuse to take a denoiser as it is beside another encoder than that whose latents it knows."""
    if config.denoiser.steps or config.denoiser.start is None:
        return
    start, vae = Path(config.denoiser.start), config.vae
    kept = Path(vae.start) if vae.start is not None and (vae.keep_encoder or not vae.steps) else None
    if kept is None or network_digest(kept, "vae.encoder") != network_digest(start, "vae.encoder"):
        raise TrainingError(
            f"denoiser.steps is 0, but the encoder is not that of {start}, whose latents its denoiser knows: set "
            "vae.start to the same checkpoint, with vae.steps=0 or vae.keep_encoder=true, or train the denoiser"
        )


def identity_of(config: TrainConfig, index: Mapping[str, Any], phase: str) -> str:
    """Return a hash of all that decides the weights of a phase: its settings, those of phases it needs, and the data.

    So a phase can be trained again for longer without those that do not depend on it. The autoencoder knows one kind of
    attention only, so that its files serve denoisers of any.
    """
    settings = asdict(config)
    shared = {name: settings[name] for name in ("preset", "seed", "precision", *config.needs(phase))}
    if config.per_family is not None:
        shared["per_family"] = config.per_family
    if phase != "vae":
        shared["attention"] = config.attention
    for name in config.needs(phase):
        if (start := settings[name]["start"]) is not None:
            shared[name] = settings[name] | {"start": network_digest(Path(start), name)}
    text = json.dumps([shared, asdict(PRESETS[config.preset]), index["config"], index["shards"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _origin(start: Path, name: str) -> dict[str, Any]:
    """Return which weights a network started from, and the steps that these were trained for in all.

    None where the steps are not known of them, or of those that they started from.
    """
    card = load_card(start)
    steps, before = card.get("steps", {}).get(name), card.get("starts", {}).get(name, {"steps": 0})["steps"]
    return {
        "sha256": network_digest(start, name),
        "steps": None if steps is None or before is None else steps + before,
    }


def _card(config: TrainConfig, data: Dataset, log: TrainingLog, model: LearnedModel) -> dict[str, Any]:
    """Return what is known of the training, for the model card."""
    last = {line["phase"]: {"loss": line["loss"], "test": line.get("test")} for line in log.lines()}
    networks = {"vae": model.vae, "structure": model.structure, "denoiser": model.denoiser}
    starts = {name: getattr(config, name).start for name in PHASES}
    return {
        "starts": {name: _origin(Path(start), name) for name, start in starts.items() if start is not None},
        "training": json.loads(json.dumps(asdict(config))),
        "data": data.index["config"],
        "objects": len(data),
        "losses": last,
        "parameters": {name: sum(p.numel() for p in module.parameters()) for name, module in networks.items()},
    }
