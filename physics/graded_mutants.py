"""Kinds of defects of an asset, each injected at multiples of the limit of the check that has to name it.

A kind turns a sound body and a dose into a spoiled body whose defect is the dose times the published limit: at 0.7 it
must pass, at 1.5 and at 10 the named check must fail. Where the limit is a least value, the spoiled value is the limit
over the dose. Where it is a count of 0, there is nothing to grade: 0.7 is the sound body with its faces in another
order or its file written and read in the right unit, 1.5 is one defect and 10 are ten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from physics import spoil_hulls, spoil_mass, spoil_parts, spoil_surface
from physics.check import Check
from physics.model import Body

DOSES = (0.7, 1.5, 10.0)
"""Multiples of the limit."""
HARMLESS = 1.0
"""Doses below this must pass."""


@dataclass(frozen=True)
class Kind:
    """One way to spoil a body."""

    name: str
    check: str
    """Identifier of the check that has to say so."""
    measure: str
    """Beginning of the name of what that check measures."""
    make: Callable[[Body, float], Body | None]
    """From a sound body and a dose; None where the body has no room for such a defect."""
    engine: str = ""
    """The spoiled body is what this engine was given, and the sound one what was declared; empty for files."""

    def names(self, check: Check) -> bool:
        """Whether a check is the one that has to say so."""
        return check.id == self.check and check.name.startswith(self.measure)


def engine_mass_off(engine: str) -> Callable[[Body, float], Body]:
    """Return a defect of the mass that an engine is given."""

    def make(body: Body, dose: float) -> Body:
        error = dose * spoil_mass.LIMITS.readback_error(engine)
        return replace(body, mass_properties=replace(body.inertial, mass=(1 + error) * body.inertial.mass))

    return make


def engine_inertia_off(engine: str) -> Callable[[Body, float], Body]:
    """Return a defect of the inertia that an engine is given."""

    def make(body: Body, dose: float) -> Body:
        error = dose * spoil_mass.LIMITS.readback_error(engine)
        return replace(body, mass_properties=replace(body.inertial, inertia=(1 + error) * body.inertial.inertia))

    return make


KINDS = (
    Kind("too large", "G1", "largest extent", spoil_surface.too_large),
    Kind("millimetres read as metres", "G1", "largest extent", spoil_surface.millimetres_as_metres),
    Kind("metres read as millimetres", "G1", "largest extent", spoil_surface.metres_as_millimetres),
    Kind("faces missing", "G2", "edges without exactly 2 faces", spoil_surface.faces_missing),
    Kind("faces twice", "G2", "edges without exactly 2 faces", spoil_surface.faces_twice),
    Kind("faces turned", "G3", "edges between a face and a flipped one", spoil_surface.faces_turned),
    Kind("cavities", "G3", "cavities beside those declared", spoil_surface.cavities),
    Kind("walls pierced", "G4", "pairs of faces that cut each other", spoil_surface.walls_pierced),
    Kind("parts overlap", "G4", "volume that parts count twice", spoil_parts.parts_overlap),
    Kind("parts apart", "G5", "groups of parts that do not touch", spoil_parts.parts_apart),
    Kind("crumbs", "G5", "shells that are debris", spoil_surface.crumbs),
    Kind("needle", "G6", "smallest face height over edge", spoil_surface.needle),
    Kind("tiny face", "G6", "smallest face area over L^2", spoil_surface.tiny_face),
    Kind("thin fin", "G7", "thinnest wall", spoil_surface.thin_fin),
    Kind("handles", "G8", "handles beside those declared", spoil_surface.handles),
    Kind("too dense", "I1", "mass over enclosed volume", spoil_mass.too_dense),
    Kind("too light", "I1", "mass over enclosed volume", spoil_mass.too_light),
    Kind("impossible moments", "I2", "triangle inequality", spoil_mass.impossible_moments),
    Kind("centre of mass outside", "I3", "centre of mass outside", spoil_mass.centre_outside),
    Kind("mass off", "I4", "mass, error", spoil_mass.mass_off),
    Kind("centre of mass off", "I4", "centre of mass, error", spoil_mass.centre_off),
    Kind("moment off", "I4", "inertia, error", spoil_mass.moment_off),
    Kind("axes turned", "I4", "inertia, error", spoil_mass.axes_turned),
    Kind("mass in MuJoCo", "I5", "mass held", engine_mass_off("mujoco"), "mujoco"),
    Kind("inertia in PyBullet", "I5", "inertia held", engine_inertia_off("pybullet"), "pybullet"),
    Kind("too many hulls", "H1", "hulls", spoil_hulls.too_many_hulls),
    Kind("too many vertices", "H1", "vertices of a hull", spoil_hulls.too_many_vertices),
    Kind("dented hull", "H1", "concavity of a hull", spoil_hulls.dented_hull),
    Kind("flat hull", "H1", "smallest hull width", spoil_hulls.flat_hull),
    Kind("grown hulls", "H2", "mean inflation", spoil_hulls.grown_hulls),
    Kind("eroded hulls", "H3", "mean loss", spoil_hulls.eroded_hulls),
    Kind("spike", "H4", "farthest surface distance, hulls to solid", spoil_hulls.spike),
    Kind("bare end", "H4", "farthest surface distance, solid to hulls", spoil_hulls.bare_end),
)
"""All kinds, from the surface to the hulls."""
