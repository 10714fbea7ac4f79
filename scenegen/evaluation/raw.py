"""What raw samples are, before anything is chosen, cut off or repaired: closed, whole, with the right handles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physics.check import Verdict
from physics.validity import check_validity
from scenegen.evaluation.samples import Sample

CLOSED = ("G1", "G2", "G3", "G4", "G6")
"""Checks of a closed, oriented 2-manifold without self-intersection or needle faces."""


@dataclass(frozen=True)
class RawFigures:
    """Counts over samples [1], and errors of those that bound a solid."""

    samples: int
    solids: int
    """Bound a solid."""
    closed: int
    """Closed, 2-manifold, outward, free of self-intersection."""
    one_part: int
    """In one part, nothing cut off as a speck."""
    filled: int
    """With bubbles inside, which were filled."""
    handles: int
    """As many handles as members of their family have; of `known`."""
    known: int
    """Solids of families whose handles are known."""
    failed: dict[str, int]
    """Samples by failed check."""
    refused: dict[str, int]
    """Samples that bound no solid, by reason."""
    box_error: float
    """Median error of a side of the box, relative; the longest side, to which samples are scaled, is left out [1]."""
    box_error_90: float
    """90th percentile of the same."""
    seconds: float
    """Median CPU time of a sample [s]."""


def raw_figures(samples: Sequence[Sample]) -> RawFigures:
    """Return what was counted on these samples; NaN for errors where none bounds a solid."""
    failed: Counter[str] = Counter()
    errors: list[np.ndarray] = []
    closed = one_part = filled = handles = known = 0
    made = [(s, s.blueprint, s.mesh) for s in samples if s.blueprint is not None and s.mesh is not None]
    for sample, blueprint, mesh in made:
        genus = blueprint.bodies[0].parts[0].genus
        checks = check_validity(mesh, body=sample.family, declared_genus=genus)
        wrong = {check.id for check in checks if check.verdict is Verdict.FAIL}
        failed.update(sorted(wrong))
        closed += not wrong & set(CLOSED)
        one_part += blueprint.parameters["field_pieces"] == 1 and blueprint.parameters["field_specks"] == 0
        filled += blueprint.parameters["field_pores"] > 0
        known += genus is not None
        handles += genus is not None and "G8" not in wrong
        errors.append(np.delete(np.abs(mesh.extents / sample.asked - 1), sample.asked.argmax()))
    return RawFigures(
        samples=len(samples),
        solids=len(made),
        closed=closed,
        one_part=one_part,
        filled=filled,
        handles=handles,
        known=known,
        failed=dict(sorted(failed.items())),
        refused=dict(Counter(sample.fault[:60] for sample in samples if sample.blueprint is None)),
        box_error=float(np.median(errors)) if errors else np.nan,
        box_error_90=float(np.percentile(errors, 90)) if errors else np.nan,
        seconds=float(np.median([sample.seconds for sample in samples])),
    )
