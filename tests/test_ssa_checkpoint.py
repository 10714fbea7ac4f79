"""Checkpoints: round trip, and one clear refusal for each way to be broken."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from generators.errors import BackendError, CheckpointError
from generators.ssa.checkpoint import find_device, load_model, load_tensors, save_model, save_tensors
from generators.ssa.model import LearnedModel
from generators.ssa.presets import PRESETS


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    boxes = {"mug": np.array([[0.1, 0.08, 0.12]], dtype=np.float32)}
    return LearnedModel.new(PRESETS["nano"], ("mug", "bowl"), boxes=boxes, materials={"mug": ("steel",)})


@pytest.fixture
def saved(model, tmp_path):
    return save_model(model, tmp_path / "m", card={"steps": 7})


def tensors_of(path):
    return path.with_name(json.loads(path.read_text())["tensors"]["file"])


def test_round_trip(model, saved):
    again = load_model(saved.parent)
    assert again.families == model.families and again.materials == model.materials
    np.testing.assert_allclose(again.boxes["mug"], model.boxes["mug"], rtol=1e-4)
    for part in ("vae", "structure", "denoiser"):
        own, read = getattr(model, part).state_dict(), getattr(again, part).state_dict()
        assert own.keys() == read.keys() and all(torch.equal(own[name], read[name]) for name in own)
        assert not any(p.requires_grad for p in getattr(again, part).parameters())


def test_half_precision_halves_the_file(model, saved, tmp_path):
    half = save_model(model, tmp_path / "h", half=True)
    assert tensors_of(half).stat().st_size < 0.55 * tensors_of(saved).stat().st_size
    assert tensors_of(half).stat().st_size < 16 * 2**20
    read = load_model(half).vae.state_dict()
    assert all(torch.equal(value, model.vae.state_dict()[name].half().float()) for name, value in read.items())


def test_saving_again_leaves_one_file(model, saved):
    with torch.no_grad():
        model.latent_mean.add_(1)
    save_model(model, saved.parent)
    assert len(list(saved.parent.glob("*.safetensors"))) == 1
    assert torch.equal(load_model(saved).latent_mean, model.latent_mean)


def test_equal_weights_give_equal_bytes(model, tmp_path):
    files = [save_model(model, tmp_path / name) for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert tensors_of(files[0]).read_bytes() == tensors_of(files[1]).read_bytes()


def test_missing(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_model(tmp_path / "nothing.json")


def test_missing_tensors(saved):
    tensors_of(saved).unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model(saved)


def test_truncated(saved):
    file = tensors_of(saved)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="truncated"):
        load_model(saved)


def test_wrong_hash(saved):
    file = tensors_of(saved)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"tensors": {}}'])
def test_json_that_is_none_or_no_checkpoint(saved, text):
    saved.write_text(text)
    with pytest.raises(CheckpointError, match=r"not JSON|no checkpoint"):
        load_model(saved)


def test_not_safetensors(tmp_path):
    save_tensors(tmp_path / "x.json", {"a": torch.zeros(2)}, {})
    file, meta = tensors_of(tmp_path / "x.json"), json.loads((tmp_path / "x.json").read_text())
    file.write_bytes(b"y" * 40)
    meta["tensors"] |= {"sha256": hashlib.sha256(b"y" * 40).hexdigest(), "bytes": 40}
    (tmp_path / "x.json").write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="not in safetensors format"):
        load_tensors(tmp_path / "x.json")


def change(path, **fields):
    meta = json.loads(path.read_text())
    path.write_text(json.dumps(meta | fields))


def test_another_architecture(saved):
    change(saved, families=["mug"])
    with pytest.raises(CheckpointError, match="another architecture: 1 of another shape"):
        load_model(saved)


def test_another_preset(saved):
    preset = json.loads(saved.read_text())["preset"]
    change(saved, preset=preset | {"latent_width": 64})
    with pytest.raises(CheckpointError, match="another architecture: its preset 'nano'"):
        load_model(saved)


def test_another_format(saved):
    change(saved, format=99)
    with pytest.raises(CheckpointError, match="format 99"):
        load_model(saved)


def test_weights_that_are_not_finite(model, tmp_path):
    bad = LearnedModel.new(PRESETS["nano"], ("mug",))
    with torch.no_grad():
        next(bad.vae.parameters()).fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        load_model(save_model(bad, tmp_path / "n"))


def test_devices_that_are_not_there():
    assert find_device("cpu").type == "cpu"
    with pytest.raises(BackendError, match="no device"):
        find_device("warp")
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match="no CUDA device"):
            find_device("cuda")
