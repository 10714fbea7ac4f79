"""Contact sheets: unselected members of every family, one row a family.

    python benchmarks/family_sheet.py --out out/families --members 8 --resolution 128

Writes one PNG for each group of families. The seeds are 0, 1, 2, ...: nothing is picked.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from generators.families import FAMILIES
from generators.procedural import ProceduralGenerator
from generators.surface import extract_surface
from physics.materials import find_material
from physics.pose import Pose
from scenegen.reports.render import RenderObject, contact_sheet, frame_camera, render, save_png

FAMILIES_A_SHEET = 5
"""Rows of one picture [1]."""

PICTURE = 200
"""Side of one picture [pixel]."""


def picture_of(family: str, seed: int, resolution: int) -> np.ndarray:
    """Return the picture (H, W, 3) of one member."""
    rng = np.random.default_rng(seed)
    (body,) = ProceduralGenerator().generate(family, rng=rng, resolution=resolution).bodies
    objects = []
    for part in body.parts:
        material = find_material(part.material)
        objects.append(
            RenderObject(
                extract_surface(part.volume),
                Pose.identity(),
                material.base_color,
                metallic=material.metallic,
                roughness=material.roughness,
                name=part.name,
            )
        )
    bounds = np.stack(
        [
            np.min([o.mesh.bounds[0] for o in objects], axis=0),
            np.max([o.mesh.bounds[1] for o in objects], axis=0),
        ]
    )
    return render(objects, frame_camera(bounds, width=PICTURE, height=PICTURE)).color


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/families"))
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for begin in range(0, len(options.families), FAMILIES_A_SHEET):
        names = options.families[begin : begin + FAMILIES_A_SHEET]
        cells = [(name, seed) for name in names for seed in range(options.members)]
        pictures = [picture_of(name, seed, options.resolution) for name, seed in cells]
        labels = [f"{name} {seed}" for name, seed in cells]
        path = options.out / f"families_{begin // FAMILIES_A_SHEET + 1}.png"
        save_png(contact_sheet(pictures, labels, columns=options.members), path)
        print(f"{path}: {', '.join(names)}")


if __name__ == "__main__":
    main()
