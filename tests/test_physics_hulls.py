"""Convex decomposition: exact answers, refusals, determinism, the cache, and the ladder."""

from __future__ import annotations

import dataclasses

import manifold3d as m3
import numpy as np
import pytest

from physics.check import Verdict, overall_verdict
from physics.coacd_run import ChildLimits, CoacdConfig, coacd_hulls
from physics.convex import solid_arrays, volume_beyond
from physics.errors import HullError as HullFault
from physics.hull_error import arrays, hull_checks
from physics.hulls import HullConfig, Rung, _planted, decompose_body, decompose_mesh
from physics.isolate import ChildTimedOut
from physics.materials import find_material
from physics.mesh import Mesh
from physics.model import Body, Part
from physics.plane_cuts import CutConfig, GapConfig, _is_near, simplified

SOLID = m3.Manifold
CUTS = HullConfig(ladder=(Rung("cuts", CutConfig(), after=Verdict.PASS),))


def mesh_of(solid: SOLID) -> Mesh:
    vertices, faces = arrays(solid)
    return Mesh(vertices, faces.astype(np.int32))


def box(x: float, y: float, z: float, at: tuple[float, float, float] = (0, 0, 0)) -> SOLID:
    return SOLID.cube((x, y, z)).translate(at)


def l_bar_solid() -> SOLID:
    return box(0.1, 0.04, 0.04) + box(0.04, 0.1, 0.04)


def l_bar() -> Mesh:
    return mesh_of(l_bar_solid())


def mug() -> Mesh:
    cup = SOLID.cylinder(0.1, 0.04, circular_segments=48)
    inside = SOLID.cylinder(0.1, 0.034, circular_segments=48).translate((0, 0, 0.006))
    ring = SOLID.revolve(m3.CrossSection.circle(0.007, 16).translate((0.025, 0)), 24).rotate((90, 0, 0))
    handle = ring.translate((0.045, 0, 0.05)) - SOLID.cylinder(0.2, 0.037, circular_segments=48)
    return mesh_of((cup - inside) + handle)


def cross() -> Mesh:
    return mesh_of(l_bar_solid() + SOLID.cylinder(0.08, 0.012, circular_segments=20).translate((0.02, 0.02, 0)))


def verdicts(result) -> Verdict:
    return overall_verdict(hull_checks(result.error), required=("H1", "H2", "H3", "H4", "H5", "H6"))


def test_a_convex_solid_is_one_hull():
    result = decompose_mesh(mesh_of(SOLID.cylinder(0.1, 0.03, circular_segments=24)))
    assert result.rung == "one hull"
    assert len(result.hulls) == 1
    assert result.error.iou > 0.999
    assert result.fallback is None


def test_a_ball_is_a_few_hulls_of_64_vertices():
    result = decompose_mesh(mesh_of(SOLID.sphere(0.05, 64)), config=CUTS)
    assert len(result.hulls) <= 8 and result.error.iou > 0.98
    assert max(len(hull.vertices) for hull in result.hulls) <= 64
    assert verdicts(result) in (Verdict.PASS, Verdict.WARN)


def test_l_bar_is_two_hulls():
    result = decompose_mesh(l_bar(), config=CUTS)
    assert len(result.hulls) == 2
    assert result.error.iou > 0.99
    assert verdicts(result) is Verdict.PASS


def test_torus_keeps_its_hole():
    torus = SOLID.revolve(m3.CrossSection.circle(0.03, 16).translate((0.1, 0)), 32)
    result = decompose_mesh(mesh_of(torus), config=CUTS)
    assert verdicts(result) in (Verdict.PASS, Verdict.WARN)
    assert result.error.clear_share > 0.95
    assert len(result.hulls) <= 24


def test_mug_keeps_cavity_and_handle():
    result = decompose_mesh(mug(), config=CUTS)
    assert verdicts(result) in (Verdict.PASS, Verdict.WARN), result.attempts
    assert result.error.clear_share > 0.95
    assert len(result.hulls) <= 48
    for hull in result.hulls:
        assert len(hull.vertices) <= 64
        assert hull.volume > 0


def test_one_hull_over_a_hollow_solid_is_reported_as_failed():
    config = HullConfig(ladder=(Rung("one", CutConfig(most_pieces=1), after=Verdict.PASS),))
    result = decompose_mesh(mug(), config=config)
    assert verdicts(result) is Verdict.FAIL
    assert result.attempts[0].failures


def test_hulls_are_the_same_on_every_run():
    first, second = (decompose_mesh(cross(), config=CUTS) for _ in range(2))
    assert [h.digest for h in first.hulls] == [h.digest for h in second.hulls]
    assert first.error == second.error


def test_simplification_keeps_a_fine_torus_a_torus():
    torus = SOLID.revolve(m3.CrossSection.circle(0.3, 48).translate((0.7, 0)), 96).scale((0.5, 0.5, 0.5))
    first, second = (simplified(torus, CutConfig()) for _ in range(2))
    assert first.num_tri() <= 1500
    assert first.genus() == 1
    assert first.volume() == pytest.approx(torus.volume(), rel=0.01)
    np.testing.assert_array_equal(arrays(first)[0], arrays(second)[0])


def test_a_simplification_that_leaves_a_flap_is_refused():
    """Both surfaces must be near the other: quadric collapse can leave a face that stands off 0.03 L."""
    bar = l_bar_solid().scale((10, 10, 10))
    flap = bar + SOLID.cube((1.0, 0.001, 0.03)).translate((0, 0.2, 0.4))
    assert not _is_near(flap, bar, CutConfig(simplify_volume=1.0))
    assert not _is_near(bar, flap, CutConfig(simplify_volume=1.0))
    assert _is_near(bar, bar, CutConfig())


def test_coacd_runs_in_a_child_and_is_the_same_on_every_run():
    config = HullConfig(ladder=(Rung("coacd", CoacdConfig(), after=Verdict.PASS),))
    first, second = (decompose_mesh(l_bar(), config=config) for _ in range(2))
    assert first.rung == "coacd"
    assert first.error.iou > 0.99
    assert [h.digest for h in first.hulls] == [h.digest for h in second.hulls]


def test_ladder_goes_on_after_a_failure_and_says_why():
    rungs = (Rung("one", CutConfig(most_pieces=1), after=Verdict.PASS), Rung("cuts", CutConfig()))
    result = decompose_mesh(l_bar(), config=HullConfig(ladder=rungs))
    assert result.rung == "cuts"
    assert [a.rung for a in result.attempts] == ["one", "cuts"]
    assert "H4" in result.fallback


def test_ladder_ends_where_finer_hulls_leave_the_same_place_too_deep():
    one = CutConfig(most_pieces=1)
    rungs = (Rung("one", one, after=Verdict.PASS), Rung("one again", one), Rung("cuts", CutConfig()))
    assert [a.rung for a in decompose_mesh(mug(), config=HullConfig(ladder=rungs)).attempts] == ["one", "one again"]


def test_cutting_ends_where_no_cut_opens_a_crack():
    """A crack narrower than the overlap of hulls stays closed; finer cuts are not tried, and the set fails."""
    block = SOLID.cube((1, 1, 1), True) + SOLID.cube((0.4, 0.4, 1.4), True)
    cracked = block - SOLID.cube((0.3, 0.3, 0.0004), True)
    result = decompose_mesh(mesh_of(cracked))
    assert verdicts(result) is Verdict.FAIL
    assert [a.rung for a in result.attempts] == ["cuts"]
    assert result.error.inward_max > 0.03


def test_a_deep_narrow_hole_is_opened():
    """Half a hull's stand-off closes it, and its wall is then deep inside: only cuts through its middle help."""
    block = SOLID.cube((1, 1, 0.6), True) + SOLID.cube((0.2, 0.2, 0.9), True)
    hole = SOLID.cylinder(2.0, 0.009, circular_segments=16, center=True).rotate((0, 90, 0)).translate((0, 0.3, 0.1))
    mesh = mesh_of(block - hole)
    closing = HullConfig(ladder=(Rung("cuts", CutConfig(gaps=GapConfig(rounds=0)), after=Verdict.PASS),))
    without, opened = (decompose_mesh(mesh, config=config).error for config in (closing, CUTS))
    assert without.inward_max > 0.03 > opened.inward_max
    assert opened.iou > without.iou - 0.005


def test_a_cavity_stays_empty():
    hollow = SOLID.cube((1, 1, 1), True) - SOLID.cube((0.6, 0.6, 0.6), True)
    result = decompose_mesh(mesh_of(hollow), config=CUTS)
    assert verdicts(result) is Verdict.PASS
    assert result.error.iou > 0.97


def test_a_part_within_a_cavity_is_kept():
    hollow = SOLID.cube((1, 1, 1), True) - SOLID.cube((0.6, 0.6, 0.6), True)
    result = decompose_mesh(mesh_of(hollow + SOLID.cube((0.3, 0.3, 0.3), True)), config=CUTS)
    assert result.error.iou > 0.97
    assert result.error.missing_ratio < 0.01


def test_hulls_keep_the_corners_of_the_foot():
    """Without its third corner the foot is a line, and the body falls over."""
    body = SOLID.hull_points(
        np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.8, 0], [0, 0, 1], [1, 0, 1], [0.5, 0.8, 1]], dtype=float)
    )
    short = SOLID.hull_points(
        np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.8, 0.005], [0, 0, 1], [1, 0, 1], [0.5, 0.8, 1]], dtype=float)
    )
    (kept,) = _planted([short], body, HullConfig())
    assert kept.volume() == pytest.approx(body.volume(), rel=1e-9)
    (same,) = _planted([body], body, HullConfig())
    assert same is body


def test_a_hull_that_lost_corners_stays_near_the_solid():
    disc = SOLID.cylinder(0.03, 1.0, circular_segments=256) + SOLID.cylinder(0.3, 0.2, circular_segments=128)
    error = decompose_mesh(mesh_of(disc), config=CUTS).error
    assert error.most_vertices <= 64
    assert error.outward_max < 0.02


def test_a_child_that_uses_up_its_cpu_time_costs_one_attempt():
    rungs = (Rung("slow", CoacdConfig(iterations=100000), after=Verdict.PASS), Rung("cuts", CutConfig()))
    limits = ChildLimits(cpu_s=0.5)
    result = decompose_mesh(cross(), config=HullConfig(ladder=rungs, child=limits))
    assert result.rung == "cuts"
    assert "SIGXCPU" in result.attempts[0].failures[0]
    with pytest.raises(HullFault, match="no method returned hulls"):
        decompose_mesh(cross(), config=HullConfig(ladder=rungs[:1], child=limits))


def test_a_machine_that_is_too_slow_is_an_error_and_no_reason_for_other_hulls():
    rungs = (Rung("slow", CoacdConfig(iterations=100000), after=Verdict.PASS), Rung("cuts", CutConfig()))
    with pytest.raises(ChildTimedOut, match=r"no answer within 0\.6 s"):
        decompose_mesh(cross(), config=HullConfig(ladder=rungs, child=ChildLimits(cpu_s=0.5, wall_s=0.6)))


def test_cpu_time_is_counted_anew_for_each_run():
    vertices, faces = arrays(l_bar_solid())
    limits = ChildLimits(cpu_s=2.0)
    for _ in range(12):
        assert coacd_hulls(vertices, faces, CoacdConfig(), 64, limits)


def test_bad_meshes_are_refused_before_anything_runs():
    bar = l_bar()
    with pytest.raises(HullFault, match=r"inside out.*physics\.validity"):
        decompose_mesh(Mesh(bar.vertices, bar.faces[:, ::-1]))
    with pytest.raises(HullFault, match=r"not closed.*physics\.validity"):
        decompose_mesh(Mesh(bar.vertices, bar.faces[1:]))


@pytest.mark.parametrize(
    ("options", "text"),
    [({"preprocess": "maybe"}, "preprocess"), ({"threshold": 2.0}, "threshold"), ({"iterations": 0}, "positive")],
)
def test_unknown_options_are_refused(options, text):
    with pytest.raises(HullFault, match=text):
        CoacdConfig(**options)


def test_cache_returns_the_same_and_survives_damage(tmp_path):
    first = decompose_mesh(l_bar(), config=CUTS, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    again = decompose_mesh(l_bar(), config=CUTS, cache=tmp_path)
    assert [h.digest for h in again.hulls] == [h.digest for h in first.hulls]
    assert again.error == first.error
    damaged = bytearray(file.read_bytes())
    damaged[60] ^= 1
    file.write_bytes(damaged)
    assert decompose_mesh(l_bar(), config=CUTS, cache=tmp_path).error == first.error
    other = dataclasses.replace(CUTS, most_vertices=32)
    decompose_mesh(l_bar(), config=other, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_body_of_two_materials_keeps_them_apart():
    head, handle = (
        mesh_of(box(0.1, 0.03, 0.03, (-0.05, -0.015, 0.25))),
        mesh_of(box(0.02, 0.02, 0.25, (-0.01, -0.01, 0))),
    )
    body = Body("hammer", (Part("head", head, find_material("steel")), Part("handle", handle, find_material("oak"))))
    made, checks, fallbacks = decompose_body(body, config=CUTS)
    assert [hull.part for hull in made.hulls] == ["head", "handle"]
    assert overall_verdict(checks) is Verdict.PASS
    assert all(check.body == "hammer" for check in checks)
    assert fallbacks == ()


def test_volume_beyond_a_plane_is_that_of_the_solid_cut_there():
    solid = SOLID.cube((1, 0.6, 0.4), True) - SOLID.cylinder(1, 0.1, circular_segments=24, center=True)
    vertices, faces = solid_arrays(solid)
    rng = np.random.default_rng(0)
    for draw in range(60):
        normal = rng.normal(size=3)
        normal /= np.linalg.norm(normal)
        heights = vertices @ normal
        level = rng.uniform(heights.min(), heights.max()) if draw % 3 else rng.choice(heights)  # through corners too
        wanted = solid.trim_by_plane(tuple(normal), level).volume()
        assert volume_beyond(vertices, faces, normal, level) == pytest.approx(wanted, abs=1e-12)
    assert volume_beyond(vertices, faces, np.array([0.0, 0.0, 1.0]), -0.2) == pytest.approx(solid.volume())
    assert volume_beyond(vertices, faces, np.array([0.0, 0.0, 1.0]), 0.2) == 0.0
