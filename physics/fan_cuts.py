"""Cuts through an axis of rotation: a curved wall falls into wedges of even sagitta at once.

No single plane lowers the hull volume of a bowl or a pipe much; a fan of planes through its axis does. The axis is that
line about which most of the surface is one of revolution: there the normal has no part along the circle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

PLACES = np.array([[1 / 3, 1 / 3, 1 / 3], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
"""Where a face is looked at, as weights of its corners: the middle of a large flat face turns about much."""


@dataclass(frozen=True)
class FanConfig:
    """When a piece is cut by a fan, and how finely. Lengths are shares of L."""

    sagitta: float = 0.0155
    """Stand-off of a wedge's hull from the hollow side of the wall that the wedges aim at [L]."""
    tangential: float = 0.25
    """A face turns about the axis when its unit normal has at most this part along the circle [1]."""
    least_share: float = 0.8
    """Share of the surface, as seen from the side, that must turn about the axis [1]."""
    least_hollow: float = 0.12
    """Share of the surface that must face the axis [1]; without it there is nothing that one hull would fill."""
    facing: float = 0.5
    """A face faces the axis when its unit normal has at least this part towards it [1]."""
    percentile: float = 80.0
    """The radius is this percentile over the area that faces the axis [%]."""
    most_wedges: int = 16
    """Wedges about a full circle at most."""
    clearly: float = 0.03
    """A later direction is taken over an earlier one when its share is larger by this [1]; a ball turns about all."""
    fits: int = 4
    """Reweighted least squares fits of the axis, which let go of handles."""


def fan_planes(
    vertices: Float64[np.ndarray, "V 3"],
    faces: np.ndarray,
    directions: Iterable[np.ndarray],
    config: FanConfig,
) -> list[tuple[Float64[np.ndarray, "3"], float]]:
    """Return planes (normal, offset) through the axis about which a piece turns; none where there is no such axis.

    Args:
        vertices: Of the piece, in units of L.
        faces: Of the piece (F, 3).
        directions: Unit vectors along which the axis is sought.
        config: Fineness and limits.
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    double = np.linalg.norm(cross, axis=1)
    valid = double > 0
    corners = np.stack([a, b, c], axis=1)[valid]
    centre = np.concatenate([np.einsum("k,fkx->fx", weight, corners) for weight in PLACES])
    normal, area = np.tile(cross[valid] / double[valid, None], (len(PLACES), 1)), np.tile(double[valid], len(PLACES))
    best: tuple[float, list[tuple[np.ndarray, float]]] = (0.0, [])
    for direction in directions:
        e1 = np.cross(direction, np.eye(3)[int(np.argmin(np.abs(direction)))])
        e1 /= np.linalg.norm(e1)
        e2 = np.cross(direction, e1)
        frame = np.stack([e1, e2])
        p, n = centre @ frame.T, normal @ frame.T
        origin = _axis(p, n, area, config)
        r = np.linalg.norm(p - origin, axis=1).clip(min=1e-9)
        outward = (p - origin) / r[:, None]
        turns = np.abs(n[:, 1] * outward[:, 0] - n[:, 0] * outward[:, 1]) < config.tangential
        hollow = turns & ((n * outward).sum(axis=1) < -config.facing)
        sideways = area * np.linalg.norm(n, axis=1)  # a face across the axis turns about every one beside it too
        share, inner = float(sideways[turns].sum() / sideways.sum()), float(area[hollow].sum() / area.sum())
        if share < config.least_share or inner < config.least_hollow or share <= best[0] + config.clearly:
            continue
        radius = _percentile(r[hollow], area[hollow], config.percentile)
        angles = _cut_angles(vertices @ frame.T - origin, radius, config)
        if angles.size:
            planes = [
                (np.cos(t) * e2 - np.sin(t) * e1, float(np.cos(t) * origin[1] - np.sin(t) * origin[0])) for t in angles
            ]
            best = (share, planes)
    return best[1]


def _axis(p: np.ndarray, n: np.ndarray, area: np.ndarray, config: FanConfig) -> Float64[np.ndarray, "2"]:
    """Point in the plane across a direction through which most of the normals pass."""
    turn = np.stack([n[:, 1], -n[:, 0]], axis=1)  # n x (p - origin) = turn . origin - turn . p, up to the sign
    moment = (turn * p).sum(axis=1)
    weight = area
    origin = np.zeros(2)
    for _ in range(config.fits):
        root = np.sqrt(weight)[:, None]
        origin = np.linalg.lstsq(root * turn, root[:, 0] * moment, rcond=1e-9)[0]
        r = np.linalg.norm(p - origin, axis=1).clip(min=1e-9)
        weight = area / (1.0 + (np.abs(turn @ origin - moment) / r / config.tangential) ** 4)
    return origin


def _cut_angles(q: np.ndarray, radius: float, config: FanConfig) -> Float64[np.ndarray, "K"]:
    """Angles of the cuts, so that the arc of a wedge has the wanted sagitta at the radius [rad].

    On a full circle a plane cuts both sides, and the cuts lie beside the first direction, along which handles lie.
    """
    wedge = 2 * np.arccos(max(1.0 - config.sagitta / radius, 0.0)) if radius > 0 else np.pi
    angles = np.sort(np.arctan2(q[:, 1], q[:, 0]))
    gaps = np.diff(np.concatenate([angles, angles[:1] + 2 * np.pi]))
    widest = int(gaps.argmax())
    arc = 2 * np.pi - float(gaps[widest])
    if arc > np.pi:
        count = int(np.ceil(np.pi / wedge))  # planes; twice as many wedges
        count = min(max(count, 2), config.most_wedges // 2)
        return (np.arange(count) + 0.5) * np.pi / count
    count = int(np.ceil(arc / wedge))
    start = float(angles[(widest + 1) % len(angles)])
    return start + np.arange(1, count) * arc / count


def _percentile(values: np.ndarray, weights: np.ndarray, percent: float) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, percent / 100 * cumulative[-1])])
