"""How the parts of one body fit together: no volume counted twice (G4), and nothing apart (G5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physics.check import Check
from physics.mesh import Mesh
from physics.model import Body


@dataclass(frozen=True)
class PartFitConfig:
    """Limits for bodies of several parts."""

    overlap: float = 1e-3
    """G4: volume counted twice over the volume of the union [1]."""
    gap: float = 5e-3
    """G5: distance, as a share of L, up to which two parts touch: two surfaces that share a boundary, each read off
    a lattice of its own signs, lie up to half a voxel apart (1/256 L at 128 voxels) [1]."""


def check_part_fit(body: Body, *, config: PartFitConfig | None = None) -> tuple[Check, ...]:
    """Check that the parts of a body neither overlap nor lie apart. A body of one part needs neither.

    Args:
        body: Parts whose surfaces each bound a solid (run `physics.validity` first).
        config: Limits.
    """
    from manifold3d import Manifold, OpType

    if len(body.parts) < 2:
        return ()
    config = config or PartFitConfig()
    size = body.size
    solids = [_solid(part.surface, body.bounds.mean(axis=0), size) for part in body.parts]
    union = Manifold.batch_boolean(solids, OpType.Add).volume()
    double = (sum(solid.volume() for solid in solids) - union) / union if union > 0 else np.nan
    groups = _touching_groups(solids, config.gap)
    names = ", ".join(part.name for part in body.parts)
    return (
        Check(
            "G4", "volume that parts count twice", double, "1", config.overlap, body=body.name, detail=names,
            fix="Cut one part out of the other: their masses are added.",
        ),
        Check(
            "G5", "groups of parts that do not touch", float(groups), "1", 1.0, body=body.name, detail=names,
            fix="Join the parts, or make two bodies of them.",
        ),
    )  # fmt: skip


def _touching_groups(solids: list, reach: float) -> int:
    """Return how many groups of parts remain when all that touch are joined."""
    groups = [{number} for number in range(len(solids))]
    for a in range(len(solids)):
        for b in range(a + 1, len(solids)):
            if solids[a].min_gap(solids[b], 2 * reach) <= reach:
                first = next(group for group in groups if a in group)
                second = next(group for group in groups if b in group)
                if first is not second:
                    groups.remove(second)
                    first |= second
    return len(groups)


def _solid(mesh: Mesh, centre: np.ndarray, size: float):
    from manifold3d import Manifold, Mesh64

    vertices = np.ascontiguousarray((mesh.vertices - centre) / size)
    return Manifold(Mesh64(vertices, np.ascontiguousarray(mesh.faces, dtype=np.uint64)))
