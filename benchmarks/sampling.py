"""Samples a second of the learned generator on the CPU and on CUDA, and how far a batch is from samples drawn alone.

Prints one row per device and batch size: seconds a sample, peak memory, share of cells that a sample drawn in the batch
does not share with the same seed drawn alone on the CPU, and the largest difference of their coarse distances.

    python benchmarks/sampling.py --checkpoint generators/ssa/weights/small --batches 1 8 32
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from generators.ssa.checkpoint import load_model
from generators.ssa.flow import SamplerConfig
from generators.ssa.generator import BUNDLED_CHECKPOINT, draw_extents
from generators.ssa.model import LearnedModel
from generators.ssa.sample import SampledField, sample_fields

COLUMNS = ("device", "batch", "s a sample", "peak GiB", "nodes apart", "coarse distance apart [cell]")


def requests(model: LearnedModel, count: int) -> tuple[list[str], list[tuple[float, float, float]], list[int]]:
    """Return families in turn, a training box of each, and seeds."""
    families = [model.families[i % len(model.families)] for i in range(count)]
    boxes = [draw_extents(model, family, np.random.default_rng(i), {}) for i, family in enumerate(families)]
    return families, boxes, list(range(count))


def draw(model: LearnedModel, count: int, config: SamplerConfig) -> tuple[list[SampledField], float]:
    """Return the samples of the first `count` requests drawn as one batch, and the seconds it took."""
    families, extents, seeds = requests(model, count)
    begin = time.perf_counter()
    samples = sample_fields(model, families=families, extents=extents, seeds=seeds, config=config)
    return samples, time.perf_counter() - begin


def apart(one: SampledField, other: SampledField) -> tuple[float, float]:
    """Return the share of nodes that only one of two fields holds, and the largest difference of coarse distances."""
    a, b = ({tuple(node) for node in field.coords.tolist()} for field in (one, other))
    return len(a ^ b) / max(1, len(a | b)), float(np.abs(one.coarse - other.coarse).max())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED_CHECKPOINT)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = SamplerConfig(steps=options.steps)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    alone, seconds = draw(load_model(options.checkpoint), 1, config)
    print(f"| cpu | 1 | {seconds:.2f} | | | |", flush=True)
    if not torch.cuda.is_available():
        return
    model = load_model(options.checkpoint, "cuda")
    for batch in options.batches:
        draw(model, batch, config)  # compiles and allocates
        torch.cuda.reset_peak_memory_stats()
        samples, seconds = draw(model, batch, config)
        nodes, distance = apart(samples[0], alone[0])
        peak = torch.cuda.max_memory_allocated() / 2**30
        print(f"| cuda | {batch} | {seconds / batch:.3f} | {peak:.1f} | {nodes:.2%} | {distance:.3f} |", flush=True)


if __name__ == "__main__":
    main()
