"""Pulleys with a round groove, a hub and holes in the web."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from generators.curves import outline
from generators.families.family import Draw, Family, Part, count, span
from generators.sdf import cylinder, declare, difference, polar, revolve, translate


@dataclass(frozen=True)
class PulleyParams:
    """A pulley that lies flat on its hub and rim, its axis along z."""

    radius: float = span(0.025, 0.100)
    width: float = span(0.010, 0.050)
    groove: float = span(0.003, 0.018)
    """Radius of the rope that fits [m]."""
    bore_radius: float = span(0.004, 0.022)
    holes: int = count(3, 6)


def sample_pulley(rng: np.random.Generator, fixed: Mapping[str, float] | None = None) -> PulleyParams:
    """Draw a pulley."""
    draw = Draw(PulleyParams, rng, fixed)
    radius = draw("radius")
    width = draw("width", at_least=0.36 * radius, at_most=0.6 * radius)
    return PulleyParams(
        radius=radius,
        width=width,
        groove=draw("groove", at_least=0.22 * width, at_most=0.34 * width),
        bore_radius=draw("bore_radius", at_least=0.13 * radius, at_most=0.22 * radius),
        holes=int(draw("holes")),
    )


def make_pulley(params: PulleyParams) -> tuple[Part, ...]:
    """Build a pulley: a turned profile with a thinner web between rim and hub."""
    r, w, g, bore = params.radius, params.width, params.groove, params.bore_radius
    hub, rim = bore + 0.13 * r, r - 1.1 * g - 0.13 * r
    web = 0.25 * w
    low = (w - web) / 2
    soft = 0.1 * web
    half = np.array([(bore, 0), (hub, 0), (hub + 0.05 * r, low), (rim - 0.05 * r, low), (rim, 0), (r, 0)])
    lips = np.array([(r, w / 2 - g), (r - 1.1 * g, w / 2 - 0.45 * g)])
    lower = np.concatenate([half, lips])
    upper = lower[::-1] * [1, -1] + [0, w]
    fillets = [0.0, 4 * soft, 4 * soft, 4 * soft, 4 * soft, 2 * soft, soft, 0.42 * g]
    wheel = revolve(outline(np.concatenate([lower, upper]).tolist(), fillets + fillets[::-1]))
    middle = (hub + rim) / 2
    eye = min(0.30 * (rim - hub), 0.6 * middle * np.sin(np.pi / params.holes))
    holes = polar(translate(cylinder(eye, -w, 2 * w), (middle, 0, 0)), params.holes)
    least = min(web, 0.13 * r, 2 * eye, 2 * middle * np.sin(np.pi / params.holes) - 2 * eye, w / 2 - g)
    return (
        Part(
            "pulley",
            declare(difference(wheel, holes), wall=least, genus=1 + params.holes),
            ("aluminium", "cast_iron", "nylon", "steel", "ptfe"),
        ),
    )


PULLEY = Family("pulley", PulleyParams, sample_pulley, make_pulley)
