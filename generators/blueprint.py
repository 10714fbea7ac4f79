"""What a generator returns: bodies of parts, each part a volume and the name of its material, and joints."""

from __future__ import annotations

from dataclasses import dataclass, field

from generators.errors import GeneratorError
from generators.volume import SparseVolume


@dataclass(frozen=True, eq=False)
class PartBlueprint:
    """One solid of one material."""

    name: str
    volume: SparseVolume
    """Signed distance in the body frame B."""
    material: str
    """Name of a material in `physics.materials`."""
    genus: int | tuple[int, ...] | None = None
    """Expected number of handles of the surface, or those it may have; None when unknown."""
    components: int = 1
    """Expected number of connected pieces."""


@dataclass(frozen=True, eq=False)
class BodyBlueprint:
    """A rigid body made of parts. Frame B: origin at the centre of the base, z up, front +x."""

    name: str
    parts: tuple[PartBlueprint, ...]
    symmetry_axis: tuple[float, float, float] | None = None
    """Axis of full rotational symmetry in B, if the body has one: it may roll about it."""


@dataclass(frozen=True, eq=False)
class JointBlueprint:
    """A joint between two bodies, in the terms of `physics.model.Joint`."""

    name: str
    kind: str
    parent: str
    child: str
    position: tuple[float, float, float]
    """Origin of the child's frame in its parent [m]."""
    axis: tuple[float, float, float]
    lower: float = 0.0
    upper: float = 0.0


@dataclass(frozen=True, eq=False)
class Blueprint:
    """An object as its generator describes it."""

    family: str
    """Category label, such as "mug"."""
    bodies: tuple[BodyBlueprint, ...]
    joints: tuple[JointBlueprint, ...] = ()
    parameters: dict[str, float] = field(default_factory=dict)
    """Family parameters [m] or [1], for the record."""
    generator: str = "procedural"

    def __post_init__(self) -> None:
        if not self.bodies:
            raise GeneratorError(f"blueprint {self.family!r} has no bodies")
