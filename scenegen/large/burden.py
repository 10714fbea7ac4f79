"""What each object of a heap carries of the others, from the contacts of a model in which it lies still."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from physics.drop_mujoco import open_mujoco
from physics.engine import World

SETTLING_STEPS = 20
"""Steps after which the forces of contacts are read [1]: in the first ones the springs of contacts take up the load."""


def find_burdens(world: World, names: Collection[str]) -> dict[str, float]:
    """Return the sum of the forces with which others press on each object from above [N]; 0 for what carries nothing.

    Args:
        world: A heap at rest.
        names: What is free in it.
    """
    burdens = dict.fromkeys(names, 0.0)
    engine = open_mujoco(world)
    try:
        engine.step(SETTLING_STEPS)
        contacts = engine.contacts()
    finally:
        engine.close()
    for a, b, force in zip(contacts.names_a, contacts.names_b, contacts.forces, strict=True):
        lower = b if force[2] < 0 else a  # the force is what a exerts on b
        if lower in burdens:
            burdens[lower] += float(np.linalg.norm(force))
    return burdens
