"""Checkpoints: named tensors as safetensors beside a JSON that says what they are and what their bytes hash to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from generators.errors import BackendError, CheckpointError
from generators.ssa.model import LearnedModel
from generators.ssa.presets import PRESETS
from generators.ssa.shards import write_atomically, write_json
from generators.ssa.transformer import Attention

FORMAT = 1
"""Version of the format."""
MODEL_FILE = "model.json"
"""Name of the JSON of a model in its folder."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and their JSON so that a kill at any moment leaves the old checkpoint or the new one.

    The tensors go into a file named by their hash, then the JSON that names it is replaced, then older files go.

    Args:
        path: The JSON file; the tensors lie beside it.
        tensors: By name.
        meta: Plain values.
    """
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = safetensors.torch.save(ready)
    digest = hashlib.sha256(data).hexdigest()
    file = f"{path.stem}-{digest[:12]}.safetensors"
    write_atomically(path.with_name(file), data)
    write_json(path, {**meta, "format": FORMAT, "tensors": {"file": file, "sha256": digest, "bytes": len(data)}})
    for old in path.parent.glob(f"{path.stem}-{'?' * 12}.safetensors"):
        if old.name != file:
            old.unlink()


def load_tensors(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        CheckpointError: missing, truncated, of another format, or with a wrong hash.
    """
    meta = _read_meta(path)
    said = meta["tensors"]
    file = path.with_name(Path(said["file"]).name)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} names {file.name}, which cannot be read: {error.strerror}") from error
    if len(data) != said["bytes"]:
        raise CheckpointError(f"{file} has {len(data)} bytes, expected {said['bytes']}: truncated; copy it again")
    digest = hashlib.sha256(data).hexdigest()
    if digest != said["sha256"]:
        raise CheckpointError(f"{file} hashes to {digest[:12]}, expected {said['sha256'][:12]}: damaged; copy it again")
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{file} is not in safetensors format: {error}") from error
    return {name: tensor.to(device) for name, tensor in tensors.items()}, meta


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"no checkpoint at {path}: {error.strerror}; train one, or give another path") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); it is truncated, or no checkpoint") from error
    entry = meta.get("tensors") if isinstance(meta, dict) else None
    if not isinstance(entry, dict) or not {"file", "sha256", "bytes"} <= set(entry):
        raise CheckpointError(f"{path} does not name its tensors; it is no checkpoint")
    if meta.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {meta.get('format')!r}, this version reads format {FORMAT}")
    return meta


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Load weights into a module, every name and shape as expected.

    Raises:
        CheckpointError: names or shapes differ: the weights are of another architecture.
    """
    own = module.state_dict()
    missing, extra = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    wrong = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if missing or extra or wrong:
        found = [f"{len(missing)} missing ({missing[0]})"] if missing else []
        found += [f"{len(extra)} unknown ({extra[0]})"] if extra else []
        found += [f"{len(wrong)} of another shape ({wrong[0]})"] if wrong else []
        raise CheckpointError(f"{source} is of another architecture: {', '.join(found)}")
    broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(f"{source} holds numbers that are not finite in {broken[0]}; training diverged")
    module.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in tensors.items()})


def save_model(
    model: LearnedModel,
    folder: Path,
    *,
    card: Mapping[str, Any] | None = None,
    half: bool = False,
    attention: Attention = "ssa",
) -> Path:
    """Write a model; return its JSON file.

    Args:
        model: Trained networks.
        folder: Where model.json and the tensors go.
        card: What is known of the training, plain values.
        half: Round weights to half precision: half the size.
        attention: Kind of attention of both denoisers.
    """
    tensors = {"latent_mean": model.latent_mean, "latent_std": model.latent_std}
    for part, module in _networks(model).items():
        for name, tensor in module.state_dict().items():
            tensors[f"{part}.{name}"] = tensor.half() if half and tensor.is_floating_point() else tensor
    meta = {
        "preset": asdict(model.preset),
        "families": list(model.families),
        "attention": attention,
        "boxes": {name: [[float(f"{x:.5g}") for x in row] for row in rows] for name, rows in model.boxes.items()},
        "materials": {name: list(names) for name, names in model.materials.items()},
        "card": dict(card or {}),
    }
    save_tensors(folder / MODEL_FILE, tensors, meta)
    return folder / MODEL_FILE


def load_model(path: Path, device: torch.device | str = "cpu") -> LearnedModel:
    """Read a model, strictly; networks are in evaluation mode.

    Args:
        path: Folder of `save_model`, or its JSON file.
        device: Where the networks shall lie.

    Raises:
        CheckpointError: missing, truncated, a wrong hash, or another architecture.
        BackendError: CUDA is asked for where there is none.
    """
    place = find_device(device)
    file = _model_file(path)
    tensors, meta = load_tensors(file)
    name = meta.get("preset", {}).get("name")
    if name not in PRESETS or json.loads(json.dumps(asdict(PRESETS[name]))) != meta["preset"]:
        raise CheckpointError(f"{file} is of another architecture: its preset {name!r} is not that of this version")
    model = LearnedModel.new(
        PRESETS[name],
        tuple(meta["families"]),
        boxes={family: np.array(rows, dtype=np.float32) for family, rows in meta["boxes"].items()},
        materials={family: tuple(names) for family, names in meta["materials"].items()},
        attention=meta["attention"],
    )
    networks = _networks(model)
    known = ("latent_mean", "latent_std", *networks)
    stray = [name for name in tensors if name.split(".", 1)[0] not in known]
    if stray or "latent_mean" not in tensors or "latent_std" not in tensors:
        raise CheckpointError(f"{file} is of another architecture: {stray or 'no latent statistics'}")
    for part, module in networks.items():
        own = {key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")}
        load_weights(module, own, source=f"{file} ({part})")
        module.to(place).eval().requires_grad_(False)
    return LearnedModel(
        model.preset,
        model.families,
        model.vae,
        model.structure,
        model.denoiser,
        tensors["latent_mean"].to(place),
        tensors["latent_std"].to(place),
        model.boxes,
        model.materials,
    )


def load_network(path: Path, name: str, module: nn.Module, families: Sequence[str]) -> None:
    """Load one network of a model, strictly; the others may be of another architecture.

    Args:
        path: Folder of `save_model`, or its JSON file.
        name: vae, structure or denoiser.
        module: Where the weights go.
        families: Families that the network shall know, in their order; the autoencoder knows of none.

    Raises:
        CheckpointError: missing, truncated, a wrong hash, another network, or one of other families.
    """
    tensors, meta = load_tensors(_model_file(path))
    if name != "vae" and list(families) != meta["families"]:
        raise CheckpointError(
            f"the {name} of {_model_file(path)} knows {', '.join(meta['families'])}, in this order, and not "
            f"{', '.join(families)}: take a data set of the same families, or train that network anew"
        )
    own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
    load_weights(module, own, source=f"{_model_file(path)} ({name})")


def load_card(path: Path) -> dict[str, Any]:
    """Return what is known of the training of a model.

    Raises:
        CheckpointError: missing, or no checkpoint.
    """
    return dict(_read_meta(_model_file(path)).get("card", {}))


def load_statistics(path: Path) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each latent channel of a model.

    Raises:
        CheckpointError: missing, truncated, a wrong hash, or without them.
    """
    tensors = load_tensors(_model_file(path))[0]
    if "latent_mean" not in tensors or "latent_std" not in tensors:
        raise CheckpointError(f"{_model_file(path)} is of another architecture: no latent statistics")
    return tensors["latent_mean"], tensors["latent_std"]


def network_digest(path: Path, name: str) -> str:
    """Return the SHA-256 of the weights of one network of a model, or of a part of it, such as vae.encoder.

    Raises:
        CheckpointError: missing, truncated, or a wrong hash.
    """
    tensors = load_tensors(_model_file(path))[0]
    digest = hashlib.sha256()
    for key in sorted(key for key in tensors if key.startswith(f"{name}.")):
        digest.update(key.encode() + tensors[key].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _model_file(path: Path) -> Path:
    return path / MODEL_FILE if path.is_dir() else path


def find_device(device: torch.device | str) -> torch.device:
    """Return a device that is there.

    Raises:
        BackendError: CUDA is asked for where there is none.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise BackendError(f"{device!r} is no device; expected cpu, cuda, or cuda:0") from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise BackendError(f"device {device!r} is asked for, and torch sees no CUDA device here; use cpu")
    return wanted


def _networks(model: LearnedModel) -> dict[str, nn.Module]:
    return {"vae": model.vae, "structure": model.structure, "denoiser": model.denoiser}
