"""CPU time and peak memory of volume, surface, validity and simplification against the resolution.

Each row runs in a process of its own, so that its peak memory is its own.

    python benchmarks/surface.py [--family mug] [--resolutions 128 256 512] [--seed 0]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

T = TypeVar("T")
COLUMNS = ("resolution", "nodes", "faces", "sample s", "extract s", "peak GB", "validity s", "simplify s", "faces left")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return the result and the CPU time of this process [s]."""
    begin = time.process_time()
    result = work()
    return result, time.process_time() - begin


def measure(family: str, resolution: int, seed: int) -> str:
    """Return one row: the first part of the first body, from field to simplified mesh."""
    from generators.procedural import ProceduralGenerator
    from generators.surface import extract_surface
    from physics.simplify import simplify_mesh
    from physics.validity import check_validity

    def sample():
        return ProceduralGenerator().generate(family, rng=np.random.default_rng(seed), resolution=resolution)

    blueprint, sample_s = timed(sample)
    volume = blueprint.bodies[0].parts[0].volume
    mesh, extract_s = timed(lambda: extract_surface(volume))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    checks, validity_s = timed(lambda: check_validity(mesh, body=family))
    result, simplify_s = timed(lambda: simplify_mesh(mesh, tolerance=0.25 * volume.voxel_size))
    worst = max((check.verdict for check in checks), key=["PASS", "WARN", "UNDECIDED", "FAIL"].index)
    cells = [resolution, len(volume.values), len(mesh.faces), f"{sample_s:.2f}", f"{extract_s:.2f}", f"{peak:.2f}"]
    cells += [f"{validity_s:.2f} {worst}", f"{simplify_s:.2f}", f"{len(result.mesh.faces)} {result.fallback}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", default="mug")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--row", action="store_true", help="measure one resolution in this process")
    options = parser.parse_args()
    if options.row:
        print(measure(options.family, options.resolutions[0], options.seed))
        return
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    for resolution in options.resolutions:
        command = [sys.executable, __file__, "--row", "--family", options.family, "--resolutions", str(resolution)]
        subprocess.run([*command, "--seed", str(options.seed)], check=True)


if __name__ == "__main__":
    main()
