"""The engines that scenes are judged in, under the settings that worlds of many bodies need."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from physics.drop_mujoco import open_mujoco
from physics.drop_pybullet import SCENE, open_pybullet
from physics.engine import Engine, World

OPEN_ENGINE: dict[str, Callable[[World], Engine]] = {
    "mujoco": open_mujoco,
    "pybullet": partial(open_pybullet, config=SCENE),
}
"""The engines that have to agree, by name; the one that objects are settled in first."""
