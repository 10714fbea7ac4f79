"""Ground truth: solids whose volume, centre of mass and inertia are known in closed form.

The verifier is judged by them (`scenegen selftest`), and every part of it is tested on them. `exact` solids are
polyhedra and the stated numbers hold to rounding; for the others (sphere, torus, hemisphere) they are those of the
smooth body, which the mesh approaches from inside as the square of its segment length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from physics.mass import MassProperties
from physics.mesh import Mesh

Z = (0.0, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Solid:
    """A mesh and what is known about the body that it bounds."""

    name: str
    mesh: Mesh
    volume: float
    """Volume [m^3]."""
    com: np.ndarray
    """Centre of mass (3,) [m]."""
    inertia: np.ndarray
    """Inertia (3, 3) about the com for a density of 1 kg/m^3 [kg m^2]; multiply by the density."""
    exact: bool
    """True when the mesh has exactly these values, False when it approximates a smooth body."""
    genus: int = 0
    symmetry_axis: tuple[float, float, float] | None = None
    """Unit axis of revolution, where there is one."""

    def sized(self, size: float) -> Solid:
        """Return the solid scaled to a largest extent [m]."""
        scale = size / float(self.mesh.extents.max())
        mesh = Mesh(scale * self.mesh.vertices, self.mesh.faces)
        return replace(
            self, mesh=mesh, volume=scale**3 * self.volume, com=scale * self.com, inertia=scale**5 * self.inertia
        )

    def mass_properties(self, density: float) -> MassProperties:
        """Return the closed forms for a homogeneous body [kg, m, kg m^2]."""
        return MassProperties(density * self.volume, self.com, density * self.inertia)


def box(extents: tuple[float, float, float] = (0.1, 0.06, 0.03)) -> Solid:
    """Cuboid centred at the origin."""
    a, b, c = extents
    v = a * b * c
    inertia = v / 12 * np.diag([b * b + c * c, a * a + c * c, a * a + b * b])
    square = np.array([[-a, -b], [a, -b], [a, b], [-a, b]]) / 2
    mesh = extrude(square, [(0, 1, 2), (0, 2, 3)], -c / 2, c / 2)
    return Solid("box", mesh, v, np.zeros(3), inertia, exact=True)


def l_bar(length: float = 0.1, width: float = 0.04) -> Solid:
    """Two bars `length` x `width` x `width` that share a cube at the origin: volume 2.56e-4 m^3 by default."""
    a, w = length, width
    outline = np.array([[0, 0], [w, 0], [a, 0], [a, w], [w, w], [w, a], [0, a], [0, w]], dtype=float)
    mesh = extrude(outline, [(0, 1, 4), (0, 4, 7), (1, 2, 3), (1, 3, 4), (7, 4, 5), (7, 5, 6)], 0, w)
    boxes = [(np.array([a, w, w]), np.array([a, w, w]) / 2), (np.array([w, a - w, w]), np.array([w, a + w, w]) / 2)]
    volumes = np.array([extents.prod() for extents, _ in boxes])
    com = sum(v * centre for v, (_, centre) in zip(volumes, boxes, strict=True)) / volumes.sum()
    inertia = np.zeros((3, 3))
    for v, (extents, centre) in zip(volumes, boxes, strict=True):
        d = centre - com
        squares = extents**2
        inertia += v / 12 * np.diag(squares.sum() - squares) + v * (d @ d * np.eye(3) - np.outer(d, d))
    return Solid("l_bar", mesh, float(volumes.sum()), com, inertia, exact=True)


def cylinder(radius: float = 0.03, height: float = 0.1, segments: int = 64) -> Solid:
    """Prism over a regular polygon inscribed in the circle, standing on z = 0."""
    area, second = _polygon(radius, segments)
    v = area * height
    ix = second * height + v * height**2 / 12
    mesh = revolve(np.array([[0, 0], [radius, 0], [radius, height], [0, height]]), segments)
    com = np.array([0, 0, height / 2])
    return Solid("cylinder", mesh, v, com, np.diag([ix, ix, 2 * second * height]), exact=True, symmetry_axis=Z)


def cone(radius: float = 0.04, height: float = 0.1, segments: int = 64) -> Solid:
    """Pyramid over a regular polygon inscribed in the circle, base on z = 0, apex up."""
    area, second = _polygon(radius, segments)
    v = area * height / 3
    ix = second * height / 5 + 3 / 80 * v * height**2
    mesh = revolve(np.array([[0, 0], [radius, 0], [0, height]]), segments)
    com = np.array([0, 0, height / 4])
    return Solid("cone", mesh, v, com, np.diag([ix, ix, 2 * second * height / 5]), exact=True, symmetry_axis=Z)


def sphere(radius: float = 0.05, segments: int = 64) -> Solid:
    """Sphere about the origin: `segments` meridians, half as many parallels."""
    angle = np.linspace(-math.pi / 2, math.pi / 2, segments // 2 + 1)
    mesh = revolve(radius * np.stack([_snap(np.cos(angle)), np.sin(angle)], axis=1), segments)
    v = 4 / 3 * math.pi * radius**3
    return Solid("sphere", mesh, v, np.zeros(3), 0.4 * v * radius**2 * np.eye(3), exact=False, symmetry_axis=Z)


def hemisphere(radius: float = 0.05, segments: int = 256) -> Solid:
    """Half ball, flat face down on z = 0."""
    angle = np.linspace(0, math.pi / 2, segments // 4 + 1)
    arc = radius * np.stack([_snap(np.cos(angle)), np.sin(angle)], axis=1)
    mesh = revolve(np.vstack([[[0, 0]], arc]), segments)
    v = 2 / 3 * math.pi * radius**3
    ix = 83 / 320 * v * radius**2
    com = np.array([0, 0, 3 / 8 * radius])
    return Solid("hemisphere", mesh, v, com, np.diag([ix, ix, 0.4 * v * radius**2]), exact=False, symmetry_axis=Z)


def torus(major: float = 0.1, minor: float = 0.03, segments: int = 96) -> Solid:
    """Torus about z through the origin: the com lies in the hole."""
    angle = np.linspace(0, 2 * math.pi, segments // 2, endpoint=False)
    circle = np.stack([major + minor * np.cos(angle), minor * np.sin(angle)], axis=1)
    v = 2 * math.pi**2 * major * minor**2
    ix = v * (major**2 / 2 + 5 / 8 * minor**2)
    inertia = np.diag([ix, ix, v * (major**2 + 3 / 4 * minor**2)])
    return Solid(
        "torus", revolve(circle, segments, closed=True), v, np.zeros(3), inertia, exact=False, genus=1, symmetry_axis=Z
    )


def all_solids() -> tuple[Solid, ...]:
    """Every solid at its default size."""
    return box(), l_bar(), cylinder(), cone(), sphere(), hemisphere(), torus()


def extrude(outline: np.ndarray, caps: list[tuple[int, int, int]], low: float, high: float) -> Mesh:
    """Prism between z = low and high over a counter-clockwise outline (n, 2) whose triangulation is `caps`."""
    n = len(outline)
    vertices = np.vstack([np.column_stack([outline, np.full(n, z)]) for z in (low, high)])
    faces = [(a, c, b) for a, b, c in caps] + [(a + n, b + n, c + n) for a, b, c in caps]
    for i in range(n):
        j = (i + 1) % n
        faces += [(i, j, j + n), (i, j + n, i + n)]
    return Mesh(vertices, np.array(faces, dtype=np.int32))


def revolve(profile: np.ndarray, segments: int, *, closed: bool = False) -> Mesh:
    """Turn a profile (n, 2) of (r, z), counter-clockwise, about z; points with r = 0 become single vertices."""
    angle = 2 * math.pi * np.arange(segments) / segments
    rings, vertices = [], []
    for r, z in profile:
        count = 1 if r == 0 else segments
        rings.append(len(vertices) + np.arange(segments) % count)
        vertices += [(r * math.cos(t), r * math.sin(t), z) for t in angle[:count]]
    faces = []
    for k in range(len(profile) if closed else len(profile) - 1):
        low, high = rings[k], rings[(k + 1) % len(profile)]
        for i in range(segments):
            j = (i + 1) % segments
            quad = (low[i], low[j], high[j], high[i])
            faces += [t for t in ((quad[0], quad[1], quad[2]), (quad[0], quad[2], quad[3])) if len(set(t)) == 3]
    return Mesh(np.array(vertices), np.array(faces, dtype=np.int32))


def _polygon(radius: float, segments: int) -> tuple[float, float]:
    """Area and second moment about a diameter of a regular polygon with this circumradius."""
    step = 2 * math.pi / segments
    area = segments / 2 * radius**2 * math.sin(step)
    return area, area * radius**2 / 12 * (2 + math.cos(step))


def _snap(values: np.ndarray) -> np.ndarray:
    """Set rounding remains of cos(90 deg) to 0, so that poles are recognised."""
    return np.where(np.abs(values) < 1e-12, 0.0, values)
