"""What the scenes of a report need of an asset: its page, its materials, its mass, and a few points of its outline."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.pose import frozen
from scenegen.reports.report_entry import Entry

DIRECTIONS = 48
"""Directions in which the outermost point of an asset is kept: what it looks like from afar, from any side [1]."""


@dataclass(frozen=True, eq=False)
class PlacedAsset:
    """An asset that scenes may hold."""

    page: str
    """Identifier of its page."""
    materials: tuple[str, ...]
    """Names, each once."""
    mass: float
    """Mass of all bodies [kg]."""
    points: Float64[np.ndarray, "P 3"]
    """Outermost points in its root frame [m]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", frozen(self.points))


def placed_asset(entry: Entry) -> PlacedAsset | None:
    """Return what scenes need of an asset, or None where it may not be used or has no mass."""
    model = entry.model
    if not entry.accepted or model is None or any(body.mass_properties is None for body in model.bodies):
        return None
    parts = [part for body in model.bodies for part in body.parts]
    vertices = np.concatenate([part.surface.vertices for part in model.root.parts])
    return PlacedAsset(
        entry.id,
        tuple(dict.fromkeys(part.material.name for part in parts)),
        sum(body.inertial.mass for body in model.bodies),
        outermost(vertices),
    )


def outermost(points: np.ndarray) -> Float64[np.ndarray, "P 3"]:
    """Return those points (N, 3) that lie farthest out in some direction, in their order [m]."""
    chosen = np.unique(np.argmax(points @ _directions().T, axis=0))
    return np.asarray(points, dtype=np.float64)[chosen]


@functools.cache
def _directions() -> np.ndarray:
    """Return directions spread evenly, by the golden angle, and those along the axes' diagonals, where boxes end."""
    number = np.arange(DIRECTIONS) + 0.5
    height, angle = 1 - 2 * number / DIRECTIONS, np.pi * (1 + np.sqrt(5)) * number
    across = np.sqrt(1 - height**2)
    spread = np.stack([across * np.cos(angle), across * np.sin(angle), height], axis=1)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / np.sqrt(3)
    return frozen(np.concatenate([spread, corners]))
