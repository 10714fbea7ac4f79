"""Object families: parameters in metres to analytic solids."""

from generators.families.bowl import BOWL
from generators.families.family import Family
from generators.families.mug import MUG
from generators.families.plate import PLATE

FAMILIES: dict[str, Family] = {family.name: family for family in (MUG, BOWL, PLATE)}
"""All families by name."""
