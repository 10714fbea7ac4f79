"""The materials table, the rules for pairs, and coefficients fitted to pairs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from physics.errors import MaterialError
from physics.friction_fit import Surface, fit_friction
from physics.materials import MATERIALS, Friction, Material, find_material, pair_friction, pair_restitution

NAMES = (
    "steel stainless_steel aluminium brass copper cast_iron titanium oak pine beech plywood bamboo abs polypropylene "
    "hdpe pla nylon acrylic ptfe glass porcelain stoneware concrete rubber silicone cork cardboard"
).split()


def stuff(sliding: float, torsional: float = 1e-3, rolling: float = 1e-4, restitution: float = 0.5) -> Material:
    name = f"m{sliding}_{torsional}_{rolling}"
    return Material(name, 1000.0, sliding, torsional, rolling, restitution, (0.5, 0.5, 0.5), 0.0, 0.5)


def test_the_table_is_complete_and_sourced() -> None:
    assert set(NAMES) <= set(MATERIALS)
    for name, material in MATERIALS.items():
        assert material.name == name
        assert 20 <= material.density <= 12000
        assert 0 < material.sliding_friction <= 1.2
        assert 0 < material.rolling_friction < material.torsional_friction < 0.01
        assert len(material.source) > 40


def test_densities_are_those_of_handbooks() -> None:
    for name, density in {"steel": 7850, "aluminium": 2700, "copper": 8960, "glass": 2500, "ptfe": 2200}.items():
        assert find_material(name).density == pytest.approx(density, rel=0.02)


def test_unknown_names_are_answered_with_the_nearest_and_the_list() -> None:
    with pytest.raises(MaterialError, match=r"'steal' is not a material\. Did you mean 'steel'\? Materials: steel, .*"):
        find_material("steal")
    with pytest.raises(MaterialError, match=r"'xyzzy' is not a material\. Materials: "):
        find_material("xyzzy")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"density": -1.0}, "density is -1.0, expected >= 0"),
        ({"sliding_friction": math.nan}, "sliding_friction is nan"),
        ({"rolling_friction": math.inf}, "rolling_friction is inf"),
        ({"restitution": 1.5}, "restitution is 1.5"),
        ({"metallic": 2.0}, "metallic"),
        ({"base_color": (0.1, 0.2, -0.1)}, "base_color"),
    ],
)
def test_properties_out_of_range_are_refused(changes: dict, message: str) -> None:
    fields = {
        "name": "odd",
        "density": 1.0,
        "sliding_friction": 0.1,
        "torsional_friction": 0.1,
        "rolling_friction": 0.1,
        "restitution": 0.1,
        "base_color": (0.1, 0.1, 0.1),
        "metallic": 0.0,
        "roughness": 0.5,
    }
    with pytest.raises(MaterialError, match=message):
        Material(**(fields | changes))


def test_pairs_are_symmetric_and_a_material_on_itself_keeps_its_values() -> None:
    for a, b in itertools.combinations(MATERIALS.values(), 2):
        assert pair_friction(a, b) == pair_friction(b, a)
        assert pair_restitution(a, b) == pair_restitution(b, a)
    for a in MATERIALS.values():
        assert pair_friction(a, a) == Friction(a.sliding_friction, a.torsional_friction, a.rolling_friction)
        assert pair_restitution(a, a) == pytest.approx(a.restitution)


def test_pair_friction_is_the_elementwise_maximum() -> None:
    assert pair_friction(stuff(0.8, 1e-3, 3e-4), stuff(0.4, 5e-3, 1e-4)) == Friction(0.8, 5e-3, 3e-4)
    assert pair_restitution(stuff(1, restitution=0.9), stuff(1, restitution=0.4)) == pytest.approx(0.6)


def effective(a: Friction, b: Friction) -> Friction:
    """What PyBullet makes of two coefficients."""
    return Friction(
        a.sliding * b.sliding,
        a.torsional * b.sliding + b.torsional * a.sliding,
        a.rolling * b.sliding + b.rolling * a.sliding,
    )


@pytest.mark.parametrize("name", NAMES)
def test_one_body_on_the_ground_is_exact(name: str) -> None:
    mine, ground = find_material(name), find_material("oak")
    fit = fit_friction({"ground": Surface((ground,), True), "a": Surface((mine,), False)})
    assert fit.shortfalls == ()
    got, want = effective(fit.coefficients["a"], fit.coefficients["ground"]), pair_friction(mine, ground)
    assert fit.coefficients["ground"].sliding == pytest.approx(1.0)
    for field in ("sliding", "torsional", "rolling"):
        assert getattr(got, field) == pytest.approx(getattr(want, field), rel=1e-6)


def test_no_pair_exceeds_its_value_and_supports_come_first() -> None:
    materials = [find_material(name) for name in ("steel", "ptfe", "rubber", "glass", "oak")]
    surfaces = {"ground": Surface((find_material("concrete"),), True)}
    surfaces |= {f"{m.name}{k}": Surface((m,), False) for m in materials for k in range(2)}
    fit = fit_friction(surfaces)
    shortfall = {True: 0.0, False: 0.0}
    for a, b in itertools.combinations(surfaces, 2):
        got = effective(fit.coefficients[a], fit.coefficients[b])
        want = pair_friction(surfaces[a].materials[0], surfaces[b].materials[0])
        for field in ("sliding", "torsional", "rolling"):
            assert getattr(got, field) <= getattr(want, field) * (1 + 1e-6)
        supported = surfaces[a].static or surfaces[b].static
        shortfall[supported] = max(shortfall[supported], 1 - got.sliding / want.sliding)
    assert shortfall[True] <= shortfall[False] + 1e-9
    assert fit.largest_shortfall == pytest.approx(max(shortfall.values()), abs=1e-9)
    assert fit.shortfalls


def test_a_body_of_two_materials_gets_the_smaller_and_says_so() -> None:
    hammer = Surface((find_material("rubber"), find_material("oak")), False)
    fit = fit_friction({"ground": Surface((find_material("pine"),), True), "hammer": hammer})
    assert effective(fit.coefficients["hammer"], fit.coefficients["ground"]).sliding == pytest.approx(0.4)
    assert fit.largest_shortfall == pytest.approx(1 - 0.4 / 0.9)
    assert any("sliding friction of pine on rubber+oak is 0.4, 55.6 % below 0.9" in line for line in fit.shortfalls)


def test_frictionless_pairs_and_lonely_bodies() -> None:
    slick = stuff(0.0, 0.0, 0.0)
    fit = fit_friction({"ground": Surface((slick,), True), "a": Surface((slick,), False)})
    assert effective(fit.coefficients["a"], fit.coefficients["ground"]).sliding < 1e-8
    alone = fit_friction({"a": Surface((find_material("steel"),), False)})
    assert alone.largest_shortfall == 0.0
    assert np.isfinite(alone.coefficients["a"].sliding)
