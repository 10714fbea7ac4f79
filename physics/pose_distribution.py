"""Check D13: how often random drops end in each stable pose, against the solid angles that flow to it. Information.

The prior is quasi-static: a body that is let go rolls over its edges without speed. One that bounces and tumbles ends
more often in its most stable poses than that, so the difference is a finding about the object and no defect of it.
"""

from __future__ import annotations

import numpy as np

from physics.check import Check
from physics.drop_record import Start
from physics.drop_trial import place_on_plane, simulate_drop
from physics.floors import OpenEngine
from physics.materials import Material
from physics.pose import Pose
from physics.subject import Subject

ENOUGH_DROPS = 385
"""Drops after which a share is known to 5 % with 95 % confidence: 1.96^2 / (4 * 0.05^2) [1]."""
NAMED = 3
"""Poses that the check names, those that differ most [1]."""


def check_distribution(
    subject: Subject, open_engine: OpenEngine, *, engine: str, ground: Material, drops: int, rng: np.random.Generator
) -> Check:
    """Drop a body from random orientations and compare where it ends with the solid angles of its stable poses.

    Args:
        subject: The body and the rules of its drops.
        open_engine: Opens the engine.
        engine: Name of the engine.
        ground: Material of the half-space z <= 0.
        drops: How many; `ENOUGH_DROPS` for 5 %.
        rng: Draws the orientations.

    Returns:
        Total variation between the two distributions, 0 to 1, where drops that end in no stable pose count as
        a pose of no prior.

    Raises:
        EngineError: the engine cannot be opened.
        ModelError: the body has no stable poses.

    References:
        Goldberg, Mirtich, Zhuang, Craig, Carlisle, Canny, "Part pose statistics", IEEE T-RA 15(5), 1999.
    """
    prior = np.array([*(pose.probability for pose in subject.poses), 0.0])
    ends = np.zeros(len(prior))
    high = subject.config.random_clearance * subject.size
    opened = open_engine(subject.world(ground))
    try:
        for number in range(drops):
            start = Start(f"pose-{number}", place_on_plane(subject, Pose.random_rotation(rng), high), high)
            drop = simulate_drop(opened, subject, start, creep=False)
            found = drop.outcome.settled and drop.rest_angle <= subject.config.rest_angle_limit
            ends[drop.rest_index if found else -1] += 1
    finally:
        opened.close()
    share = ends / drops
    most = np.argsort(-np.abs(share - prior), kind="stable")[:NAMED]
    names = [*(f"stable-{index}" for index in range(len(subject.poses))), "no stable pose"]
    return Check(
        "D13", "total variation of rest poses against solid angles", float(np.abs(share - prior).sum() / 2), "1", None,
        body=subject.body.name, engine=engine,
        detail=f"{drops} drops; " + ", ".join(f"{names[k]} {share[k]:.1%} for {prior[k]:.1%}" for k in most),
    )  # fmt: skip
