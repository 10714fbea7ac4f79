"""Static furniture of a scene: models made of boxes, and the flat regions on which objects may stand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.mass import combine_masses, integrate_mesh
from physics.materials import Material
from physics.mesh import Mesh
from physics.model import Body, Hull, Model, Part
from scenegen.errors import SceneError

BOX_FACES = np.array(
    [
        [0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4],
        [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5],
    ]
)  # fmt: skip
"""Outward faces of a box whose corner i has the bits (x, y, z) = (i & 1, i >> 1 & 1, i >> 2)."""


@dataclass(frozen=True, eq=False)
class Region:
    """A horizontal rectangle on which objects may stand."""

    centre: Float64[np.ndarray, "3"]
    """Middle of the rectangle in W [m]."""
    half: Float64[np.ndarray, "2"]
    """Half its extents along x and y [m]."""
    clear_height: float
    """Free height above it [m]."""

    @property
    def area(self) -> float:
        """Area [m^2]."""
        return float(4 * self.half[0] * self.half[1])


@dataclass(frozen=True, eq=False)
class Support:
    """A piece of furniture, fixed in the world, with its regions."""

    model: Model
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class TableSize:
    """A rectangular table on four legs."""

    length: float = 1.6
    """Extent of the top along x [m]."""
    width: float = 0.9
    """Extent of the top along y [m]."""
    height: float = 0.74
    """Height of the top's upper side; EN 527-1 names 0.74 for a fixed work desk [m]."""
    thickness: float = 0.03
    """Thickness of the top [m]."""
    leg: float = 0.06
    """Side of the square legs [m]."""


@dataclass(frozen=True)
class BinSize:
    """An open container."""

    length: float = 0.8
    """Inner extent along x [m]."""
    width: float = 0.6
    """Inner extent along y [m]."""
    depth: float = 0.42
    """Inner height of the walls [m]."""
    wall: float = 0.02
    """Thickness of floor and walls [m]."""


@dataclass(frozen=True)
class RackSize:
    """A rack of boards between two side panels, with a back panel."""

    length: float = 1.5
    """Inner length of the boards along x [m]."""
    depth: float = 0.45
    """Depth of the boards along y [m]."""
    levels: int = 3
    """Boards that carry objects [1]."""
    spacing: float = 0.5
    """Distance of one board's upper side from the next [m]."""
    first: float = 0.15
    """Height of the lowest board's upper side [m]."""
    board: float = 0.025
    """Thickness of boards and panels [m]."""


def make_table(size: TableSize, material: Material) -> Support:
    """Return a table with its feet on z = 0, centred on the z axis."""
    x, y, under = size.length / 2, size.width / 2, size.height - size.thickness
    boxes = {"top": ((-x, -y, under), (x, y, size.height))}
    for number, (sx, sy) in enumerate(((-1, -1), (1, -1), (1, 1), (-1, 1))):
        cx, cy = sx * (x - size.leg), sy * (y - size.leg)
        half = size.leg / 2
        boxes[f"leg_{number}"] = ((cx - half, cy - half, 0.0), (cx + half, cy + half, under))
    region = Region(np.array([0.0, 0.0, size.height]), np.array([x, y]), np.inf)
    return Support(box_model("table", boxes, material), (region,))


def make_bin(size: BinSize, material: Material) -> Support:
    """Return an open bin with its underside on z = 0, centred on the z axis."""
    x, y, w, top = size.length / 2, size.width / 2, size.wall, size.wall + size.depth
    boxes = {
        "floor": ((-x - w, -y - w, 0.0), (x + w, y + w, w)),
        "wall_left": ((-x - w, -y - w, w), (-x, y + w, top)),
        "wall_right": ((x, -y - w, w), (x + w, y + w, top)),
        "wall_front": ((-x, -y - w, w), (x, -y, top)),
        "wall_back": ((-x, y, w), (x, y + w, top)),
    }
    region = Region(np.array([0.0, 0.0, w]), np.array([x, y]), np.inf)
    return Support(box_model("bin", boxes, material), (region,))


def make_rack(size: RackSize, material: Material) -> Support:
    """Return a rack with its feet on z = 0, the open side at -y."""
    x, y, b = size.length / 2, size.depth / 2, size.board
    if not size.spacing > b:
        raise SceneError(f"boards {size.spacing} m apart and {b} m thick leave no room between them; raise 'spacing'")
    top = size.first + (size.levels - 1) * size.spacing + size.spacing
    boxes = {
        "side_left": ((-x - b, -y, 0.0), (-x, y, top)),
        "side_right": ((x, -y, 0.0), (x + b, y, top)),
        "back": ((-x - b, y, 0.0), (x + b, y + b, top)),
    }
    regions = []
    for level in range(size.levels):
        z = size.first + level * size.spacing
        boxes[f"board_{level}"] = ((-x, -y, z - b), (x, y, z))
        regions.append(Region(np.array([0.0, 0.0, z]), np.array([x, y]), size.spacing - b))
    boxes["lid"] = ((-x, -y, top - b), (x, y, top))
    return Support(box_model("rack", boxes, material), tuple(regions))


def make_box(lower: tuple[float, float, float], upper: tuple[float, float, float]) -> Mesh:
    """Return an axis-aligned box between two corners [m]."""
    corners = np.array([[(lower, upper)[i >> axis & 1][axis] for axis in range(3)] for i in range(8)])
    return Mesh(corners, BOX_FACES)


def box_model(name: str, boxes: dict[str, tuple], material: Material) -> Model:
    """Return a one-body model of boxes, each given by its two corners [m].

    Raises:
        SceneError: A box has no volume.
    """
    for part, (lower, upper) in boxes.items():
        if not all(a < b for a, b in zip(lower, upper, strict=True)):
            extents = ", ".join(f"{b - a:.4g}" for a, b in zip(lower, upper, strict=True))
            raise SceneError(
                f"{part} of the {name} would measure ({extents}) m, expected > 0; change the sizes of the {name}"
            )
    meshes = {part: make_box(*corners) for part, corners in boxes.items()}
    parts = tuple(Part(part, mesh, material) for part, mesh in meshes.items())
    hulls = tuple(Hull(mesh, part) for part, mesh in meshes.items())
    mass = combine_masses([integrate_mesh(mesh, density=material.density) for mesh in meshes.values()])
    return Model(name, (Body(name, parts, hulls, mass),))
