"""The engines that scenes are judged in, under the settings that worlds of many bodies need."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from physics.drop_mujoco import open_mujoco
from physics.drop_pybullet import SCENE, open_pybullet
from physics.engine import Engine, World

Opener = Callable[[World], Engine]
"""Loads a world into an engine."""
OPEN_ENGINE: dict[str, Opener] = {
    "mujoco": open_mujoco,
    "pybullet": partial(open_pybullet, config=SCENE),
}
"""The engines that have to agree, by name; the one that objects are settled in first."""
