"""How much the rest of a heap would notice if one of its objects were gone.

What carries others does; but so does what only lies on others and holds them down, such as the box on one end of a
wrench. What lies by itself, or lightly on something heavy, can go.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physics.drop_mujoco import open_mujoco
from physics.engine import World
from scenegen.scenes.scene import SceneObject

SETTLING_STEPS = 20
"""Steps after which the forces of contacts are read [1]: in the first ones the springs of contacts take up the load."""


def find_ties(world: World, objects: Sequence[SceneObject]) -> dict[str, float]:
    """Return, for each object, the sum of its contact forces with others over the weights of those [1].

    Args:
        world: A heap at rest.
        objects: What is free in it.
    """
    gravity = float(np.linalg.norm(world.gravity))
    weight = {one.name: gravity * one.asset.model.root.inertial.mass for one in objects}
    ties = dict.fromkeys(weight, 0.0)
    engine = open_mujoco(world)
    try:
        engine.step(SETTLING_STEPS)
        contacts = engine.contacts()
    finally:
        engine.close()
    for a, b, force in zip(contacts.names_a, contacts.names_b, contacts.forces, strict=True):
        if a in ties and b in ties:
            push = float(np.linalg.norm(force))
            ties[a] += push / weight[b]
            ties[b] += push / weight[a]
    return ties
