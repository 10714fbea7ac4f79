"""Object families: parameters in metres to analytic solids."""

from generators.families.angle_bracket import ANGLE_BRACKET
from generators.families.bottle import BOTTLE
from generators.families.bowl import BOWL
from generators.families.chair import CHAIR
from generators.families.crate import CRATE
from generators.families.family import Family
from generators.families.gear import GEAR
from generators.families.hammer import HAMMER
from generators.families.hex_nut import HEX_NUT
from generators.families.lidded_box import LIDDED_BOX
from generators.families.mug import MUG
from generators.families.pan import PAN
from generators.families.pipe_elbow import PIPE_ELBOW
from generators.families.plate import PLATE
from generators.families.pulley import PULLEY
from generators.families.shelf import SHELF
from generators.families.stool import STOOL
from generators.families.table import TABLE
from generators.families.tray import TRAY
from generators.families.vase import VASE
from generators.families.wrench import WRENCH

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        MUG,
        BOWL,
        PLATE,
        BOTTLE,
        VASE,
        PAN,
        TRAY,
        CRATE,
        LIDDED_BOX,
        STOOL,
        CHAIR,
        TABLE,
        SHELF,
        GEAR,
        HEX_NUT,
        WRENCH,
        HAMMER,
        ANGLE_BRACKET,
        PIPE_ELBOW,
        PULLEY,
    )
}
"""All families by name."""
