"""At which stage of the learned generator handles are lost: the autoencoder, the latents, or the structure.

Test objects that training never saw go through more and more of the generator: encoded and decoded; their latents drawn
anew on their true structure; their structure drawn anew from more and more noise, from a third (small details are
drawn) to almost all of it. A row for each says how many have the handles of their family: where the count falls,
training should go on.

    python benchmarks/stages.py --data data/small [--checkpoint DIR] [--families crate pan] [--per-family 2]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from generators.ssa.bands import Bands, Structures
from generators.ssa.checkpoint import load_model
from generators.ssa.condition import Condition
from generators.ssa.field import FieldConfig, field_volume
from generators.ssa.flow import SamplerConfig, interpolate
from generators.ssa.generator import BUNDLED_CHECKPOINT, family_genus
from generators.ssa.model import LearnedModel
from generators.ssa.reconstruction import band_volume, object_volume
from generators.ssa.sample import fields_of_structure, follow_structure, structure_noise
from generators.ssa.shards import Dataset, load_dataset
from generators.surface import extract_surface
from generators.volume import SparseVolume
from physics.check import Verdict
from physics.validity import check_validity

NOISE = (0.3, 0.6, 0.9)
"""Times from which the structure is drawn anew: the share of noise in it [1]."""


class Stages:
    """One model on the objects of a data set, by row."""

    def __init__(self, model: LearnedModel, data: Dataset, sampler: SamplerConfig) -> None:
        self.model, self.data, self.sampler = model, data, sampler
        self.structures = Structures.of(data, model.preset.downsampling)
        self.bands = Bands.of(data)

    def original(self, row: int) -> SparseVolume | None:
        """Return the object."""
        return object_volume(self.data, row, self.model.preset.downsampling)

    def reconstructed(self, row: int) -> SparseVolume | None:
        """Return it encoded and decoded."""
        vae = self.model.vae
        decoded = vae.decode(vae.encode(self.bands.batch(np.array([row]))).latent()).band
        return band_volume(decoded, self.data, row, self.model.preset.downsampling)

    def drawn(self, row: int, noise: float) -> SparseVolume | None:
        """Return it with its latents drawn anew, and its structure from a share of noise."""
        structure = self.structures.batch(np.array([row]))
        family = self.data.families[int(self.data.shard.family[row])]
        box = [float(side) for side in self.data.shard.extents[row]]
        condition = Condition.of([self.model.index_of(family)], [box])
        if noise:
            start = interpolate(structure, structure_noise(self.model, [row]), noise)
            structure = follow_structure(self.model, start, condition, self.sampler, begin=noise)
        (field,) = fields_of_structure(self.model, structure, condition, [family], [box], [row], self.sampler)
        return field_volume(field, config=FieldConfig()).volume


def handles_right(volume: SparseVolume | None, family: str) -> bool:
    """Return whether a solid has as many handles as members of its family have."""
    if volume is None:
        return False
    checks = check_validity(extract_surface(volume), body=family, declared_genus=family_genus(family))
    (handles,) = [check for check in checks if check.id == "G8"]
    return handles.verdict is not Verdict.FAIL


@torch.no_grad()
def main() -> None:
    """Print the table, families as columns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED_CHECKPOINT)
    parser.add_argument("--families", nargs="+", help="all whose handles are known where not given")
    parser.add_argument("--per-family", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, data = load_model(options.checkpoint), load_dataset(options.data, "test")
    stages = Stages(model, data, SamplerConfig())
    known = [name for name in model.families if name in data.families and family_genus(name) is not None]
    if unknown := set(options.families or ()) - set(known):
        parser.error(
            f"nothing is known of the handles of {', '.join(sorted(unknown))}; take some of {', '.join(known)}"
        )
    families = options.families or known
    rows: dict[str, list[int]] = {
        name: np.flatnonzero(data.shard.family == data.families.index(name))[: options.per_family].tolist()
        for name in families
    }
    print("| | all | " + " | ".join(families) + " |\n" + "|---" * (len(families) + 2) + "|", flush=True)
    steps: dict[str, Callable[[int], SparseVolume | None]] = {
        "the objects": stages.original,
        "encoded and decoded": stages.reconstructed,
        "latents drawn anew": lambda row: stages.drawn(row, 0.0),
    }
    for noise in NOISE:
        steps[f"structure too, from {noise:.0%} noise"] = lambda row, noise=noise: stages.drawn(row, noise)
    for what, step in steps.items():
        right = {name: sum(handles_right(step(row), name) for row in rows[name]) for name in families}
        cells = [f"{sum(right.values())} of {sum(map(len, rows.values()))}", *map(str, right.values())]
        print(f"| {what} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
