"""Materials: density, contact coefficients and surface look, each with its source; and the rules for pairs.

The friction of a pair is defined here, once, for every engine: the element-wise maximum of the two materials. It is
the rule of stock MuJoCo, so that a written MJCF file needs no table of pairs. It is a convention: a slippery
material stays slippery only on itself (PTFE on steel counts as steel on steel).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

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
            if not 0 <= getattr(self, field) < math.inf:
                raise MaterialError(f"material {self.name!r}: {field} is {getattr(self, field)}, expected >= 0")
        if not 0 <= self.restitution <= 1:
            raise MaterialError(f"material {self.name!r}: restitution is {self.restitution}, expected 0..1")
        looks = (*self.base_color, self.metallic, self.roughness)
        if len(self.base_color) != 3 or not all(0 <= value <= 1 for value in looks):
            raise MaterialError(
                f"material {self.name!r}: base_color, metallic and roughness are {looks}, expected 0..1"
            )


@dataclass(frozen=True)
class Friction:
    """Friction of one pair of surfaces in contact."""

    sliding: float
    """Coulomb coefficient [1]."""
    torsional: float
    """Largest moment about the contact normal over the normal force [m]."""
    rolling: float
    """Largest moment about a tangent over the normal force [m]."""


def find_material(name: str) -> Material:
    """Return the material of that name; MaterialError with the nearest name and the list otherwise."""
    if name in MATERIALS:
        return MATERIALS[name]
    close = difflib.get_close_matches(name, MATERIALS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise MaterialError(f"{name!r} is not a material.{hint} Materials: {', '.join(MATERIALS)}")


FRICTION_LENGTH_SHARE = 0.003
"""Largest torsional and rolling friction in a test, as a share of the size of the body [1].

They are lengths, of the order of the contact patch, and shrink with it: 0.3 mm of wood under a body of 100 mm would let
a body of 5 mm stand on its edges."""

LEAST_FRICTION_LENGTH = 1e-5
"""Smallest torsional and rolling friction in a test [m]: MuJoCo takes no less (mjMINMU), and both engines have to test
the same body. Only bodies below 3.4 mm notice."""


def sized_friction(material: Material, size: float) -> Material:
    """Return the material with friction lengths that fit a body of largest extent `size` [m], or what it stands on."""
    longest = FRICTION_LENGTH_SHARE * size
    return replace(
        material,
        torsional_friction=max(min(material.torsional_friction, longest), LEAST_FRICTION_LENGTH),
        rolling_friction=max(min(material.rolling_friction, longest), LEAST_FRICTION_LENGTH),
    )


def pair_friction(a: Material, b: Material) -> Friction:
    """Return the friction between two materials: the element-wise maximum."""
    return Friction(
        max(a.sliding_friction, b.sliding_friction),
        max(a.torsional_friction, b.torsional_friction),
        max(a.rolling_friction, b.rolling_friction),
    )


def pair_restitution(a: Material, b: Material) -> float:
    """Return the ratio of rebound to approach speed between two materials: the geometric mean.

    A convention, chosen because a product of one number per body can represent it exactly (PyBullet). MuJoCo has no
    such parameter; its contacts are set to be inelastic.
    """
    return math.sqrt(a.restitution * b.restitution)


_METALS = (
    "Density: CRC Handbook of Chemistry and Physics, properties of metals and alloys. Friction: Engineering ToolBox, "
    "'Friction and Friction Coefficients'. Colour: measured normal reflectance, rounded. "
    "Restitution, torsional and rolling friction: typical, engineering judgement. Note: "
)
_WOODS = (
    "Density and friction: typical within Wood Handbook FPL-GTR-282 (chapters 4, 5) and Engineering ToolBox ranges. "
    "Restitution, torsional and rolling friction, colour: typical, engineering judgement. Note: "
)
_SOLIDS = (
    "Density: typical within Engineering ToolBox and MatWeb ranges. Friction: Engineering ToolBox, 'Friction and "
    "Friction Coefficients', where it lists the pair, else engineering judgement. "
    "Restitution, torsional and rolling friction, colour: typical, engineering judgement. Note: "
)


def _entry(
    name: str,
    density: float,
    friction: tuple[float, float, float],
    restitution: float,
    base_color: tuple[float, float, float],
    metallic: float,
    roughness: float,
    source: str,
) -> Material:
    return Material(name, density, *friction, restitution, base_color, metallic, roughness, source)


# Sliding friction is the dry, kinetic value of handled surfaces. Rolling lengths follow the lever arms of classical
# handbooks (wood on wood 0.5 mm, steel on steel 0.05 mm), at or below them: enough that a lying cylinder stops and a
# round foot ends its wobble. The price is that small bodies can stand on an edge by it. Measured in PyBullet, random
# drops of cylinders, discs, cubes and slabs: of 64 of 0.1 and 0.3 m, eight did not rest in time at 0.1 mm, none at
# 0.3 mm; more than 3 deg off a stable pose at 0.3 mm: 7 of 32 of 10 mm, 1 of 32 of 30 mm, none of 0.1 and 0.3 m.
_TABLE = (
    # name, density [kg/m^3], (sliding [1], torsional, rolling [m]), restitution, colour, metallic, roughness, source
    _entry(
        "steel",
        7850.0,
        (0.45, 5e-4, 5e-5),
        0.60,
        (0.531, 0.512, 0.496),
        1.0,
        0.45,
        _METALS + "carbon steel; friction: dry steel on steel, kinetic 0.42 to 0.57",
    ),
    _entry(
        "stainless_steel",
        8000.0,
        (0.45, 5e-4, 5e-5),
        0.60,
        (0.669, 0.639, 0.598),
        1.0,
        0.25,
        _METALS + "AISI 304; friction: dry steel on steel, kinetic 0.42 to 0.57",
    ),
    _entry(
        "aluminium",
        2700.0,
        (0.60, 5e-4, 5e-5),
        0.50,
        (0.912, 0.914, 0.920),
        1.0,
        0.40,
        _METALS + "friction judged: clean aluminium pairs gall above 1, handled oxidised surfaces lie near 0.6",
    ),
    _entry(
        "brass",
        8500.0,
        (0.40, 5e-4, 5e-5),
        0.55,
        (0.910, 0.778, 0.423),
        1.0,
        0.35,
        _METALS + "cartridge brass 8530, free-cutting brass 8490",
    ),
    _entry(
        "copper",
        8960.0,
        (0.50, 5e-4, 5e-5),
        0.45,
        (0.932, 0.623, 0.522),
        1.0,
        0.35,
        _METALS + "friction judged: clean copper pairs gall near 1, handled surfaces lie lower",
    ),
    _entry(
        "cast_iron",
        7200.0,
        (0.40, 5e-4, 5e-5),
        0.55,
        (0.130, 0.125, 0.120),
        1.0,
        0.70,
        _METALS + "grey cast iron; friction judged, between kinetic 0.15 and static 1.1 of clean surfaces",
    ),
    _entry(
        "titanium",
        4510.0,
        (0.40, 5e-4, 5e-5),
        0.55,
        (0.441, 0.400, 0.361),
        1.0,
        0.45,
        _METALS + "commercially pure titanium",
    ),
    _entry(
        "oak",
        750.0,
        (0.40, 1e-3, 3e-4),
        0.50,
        (0.440, 0.290, 0.155),
        0.0,
        0.65,
        _WOODS + "white oak at 12 % moisture; wood on wood 0.25 to 0.5",
    ),
    _entry(
        "pine",
        510.0,
        (0.40, 1e-3, 3e-4),
        0.45,
        (0.620, 0.430, 0.230),
        0.0,
        0.70,
        _WOODS + "Scots pine at 12 % moisture; wood on wood 0.25 to 0.5",
    ),
    _entry(
        "beech",
        710.0,
        (0.40, 1e-3, 3e-4),
        0.50,
        (0.580, 0.390, 0.230),
        0.0,
        0.60,
        _WOODS + "European beech at 12 % moisture; wood on wood 0.25 to 0.5",
    ),
    _entry(
        "plywood",
        600.0,
        (0.40, 1e-3, 3e-4),
        0.45,
        (0.560, 0.390, 0.220),
        0.0,
        0.70,
        _WOODS + "softwood to birch plywood is 500 to 700; wood on wood 0.25 to 0.5",
    ),
    _entry(
        "bamboo", 700.0, (0.40, 1e-3, 3e-4), 0.50, (0.620, 0.480, 0.230), 0.0, 0.60, _WOODS + "culm wall 600 to 800"
    ),
    _entry("abs", 1050.0, (0.40, 1e-3, 2e-4), 0.50, (0.060, 0.060, 0.065), 0.0, 0.45, _SOLIDS + "moulding grade"),
    _entry("polypropylene", 905.0, (0.30, 1e-3, 2e-4), 0.50, (0.720, 0.720, 0.700), 0.0, 0.50, _SOLIDS + "homopolymer"),
    _entry(
        "hdpe",
        955.0,
        (0.25, 1e-3, 2e-4),
        0.50,
        (0.750, 0.750, 0.730),
        0.0,
        0.50,
        _SOLIDS + "polyethylene on itself about 0.2",
    ),
    _entry(
        "pla", 1240.0, (0.40, 1e-3, 2e-4), 0.40, (0.200, 0.420, 0.640), 0.0, 0.50, _SOLIDS + "solid, not printed infill"
    ),
    _entry(
        "nylon",
        1140.0,
        (0.25, 1e-3, 2e-4),
        0.50,
        (0.700, 0.680, 0.600),
        0.0,
        0.55,
        _SOLIDS + "PA 6/6.6; nylon on nylon 0.15 to 0.25",
    ),
    _entry(
        "acrylic",
        1180.0,
        (0.50, 1e-3, 2e-4),
        0.45,
        (0.800, 0.820, 0.830),
        0.0,
        0.10,
        _SOLIDS + "PMMA; friction judged, static 0.8 on itself",
    ),
    _entry(
        "ptfe",
        2200.0,
        (0.08, 1e-3, 2e-4),
        0.40,
        (0.850, 0.850, 0.840),
        0.0,
        0.50,
        _SOLIDS + "PTFE on itself 0.04 to 0.1",
    ),
    _entry(
        "glass",
        2500.0,
        (0.40, 5e-4, 5e-5),
        0.60,
        (0.780, 0.830, 0.810),
        0.0,
        0.05,
        _SOLIDS + "soda-lime glass; glass on glass, kinetic 0.4",
    ),
    _entry(
        "porcelain",
        2400.0,
        (0.40, 5e-4, 5e-5),
        0.50,
        (0.830, 0.820, 0.790),
        0.0,
        0.20,
        _SOLIDS + "glazed; friction judged equal to glass",
    ),
    _entry(
        "stoneware",
        2200.0,
        (0.45, 5e-4, 5e-5),
        0.45,
        (0.420, 0.340, 0.260),
        0.0,
        0.45,
        _SOLIDS + "glazed; friction judged",
    ),
    _entry(
        "concrete",
        2400.0,
        (0.60, 1e-3, 3e-4),
        0.40,
        (0.370, 0.365, 0.350),
        0.0,
        0.90,
        _SOLIDS + "normal-weight concrete",
    ),
    _entry(
        "rubber",
        1100.0,
        (0.90, 3e-3, 5e-4),
        0.75,
        (0.030, 0.030, 0.030),
        0.0,
        0.85,
        _SOLIDS + "vulcanised; rubber on dry concrete 0.6 to 0.85 and above",
    ),
    _entry(
        "silicone",
        1150.0,
        (0.80, 3e-3, 5e-4),
        0.60,
        (0.480, 0.100, 0.090),
        0.0,
        0.60,
        _SOLIDS + "cured elastomer 1100 to 1200",
    ),
    _entry(
        "cork",
        200.0,
        (0.55, 2e-3, 3e-4),
        0.50,
        (0.470, 0.310, 0.170),
        0.0,
        0.90,
        _SOLIDS + "agglomerated cork 120 to 240",
    ),
    _entry(
        "cardboard",
        690.0,
        (0.45, 1e-3, 3e-4),
        0.30,
        (0.470, 0.330, 0.190),
        0.0,
        0.90,
        _SOLIDS + "solid board; corrugated board has a lower bulk density",
    ),
)

MATERIALS: Mapping[str, Material] = MappingProxyType({material.name: material for material in _TABLE})
"""Every known material by name."""
