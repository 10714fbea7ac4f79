"""Checks I1 to I5: whether declared mass properties belong to a real rigid body, to this shape, and reached an engine.

They judge any declared mass, centre of mass and inertia, also those of assets made elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.spatial import ConvexHull, QhullError

from physics.check import Check
from physics.errors import MassError
from physics.mass import TRIANGLE_INEQUALITY_TOLERANCE, MassProperties, combine_masses, integrate_mesh
from physics.model import Body

NAN = math.nan


@dataclass(frozen=True)
class MassCheckConfig:
    """Limits of I1 to I5."""

    smallest_density: float = 5.0
    """I1: mass over volume below this fails [kg/m^3]."""
    smallest_density_warn: float = 20.0
    """I1: warns below [kg/m^3]; polystyrene foam."""
    largest_density: float = 25000.0
    """I1: fails above [kg/m^3]; osmium has 22,590."""
    largest_density_warn: float = 12000.0
    """I1: warns above [kg/m^3]; lead has 11,340."""
    smallest_moment_share: float = 1e-9
    """I2: smallest principal moment over the largest [1]; at or below 0 the inertia is not positive definite."""
    triangle_tolerance: float = TRIANGLE_INEQUALITY_TOLERANCE
    """I2: by how much lambda1 + lambda2 may miss lambda3, over lambda3 [1]."""
    com_outside: float = 1e-6
    """I3: how far outside the convex hull the centre of mass may lie, over L [1]; rounding only."""
    bound_slack: float = 1e-6
    """I3: by how much a bound on inertia may be exceeded [1]; rounding only."""
    inertia_error: float = 1e-3
    """I4: relative Frobenius distance between the declared inertia and the integral [1]."""
    mass_error: float = 1e-3
    """I4: relative distance between the declared mass and the integral [1]."""
    com_error: float = 1e-3
    """I4: distance between the declared centre of mass and the integral, over L [1]."""
    mujoco_error: float = 1e-6
    """I5: relative error of what MuJoCo holds [1]; double precision through XML."""
    pybullet_error: float = 1e-4
    """I5: relative error of what PyBullet holds [1]."""

    def readback_error(self, engine: str) -> float:
        """Return the limit of I5 for an engine; MassError for one that has none."""
        limits = {"mujoco": self.mujoco_error, "pybullet": self.pybullet_error}
        if engine not in limits:
            raise MassError(f"no read-back limit for engine {engine!r}; engines: {', '.join(limits)}")
        return limits[engine]


def check_mass(body: Body, *, config: MassCheckConfig | None = None) -> tuple[Check, ...]:
    """Judge the declared mass properties of a body against its parts (I1 to I4).

    Args:
        body: Body with mass properties; its hulls are not looked at.
        config: Limits.

    Raises:
        ModelError: The body has no mass properties.
    """
    config = config or MassCheckConfig()
    declared = body.inertial
    return (
        *_check_density(body, declared, config),
        *_check_moments(body, declared, config),
        *_check_fit(body, declared, config),
        *_check_integral(body, declared, config),
    )


def check_readback(
    body: Body, held: MassProperties, *, engine: str, config: MassCheckConfig | None = None
) -> tuple[Check, ...]:
    """Judge what an engine holds against what the body declares (I5).

    Args:
        body: Body with mass properties.
        held: Mass properties read back from the engine, in B.
        engine: "mujoco" or "pybullet".
        config: Limits.

    Raises:
        MassError: The engine has no limit.
        ModelError: The body has no mass properties.
    """
    config = config or MassCheckConfig()
    limit = config.readback_error(engine)
    declared = body.inertial
    moments = declared.principal_moments
    values = {
        "mass held by the engine, error": abs(held.mass - declared.mass) / declared.mass,
        "centre of mass held by the engine, error over L": _norm(held.com - declared.com) / body.size,
        "principal moments held by the engine, error": float(
            (np.abs(held.principal_moments - moments) / np.abs(moments)).max()
        ),
        "inertia held by the engine, error": _norm(held.inertia - declared.inertia) / _norm(declared.inertia),
    }
    fix = "write explicit mass, centre of mass and inertia and do not let the engine derive them"
    return tuple(
        Check("I5", name, value, "1", limit, body=body.name, engine=engine, fix=fix) for name, value in values.items()
    )


def _check_density(body: Body, declared: MassProperties, config: MassCheckConfig) -> list[Check]:
    volume = sum(part.surface.volume for part in body.parts)
    density = declared.mass / volume if volume > 0 else NAN
    fix = "check the units of the mesh (metres) and the material's density"
    detail = f"{declared.mass:.4g} kg over {volume:.4g} m^3"
    name = "mass over enclosed volume"
    limits = (
        (config.smallest_density, config.smallest_density_warn, ">="),
        (config.largest_density, config.largest_density_warn, "<="),
    )
    return [
        Check("I1", name, density, "kg/m^3", limit, warn, sense, body=body.name, fix=fix, detail=detail)
        for limit, warn, sense in limits
    ]


def _check_moments(body: Body, declared: MassProperties, config: MassCheckConfig) -> list[Check]:
    low, middle, high = declared.principal_moments
    scale = high if high > 0 else NAN
    fix = "no rigid body has this inertia; integrate it from the mesh"
    detail = f"principal moments {low:.4g}, {middle:.4g}, {high:.4g} kg m^2"
    return [
        Check(
            "I2",
            "smallest over largest principal moment",
            float(low / scale),
            "1",
            config.smallest_moment_share,
            sense=">=",
            body=body.name,
            fix=fix,
            detail=detail,
        ),
        Check(
            "I2",
            "triangle inequality of principal moments",
            float((low + middle - high) / scale),
            "1",
            -config.triangle_tolerance,
            sense=">=",
            body=body.name,
            fix=fix,
            detail=detail,
        ),
    ]


def _check_fit(body: Body, declared: MassProperties, config: MassCheckConfig) -> list[Check]:
    """I3. The last bound: mass within [lo, hi] with mean c has a second moment of at most m (c - lo)(hi - c).

    References:
        Bhatia and Davis, "A better bound on the variance", Am. Math. Monthly 107(4), 2000.
    """
    points = np.vstack([part.surface.vertices for part in body.parts])
    size, com = body.size, declared.com
    farthest = float(np.linalg.norm(points - com, axis=1).max())
    low, high = points.min(axis=0), points.max(axis=0)
    second = np.trace(declared.inertia) / 2 - np.diag(declared.inertia)
    room = declared.mass * (com - low) * (high - com)
    share = second / np.where(room > 0, room, NAN)
    fix = "the inertial belongs to another shape, frame or unit; integrate it from the mesh"
    rows = (
        ("centre of mass outside the convex hull, over L", _outside(points, com) / size, config.com_outside),
        (
            "largest moment over that of all mass at the farthest point",
            float(declared.principal_moments[2]) / (declared.mass * farthest**2),
            1 + config.bound_slack,
        ),
        ("second moments over the most that the bounding box allows", float(share.max()), 1 + config.bound_slack),
    )
    return [Check("I3", name, value, "1", limit, body=body.name, fix=fix) for name, value, limit in rows]


def _check_integral(body: Body, declared: MassProperties, config: MassCheckConfig) -> list[Check]:
    detail, mass, com, inertia = "", NAN, NAN, NAN
    try:
        exact = combine_masses([integrate_mesh(part.surface, density=part.material.density) for part in body.parts])
    except MassError as error:
        # An open or inverted part is a bad asset: the check fails and says why.
        detail = str(error)
    else:
        mass = abs(declared.mass - exact.mass) / exact.mass
        com = _norm(declared.com - exact.com) / body.size
        inertia = _norm(declared.inertia - exact.inertia) / _norm(exact.inertia)
    fix = "integrate the inertial from the parts' meshes and densities"
    rows: Sequence[tuple[str, float, float]] = (
        ("mass, error against the integral over the parts", mass, config.mass_error),
        ("centre of mass, error against the integral, over L", com, config.com_error),
        ("inertia, error against the integral over the parts", inertia, config.inertia_error),
    )
    return [Check("I4", name, value, "1", limit, body=body.name, fix=fix, detail=detail) for name, value, limit in rows]


def _outside(points: Float64[np.ndarray, "V 3"], point: np.ndarray) -> float:
    """Return how far a point lies beyond the farthest face plane of a convex hull [m]; negative inside."""
    try:
        planes = ConvexHull(points).equations
    except QhullError:
        # Flat or empty geometry has no inside.
        return NAN
    return float((planes[:, :3] @ point + planes[:, 3]).max())


def _norm(array: np.ndarray) -> float:
    return float(np.linalg.norm(array))
