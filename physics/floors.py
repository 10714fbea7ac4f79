"""Engine floors: what a perfect solid shows in an engine, so that its softness is not blamed on an asset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.drop_record import Drop, DropConfig, Outcome, Start
from physics.drop_trial import simulate_drop, stable_start
from physics.engine import Engine
from physics.errors import EngineError
from physics.mass import integrate_mesh
from physics.materials import Material
from physics.mesh import Mesh
from physics.model import Body, Hull, Model, Part
from physics.pose import frozen
from physics.subject import Subject

OpenEngine = Callable[..., Engine]
"""Opens an engine on a world: `open_engine(world, timestep_scale=1.0)`."""

REFERENCE_MATERIAL = Material(
    name="reference",
    density=1000.0,
    sliding_friction=0.5,
    torsional_friction=1e-3,
    rolling_friction=1e-4,
    restitution=0.0,
    base_color=(0.5, 0.5, 0.5),
    metallic=0.0,
    roughness=0.5,
    source="definition: density of water, friction of dry plastics, no rebound",
)
"""What the reference solids and their ground are made of."""

REFERENCE_SIZES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Largest extents of the reference solids [m]."""

PLATE_THICKNESS = 0.05
"""Thickness of the reference plate as a share of its width [1]."""

MIN_PLATE_THICKNESS = 1e-3
"""Smallest thickness of the reference plate [m]."""

CYLINDER_SIDES = 32
"""Sides of the reference cylinder [1]; its hull keeps the 64 vertices that H1 allows."""

SANE_PENETRATION = 0.02
"""A floor above this share of l means that the engine is not usable at that size [1]."""

SANE_MOTION = 3.0
"""A floor above this many limits of D6 or D7, of position or of rotation, means that it is not usable there [1].

Measured: at most 0.8 limits in MuJoCo, 2.0 in Bullet (creep at 30 mm)."""


@dataclass(frozen=True)
class FloorsAt:
    """Engine floors at one size."""

    penetration: float
    """Rest penetration [m]."""
    jitter_position: float
    """RMS of the position at rest [m]."""
    jitter_angle: float
    """RMS of the rotation at rest [rad]."""
    creep_position: float
    """Displacement in the time of D7 [m]."""
    creep_angle: float
    """Change of tilt in the time of D7 [rad]."""


@dataclass(frozen=True, eq=False)
class EngineFloors:
    """The worst that cube, upright cylinder and plate show in one engine, per size L."""

    engine: str
    engine_version: str
    sizes: Float64[np.ndarray, "S"]
    """Largest extents, ascending [m]."""
    penetration: Float64[np.ndarray, "S"]
    """Rest penetration [m]."""
    jitter_position: Float64[np.ndarray, "S"]
    """RMS of the position at rest [m]."""
    jitter_angle: Float64[np.ndarray, "S"]
    """RMS of the rotation at rest [rad]."""
    creep_position: Float64[np.ndarray, "S"]
    """Displacement in the time of D7 [m]."""
    creep_angle: Float64[np.ndarray, "S"]
    """Change of tilt in the time of D7 [rad]."""
    simulated_seconds: float = 0.0
    """Simulated time that the measurement took [s]."""

    def __post_init__(self) -> None:
        for name in ("sizes", *FLOOR_FIELDS):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def at(self, size: float) -> FloorsAt:
        """Return the floors at a largest extent [m], linear in log(size) and constant beyond the measured range."""
        where = np.log(size)
        return FloorsAt(*(float(np.interp(where, np.log(self.sizes), getattr(self, name))) for name in FLOOR_FIELDS))

    def describe(self) -> str:
        """Return one line per size, for the report."""
        rows = [
            f"{size:g} m: penetration {self.penetration[i] * 1e6:.2f} um, "
            f"jitter {self.jitter_position[i] * 1e6:.3f} um "
            f"{np.rad2deg(self.jitter_angle[i]):.2g} deg, creep {self.creep_position[i] * 1e6:.3f} um"
            for i, size in enumerate(self.sizes)
        ]
        return "\n".join([f"floors of {self.engine} {self.engine_version} on perfect solids:", *rows])


FLOOR_FIELDS = ("penetration", "jitter_position", "jitter_angle", "creep_position", "creep_angle")
"""Quantities that have a floor, in the order of FloorsAt."""


def measure_floors(
    open_engine: OpenEngine, *, config: DropConfig | None = None, sizes: Sequence[float] = REFERENCE_SIZES
) -> EngineFloors:
    """Drop perfect solids in an engine and return the worst of what they show at rest.

    Args:
        open_engine: Opens the engine on a world.
        config: The rules that assets are dropped under.
        sizes: Largest extents to measure at [m].

    Raises:
        EngineError: A reference solid does not come to rest or sinks in visibly; floors from it would excuse
            every asset, so there are none.
    """
    config = config or DropConfig()
    sizes = sorted(sizes)
    name = version = ""
    rows, seconds = [], 0.0
    for size in sizes:
        drops = []
        for model in reference_solids(size):
            subject = Subject(model, config)
            engine = open_engine(subject.world(REFERENCE_MATERIAL))
            try:
                drop = simulate_drop(engine, subject, _upright_start(subject), creep=True)
                name, version = engine.name, engine.version
            finally:
                engine.close()
            _require_sane(drop, subject, name)
            drops.append(drop)
            seconds += drop.simulated_seconds
        rows.append([max(float(getattr(drop, quantity)) for drop in drops) for quantity in FLOOR_FIELDS])
    return EngineFloors(name, version, np.array(sizes), *np.array(rows).T, simulated_seconds=seconds)


def reference_solids(size: float) -> tuple[Model, ...]:
    """Return cube, upright cylinder and plate with a largest extent of `size` [m], base at z = 0."""
    angles = 2 * np.pi * np.arange(CYLINDER_SIDES) / CYLINDER_SIDES
    circle = size / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    square = size / 2 * np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    shapes = {
        "cube": prism(square, size),
        "cylinder": prism(circle, size),
        "plate": prism(square, max(PLATE_THICKNESS * size, MIN_PLATE_THICKNESS)),
    }
    return tuple(Model(name, (convex_body(name, mesh, REFERENCE_MATERIAL),)) for name, mesh in shapes.items())


def prism(outline: np.ndarray, height: float) -> Mesh:
    """Return the prism over a convex counter-clockwise outline (N, 2) [m] with its base at z = 0."""
    count = len(outline)
    bottom = np.column_stack([outline, np.zeros(count)])
    top = np.column_stack([outline, np.full(count, height)])
    i = np.arange(count)
    j = (i + 1) % count
    fan = np.stack([np.zeros(count - 2, dtype=int), i[1:-1], i[2:]], axis=1)
    sides = np.concatenate([np.stack([i, j, j + count], axis=1), np.stack([i, j + count, i + count], axis=1)])
    return Mesh(np.concatenate([bottom, top]), np.concatenate([fan[:, ::-1], fan + count, sides]))


def convex_body(name: str, mesh: Mesh, material: Material) -> Body:
    """Return a homogeneous convex body that is its own collision hull."""
    return Body(
        name, (Part(name, mesh, material),), (Hull(mesh, name),), integrate_mesh(mesh, density=material.density)
    )


def _upright_start(subject: Subject) -> Start:
    upright = next(index for index, pose in enumerate(subject.poses) if pose.upright)
    return stable_start(subject, upright, "upright")


def _require_sane(drop: Drop, subject: Subject, engine: str) -> None:
    config = subject.config
    place = f"{engine}: reference {subject.model.name} of {subject.size:g} m"
    advice = "check the engine's time step, margins and solver settings at this size"
    if drop.outcome is not Outcome.RESTED:
        raise EngineError(f"{place} ended as {drop.outcome} {drop.warnings}, expected rested; {advice}")
    if not drop.penetration <= SANE_PENETRATION * subject.thickness:
        raise EngineError(
            f"{place} rests {drop.penetration * 1e3:.4g} mm deep, expected at most "
            f"{SANE_PENETRATION * subject.thickness * 1e3:.4g} mm; {advice}"
        )
    motions = (
        ("jitters", drop.jitter_position, config.jitter_limit * subject.size, "m"),
        ("jitters", drop.jitter_angle, config.jitter_angle_limit, "rad"),
        ("creeps", drop.creep_position, config.creep_limit * subject.size, "m"),
        ("creeps", drop.creep_angle, config.creep_angle_limit, "rad"),
    )
    for what, value, limit, unit in motions:
        if not value <= SANE_MOTION * limit:
            raise EngineError(
                f"{place} {what} by {value:.3g} {unit} at rest, "
                f"expected at most {SANE_MOTION * limit:.3g} {unit}; {advice}"
            )
