"""Declared mass properties of a sound body, wrong by a multiple of a limit of I1 to I4.

Every error is a closed form: nothing here asks the check that has to find it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import ConvexHull

from physics.mass_checks import MassCheckConfig
from physics.model import Body

LIMITS = MassCheckConfig()


def mass_off(body: Body, dose: float) -> Body:
    """More mass than the parts have, at the same inertia."""
    return _declaring(body, mass=(1 + dose * LIMITS.mass_error) * body.inertial.mass)


def centre_off(body: Body, dose: float) -> Body:
    """Centre of mass beside that of the parts, along the diagonal of the axes."""
    shift = dose * LIMITS.com_error * body.size * np.ones(3) / np.sqrt(3)
    return _declaring(body, com=body.inertial.com + shift)


def moment_off(body: Body, dose: float) -> Body:
    """The smallest principal moment too large; the error is a share of the norm of the inertia."""
    inertia = body.inertial.inertia
    _, axes = np.linalg.eigh(inertia)
    more = dose * LIMITS.inertia_error * np.linalg.norm(inertia) * np.outer(axes[:, 0], axes[:, 0])
    return _declaring(body, inertia=inertia + more)


def axes_turned(body: Body, dose: float) -> Body | None:
    """The right moments about axes that are turned, in the plane of the smallest and the largest.

    Turned by t in the plane of two moments that differ by d, an inertia changes by sqrt(2) d sin(t) in the Frobenius
    norm. None where all moments are so near each other that no turn gives the error.
    """
    moments, axes = np.linalg.eigh(body.inertial.inertia)
    error = dose * LIMITS.inertia_error * np.linalg.norm(moments)
    sine = error / (np.sqrt(2) * (moments[2] - moments[0])) if moments[2] > moments[0] else np.inf
    if sine >= 1:
        return None
    cosine = np.sqrt(1 - sine**2)
    turned = axes @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    return _declaring(body, inertia=_symmetric(turned @ np.diag(moments) @ turned.T))


def too_dense(body: Body, dose: float) -> Body:
    """Parts of a matter that is denser than any, and the mass that follows."""
    return _of_density(body, dose * LIMITS.largest_density)


def too_light(body: Body, dose: float) -> Body:
    """Parts of a matter that is lighter than any solid, and the mass that follows."""
    return _of_density(body, LIMITS.smallest_density / dose)


def impossible_moments(body: Body, dose: float) -> Body:
    """A largest moment that exceeds the sum of the others.

    A solid never comes near this limit, and I4 sees the way there: below a dose of 1 the same moment is off by that
    share of the limit of I4.
    """
    inertia = body.inertial.inertia
    moments, axes = np.linalg.eigh(inertia)
    if dose < 1:
        moments[2] += dose * LIMITS.inertia_error * np.linalg.norm(inertia)
    else:
        moments[2] = (moments[0] + moments[1]) / (1 - dose * LIMITS.triangle_tolerance)
    return _declaring(body, inertia=_symmetric(axes @ np.diag(moments) @ axes.T))


def centre_outside(body: Body, dose: float) -> Body:
    """Centre of mass outside the convex hull, before its largest face.

    I4 sees the way there: below a dose of 1 the centre is off by that share of the limit of I4, towards that face.
    """
    points = np.vstack([part.surface.vertices for part in body.parts])
    hull = ConvexHull(points)
    corners = points[hull.simplices]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face = int(areas.argmax())
    beyond = corners[face].mean(axis=0) + dose * LIMITS.com_outside * body.size * hull.equations[face, :3]
    if dose < 1:
        way = beyond - body.inertial.com
        beyond = body.inertial.com + dose * LIMITS.com_error * body.size * way / np.linalg.norm(way)
    return _declaring(body, com=beyond)


def _declaring(body: Body, **changes: object) -> Body:
    return replace(body, mass_properties=replace(body.inertial, **changes))


def _symmetric(inertia: np.ndarray) -> np.ndarray:
    return (inertia + inertia.T) / 2


def _of_density(body: Body, density: float) -> Body:
    factor = density * sum(part.surface.volume for part in body.parts) / body.inertial.mass
    parts = tuple(
        replace(part, material=replace(part.material, density=factor * part.material.density)) for part in body.parts
    )
    made = _declaring(body, mass=factor * body.inertial.mass, inertia=factor * body.inertial.inertia)
    return replace(made, parts=parts)
