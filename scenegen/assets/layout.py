"""Where the files of an asset lie, and how numbers are spelt in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from physics.model import Hull, Model, Part

ASSET_JSON = "asset.json"
"""The one numeric source."""
VOLUME_NPZ = "volume.npz"
VISUAL_GLB = "visual.glb"
MODEL_XML = "model.xml"
MODEL_URDF = "model.urdf"
THUMB_PNG = "thumb.png"


def part_paths(model: Model) -> list[tuple[str, Part, str]]:
    """Return body name, part and surface file of every part, in the order of the model."""
    return [(body.name, part, f"visual/{body.name}_{part.name}.obj") for body in model.bodies for part in body.parts]


def hull_paths(model: Model) -> list[tuple[str, Hull, str]]:
    """Return body name, hull and file of every hull; numbers run through all bodies."""
    pairs = [(body.name, hull) for body in model.bodies for hull in body.hulls]
    return [(body, hull, f"collision/hull_{number:03d}.obj") for number, (body, hull) in enumerate(pairs)]


def mesh_name(path: str) -> str:
    """Return the name of a mesh after its file."""
    return PurePosixPath(path).stem


def spell(numbers: float | Iterable[float]) -> str:
    """Return numbers as text that reads back to the same doubles."""
    values = [numbers] if isinstance(numbers, int | float) else list(numbers)
    return " ".join(repr(float(value) + 0.0) for value in values)


def srgb(color: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return a linear colour as sRGB, which MJCF and URDF viewers expect."""
    r, g, b = (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in color)
    return round(r, 6), round(g, 6), round(b, 6)
