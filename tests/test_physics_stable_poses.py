"""Stable poses against closed forms, and against trimesh where no family is merged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import trimesh

from physics import truth as solids
from physics.errors import ModelError
from physics.floors import REFERENCE_MATERIAL, convex_body, prism
from physics.mass import MassProperties, combine_masses
from physics.mesh import Mesh
from physics.model import Body, Hull, Part
from physics.pose import Pose
from physics.stable_poses import UPRIGHT_DOWN, hull_vertices, nearest_stable, pose_on_plane, stable_poses
from physics.support import support_margin, support_polygon


def convex(mesh: Mesh, name: str = "body") -> Body:
    return convex_body(name, mesh, REFERENCE_MATERIAL)


def with_com(body: Body, com: np.ndarray) -> Body:
    inertial = body.inertial
    return dataclasses.replace(body, mass_properties=MassProperties(inertial.mass, com, inertial.inertia))


def random_hull(seed: int) -> Mesh:
    hull = trimesh.convex.convex_hull(np.random.default_rng(seed).normal(size=(24, 3)) * 0.05)
    return Mesh(hull.vertices, hull.faces)


def test_cuboid_has_the_analytic_probabilities_and_tipping_angles() -> None:
    poses = stable_poses(convex(solids.box((0.1, 0.06, 0.03)).mesh))
    assert [pose.probability for pose in poses] == pytest.approx([0.3275] * 2 + [0.1253] * 2 + [0.0472] * 2, abs=5e-5)
    assert [pose.com_height for pose in poses] == pytest.approx([0.015] * 2 + [0.03] * 2 + [0.05] * 2)
    tips = [np.arctan2(0.03, 0.015), np.arctan2(0.015, 0.03), np.arctan2(0.015, 0.05)]
    assert [pose.tip_angle for pose in poses] == pytest.approx(np.repeat(tips, 2))
    assert [pose.upright for pose in poses].count(True) == 1


def test_tall_block_tips_at_the_known_angle() -> None:
    block = solids.box((0.04, 0.04, 0.1)).mesh
    upright = next(pose for pose in stable_poses(convex(block)) if pose.upright)
    assert np.rad2deg(upright.tip_angle) == pytest.approx(21.80, abs=0.01)


@pytest.mark.parametrize("seed", range(8))
def test_random_hulls_agree_with_trimesh(seed: int) -> None:
    mesh = random_hull(seed)
    poses = stable_poses(convex(mesh))
    transforms, probabilities = trimesh.poses.compute_stable_poses(
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False), threshold=0, n_samples=1
    )
    assert sum(len(pose.members) for pose in poses) == len(probabilities)
    assert sum(pose.probability for pose in poses) == pytest.approx(1)
    # Every family's probability is the sum over its members in the other code, which rolls by the same rule.
    downs = -transforms[:, 2, :3]
    shares = np.zeros(len(poses))
    for down, probability in zip(downs, probabilities, strict=True):
        index, angle = nearest_stable(poses, down, mesh.vertices - convex(mesh).inertial.com)
        assert angle < 1e-6
        shares[index] += probability
    assert shares == pytest.approx([pose.probability for pose in poses], abs=0.02)


@pytest.mark.parametrize("sides", [32, 64, 256])
def test_round_bodies_are_families_and_not_facets(sides: int) -> None:
    cylinder = stable_poses(convex(solids.cylinder(0.03, 0.1, segments=sides).mesh))
    cone = stable_poses(convex(solids.cone(0.03, 0.1, segments=sides).mesh))
    assert [len(pose.members) for pose in cylinder] == [sides, 1, 1]
    assert sorted(len(pose.members) for pose in cone) == [1, sides]
    upright = next(pose for pose in cylinder if pose.upright)
    assert upright.tip_angle == pytest.approx(np.arctan2(0.03 * np.cos(np.pi / sides), 0.05), abs=1e-9)


def test_hexagonal_nut_keeps_its_six_sides() -> None:
    assert len(stable_poses(convex(solids.cylinder(0.01, 0.008, segments=6).mesh))) == 8


def test_a_sphere_is_one_family_and_nothing_on_it_is_unstable() -> None:
    body = convex(solids.sphere(segments=96).mesh)
    corners = hull_vertices(body) - body.inertial.com
    poses = stable_poses(body)
    ball = max(poses, key=lambda pose: pose.probability)
    assert ball.probability > 0.99
    for seed in range(20):
        down = Pose.random_rotation(np.random.default_rng(seed)).rotation[2]
        assert nearest_stable(poses, down, corners)[1] == 0


def test_heavy_base_leaves_one_stable_pose() -> None:
    body = convex(solids.hemisphere(segments=64).mesh)
    poses = stable_poses(with_com(body, np.array([0.0, 0.0, 0.001])))
    assert max(pose.probability for pose in poses) < 1  # flat face down, or round side down: never on an edge
    for pose in poses:
        assert pose.margin > 0


def test_top_heavy_block_has_no_upright_pose() -> None:
    block = convex(solids.box((0.04, 0.04, 0.1)).mesh)
    inside = stable_poses(with_com(block, np.array([0.019, 0.0, 0.03])))
    assert any(pose.upright for pose in inside)
    wedge = convex(prism(np.array([[0.0, 0.0], [0.04, 0.0], [0.0, 0.04]]), 0.1))
    slanted = Mesh(
        wedge.parts[0].surface.vertices + 0.05 * wedge.parts[0].surface.vertices[:, 2:] / 0.1,
        wedge.parts[0].surface.faces,
    )
    leaning = convex(slanted)
    assert not any(pose.upright for pose in stable_poses(leaning))


def test_the_com_of_the_mass_decides_and_not_that_of_the_hulls() -> None:
    body = convex(solids.box((0.1, 0.1, 0.1)).mesh)
    poses = stable_poses(with_com(body, np.array([0.0, 0.0, -0.03])))
    share = np.arctan(0.05**2 / (0.02 * np.sqrt(2 * 0.05**2 + 0.02**2))) / np.pi  # solid angle of the base, over 4 pi
    assert poses[0].upright and poses[0].probability == pytest.approx(share)
    assert poses[0].com_height == pytest.approx(0.02)


@pytest.mark.parametrize("seed", range(4))
def test_pose_lies_on_the_plane_with_the_com_above_the_origin(seed: int) -> None:
    body = convex(random_hull(seed))
    for pose in stable_poses(body):
        placed = pose.X_WB.apply(body.hulls[0].mesh.vertices)
        assert placed[:, 2].min() == pytest.approx(0, abs=1e-12)
        assert pose.X_WB.apply(body.inertial.com) == pytest.approx([0, 0, pose.com_height], abs=1e-12)
        assert pose.X_WB.rotate(pose.down) == pytest.approx(UPRIGHT_DOWN, abs=1e-9)
        assert pose.margin > -1e-9


def test_turning_the_body_turns_its_poses() -> None:
    mesh = random_hull(3)
    turn = Pose.random_rotation(np.random.default_rng(1)).rotation
    before, after = stable_poses(convex(mesh)), stable_poses(convex(mesh.rotated(turn)))
    assert [p.probability for p in after] == pytest.approx([p.probability for p in before])
    for a, b in zip(before, after, strict=True):
        assert b.down == pytest.approx(turn @ a.down, abs=1e-9)


def test_several_hulls_rest_like_their_union() -> None:
    legs = [
        prism(np.array([[x, y], [x + 0.01, y], [x + 0.01, y + 0.01], [x, y + 0.01]]), 0.05)
        for x, y in ((0, 0), (0.09, 0), (0.09, 0.09), (0, 0.09))
    ]
    top = prism(np.array([[0, 0], [0.1, 0], [0.1, 0.1], [0, 0.1]]), 0.01).translated(np.array([0, 0, 0.05]))
    pieces = [convex(mesh) for mesh in (*legs, top)]
    part = Part("table", top, REFERENCE_MATERIAL)
    hulls = tuple(Hull(piece.hulls[0].mesh, "table") for piece in pieces)
    table = Body("table", (part,), hulls, combine_masses([piece.inertial for piece in pieces]))
    upright = next(pose for pose in stable_poses(table) if pose.upright)
    assert upright.margin == pytest.approx(0.05)
    three = dataclasses.replace(table, hulls=hulls[1:])
    assert next(pose for pose in stable_poses(three) if pose.upright).margin == pytest.approx(0.01 / np.sqrt(2))


def test_bodies_that_cannot_be_judged_are_refused() -> None:
    box = convex(solids.box().mesh)
    with pytest.raises(ModelError, match="no collision hulls"):
        stable_poses(dataclasses.replace(box, hulls=()))
    with pytest.raises(ModelError, match="outside its collision hulls"):
        stable_poses(with_com(box, np.array([0.2, 0, 0])))
    flat = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]), np.array([[0, 1, 2], [1, 3, 2]]))
    with pytest.raises(ModelError, match="span no volume"):
        stable_poses(dataclasses.replace(box, hulls=(Hull(flat, "body"),)))


# Corners of a generated vase: three of its facets, of nearly coplanar triangles, send the body round in a loop.
VASE = [
    [0.0142751, 0.0413150, 0.1353567], [-0.0195703, 0.0603756, 0.0165016], [0.0391475, 0.0184420, -0.1085236],
    [0.0346067, 0.0238312, -0.1101642], [-0.0125234, -0.0403182, -0.1120839], [0.0392365, 0.0194885, -0.1063091],
    [0.0393458, 0.0195237, -0.1059561], [0.0538151, 0.0333420, -0.0416102],
]  # fmt: skip
# Corners of a box with a curved side: it rolls to rest over an edge beyond which the mean plane is higher.
CURVED_SIDE = [
    [-0.122, 0.143, -0.029], [-0.122, 0.135, 0.010], [-0.120, 0.141, 0.318],
    [-0.120, -0.131, 0.318], [-0.122, -0.131, -0.019], [0.198, -0.141, -0.028],
]  # fmt: skip


@pytest.mark.parametrize("points", [VASE, CURVED_SIDE])
def test_slightly_curved_facets_roll_to_poses_that_are_supported(points: list[list[float]]) -> None:
    hull = trimesh.convex.convex_hull(np.array(points))
    poses = stable_poses(with_com(convex(Mesh(hull.vertices, hull.faces)), np.zeros(3)))
    assert sum(pose.probability for pose in poses) == pytest.approx(1.0)
    assert min(pose.margin for pose in poses) > 0


def test_support_margin_inside_outside_and_degenerate() -> None:
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [0.5, 0]])
    assert len(support_polygon(square)) == 4
    assert support_margin(square, np.array([0.5, 0.4])) == pytest.approx(0.4)
    assert support_margin(square, np.array([2.0, 0.5])) == pytest.approx(-1.0)
    assert support_margin(square, np.array([2.0, 2.0])) == pytest.approx(-np.sqrt(2))
    assert support_margin(square[:2], np.array([0.5, 0.25])) == pytest.approx(-0.25)
    assert support_margin(square[:1], np.array([0.0, 0.0])) == 0
    assert support_margin(np.zeros((0, 2)), np.zeros(2)) == -np.inf


def test_pose_on_plane_turns_as_little_as_it_can() -> None:
    assert pose_on_plane(UPRIGHT_DOWN, np.zeros(3), 0.1).quaternion == pytest.approx([1, 0, 0, 0])
    over = pose_on_plane(-UPRIGHT_DOWN, np.array([0, 0, 0.03]), 0.07)
    assert over.apply(np.array([0, 0, 0.03])) == pytest.approx([0, 0, 0.07])
