"""G1 to G8 on solids that must pass and on every kind of mesh that must not; nothing raises, NaN never passes."""

import math

import numpy as np
import pytest

from physics import truth as solids
from physics.check import Verdict, overall_verdict
from physics.mesh import Mesh
from physics.topology import trace_topology
from physics.validity import ValidityConfig, check_validity
from physics.wall import WallConfig, thinnest_wall

IDS = {"G1", "G2", "G3", "G4", "G5", "G6", "G7"}
BOX = solids.box().mesh


def failed(mesh, **declared) -> set[str]:
    checks = check_validity(mesh, body="b", **declared)
    assert {check.id for check in checks} >= IDS
    assert all(check.body == "b" and check.fix for check in checks)
    assert not any(math.isnan(check.value) and check.verdict is not Verdict.FAIL for check in checks)
    return {check.id for check in checks if check.verdict is Verdict.FAIL}


def both(one: Mesh, two: Mesh, *, turned: bool = False) -> tuple[np.ndarray, np.ndarray]:
    faces = two.faces[:, ::-1] if turned else two.faces
    return np.vstack([one.vertices, two.vertices]), np.vstack([one.faces, faces + len(one.vertices)])


def scaled(mesh: Mesh, factor: float) -> Mesh:
    return Mesh(mesh.vertices * factor, mesh.faces)


@pytest.mark.parametrize("solid", solids.all_solids(), ids=lambda solid: solid.name)
def test_reference_solids_pass(solid):
    checks = check_validity(solid.mesh, body=solid.name, declared_genus=solid.genus)
    assert overall_verdict(checks, required=IDS | {"G8"}) is Verdict.PASS


@pytest.mark.parametrize("size", [5e-3, 2e-2, 0.3, 2.0])
def test_verdict_does_not_depend_on_size_or_place(size):
    for solid in (solids.box((1, 0.6, 0.3)), solids.cylinder(0.3, 1), solids.cone(0.5, 1), solids.torus(0.35, 0.15)):
        mesh = Mesh(solid.mesh.vertices * size + np.array([3.0, -2.0, 1.0]), solid.mesh.faces)
        assert not failed(mesh), (solid.name, size)


@pytest.mark.parametrize(
    "solid",
    [solids.box((0.1, 0.1, 1e-3)), solids.box((0.5, 0.01, 0.01)), solids.cylinder(0.005, 0.5)],
    ids=["plate", "rod", "round rod"],
)
def test_thin_plates_and_long_rods_are_no_failures(solid):
    assert not failed(solid.mesh)


def flip_one() -> tuple[np.ndarray, np.ndarray]:
    faces = BOX.faces.copy()
    faces[3] = faces[3][::-1]
    return BOX.vertices, faces


def vertex_set(value: float) -> tuple[np.ndarray, np.ndarray]:
    vertices = BOX.vertices.copy()
    vertices[2, 1] = value
    return vertices, BOX.faces


def pinched() -> tuple[np.ndarray, np.ndarray]:
    """Two boxes that share a single vertex."""
    vertices, faces = both(BOX, BOX.translated(BOX.extents))
    return vertices, np.where(faces == 8, 6, faces)


def folded() -> tuple[np.ndarray, np.ndarray]:
    """A box with a flap: a vertex of the top pulled past the side, in the plane of the top."""
    mesh = solids.l_bar().mesh
    vertices = mesh.vertices.copy()
    vertices[12] = [0.05, 0.2, 0.04]
    return vertices, mesh.faces


MUST_FAIL = {
    "inverted": ((BOX.vertices, BOX.faces[:, ::-1]), "G3"),
    "one flipped face": (flip_one(), "G3"),
    "missing face": ((BOX.vertices, BOX.faces[1:]), "G2"),
    "face twice": ((BOX.vertices, np.vstack([BOX.faces, BOX.faces[:1]])), "G2"),
    "separate triangles": ((BOX.triangles.reshape(-1, 3), np.arange(36).reshape(12, 3)), "G2"),
    "unused vertex": ((np.vstack([BOX.vertices, [[1, 1, 1]]]), BOX.faces), "G2"),
    "pinched at a vertex": (pinched(), "G2"),
    "repeated index": ((BOX.vertices, np.vstack([BOX.faces, [[1, 1, 2]]])), "G2"),
    "overlapping boxes": (both(BOX, BOX.translated([0.05, 0.01, 0.01])), "G4"),
    "same shell twice": (both(BOX, BOX), "G4"),
    "same shell inside out": (both(BOX, BOX, turned=True), "G3"),
    "box in a box": (both(BOX, scaled(BOX, 0.5)), "G4"),
    "folded face": (folded(), "G4"),
    "two bodies": (both(BOX, BOX.translated([0.3, 0, 0])), "G5"),
    "glued debris": (both(BOX, scaled(BOX, 0.01).translated([0.2, 0, 0])), "G5"),
    "undeclared cavity": (both(BOX, scaled(BOX, 0.5), turned=True), "G3"),
    "cavity outside": (both(BOX, scaled(BOX, 0.5).translated([0.3, 0, 0]), turned=True), "G3"),
    "flat": ((BOX.vertices * [1, 1, 0], BOX.faces), "G6"),
    "needle faces": (solids.box((1, 1, 1e-5)).mesh, "G6"),
    "thin wall": (solids.box((0.1, 0.1, 1e-4)).mesh, "G7"),
    "very thin wall": (solids.box((0.1, 0.1, 1e-7)).mesh, "G7"),
    "millimetres": ((BOX.vertices * 1000, BOX.faces), "G1"),
    "kilometres": ((BOX.vertices / 1000, BOX.faces), "G1"),
    "NaN": (vertex_set(np.nan), "G1"),
    "infinite": (vertex_set(np.inf), "G1"),
    "enormous": (vertex_set(1e300), "G1"),
    "index beyond": ((BOX.vertices, BOX.faces + 1), "G1"),
    "index negative": ((BOX.vertices, BOX.faces - 1), "G1"),
    "empty": ((np.zeros((0, 3)), np.zeros((0, 3), dtype=int)), "G1"),
    "no faces": ((BOX.vertices, np.zeros((0, 3), dtype=int)), "G1"),
    "flat arrays": ((BOX.vertices.reshape(-1), BOX.faces.reshape(-1)), "G1"),
    "ragged": (([[0.0, 1.0], [2.0]], [[0, 1, 2]]), "G1"),
    "words": ((BOX.vertices.astype(str), BOX.faces), "G1"),
    "fractional indices": ((BOX.vertices, BOX.faces + 0.5), "G1"),
    "one point": ((np.zeros((8, 3)), BOX.faces), "G1"),
}


@pytest.mark.parametrize("name", MUST_FAIL)
def test_bad_meshes_fail_and_never_raise(name):
    mesh, expected = MUST_FAIL[name]
    assert expected in failed(mesh)
    assert failed(mesh, declared_components=2, declared_genus=0, declared_cavities=1)


def test_declarations_decide():
    two = both(BOX, BOX.translated([0.3, 0, 0]))
    assert not failed(two, declared_components=2)
    assert "G5" in failed(BOX, declared_components=2)
    hollow = both(BOX, scaled(BOX, 0.5), turned=True)
    assert not failed(hollow, declared_cavities=1)
    assert "G3" in failed(BOX, declared_cavities=1)
    assert failed(solids.torus().mesh, declared_genus=0) == {"G8"}
    assert failed(solids.torus().mesh, declared_genus=(0, 2)) == {"G8"}
    assert not failed(solids.torus().mesh, declared_genus=(0, 1))


def test_overlap_is_measured_as_a_share_of_the_union():
    vertices, faces = both(solids.box((1, 1, 1)).mesh, solids.box((1, 1, 1)).mesh.translated([0.5, 0, 0]))
    checks = check_validity((vertices, faces), body="b", declared_components=2)
    share = next(check for check in checks if check.name == "volume counted twice")
    assert share.value == pytest.approx(2.0 / 1.5 - 1)


def test_failure_names_its_place():
    checks = check_validity((BOX.vertices, BOX.faces[1:]), body="b")
    edges = next(check for check in checks if check.name.startswith("edges without"))
    assert edges.value == 3 and "edge [" in edges.detail and " m" in edges.detail
    checks = check_validity(vertex_set(np.nan), body="b")
    assert "vertex 2 is" in checks[0].detail


def test_penetration_floor_sets_the_wall_limit():
    plate = solids.box((0.1, 0.1, 1e-3)).mesh
    assert failed(plate, penetration_floor=1.1e-4) == {"G7"}
    assert not failed(plate, penetration_floor=4.4e-6)


def test_small_walls_warn():
    checks = check_validity(solids.box((0.02, 0.02, 4e-4)).mesh, body="b")
    assert next(check for check in checks if check.id == "G7").verdict is Verdict.WARN


def wall(solid: solids.Solid) -> float:
    return thinnest_wall(solid.mesh.vertices, solid.mesh.faces.astype(np.int64), WallConfig()).thickness


def test_thickness_of_closed_forms():
    assert wall(solids.box((0.1, 0.06, 0.03))) == pytest.approx(0.03, rel=1e-5)
    assert wall(solids.l_bar()) == pytest.approx(0.04, rel=1e-5)
    assert wall(solids.sphere(0.05)) == pytest.approx(0.1, rel=0.01)
    assert wall(solids.cylinder(0.01, 0.1)) == pytest.approx(0.02, rel=0.01)
    tube = solids.revolve(np.array([[0.03, 0], [0.032, 0], [0.032, 0.1], [0.03, 0.1]]), 128, closed=True)
    assert wall(solids.Solid("tube", tube, 0, np.zeros(3), np.eye(3), True)) == pytest.approx(0.002, rel=0.01)


def test_convex_edges_are_no_walls_but_knives_are():
    """A prism over an equilateral triangle has edges of 60 degrees, a wedge of 10 degrees is a blade."""

    def prism(degrees: float) -> solids.Solid:
        half = math.radians(degrees) / 2
        outline = np.array([[0, 0], [0.1, -0.1 * math.tan(half)], [0.1, 0.1 * math.tan(half)]])
        mesh = solids.extrude(outline, [(0, 1, 2)], 0, 0.1)
        return solids.Solid("prism", mesh, 0, np.zeros(3), np.eye(3), True)

    assert wall(prism(60)) == pytest.approx(0.1, rel=1e-4)  # between the two ends
    assert wall(prism(10)) < 0.002


def test_topology_counts_fans_handles_and_shells():
    torus = solids.torus().mesh
    topology = trace_topology(torus.faces, len(torus.vertices))
    assert topology.closed and topology.genus == 1 and topology.shell_count == 1
    vertices, faces = pinched()
    topology = trace_topology(faces, len(vertices))
    assert not len(topology.wrong_edges) and set(topology.wrong_vertices.tolist()) == {6, 8}
    assert math.isnan(topology.genus)


def test_limits_live_in_the_config():
    assert "G6" in {
        check.id
        for check in check_validity(BOX, body="b", config=ValidityConfig(face_height=0.9))
        if check.verdict is Verdict.FAIL
    }
