"""Bodies that must not pass: each a solid of the ground truth, spoiled in one way, with the check that has to say so.

A mutant states surfaces, hulls and mass as a foreign file would: nothing is derived from anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from physics.mass import MassProperties, integrate_mesh
from physics.mesh import Mesh
from physics.truth import Solid, box, l_bar, torus

DENSITY = 1000.0
"""Density of all specimens [kg/m^3]."""


@dataclass(frozen=True, eq=False)
class Specimen:
    """What a file would declare of one rigid body."""

    surface: Mesh
    """Boundary [m]."""
    hulls: tuple[Mesh, ...]
    """Convex pieces [m]; none where they are to be made."""
    mass: MassProperties


@dataclass(frozen=True)
class Mutant:
    """A way to spoil a solid."""

    name: str
    checks: tuple[str, ...]
    """Checks of which one has to fail."""
    make: Callable[[float], Specimen]
    """Takes the largest extent of the unspoiled solid [m]."""


def sound(solid: Solid, *, hulls: tuple[Mesh, ...] | None = None) -> Specimen:
    """Return a specimen that states the truth; a convex solid is its own hull."""
    return Specimen(solid.mesh, (solid.mesh,) if hulls is None else hulls, solid.mass_properties(DENSITY))


def _brick(size: float) -> Specimen:
    return sound(box().sized(size))


def _bar(size: float) -> Specimen:
    """An L of two bars, exactly covered by two hulls."""
    solid = l_bar().sized(size)
    a, w = size, 0.4 * size
    return sound(solid, hulls=(_cuboid((0, 0, 0), (a, w, w)), _cuboid((0, w, 0), (w, a, w))))


def _cuboid(low: tuple[float, float, float], high: tuple[float, float, float]) -> Mesh:
    extents = np.subtract(high, low)
    return box((extents[0], extents[1], extents[2])).mesh.translated(np.add(low, high) / 2)


def _with_faces(specimen: Specimen, faces: np.ndarray) -> Specimen:
    return replace(specimen, surface=Mesh(specimen.surface.vertices, faces))


def _with_mass(specimen: Specimen, **changes: object) -> Specimen:
    return replace(specimen, mass=replace(specimen.mass, **changes))


def _scaled(mesh: Mesh, scale: float) -> Mesh:
    middle = mesh.bounds.mean(axis=0)
    return Mesh(middle + scale * (mesh.vertices - middle), mesh.faces)


def _joined(*meshes: Mesh) -> Mesh:
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    faces = [mesh.faces + start for mesh, start in zip(meshes, first, strict=True)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces).astype(np.int32))


def inside_out(size: float) -> Specimen:
    """All faces turned."""
    made = _brick(size)
    return _with_faces(made, made.surface.faces[:, ::-1])


def one_face_turned(size: float) -> Specimen:
    """One face wound against its neighbours."""
    made = _brick(size)
    faces = made.surface.faces.copy()
    faces[3] = faces[3, ::-1]
    return _with_faces(made, faces)


def face_missing(size: float) -> Specimen:
    """A hole of one triangle."""
    made = _brick(size)
    return _with_faces(made, made.surface.faces[1:])


def face_twice(size: float) -> Specimen:
    """One face listed twice."""
    made = _brick(size)
    return _with_faces(made, np.concatenate([made.surface.faces, made.surface.faces[:1]]))


def stray_vertex(size: float) -> Specimen:
    """A vertex that no face uses."""
    made = _brick(size)
    vertices = np.concatenate([made.surface.vertices, made.surface.bounds[:1] - 0.1 * size])
    return replace(made, surface=Mesh(vertices, made.surface.faces))


def overlapping_boxes(size: float) -> Specimen:
    """Two boxes that share a third of their volume, which their integral counts twice."""
    made = _brick(size)
    other = made.surface.translated(np.array([2 / 3 * size, 0, 0]))
    return replace(made, surface=_joined(made.surface, other), hulls=(made.surface, other))


def debris(size: float) -> Specimen:
    """A loose crumb beside the body."""
    made = _brick(size)
    crumb = _scaled(made.surface, 0.1).translated(np.array([size, 0, 0]))
    return replace(made, surface=_joined(made.surface, crumb))


def undeclared_cavity(size: float) -> Specimen:
    """A closed void inside, which nobody declared."""
    made = _brick(size)
    inner = _scaled(made.surface, 0.5)
    return replace(made, surface=_joined(made.surface, Mesh(inner.vertices, inner.faces[:, ::-1])))


def millimetres(size: float) -> Specimen:
    """Lengths in millimetres where metres are meant; the mass is the true one."""
    made = _brick(size)
    wide = Mesh(1000 * made.surface.vertices, made.surface.faces)
    return Specimen(wide, (wide,), made.mass)


def heavy(size: float) -> Specimen:
    """Thirty times the density of lead's neighbours: more than any matter has."""
    made = _brick(size)
    return _with_mass(made, mass=30 * made.mass.mass, inertia=30 * made.mass.inertia)


def light(size: float) -> Specimen:
    """Less dense than any solid that keeps its shape."""
    made = _brick(size)
    return _with_mass(made, mass=made.mass.mass / 500, inertia=made.mass.inertia / 500)


def inertia_tenfold(size: float) -> Specimen:
    """Ten times the inertia."""
    made = _brick(size)
    return _with_mass(made, inertia=10 * made.mass.inertia)


def inertia_off_by_a_percent(size: float) -> Specimen:
    """A hundredth more inertia than the solid has."""
    made = _brick(size)
    return _with_mass(made, inertia=1.01 * made.mass.inertia)


def inertia_axes_swapped(size: float) -> Specimen:
    """The moments of x and z exchanged: the same principal moments about wrong axes."""
    made = _brick(size)
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    return _with_mass(made, inertia=turn @ made.mass.inertia @ turn)


def impossible_moments(size: float) -> Specimen:
    """A + B < C by 1 %: no distribution of mass has such moments."""
    made = _brick(size)
    a, b, _ = np.sort(np.linalg.eigvalsh(made.mass.inertia))
    return _with_mass(made, inertia=np.diag([a, b, 1.01 * (a + b)]))


def flat_inertia(size: float) -> Specimen:
    """A moment of zero."""
    made = _brick(size)
    return _with_mass(made, inertia=made.mass.inertia * np.diag([1.0, 1.0, 0.0]))


def mass_outside(size: float) -> Specimen:
    """Centre of mass beside the body."""
    made = _brick(size)
    return _with_mass(made, com=made.mass.com + np.array([0.6 * size, 0, 0]))


def mass_off_centre(size: float) -> Specimen:
    """Centre of mass 1 % of the size away from that of the homogeneous solid."""
    made = _brick(size)
    return _with_mass(made, com=made.mass.com + np.array([0.01 * size, 0, 0]))


def leg_without_hull(size: float) -> Specimen:
    """One of two hulls left out."""
    made = _bar(size)
    return replace(made, hulls=made.hulls[:1])


def hulls_inflated(size: float) -> Specimen:
    """Hulls a tenth larger than the solid."""
    made = _brick(size)
    return replace(made, hulls=(_scaled(made.surface, 1.1),))


def hulls_shrunk(size: float) -> Specimen:
    """Hulls a tenth smaller than the solid."""
    made = _brick(size)
    return replace(made, hulls=(_scaled(made.surface, 0.9),))


def hulls_shifted(size: float) -> Specimen:
    """Hulls beside where the solid is, by a twentieth of its size."""
    made = _brick(size)
    return replace(made, hulls=(made.surface.translated(np.array([0, 0, 0.05 * size])),))


def concave_hull(size: float) -> Specimen:
    """A piece of the collision geometry that is not convex: engines fill it, and it is judged as they take it."""
    made = _bar(size)
    return replace(made, hulls=(made.surface,))


def hole_closed(size: float) -> Specimen:
    """A torus whose hull is that of a disc."""
    from scipy.spatial import ConvexHull

    solid = torus(segments=24).sized(size)
    corners = solid.mesh.vertices[ConvexHull(solid.mesh.vertices).vertices]
    mass = integrate_mesh(solid.mesh, density=DENSITY)  # the closed form is that of the smooth torus
    return Specimen(solid.mesh, (hull_mesh(corners),), mass)


def hull_mesh(points: np.ndarray) -> Mesh:
    """Return the convex hull of points as a closed mesh, wound outwards."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(points)
    place = np.full(len(points), -1)
    place[hull.vertices] = np.arange(len(hull.vertices))
    corners = points[hull.simplices]
    outward = np.einsum(
        "fi,fi->f", np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), hull.equations[:, :3]
    )
    faces = np.where(outward[:, None] > 0, hull.simplices, hull.simplices[:, ::-1])
    return Mesh(points[hull.vertices], place[faces].astype(np.int32))


def too_many_hulls(size: float) -> Specimen:
    """A brick in 150 slices: exact, and more than an engine should be given."""
    made = _brick(size)
    low, high = made.surface.bounds
    cuts = np.linspace(low[0], high[0], 151)
    slices = [_cuboid((a, low[1], low[2]), (b, high[1], high[2])) for a, b in pairwise(cuts)]
    return replace(made, hulls=tuple(slices))


MUTANTS = (
    Mutant("inside out", ("G3",), inside_out),
    Mutant("one face turned", ("G2", "G3"), one_face_turned),
    Mutant("face missing", ("G2",), face_missing),
    Mutant("face twice", ("G2",), face_twice),
    Mutant("stray vertex", ("G2",), stray_vertex),
    Mutant("overlapping boxes", ("G4",), overlapping_boxes),
    Mutant("debris", ("G5",), debris),
    Mutant("undeclared cavity", ("G3", "G5"), undeclared_cavity),
    Mutant("millimetres", ("G1", "I1"), millimetres),
    Mutant("too heavy", ("I1",), heavy),
    Mutant("too light", ("I1",), light),
    Mutant("inertia tenfold", ("I3", "I4"), inertia_tenfold),
    Mutant("inertia off by 1 %", ("I4",), inertia_off_by_a_percent),
    Mutant("inertia axes swapped", ("I3", "I4"), inertia_axes_swapped),
    Mutant("A + B < C by 1 %", ("I2",), impossible_moments),
    Mutant("a moment of zero", ("I2",), flat_inertia),
    Mutant("mass outside", ("I3",), mass_outside),
    Mutant("mass off centre by 1 %", ("I4",), mass_off_centre),
    Mutant("leg without hull", ("H3",), leg_without_hull),
    Mutant("hulls inflated", ("H2",), hulls_inflated),
    Mutant("hulls shrunk", ("H3",), hulls_shrunk),
    Mutant("hulls shifted", ("H2", "H3", "H4"), hulls_shifted),
    Mutant("concave hull", ("H1", "H2"), concave_hull),
    Mutant("hole closed by its hull", ("H2",), hole_closed),
    Mutant("150 hulls", ("H1",), too_many_hulls),
)
"""Everything that must fail, from its surface to its hulls."""
