"""Materials: density, contact coefficients and surface look, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

from physics.errors import MaterialError


@dataclass(frozen=True)
class Material:
    """A homogeneous material. Looks are physical parameters only: no light is baked in."""

    name: str
    density: float
    """Density [kg/m^3]."""
    sliding_friction: float
    """Coulomb coefficient of the material on itself [1]."""
    torsional_friction: float
    """Torsional friction length [m]."""
    rolling_friction: float
    """Rolling friction length [m]."""
    restitution: float
    """Ratio of rebound to approach speed [1]."""
    base_color: tuple[float, float, float]
    """Linear RGB albedo [1]."""
    metallic: float
    """0 for a dielectric, 1 for a metal [1]."""
    roughness: float
    """Perceptual roughness of the microfacet model [1]."""
    source: str = ""
    """Where the numbers come from."""

    def __post_init__(self) -> None:
        for field in ("density", "sliding_friction", "torsional_friction", "rolling_friction"):
            if not getattr(self, field) >= 0:
                raise MaterialError(f"material {self.name!r}: {field} is {getattr(self, field)}, expected >= 0")
        if not 0 <= self.restitution <= 1:
            raise MaterialError(f"material {self.name!r}: restitution is {self.restitution}, expected 0..1")
