"""What MuJoCo and this machine can hold as one model; what cannot be held is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import psutil

from scenegen.errors import SceneError
from scenegen.large.floor import FloorPlan
from scenegen.scenes.scene import SceneAsset

MOST_BODIES = 2**16 - 1
"""Bodies that MuJoCo can number in a pair [1]."""
BYTES_PER_HULL = 14_000
"""Memory of one collision geom while a scene is compiled, judged and drawn [byte]: all processes of a run of 10,000
objects of 38 hulls held 7.1 GiB at the most."""
BYTES_PER_PAIR = 4
"""Two arrays of N (N - 1) / 2 integers of the broad phase [byte]."""


def check_size(
    floor: FloorPlan,
    assets: Sequence[SceneAsset],
    furniture: Sequence[SceneAsset] = (),
    mean_hulls: float | None = None,
) -> None:
    """Refuse what MuJoCo or this machine cannot hold, before anything is computed.

    Args:
        floor: Where objects go.
        assets: What is drawn to stand, be carried, or be poured.
        furniture: What is drawn to carry objects, where the layout has assets for that.
        mean_hulls: Budget of hulls an object other than furniture, where there is one [1].

    Raises:
        SceneError: Too many bodies, or too little free memory for the model of the whole scene (says how much).
    """
    bodies = floor.objects + len(floor.fixtures)
    if bodies > MOST_BODIES:
        raise SceneError(
            f"{floor.objects} objects and {len(floor.fixtures)} pieces of furniture are more than the {MOST_BODIES} "
            "bodies that MuJoCo's broad phase can number; ask for fewer objects, or make several scenes"
        )
    pieces = sum(len(job.loads) for cell in floor.cells for job in cell.jobs)
    hulls = min(_mean_hulls(assets), mean_hulls or np.inf)
    hulls += (_mean_hulls(furniture) - hulls) * pieces / max(floor.objects, 1) if furniture else 0.0
    needed = int(BYTES_PER_HULL * hulls * floor.objects + BYTES_PER_PAIR * bodies**2)
    free = psutil.virtual_memory().available
    if needed > free:
        raise SceneError(
            f"{floor.objects} objects of {hulls:.0f} hulls need about {needed / 2**30:.1f} GiB to be loaded as one "
            f"model, and {free / 2**30:.1f} GiB are free; ask for at most "
            f"{int(floor.objects * free / needed)}, draw fewer hulls (mix.mean_hulls, mix.most_hulls), or take a "
            "larger machine"
        )


def _mean_hulls(assets: Sequence[SceneAsset]) -> float:
    return float(np.mean([len(asset.model.root.hulls) for asset in assets]))
