"""Training: resumed after a stop it gives the same bytes; damaged, foreign and impossible runs are refused."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from generators.errors import BackendError, CheckpointError, DatasetError, TrainingError
from generators.ssa.bands import Bands, Structures
from generators.ssa.checkpoint import load_model, load_tensors, network_digest, save_model
from generators.ssa.dataset import DatasetConfig, make_dataset
from generators.ssa.phases import Asked, Latents, conditions, crop_band, encode_split
from generators.ssa.presets import PRESETS
from generators.ssa.shards import load_dataset
from generators.ssa.sparse_tensor import SparseTensor, cell_keys
from generators.ssa.train import PHASES, Trained, identity_of, train
from generators.ssa.train_config import DenoiserPhase, FlowPhase, TrainConfig, VaePhase
from generators.ssa.trainer import Wish, learning_rate
from generators.ssa.training_log import TrainingLog
from scenegen import cli
from scenegen.learn import load_dataset_config, load_train_config

ROOT = Path(__file__).resolve().parents[1]
FEW = {"batch": 1, "warmup": 2, "ema": 0.9}
CONFIG = TrainConfig(
    vae=VaePhase(steps=2, crop=3, **FEW),
    structure=FlowPhase(steps=2, **FEW),
    denoiser=DenoiserPhase(steps=2, **FEW),
    log_every=1,
    test_every=2,
    half=False,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_dataset(DatasetConfig(families=("hammer",), per_family=6, test_share=0.4, held_out_share=0.0, seed=1), folder)
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    assert train(CONFIG, data, folder, lambda report: Wish.GO).finished
    return folder


def digests(folder):
    """Hashes of all weights and of the log."""
    names = [path for path in sorted(folder.rglob("*.safetensors")) if not path.name.startswith("state")]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in [*names, folder / "log.jsonl"]]


class Killed(Exception):
    pass


def test_a_run_killed_anywhere_ends_with_the_same_bytes(data, whole, tmp_path):
    calls = []

    def kill_often(report):
        calls.append((report.phase, report.step))
        if len(calls) % 3 == 2:
            raise Killed
        return Wish.SAVE if len(calls) % 3 == 1 else Wish.GO

    for _ in range(20):
        try:
            if train(CONFIG, data, tmp_path, kill_often).finished:
                break
        except Killed:
            continue
    assert len(calls) > 6  # steps after the last save were done twice
    assert digests(tmp_path) == digests(whole)


def test_a_run_stopped_after_each_step_ends_with_the_same_bytes(data, whole, tmp_path):
    runs = 0
    while not train(CONFIG, data, tmp_path, lambda report: Wish.STOP).finished:
        runs += 1
    assert runs == 3  # the last step of a phase goes on to the next one
    assert digests(tmp_path) == digests(whole)


def test_the_first_objects_alone_are_another_training(data, whole, tmp_path):
    few = dataclasses.replace(CONFIG, per_family=1)
    index = load_dataset(data, "train").index
    assert all(identity_of(few, index, name) != identity_of(CONFIG, index, name) for name in PHASES)
    assert train(few, data, tmp_path, lambda report: Wish.GO).finished
    objects = [json.loads((run / "model" / "model.json").read_text())["card"]["objects"] for run in (tmp_path, whole)]
    assert objects[0] == 1 < objects[1]
    assert (load_model(tmp_path / "model").boxes["hammer"] == load_model(whole / "model").boxes["hammer"]).all()
    with pytest.raises(TrainingError, match="per_family is 0, expected >= 1"):
        dataclasses.replace(CONFIG, per_family=0)


def test_phases_that_were_begun_are_taken_as_they_are_and_the_card_says_so(data, whole, tmp_path):
    assert not train(CONFIG, data, tmp_path, lambda report: Wish.STOP).finished
    assert train(CONFIG, data, tmp_path, lambda report: Wish.GO, as_is=True).finished
    steps = [json.loads((run / "model" / "model.json").read_text())["card"]["steps"] for run in (tmp_path, whole)]
    assert steps == [{"structure": 1, "vae": 2, "denoiser": 2}, {"structure": 2, "vae": 2, "denoiser": 2}]
    assert load_model(tmp_path / "model").families == ("hammer",)


def test_the_model_of_a_run_is_whole(whole):
    model = load_model(whole / "model")
    assert model.families == ("hammer",)
    assert model.boxes["hammer"].shape[1] == 3 and len(model.materials["hammer"])
    assert not model.vae.training
    meta = json.loads((whole / "model" / "model.json").read_text())
    assert meta["card"]["training"]["vae"]["steps"] == 2
    assert set(meta["card"]["losses"]) == {"vae", "structure", "denoiser"}


def test_log_and_plot(whole):
    lines = TrainingLog(whole).lines()
    assert [(line["phase"], line["step"]) for line in lines] == [
        (phase, step) for phase in ("structure", "vae", "denoiser") for step in (1, 2)
    ]
    assert all(np.isfinite(line["loss"]) for line in lines) and "test" in lines[1]
    assert (whole / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path):
    log = TrainingLog(tmp_path)
    for step in (1, 2, 3):
        log.write({"phase": "vae", "step": step, "loss": 1.0})
    with log.path.open("a") as file:
        file.write('{"phase": "va')
    log.cut("vae", 2)
    assert [line["step"] for line in log.lines()] == [1, 2]


def test_other_settings_are_refused_in_the_same_folder(data, whole):
    other = dataclasses.replace(CONFIG, vae=dataclasses.replace(CONFIG.vae, rate=1e-3))
    with pytest.raises(TrainingError, match="other settings or data"):
        train(other, data, whole, lambda report: Wish.GO)


def test_a_later_phase_is_trained_again_without_the_earlier_ones(data, tmp_path):
    steps = []
    train(CONFIG, data, tmp_path, lambda report: Wish.GO)
    for name in ("denoiser.json", "model"):
        path = tmp_path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    longer = dataclasses.replace(CONFIG, denoiser=dataclasses.replace(CONFIG.denoiser, steps=3))
    for state in tmp_path.glob("state*"):  # of the last phase, with fewer steps: refused, not taken for the longer one
        state.unlink()
    assert train(longer, data, tmp_path, lambda report: steps.append((report.phase, report.step)) or Wish.GO).finished
    assert steps == [("denoiser", 1), ("denoiser", 2), ("denoiser", 3)]


def test_one_training_at_a_time_in_a_folder(data, tmp_path):
    with open(tmp_path / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="another training is writing"):
            train(CONFIG, data, tmp_path, lambda report: Wish.GO)
    assert train(CONFIG, data, tmp_path, lambda report: Wish.GO, only="structure") == Trained(True, None)


def test_stage_one_does_not_depend_on_the_autoencoder(data):
    index = load_dataset(data, "train").index
    other = dataclasses.replace(CONFIG, vae=dataclasses.replace(CONFIG.vae, kl=0.1))
    kept = [name for name in PHASES if identity_of(CONFIG, index, name) == identity_of(other, index, name)]
    assert kept == ["structure"]


def test_the_autoencoder_does_not_depend_on_the_attention_of_the_denoisers(data):
    index = load_dataset(data, "train").index
    other = dataclasses.replace(CONFIG, attention="window")
    kept = [name for name in PHASES if identity_of(CONFIG, index, name) == identity_of(other, index, name)]
    assert kept == ["vae"]


def test_a_phase_trained_in_another_folder_is_carried_over(data, whole, tmp_path):
    assert train(CONFIG, data, tmp_path / "one", lambda report: Wish.GO, only="structure") == Trained(True, None)
    assert train(CONFIG, data, tmp_path / "two", lambda report: Wish.GO, only="denoiser") == Trained(True, None)
    assert not list((tmp_path / "two").glob("structure*"))
    for path in (tmp_path / "one").glob("structure*"):
        shutil.copy(path, tmp_path / "two")
    steps = []
    assert train(CONFIG, data, tmp_path / "two", lambda report: steps.append(report) or Wish.GO).finished
    assert steps == []
    made, expected = (load_tensors(folder / "model" / "model.json")[0] for folder in (tmp_path / "two", whole))
    assert all(torch.equal(made[name], value) for name, value in expected.items())
    with pytest.raises(TrainingError, match="no phase 'latents'; phases are structure, vae, denoiser"):
        train(CONFIG, data, tmp_path, lambda report: Wish.GO, only="latents")


def started(config: TrainConfig, steps: int | None = None, **checkpoints: Path) -> TrainConfig:
    """Return settings by which networks start from checkpoints."""
    for name, path in checkpoints.items():
        phase = dataclasses.replace(getattr(config, name), start=str(path))
        config = dataclasses.replace(
            config, **{name: phase if steps is None else dataclasses.replace(phase, steps=steps)}
        )
    return config


def test_the_autoencoder_of_another_checkpoint_is_taken_as_it_is(data, whole, tmp_path):
    taken = started(CONFIG, 0, vae=whole / "model")
    phases = []
    assert train(taken, data, tmp_path, lambda report: phases.append(report.phase) or Wish.GO).finished
    assert phases == ["structure", "structure", "denoiser", "denoiser"]
    made, expected = (load_tensors(folder / "model" / "model.json")[0] for folder in (tmp_path, whole))
    assert all(torch.equal(made[name], value) for name, value in expected.items())  # trained with the same settings
    index = load_dataset(data, "train").index
    assert identity_of(taken, index, "structure") == identity_of(CONFIG, index, "structure")
    assert identity_of(taken, index, "denoiser") != identity_of(CONFIG, index, "denoiser")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        train(started(CONFIG, 0, vae=tmp_path / "no"), data, tmp_path, lambda report: Wish.GO)


def test_one_network_goes_on_from_a_checkpoint_and_the_others_are_taken(data, whole, tmp_path):
    model = whole / "model"
    further = started(started(CONFIG, structure=model), 0, vae=model, denoiser=model)
    phases = []
    assert train(further, data, tmp_path, lambda report: phases.append(report.phase) or Wish.GO).finished
    assert phases == ["structure", "structure"]
    made, before = (load_tensors(folder / "model.json")[0] for folder in (tmp_path / "model", model))
    changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(made[name], value)}
    assert changed == {"structure"}
    first, begun = (TrainingLog(folder).lines()[0]["loss"] for folder in (tmp_path, whole))
    assert first < begun  # of the same objects, times and noise: it does not start from random weights
    card = load_tensors(tmp_path / "model" / "model.json")[1]["card"]
    assert card["steps"] == {"structure": 2, "vae": 0, "denoiser": 0}
    starts = {name: {"sha256": network_digest(model, name), "steps": 2} for name in ("structure", "vae", "denoiser")}
    assert card["starts"] == starts
    again = started(CONFIG, 0, structure=tmp_path / "model", vae=tmp_path / "model", denoiser=tmp_path / "model")
    train(again, data, tmp_path / "again", lambda report: Wish.GO)
    further_on = load_tensors(tmp_path / "again" / "model" / "model.json")[1]["card"]["starts"]
    assert {name: start["steps"] for name, start in further_on.items()} == {"structure": 4, "vae": 2, "denoiser": 2}
    assert card["training"]["structure"]["start"] == str(model)
    index = load_dataset(data, "train").index
    assert identity_of(further, index, "structure") != identity_of(CONFIG, index, "structure")


def test_networks_of_other_families_are_not_taken(data, whole, tmp_path):
    """Families are told by their place: those of another order would be given each other's shapes."""
    model = load_model(whole / "model")
    other = save_model(dataclasses.replace(model, families=("wrench",)), tmp_path / "other")
    for name in ("structure", "denoiser"):
        config = started(started(CONFIG, 0, vae=other), 0, **{name: other})
        with pytest.raises(CheckpointError, match=f"the {name} of .* knows wrench, in this order, and not hammer"):
            train(config, data, tmp_path / name, lambda report: Wish.GO)


def test_stage_two_may_be_given_what_stage_one_guesses(data, whole, tmp_path):
    model = whole / "model"
    guessed = dataclasses.replace(CONFIG.denoiser, coarse_times=(0.2, 0.6), coarse_noise=0.0)
    config = started(dataclasses.replace(CONFIG, denoiser=guessed), 0, structure=model, vae=model)
    phases, structure = [], load_tensors(model / "model.json")[0]
    assert train(
        config, data, tmp_path, lambda report: phases.append(report.phase) or Wish.GO, only="denoiser"
    ).finished
    assert phases == ["denoiser", "denoiser"]
    assert train(config, data, tmp_path, lambda report: Wish.GO).finished
    made = load_tensors(tmp_path / "model" / "model.json")[0]
    assert all(torch.equal(made[name], value) for name, value in structure.items() if name.startswith("structure"))
    losses = [TrainingLog(folder).lines()[-1]["loss"] for folder in (tmp_path, whole)]
    assert losses[0] != losses[1]  # of the same objects, times and noise

    index = load_dataset(data, "train").index
    other = dataclasses.replace(config, structure=dataclasses.replace(CONFIG.structure, rate=1e-3))
    plain = dataclasses.replace(other, denoiser=CONFIG.denoiser)
    assert identity_of(config, index, "denoiser") != identity_of(other, index, "denoiser")
    assert identity_of(plain, index, "denoiser") == identity_of(
        dataclasses.replace(plain, structure=config.structure), index, "denoiser"
    )
    with pytest.raises(TrainingError, match="expected 0 <= low <= high <= 1"):
        dataclasses.replace(guessed, coarse_times=(0.6, 0.2))


def test_a_decoder_goes_on_alone_and_the_latents_stay(data, whole, tmp_path):
    model = whole / "model"
    further = started(started(CONFIG, 0, structure=model, denoiser=model), vae=model)
    further = dataclasses.replace(further, vae=dataclasses.replace(further.vae, keep_encoder=True))
    assert train(further, data, tmp_path, lambda report: Wish.GO).finished
    made, before = (load_tensors(folder / "model.json")[0] for folder in (tmp_path / "model", model))
    changed = {".".join(name.split(".")[:2]) for name, value in before.items() if not torch.equal(made[name], value)}
    assert changed == {"vae.decoder"}
    with pytest.raises(TrainingError, match=r"keep_encoder needs vae\.start"):
        dataclasses.replace(CONFIG.vae, keep_encoder=True)


def test_a_denoiser_is_not_taken_for_the_latents_of_another_autoencoder(data, whole, tmp_path):
    model = whole / "model"
    for config in (CONFIG, started(CONFIG, vae=model)):
        with pytest.raises(TrainingError, match=r"the encoder is not that of .* with vae.steps=0 or vae.keep_encoder"):
            train(started(config, 0, denoiser=model), data, tmp_path, lambda report: pytest.fail("it has begun"))
    with pytest.raises(TrainingError, match="steps may be 0 where a checkpoint to start from is given"):
        dataclasses.replace(CONFIG.structure, steps=0)


def test_bfloat16_follows_single_precision(data, tmp_path):
    rounded = dataclasses.replace(CONFIG, precision="bfloat16")
    train(rounded, data, tmp_path / "rounded", lambda report: Wish.GO, only="structure")
    train(CONFIG, data, tmp_path / "single", lambda report: Wish.GO, only="structure")
    losses = [[line["loss"] for line in TrainingLog(tmp_path / one).lines()] for one in ("rounded", "single")]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_damaged_state_is_refused(data, tmp_path):
    train(CONFIG, data, tmp_path, lambda report: Wish.STOP)
    (path,) = tmp_path.glob("state_*.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated"):
        train(CONFIG, data, tmp_path, lambda report: Wish.GO)


def test_what_cannot_be_trained_is_refused(data, tmp_path):
    def go(report):
        return Wish.GO

    with pytest.raises(DatasetError, match="no complete data set"):
        train(CONFIG, tmp_path, tmp_path / "out", go)
    with pytest.raises(TrainingError, match="was made for preset nano"):
        train(dataclasses.replace(CONFIG, preset="small"), data, tmp_path / "out", go)
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match="no CUDA device"):
            train(dataclasses.replace(CONFIG, device="cuda"), data, tmp_path / "out", go)
    wild = dataclasses.replace(CONFIG, vae=VaePhase(steps=60, crop=3, rate=1e6, last_rate=1e6, clip=1e30, **FEW))
    with pytest.raises(TrainingError, match="diverged"):
        train(dataclasses.replace(wild, log_every=1000), data, tmp_path / "wild", go)


@pytest.mark.parametrize("changes", [{"steps": 0}, {"rate": 0.0}, {"last_rate": 1.0}, {"ema": 1.0}, {"clip": 0.0}])
def test_impossible_settings_are_refused(changes):
    with pytest.raises(TrainingError):
        FlowPhase(**changes)


def test_rate_rises_then_falls_to_the_last_one():
    config = FlowPhase(steps=100, warmup=10, rate=1.0, last_rate=0.1)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0) and rates[100] == pytest.approx(0.1)
    assert (np.diff(rates[10:]) <= 0).all()


def test_a_crop_holds_the_nodes_of_whole_cells(data):
    preset, split = PRESETS["nano"], load_dataset(data, "train")
    band = Bands.of(split).batch(np.arange(3)).check()
    assert float(band.features.abs().max()) < 1
    cut = crop_band(band, crop=5, preset=preset, generator=torch.Generator().manual_seed(0)).check()
    assert set(cut.coords[:, 0].tolist()) == {0, 1, 2}
    assert int(cut.coords[:, 1:].max()) < 5 * preset.downsampling
    # Each crop occurs in its object, shifted by whole latent cells.
    for b in range(3):
        mine = cut.coords[:, 0] == b
        own = {(*c, v) for c, v in zip(band.coords[band.coords[:, 0] == b].tolist(), band_values(band, b), strict=True)}
        shifts = [4 * np.array(s) for s in np.ndindex(12, 12, 12)]
        node, value = cut.coords[mine], band_values(cut, b)
        assert any(
            all((b, *(c[1:] + shift), v) in own for c, v in zip(node.numpy(), value, strict=True)) for shift in shifts
        )


def band_values(band: SparseTensor, sample: int) -> list[float]:
    return band.features[band.coords[:, 0] == sample, 0].tolist()


def test_latents_are_read_back_as_they_were_encoded(data, whole):
    model, split = load_model(whole / "model"), load_dataset(data, "train")
    encoded = encode_split(model.vae, Bands.of(split), batch=2)
    latents = Latents(**encoded, asked=Asked.of(split), structures=Structures.of(split, 4))
    direct = model.vae.encode(Bands.of(split).batch(np.array([2, 0]))).latent()
    read = latents.batch(np.array([2, 0])).check()
    assert torch.equal(cell_keys(read.coords), cell_keys(direct.coords))
    torch.testing.assert_close(read.features, direct.features, atol=1e-4, rtol=1e-4)


def test_conditions_are_dropped_whole_and_in_part():
    families, boxes = torch.zeros(4000, dtype=torch.int64), torch.ones(4000, 3)
    asked = conditions(families, boxes, drop=0.1, generator=torch.Generator().manual_seed(0))
    no_family, no_box = asked.family < 0, asked.extents.isnan().all(dim=1)
    for rows in (no_family & no_box, no_family & ~no_box, ~no_family & no_box):
        assert 0.08 < float(rows.float().mean()) < 0.12


@pytest.mark.parametrize("name", ["nano", "small"])
def test_the_configurations_that_come_along_are_read(name):
    data = load_dataset_config(ROOT / f"configs/dataset_{name}.yaml", meshes=[ROOT / "tests"])
    assert data.preset == name and data.meshes[-1].family == "tests"
    assert load_train_config(ROOT / f"configs/train_{name}.yaml", ["denoiser.steps=7"]).denoiser.steps == 7


def command(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_commands_make_data_and_stop_training_in_time(tmp_path):
    (tmp_path / "data.yaml").write_text("families: [hammer]\nper_family: 4\ntest_share: 0.5\nheld_out_share: 0.0\n")
    (tmp_path / "train.yaml").write_text("vae: {steps: 50, batch: 1, crop: 2}\n")
    made = command("dataset", tmp_path / "data.yaml", "--out", tmp_path / "data", "--set", "seed=5")
    assert made.exit_code == cli.DONE and "train" in made.output and "hammer" in made.output
    trained = command(
        "train", tmp_path / "train.yaml", "--data", tmp_path / "data", "--out", tmp_path / "run", "--minutes", "0"
    )
    assert trained.exit_code == cli.NOT_CERTIFIED and "the same command goes on" in trained.output


@pytest.mark.parametrize(
    ("verb", "text", "message"),
    [
        ("dataset", "families: [mug]\nper_familly: 3\n", "per_familly"),
        ("dataset", "families: [mugg]\n", "Did you mean 'mug'"),
        ("train", "vae: {rate: 0}\n", "rate"),
        ("train", "presset: nano\n", "presset"),
        ("train", "preset: huge\n", "none of nano, small, large"),
    ],
)
def test_mistakes_in_a_configuration_are_named(tmp_path, verb, text, message):
    (tmp_path / "c.yaml").write_text(text)
    more = ["--data", tmp_path] if verb == "train" else []
    result = command(verb, tmp_path / "c.yaml", "--out", tmp_path / "out", *more)
    assert result.exit_code == cli.USER_ERROR and message in result.output and "Traceback" not in result.output
