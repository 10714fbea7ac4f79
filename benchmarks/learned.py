"""What a trained checkpoint is worth: reconstruction, raw samples, condition error, and the share that is certified.

    OMP_NUM_THREADS=1 python benchmarks/learned.py CHECKPOINT --data data/nano [--samples 64] [--certify 32] [--out DIR]

Families take turns; boxes are those of the held-out split, which training never saw. No sample is chosen or repaired:
one that bounds no solid counts as failed. Certified means PASS or WARN by the whole chain, both engines included.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from generators.blueprint import Blueprint
from generators.errors import VolumeError
from generators.ssa.checkpoint import load_model
from generators.ssa.flow import SamplerConfig
from generators.ssa.generator import SIDES, LearnedConfig, body_voxels, one_thread, sample_blueprint
from generators.ssa.model import LearnedModel
from generators.ssa.phases import band_of
from generators.ssa.point_metrics import compare_sets, surface_cloud
from generators.ssa.presets import BAND
from generators.ssa.sample import SampledField, field_volume
from generators.ssa.shards import Dataset, load_dataset
from generators.ssa.sparse_tensor import SparseTensor
from generators.surface import extract_surface
from generators.volume import SparseVolume
from physics.check import Verdict
from physics.mesh import Mesh
from physics.validity import check_validity
from scenegen.api import _floors
from scenegen.assets import build
from scenegen.assets.asset import Asset
from scenegen.assets.draw import GeneratorConfig
from scenegen.config import check_config
from scenegen.pipeline.stage import Rejection
from scenegen.reports.figures import write_asset_sheet
from scenegen.run import build_config


@dataclass(frozen=True)
class Sample:
    """One draw and how long it took."""

    family: str
    asked: np.ndarray
    """Sides of the box [m]."""
    blueprint: Blueprint | None
    reason: str
    seconds: float
    """CPU time of sampling, decoding and the field [s]."""


def reconstruction(model: LearnedModel, data: Dataset, count: int) -> np.ndarray:
    """Return the volumetric IoU of solids and what the autoencoder makes of them; 0 where it makes no solid."""
    found = []
    for row in np.random.default_rng(0).choice(len(data), size=min(count, len(data)), replace=False):
        with torch.inference_mode(), one_thread():
            band = band_of(data, np.array([row]), torch.device("cpu"))
            decoded = model.vae.decode(model.vae.encode(band).latent()).band
        mine, theirs = (volume_of(x, data, int(row), model.preset.downsampling) for x in (band, decoded))
        found.append(0.0 if mine is None or theirs is None else iou(mine, theirs, model.preset.resolution))
    return np.array(found)


def volume_of(band: SparseTensor, data: Dataset, row: int, downsampling: int) -> SparseVolume | None:
    """Return the volume of a band as that of a sample is found."""
    shard = data.shard
    field = SampledField(
        band.coords[:, 1:].numpy(),
        (BAND * band.features[:, 0]).numpy(),
        shard.coarse[row].astype(np.float32),
        downsampling,
        (float(shard.extents[row][0]), float(shard.extents[row][1]), float(shard.extents[row][2])),
    )
    return field_volume(field).volume


def iou(a: SparseVolume, b: SparseVolume, side: int) -> float:
    """Return the intersection of two solids over their union, in nodes of one lattice [1]."""
    nodes = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inside_a, inside_b = a.sign_at(nodes) < 0, b.sign_at(nodes) < 0
    return float((inside_a & inside_b).sum() / (inside_a | inside_b).sum())


def draw(model: LearnedModel, held_out: Dataset, number: int, sampler: SamplerConfig) -> Sample:
    """Draw one sample for a held-out box of the family whose turn it is."""
    index = number % len(model.families)
    rows = np.flatnonzero(held_out.shard.family == held_out.families.index(model.families[index]))
    asked = np.asarray(held_out.shard.extents[rows[(number // len(model.families)) % len(rows)]], dtype=float)
    begin = time.process_time()
    try:
        blueprint = sample_blueprint(
            model,
            model.families[index],
            rng=np.random.default_rng([7, number]),
            resolution=body_voxels(model.preset),
            parameters=dict(zip(SIDES, asked.tolist(), strict=True)),
            config=LearnedConfig(sampler=sampler),
        )
    except VolumeError as error:
        return Sample(
            model.families[index], asked, None, str(error).split("bounds no solid: ")[-1], time.process_time() - begin
        )
    return Sample(model.families[index], asked, blueprint, "", time.process_time() - begin)


def examine(samples: list[Sample]) -> None:
    """Print what the raw surfaces are."""
    made = [sample for sample in samples if sample.blueprint is not None]
    failures, errors, seconds = Counter(), [], []
    one_part = genus_right = 0
    for sample in made:
        assert sample.blueprint is not None
        begin = time.process_time()
        mesh = extract_surface(sample.blueprint.bodies[0].parts[0].volume)
        seconds.append(sample.seconds + time.process_time() - begin)
        genus = sample.blueprint.bodies[0].parts[0].genus
        checks = check_validity(mesh, body=sample.family, declared_components=1, declared_genus=genus)
        failures.update({check.id for check in checks if check.verdict is Verdict.FAIL})
        one_part += (
            sample.blueprint.parameters["field_pieces"] == 1 and sample.blueprint.parameters["field_specks"] == 0
        )
        genus_right += all(check.verdict is Verdict.PASS for check in checks if check.id == "G8")
        errors.append(np.abs(mesh.extents - sample.asked) / sample.asked)
    count = len(samples)
    print(
        f"raw samples: {len(made)} of {count} bound a solid", dict(Counter(s.reason[:60] for s in samples if s.reason))
    )
    if not made:
        return
    print(f"  one part, no specks: {one_part} of {count}; handles as the family's: {genus_right} of {count}")
    print(f"  checks that fail, by samples: {dict(sorted(failures.items())) or 'none'}")
    print(f"  box: median error of a side {np.median(errors):.1%}, 90th percentile {np.percentile(errors, 90):.1%}")
    print(f"  sample with decoding and surface: median {np.median(seconds):.2f} CPU s, one thread")


def compare(model: LearnedModel, samples: list[Sample], held_out: Dataset, train: Dataset) -> None:
    """Print how alike samples and held-out objects are, beside train objects in the samples' place."""
    made = [sample.blueprint for sample in samples if sample.blueprint is not None]
    if len(made) < 2:
        return
    clouds = [surface_cloud(extract_surface(blueprint.bodies[0].parts[0].volume)) for blueprint in made]
    count = max(1, len(samples) // len(model.families))
    references, real = ([surface_cloud(mesh) for mesh in real_meshes(data, model, count)] for data in (held_out, train))
    for name, cloud in (("samples", clouds), ("train objects", real)):
        found = compare_sets(cloud, references)
        print(f"  {name} ({len(cloud)}) against held-out objects ({len(references)}): " + ", ".join(
            f"{what} {one.value:.{digits}f} ({one.low:.{digits}f} to {one.high:.{digits}f})"
            for what, one, digits in (("1-NNA", found.nna, 2), ("COV", found.cov, 2), ("MMD", found.mmd, 4))
        ), flush=True)  # fmt: skip


def real_meshes(data: Dataset, model: LearnedModel, count: int) -> Iterator[Mesh]:
    """Yield the first objects of each family, surfaced as samples are."""
    for family in model.families:
        for row in np.flatnonzero(data.shard.family == data.families.index(family))[:count]:
            band = band_of(data, np.array([row]), torch.device("cpu"))
            volume = volume_of(band, data, int(row), model.preset.downsampling)
            if volume is not None:
                yield extract_surface(volume)


def certify(samples: list[Sample], out: Path | None) -> None:
    """Send samples through the whole chain and print how they end."""
    config = check_config(
        {"name": "learned", "objects": [{"families": ["mug"], "count": 1}]}, source="benchmarks/learned.py"
    )
    how = build_config(config, _floors(config.drop))
    verdicts, reasons, assets = Counter(), Counter(), []
    for number, sample in enumerate(samples):
        ended = _certified(sample, number, how)
        if isinstance(ended, Rejection):
            verdicts["rejected"] += 1
            reasons[f"{sample.family}: {ended.stage}: {ended.message[:70] or ended.reason}"] += 1
        else:
            verdicts[str(ended[1])] += 1
            assets.append(ended[0])
    good = verdicts["PASS"] + verdicts["WARN"]
    print(f"certified: {good} of {len(samples)} = {good / len(samples):.0%} {dict(verdicts)}")
    for reason, times in reasons.most_common():
        print(f"  {times:3d} x {reason}")
    if out is not None and assets:
        print(
            write_asset_sheet([a.model for a in assets], [a.family for a in assets], out / "certified.png", columns=8)
        )


def _certified(sample: Sample, number: int, how: build.BuildConfig) -> Rejection | tuple[Asset, Verdict]:
    if sample.blueprint is None:
        return Rejection("generate", "the sample bounds no solid", np.nan, None, "", sample.reason)
    draft = build.Draft(build.AssetRequest(f"sample_{number}", 0, sample.family), sample.blueprint)
    made = build.finish_asset(draft, how)
    return made if isinstance(made, Rejection) else (made.asset, made.certificate.verdict)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="data set that the checkpoint was trained on")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--certify", type=int, default=32, help="the first so many go through the whole chain")
    parser.add_argument("--steps", type=int, default=GeneratorConfig().steps)
    parser.add_argument("--guidance", type=float, default=GeneratorConfig().guidance)
    parser.add_argument("--out", type=Path, default=None, help="folder for pictures")
    options = parser.parse_args()
    model, held_out = load_model(options.checkpoint), load_dataset(options.data, "held_out")
    found = reconstruction(model, load_dataset(options.data, "test"), 48)
    print(f"reconstruction of {len(found)} test objects: median IoU {np.median(found):.3f}, worst tenth below"
          f" {np.percentile(found, 10):.3f}", flush=True)  # fmt: skip
    sampler = SamplerConfig(steps=options.steps, guidance=options.guidance)
    samples = [draw(model, held_out, number, sampler) for number in range(options.samples)]
    examine(samples)
    compare(model, samples, held_out, load_dataset(options.data, "train"))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    if options.certify:
        certify(samples[: options.certify], options.out)


if __name__ == "__main__":
    main()
