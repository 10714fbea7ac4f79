"""Flanged pipe elbows of a quarter turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import stroke
from generators.families.family import Draw, Family, Part, count, span, thin
from generators.sdf import Solid, cylinder, declare, difference, polar, smooth_union, transform, translate, union


@dataclass(frozen=True)
class PipeElbowParams:
    """A pipe that rises from a flange on the floor and turns to a flange at +x."""

    radius: float = span(0.015, 0.050)
    """Outer radius of the pipe [m]."""
    wall: float = span(0.0030, 0.0100)
    bend_radius: float = span(0.026, 0.105)
    """Of the centre line [m]."""
    flange_thickness: float = span(0.0045, 0.0160)
    bolts: int = count(4, 8)


def sample_pipe_elbow(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> PipeElbowParams:
    """Draw an elbow."""
    draw = Draw(PipeElbowParams, rng, fixed)
    radius = draw("radius")
    bend = draw("bend_radius", at_least=1.75 * radius, at_most=2.1 * radius)
    least = thin(bend + 3.4 * radius)
    return PipeElbowParams(
        radius=radius,
        wall=draw("wall", at_least=least, at_most=0.24 * radius),
        bend_radius=bend,
        flange_thickness=draw("flange_thickness", at_least=0.28 * radius, at_most=0.38 * radius),
        bolts=int(draw("bolts")),
    )


def make_pipe_elbow(params: PipeElbowParams) -> tuple[Part, ...]:
    """Build an elbow: a tube along a line with one fillet, hollowed by a thinner one, and two drilled flanges."""
    r, w, bend, t = params.radius, params.wall, params.bend_radius, params.flange_thickness
    plate = 1.72 * r
    rise = max(plate + t + 0.35 * r, bend + 1.2 * t)  # height of the upper axis: its flange clears the lower one
    path = [(0.0, -r), (0.0, rise), (rise + r, rise)]
    shoulder = 1.36 * r
    bolt = 0.16 * r
    flange = difference(
        cylinder(plate, 0.0, t, 0.12 * t),
        polar(translate(cylinder(bolt, -t, 2 * t), (shoulder, 0, 0)), params.bolts),
    )
    to_x = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    end = transform(flange, to_x, (rise, 0.0, rise))
    pipe = tube(path, bend, r)
    outside = trim(smooth_union(pipe, union(flange, end), 0.18 * r), rise)
    solid = difference(outside, tube(path, bend, r - w))
    return (
        Part(
            "pipe_elbow",
            declare(solid, wall=min(w, 2 * bolt, plate - shoulder - bolt), genus=1 + 2 * params.bolts),
            ("steel", "cast_iron", "copper", "brass", "stainless_steel", "hdpe"),
        ),
    )


def tube(path: list[tuple[float, float]], bend: float, radius: float) -> Solid:
    """Return all points within `radius` [m] of a filleted path (x, z) [m]; exact."""
    line = stroke(path, bend, 0.0)
    low, high = line.bounds

    def distance(p: np.ndarray) -> np.ndarray:
        across = line.distance(p[:, 0], p[:, 2])
        return np.sqrt(across * across + p[:, 1] * p[:, 1]) - radius

    return Solid(
        distance,
        np.array([[low[0] - radius, -radius, low[1] - radius], [high[0] + radius, radius, high[1] + radius]]),
    )


def trim(solid: Solid, reach: float) -> Solid:
    """Return the part of a solid at z >= 0 and x <= `reach` [m]."""
    bounds = solid.bounds.copy()
    bounds[0, 2], bounds[1, 0] = 0.0, reach
    return Solid(lambda p: np.maximum(solid.distance(p), np.maximum(-p[:, 2], p[:, 0] - reach)), bounds)


PIPE_ELBOW = Family("pipe_elbow", PipeElbowParams, sample_pipe_elbow, make_pipe_elbow)
