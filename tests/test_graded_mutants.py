"""Graded defects: each is its dose times the limit by another computation than the check's, and is answered rightly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from rich.console import Console
from scipy.spatial import ConvexHull, cKDTree

from physics import spoil_hulls, spoil_mass, spoil_parts, spoil_room, spoil_surface
from physics.graded_mutants import DOSES, KINDS
from physics.hull_error import HullErrorConfig
from physics.mass import integrate_mesh
from physics.mass_checks import MassCheckConfig
from physics.materials import find_material
from physics.mesh import Mesh
from physics.model import Body, Hull, Model, Part
from physics.part_fit import PartFitConfig
from physics.truth import box, l_bar
from physics.validity import ValidityConfig, check_validity
from physics.wall import spread_points, thinnest_wall
from scenegen.assets.build import SurfaceConfig
from scenegen.errors import ConfigError
from scenegen.graded_selftest import AssetAnswers, AssetJudge, Reply, choose_assets, reply_of
from scenegen.reports.graded_selftest import print_graded, write_graded

SIZE, WIDTH = 0.3, 0.12
"""Length and width of the arms of an L whose hulls are exact [m]."""
MASS, SHAPE, HULLS, FIT = MassCheckConfig(), ValidityConfig(), HullErrorConfig(), PartFitConfig()


def cuboid(low: tuple[float, float, float], high: tuple[float, float, float]) -> Mesh:
    extents = np.subtract(high, low)
    return box((extents[0], extents[1], extents[2])).mesh.translated(np.add(low, high) / 2)


def bent_bar() -> Body:
    """An L of two bars and their two hulls: everything about it is known in closed form."""
    coarse = l_bar(SIZE, WIDTH).mesh
    fine = trimesh.Trimesh(coarse.vertices, coarse.faces, process=False).subdivide().subdivide()
    mesh = Mesh(np.asarray(fine.vertices), np.asarray(fine.faces).astype(np.int32))
    material = find_material("beech")
    pieces = (cuboid((0, 0, 0), (SIZE, WIDTH, WIDTH)), cuboid((0, WIDTH, 0), (WIDTH, SIZE, WIDTH)))
    hulls = tuple(Hull(piece, "bar") for piece in pieces)
    return Body("bar", (Part("bar", mesh, material),), hulls, integrate_mesh(mesh, density=material.density))


def in_bar(points: np.ndarray) -> np.ndarray:
    """Whether points lie in the L, from its definition."""
    level = (points[:, 2] >= 0) & (points[:, 2] <= WIDTH) & (points[:, :2] >= 0).all(axis=1)
    return level & (points[:, :2].max(axis=1) <= SIZE) & (points[:, :2].min(axis=1) <= WIDTH)


def in_hulls(points: np.ndarray, body: Body) -> np.ndarray:
    """Whether points lie in any hull, by its planes."""
    inside = np.zeros(len(points), dtype=bool)
    for hull in body.hulls:
        planes = ConvexHull(hull.mesh.vertices).equations
        inside |= (points @ planes[:, :3].T + planes[:, 3] <= 0).all(axis=1)
    return inside


def dense(meshes: list[Mesh]) -> cKDTree:
    """Points all over surfaces."""
    clouds = [spread_points(m.triangles, np.linalg.norm(m.face_cross, axis=1), 60_000)[0] for m in meshes]
    return cKDTree(np.concatenate([*clouds, *(m.vertices for m in meshes)]))


def soup(body: Body) -> trimesh.Trimesh:
    surface = body.parts[0].surface
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


# ---- a dose is what it says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dose", DOSES)
def test_declared_mass_is_off_by_the_dose(dose: float) -> None:
    sound = bent_bar().inertial
    norm = np.linalg.norm(sound.inertia)
    heavier = spoil_mass.mass_off(bent_bar(), dose).inertial
    assert heavier.mass / sound.mass - 1 == pytest.approx(dose * MASS.mass_error)
    shifted = spoil_mass.centre_off(bent_bar(), dose).inertial
    assert np.linalg.norm(shifted.com - sound.com) == pytest.approx(dose * MASS.com_error * SIZE)
    for spoil in (spoil_mass.moment_off, spoil_mass.axes_turned):
        found = spoil(bent_bar(), dose).inertial
        assert np.linalg.norm(found.inertia - sound.inertia) == pytest.approx(dose * MASS.inertia_error * norm)
    turned = spoil_mass.axes_turned(bent_bar(), dose).inertial
    assert turned.principal_moments == pytest.approx(sound.principal_moments)
    volume = l_bar(SIZE, WIDTH).volume
    assert spoil_mass.too_dense(bent_bar(), dose).inertial.mass == pytest.approx(dose * 25000 * volume)
    assert spoil_mass.too_light(bent_bar(), dose).inertial.mass == pytest.approx(5 / dose * volume)


@pytest.mark.parametrize("dose", DOSES[1:])
def test_moments_break_the_triangle_inequality_and_the_centre_leaves_the_hull_by_the_dose(dose: float) -> None:
    low, middle, high = spoil_mass.impossible_moments(bent_bar(), dose).inertial.principal_moments
    assert (high - low - middle) / high == pytest.approx(dose * MASS.triangle_tolerance, rel=1e-6)
    com = spoil_mass.centre_outside(bent_bar(), dose).inertial.com
    nearest = dense([trimesh_hull(bent_bar())]).query(com)[0]
    assert not in_bar(com[None])[0] and nearest < 0.003
    planes = ConvexHull(l_bar(SIZE, WIDTH).mesh.vertices).equations
    assert (planes[:, :3] @ com + planes[:, 3]).max() == pytest.approx(dose * MASS.com_outside * SIZE, rel=1e-6)


def trimesh_hull(body: Body) -> Mesh:
    hull = soup(body).convex_hull
    return Mesh(np.asarray(hull.vertices), np.asarray(hull.faces).astype(np.int32))


@pytest.mark.parametrize("dose", DOSES)
def test_needles_and_tiny_faces_have_the_shape_that_the_dose_asks_for(dose: float) -> None:
    for spoil, value in ((spoil_surface.needle, SHAPE.face_height), (spoil_surface.tiny_face, SHAPE.face_area)):
        body = spoil(bent_bar(), dose)
        triangles = body.parts[0].surface.triangles
        sides = np.linalg.norm(np.roll(triangles, -1, axis=1) - triangles, axis=2)
        area = soup(body).area_faces
        least = (2 * area / sides.max(axis=1) ** 2).min() if spoil is spoil_surface.needle else area.min() / SIZE**2
        assert least == pytest.approx(value / dose, rel=1e-3)
        assert soup(body).is_watertight and soup(body).volume == pytest.approx(l_bar(SIZE, WIDTH).volume)


@pytest.mark.parametrize("dose", DOSES)
def test_a_fin_is_as_thin_as_the_dose_asks_for(dose: float) -> None:
    body = spoil_surface.thin_fin(bent_bar(), dose)
    assert body is not None
    fin = body.parts[0].surface.vertices[len(bent_bar().parts[0].surface.vertices) :]
    widths = trimesh.bounds.oriented_bounds(fin)[1]
    assert min(widths) == pytest.approx(SHAPE.wall_floors * SHAPE.penetration_floor / dose, rel=1e-6)
    assert soup(body).is_watertight and soup(body).body_count == 1


@pytest.mark.parametrize("dose", DOSES)
def test_parts_are_apart_and_overlap_by_the_dose(dose: float) -> None:
    apart = spoil_parts.parts_apart(bent_bar(), dose)
    assert apart is not None
    gap = apart.parts[1].surface.bounds[0, 2] - apart.parts[0].surface.bounds[1, 2]
    assert gap == pytest.approx(dose * FIT.gap * apart.size)
    double = spoil_parts.parts_overlap(bent_bar(), dose)
    assert double is not None
    one, two = (part.surface.bounds for part in double.parts[1:])
    shared = np.prod(np.minimum(one[1], two[1]) - np.maximum(one[0], two[0]))
    union = l_bar(SIZE, WIDTH).volume + np.ptp(one, axis=0).prod() + np.ptp(two, axis=0).prod() - shared
    assert shared / union == pytest.approx(dose * FIT.overlap)


def test_a_count_has_as_many_defects_as_the_dose() -> None:
    closed = soup(bent_bar())
    for dose, count in ((0.7, 0), (1.5, 1), (10.0, 10)):
        assert len(soup(spoil_surface.faces_missing(bent_bar(), dose)).faces) == len(closed.faces) - count
        assert len(soup(spoil_surface.faces_twice(bent_bar(), dose)).faces) == len(closed.faces) + count
        hollow = spoil_surface.cavities(bent_bar(), dose)
        assert hollow is not None
        shells = soup(hollow).split(only_watertight=True, repair=False)
        assert sum(shell.volume < 0 for shell in shells) == count and len(shells) == count + 1
        loose = soup(spoil_surface.crumbs(bent_bar(), dose)).split(repair=False)
        assert len(loose) == count + 1
        assert min(shell.volume for shell in loose) / closed.volume == pytest.approx(0.5e-4 if count else 1)
        tunnelled = spoil_surface.handles(bent_bar(), dose)
        assert tunnelled is not None and soup(tunnelled).euler_number == 2 - 2 * count
        assert (crossings(spoil_surface.walls_pierced(bent_bar(), dose)) > 0) == (count > 0)


def crossings(body: Body) -> int:
    """How often an edge runs through a face that it has no corner of, by trying all pairs."""
    vertices, faces = body.parts[0].surface.vertices, body.parts[0].surface.faces
    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    count = 0
    for face in faces:
        a, b, c = vertices[face]
        others = edges[~np.isin(edges, face).any(axis=1)]
        start, way = vertices[others[:, 0]], vertices[others[:, 1]] - vertices[others[:, 0]]
        normal = np.cross(b - a, c - a)
        across = way @ normal
        t = (a - start) @ normal / np.where(across == 0, 1e-300, across)
        hit = start + np.clip(t, -9, 9)[:, None] * way
        sides = [np.cross(q - p, hit - p) @ normal for p, q in ((a, b), (b, c), (c, a))]
        count += int(((np.abs(across) > 1e-12) & (t > 1e-9) & (t < 1 - 1e-9) & (np.min(sides, axis=0) > 1e-14)).sum())
    return count


@pytest.mark.parametrize("dose", DOSES)
def test_hulls_are_off_by_the_dose(dose: float) -> None:
    body = bent_bar()
    far = HULLS.distance_limit * SIZE  # the bar is 120 mm thick: no gripper spans it
    spiked = spoil_hulls.spike(body, dose)
    assert spiked is not None
    reach = dense([body.parts[0].surface]).query(spiked.hulls[-1].mesh.vertices)[0].max()
    assert reach == pytest.approx(dose * far, rel=0.04)  # of points 2 mm apart
    bare = spoil_hulls.bare_end(body, dose)
    assert bare is not None
    farthest = dense([hull.mesh for hull in bare.hulls]).query(body.parts[0].surface.vertices)[0].max()
    # Both ends of the bar are blunt: a cut of more than 0.01 L would break the 95th percentile.
    assert farthest >= 0.99 * dose * far if dose >= 1 else 0.2 * far < farthest < 0.71 * far
    dented = spoil_hulls.dented_hull(body, dose)
    hull = next(new.mesh for new, old in zip(dented.hulls, body.hulls, strict=True) if new is not old)
    assert 1 - hull.volume / ConvexHull(hull.vertices).volume == pytest.approx(dose * HULLS.concavity, rel=1e-3)
    many = spoil_hulls.too_many_vertices(body, dose)
    assert max(len(hull.mesh.vertices) for hull in many.hulls) == round(dose * HULLS.vertices_limit)
    flat = spoil_hulls.flat_hull(body, dose)
    assert flat is not None and flat.hulls[-1].mesh.extents == pytest.approx(HULLS.least_width / dose * SIZE)


def test_hulls_cut_in_two_are_as_many_as_the_dose_and_hold_what_they_held() -> None:
    many = spoil_hulls.too_many_hulls(bent_bar(), 1.5)
    assert len(many.hulls) == 192
    assert sum(hull.mesh.volume for hull in many.hulls) == pytest.approx(l_bar(SIZE, WIDTH).volume)


@pytest.mark.parametrize("dose", DOSES)
def test_ghost_and_lost_volume_are_those_of_random_points(dose: float) -> None:
    body = bent_bar()
    area = body.parts[0].surface.area
    rng = np.random.default_rng(1)
    for spoil, limit in (
        (spoil_hulls.grown_hulls, HULLS.inflation_limit),
        (spoil_hulls.eroded_hulls, HULLS.loss_limit),
    ):
        made = spoil(body, dose)
        assert made is not None
        bounds = np.concatenate([mesh.bounds for mesh in (body.parts[0].surface, *(h.mesh for h in made.hulls))])
        low, high = bounds.min(axis=0), bounds.max(axis=0)
        points = rng.uniform(low, high, (50_000 if dose < 1 else 400_000, 3))
        ghost, solid = in_hulls(points, made), in_bar(points)
        off = (ghost & ~solid) if spoil is spoil_hulls.grown_hulls else (solid & ~ghost)
        measured = off.mean() * np.prod(high - low) / area / SIZE
        if spoil is spoil_hulls.grown_hulls and dose < 1:
            assert 0.3 * limit < measured < 0.75 * limit  # as much as H4 leaves room for
        else:
            assert measured == pytest.approx(dose * limit, rel=0.03)


def test_what_cannot_be_spoiled_is_not_made() -> None:
    mesh = cuboid((0, 0, 0), (0.1, 0.1, 0.0005))
    sheet = Body("sheet", (Part("sheet", mesh, find_material("steel")),), (Hull(mesh, "sheet"),))
    sheet = replace(sheet, mass_properties=integrate_mesh(mesh, density=7850))
    assert spoil_hulls.eroded_hulls(sheet, 10.0) is None
    ball = replace(bent_bar(), mass_properties=replace(bent_bar().inertial, inertia=np.eye(3)))
    assert spoil_mass.axes_turned(ball, 0.7) is None


# ---- and leaves the other limits alone ------------------------------------------------------------------------------


def near_limit(reach: float) -> Body:
    """An L of which one hull stands out at its side, by more than the 95th percentile allows, over that share of it.

    The hull reaches 0.0125 L out of the outer side of an arm. In closed form the surface out there is that strip.
    """
    area = 2 * WIDTH * SIZE + 2 * WIDTH * (SIZE - WIDTH) + 4 * SIZE * WIDTH  # level faces and walls
    length = reach * area / WIDTH
    out = cuboid((SIZE - length, -0.0125 * SIZE, 0), (SIZE, WIDTH, WIDTH))
    return replace(bent_bar(), hulls=(*bent_bar().hulls, Hull(out, "bar")))


def test_distances_of_hulls_are_those_of_closed_forms() -> None:
    body = near_limit(0.03)
    room = spoil_room.Room(body)
    assert room.sound_outside.max() == pytest.approx(0.0125)
    assert spoil_room.share_beyond(room.sound_outside) == pytest.approx(0.03, abs=0.006)
    assert room.size == pytest.approx(SIZE) and room.farthest == pytest.approx(HULLS.distance_limit)
    cut = replace(body, hulls=(Hull(cuboid((0, 0, 0), (0.9 * SIZE, WIDTH, WIDTH)), "bar"), *body.hulls[1:2]))
    ((_, distance),) = room.bare(cut.hulls)
    assert distance.max() == pytest.approx(0.1)
    assert (distance[: spoil_room.POINTS] > 0.05).mean() == pytest.approx(
        (WIDTH**2 + 0.05 * SIZE * 4 * WIDTH) / soup(body).area, abs=0.006
    )
    places = room.places_too_far(cut.hulls)
    assert places[:, 0].min() > 0.9 * SIZE + 0.9 * 0.9 * HULLS.distance_limit * SIZE
    assert spoil_room.width_of(cuboid((0, 0, 0), (3, 2, 5))) == pytest.approx(2)
    square = cuboid((-1, -1, 0), (1, 1, 1)).vertices
    assert spoil_room.standing_margin(square, np.array([0.25, 0, 0.5])) == pytest.approx(0.75)
    assert spoil_room.standing_margin(square, np.array([0, 1.5, 0.5])) == pytest.approx(-0.5)


def test_the_centre_of_hulls_shifts_as_their_boxes_say() -> None:
    body = near_limit(0.03)
    one, two = (WIDTH * SIZE, (SIZE / 2, WIDTH / 2)), (WIDTH * (SIZE - WIDTH), (WIDTH / 2, (SIZE + WIDTH) / 2))
    low, high = body.hulls[2].mesh.bounds
    strip = ((high[0] - low[0]) * -low[1], ((low[0] + high[0]) / 2, low[1] / 2))
    solid, hulls = (
        sum(a * np.array(c) for a, c in boxes) / sum(a for a, _ in boxes) for boxes in ((one, two), (one, two, strip))
    )
    shift = spoil_room.Room(body).shift(body.hulls)
    assert shift == pytest.approx(np.linalg.norm(hulls - solid) / SIZE, rel=1e-6)


def test_hulls_beyond_a_tightened_limit_are_not_clear() -> None:
    assert spoil_room.Room(near_limit(0.03)).is_clear(near_limit(0.03).hulls)
    assert not spoil_room.Room(near_limit(0.055)).is_clear(near_limit(0.055).hulls)
    room, hulls = spoil_room.Room(bent_bar()), bent_bar().hulls
    flat = Hull(cuboid((0, 0, 0), (WIDTH, WIDTH, 1.02 * HULLS.least_width * SIZE)), "bar")
    off = Hull(cuboid((SIZE, 0, 0), (SIZE + 0.028 * SIZE, 0.01, 0.01)), "bar")
    heavy = Hull(cuboid((SIZE, 0, 0), (SIZE + 0.025 * SIZE, WIDTH, WIDTH)), "bar")
    for hull in (flat, off, heavy):
        assert not room.is_clear((*hulls, hull))
    assert not room.is_clear(hulls[:1])
    assert room.is_clear((*hulls, Hull(cuboid((0, 0, 0), (WIDTH, WIDTH, 0.01)), "bar")))


@pytest.mark.parametrize("reach", [0.0, 0.035, 0.04])
def test_a_dose_below_1_keeps_clear_of_limits_that_are_nearly_used_up(reach: float) -> None:
    body = near_limit(reach) if reach else bent_bar()
    rng = np.random.default_rng(2)
    for spoil in (spoil_hulls.bare_end, spoil_hulls.grown_hulls):
        made = spoil(body, 0.7)
        assert made is not None
        old = [hull.mesh.digest for hull in body.hulls]
        assert [hull.mesh.digest for hull in made.hulls] != old
        # Distances by a cloud of points, and not by triangles: coarser by the space between them.
        surface = body.parts[0].surface
        points = spread_points(surface.triangles, np.linalg.norm(surface.face_cross, axis=1), 20_000)[0]
        inside = in_hulls(points, made)
        gap = np.where(inside, 0, dense([hull.mesh for hull in made.hulls]).query(points)[0]) / SIZE
        assert (gap > HULLS.percentile_limit + 0.002).mean() < 0.045 and gap.max() < 0.95 * HULLS.distance_limit
        low, high = body.bounds[0] - 0.1 * SIZE, body.bounds[1] + 0.1 * SIZE
        cloud = rng.uniform(low, high, (200_000, 3))
        centres = [cloud[chosen].mean(axis=0) for chosen in (in_bar(cloud), in_hulls(cloud, made))]
        assert np.linalg.norm(centres[1] - centres[0]) / SIZE < 0.8 * HULLS.com_limit


def test_layers_lie_on_both_sides_of_the_centre_of_mass() -> None:
    made = spoil_hulls.grown_hulls(bent_bar(), 0.7)
    assert made is not None
    room = spoil_room.Room(bent_bar())
    layers = made.hulls[2:]
    pulls = [room.unit(hull.mesh) - room.union(bent_bar().hulls) for hull in layers]
    moments = np.array([p.volume() * (spoil_room.centre_of(p) - spoil_room.centre_of(room.solid)) for p in pulls])
    # One after the other they hold the balance: all together they pull less than they do in the worst order.
    assert np.linalg.norm(moments.sum(axis=0)) < 0.2 * np.linalg.norm(moments, axis=1).sum()
    for count in range(1, len(layers)):
        assert room.shift(made.hulls[: 2 + count]) < 0.5 * HULLS.com_limit


def test_layers_do_not_fill_what_another_part_fills() -> None:
    """A plate with an eye and a pin in it, as head and handle: no layer on the wall of the eye bridges it."""
    side, hole, high = 0.2, 0.04, 0.06
    plate = trimesh.creation.box((side, side, high)).difference(trimesh.creation.box((hole, hole, 2 * high)))
    plate = plate.subdivide().subdivide()
    pin = trimesh.creation.box((hole, hole, 4 * high))
    oak = find_material("oak")
    parts = tuple(
        Part(name, Mesh(np.asarray(m.vertices), np.asarray(m.faces).astype(np.int32)), oak)
        for name, m in (("plate", plate), ("pin", pin))
    )
    half, wall = side / 2, hole / 2
    boxes = (
        ((-half, -half), (-wall, half)), ((wall, -half), (half, half)),
        ((-wall, -half), (wall, -wall)), ((-wall, wall), (wall, half)),
    )  # fmt: skip
    hulls = [Hull(cuboid((*low, -high / 2), (*top, high / 2)), "plate") for low, top in boxes]
    hulls.append(Hull(cuboid((-wall, -wall, -2 * high), (wall, wall, 2 * high)), "pin"))
    body = Body("peg", parts, tuple(hulls))
    made = spoil_hulls.grown_hulls(body, 0.7)
    assert made is not None and len(made.hulls) > len(hulls)
    own = [hull for hull in made.hulls if hull.part == "plate"]
    x, z = np.meshgrid(np.linspace(-wall / 2, wall / 2, 9), np.linspace(-high / 4, high / 4, 9))
    deep = np.stack([x.ravel(), np.zeros(x.size), z.ravel()], axis=1)
    assert not in_hulls(deep, replace(body, hulls=tuple(own))).any()


def test_a_part_is_put_where_no_hull_gets_too_flat() -> None:
    """On top it would make L larger, and a hull of 1.02 times the least width too thin a share of it."""
    tall = replace(bent_bar(), parts=(replace(bent_bar().parts[0], surface=upright(bent_bar())),))
    thin = cuboid((0.1 * SIZE, 0.02, 0.01), (0.2 * SIZE, 0.03, 0.01 + 1.02 * HULLS.least_width * SIZE))
    tall = replace(
        tall, hulls=(*(Hull(turned(hull.mesh), "bar") for hull in bent_bar().hulls), Hull(turned(thin), "bar"))
    )
    tall = replace(tall, mass_properties=integrate_mesh(tall.parts[0].surface, density=700))
    for spoil in (spoil_parts.parts_apart, spoil_parts.parts_overlap):
        made = spoil(tall, 0.7)
        assert made is not None and made.size == pytest.approx(SIZE)
        on_top = spoil(tall, 1.5)
        assert on_top is not None and on_top.size > 1.04 * SIZE
    apart = spoil_parts.parts_apart(tall, 0.7)
    assert apart is not None
    cube = apart.parts[1].surface
    gap = dense([tall.parts[0].surface]).query(dense([cube]).data)[0].min()
    assert gap == pytest.approx(0.7 * FIT.gap * SIZE, rel=0.15)  # of clouds of points
    assert cube.bounds[0, 2] > tall.bounds[0, 2]


def turned(mesh: Mesh) -> Mesh:
    """The mesh with its y axis upwards."""
    return Mesh(mesh.vertices[:, [2, 0, 1]], mesh.faces)


def upright(body: Body) -> Mesh:
    return turned(body.parts[0].surface)


def test_a_part_makes_less_of_the_surface_stand_out() -> None:
    """s' = s A / (A + A'), and none where L' / L brings 0.0125 L below 0.01 L'."""
    body = near_limit(0.045)
    room = spoil_room.Room(body)
    assert not room.is_clear_with([cuboid((0, 0, SIZE), (0.001, 0.001, SIZE + 0.001))], SIZE)
    assert room.is_clear_with([cuboid((0, 0, SIZE), (0.1, 0.1, SIZE + 0.1))], SIZE)
    assert room.is_clear_with([cuboid((0, 0, SIZE), (0.001, 0.001, SIZE + 0.001))], 1.26 * SIZE)
    made = spoil_parts.parts_apart(body, 0.7)
    assert made is not None
    again = spoil_room.Room(made)
    assert spoil_room.share_beyond(again.sound_outside) < spoil_room.OUTSIDE + 0.002


# ---- and gets the right answer --------------------------------------------------------------------------------------


def test_every_kind_gets_the_right_answer() -> None:
    judge = AssetJudge(SimpleNamespace(model=Model("bar", (bent_bar(),))), SurfaceConfig())  # type: ignore[arg-type]
    assert judge.answer_sound().reply is Reply.RIGHT
    doses = {"too many hulls": DOSES[:2]}  # 1,280 hulls take seconds
    answers = [judge.answer(kind, dose) for kind in KINDS for dose in doses.get(kind.name, DOSES)]
    assert [(a.kind, a.dose, a.failed) for a in answers if a.reply not in (Reply.RIGHT, Reply.NONE)] == []
    assert [(a.kind, a.dose) for a in answers if a.reply is Reply.NONE] == []
    assert len(KINDS) >= 20 and len({kind.name for kind in KINDS}) == len(KINDS)


def test_a_fin_is_seen_on_a_mesh_of_many_faces() -> None:
    fine = trimesh.creation.box((SIZE, WIDTH, WIDTH))
    while len(fine.faces) < 6000:
        fine = fine.subdivide()
    mesh = Mesh(np.asarray(fine.vertices), np.asarray(fine.faces).astype(np.int32))
    material = find_material("oak")
    body = Body("bar", (Part("bar", mesh, material),), (), integrate_mesh(mesh, density=material.density))
    for dose, seen in ((None, WIDTH), (1.5, 2e-4 / 1.5), (10.0, 2e-5)):
        spoiled = body if dose is None else spoil_surface.thin_fin(body, dose)
        assert spoiled is not None
        wall = next(c for c in check_validity(spoiled.parts[0].surface, body="bar") if c.id == "G7")
        assert wall.value == pytest.approx(seen, rel=1e-3)


def test_a_fold_at_an_edge_is_no_wall() -> None:
    fine = trimesh.creation.box((SIZE, WIDTH, WIDTH))
    while len(fine.faces) < 6000:
        fine = fine.subdivide()
    vertices, faces = np.asarray(fine.vertices), np.asarray(fine.faces)
    face = int(np.argmax(fine.triangles_center @ [0.01, 0.02, 1]))
    a, b, c = vertices[faces[face]]
    over = (a + b) / 2 - 0.02 * (c - (a + b) / 2) + 0.001 * np.linalg.norm(b - a) * np.array([0, 0, 1])
    i, j, k = faces[face]
    split = [(i, j, len(vertices)), (j, k, len(vertices)), (k, i, len(vertices))]
    folded = np.concatenate([np.delete(faces, face, axis=0), split])
    assert thinnest_wall(np.vstack([vertices, over]), folded, SHAPE.wall).thickness == pytest.approx(WIDTH, rel=1e-3)
    every = replace(SHAPE.wall, samples=len(folded) + 1)  # a mesh of few faces: each of its centres counts
    assert thinnest_wall(np.vstack([vertices, over]), folded, every).thickness < 0.01 * WIDTH


def test_replies_are_what_they_are_worth() -> None:
    assert reply_of(0.7, False, False) is Reply.RIGHT
    assert reply_of(0.7, True, False) is Reply.FALSE_FAIL
    assert reply_of(1.5, True, True) is Reply.RIGHT
    assert reply_of(1.5, True, False) is Reply.MISNAMED
    assert reply_of(1.5, False, False) is Reply.FALSE_PASS


def test_answers_are_printed_and_saved(tmp_path: Path) -> None:
    judge = AssetJudge(SimpleNamespace(model=Model("bar", (bent_bar(),))), SurfaceConfig())  # type: ignore[arg-type]
    kind = next(kind for kind in KINDS if kind.name == "mass off")
    answers = tuple(judge.answer(kind, dose) for dose in DOSES)
    wrong = replace(answers[2], reply=Reply.FALSE_PASS, failed=())
    found = [AssetAnswers("0123456789", "bar", SIZE, (*answers, wrong))]
    console = Console(record=True, width=200)
    print_graded(found, console)
    numbers, table = write_graded(found, tmp_path)
    assert "1 false passes" in console.export_text() and "false pass: mass off at 10" in table.read_text()
    assert json.loads(numbers.read_text())["assets"][0]["answers"][1]["failed"] == list(answers[1].failed)


def test_a_folder_without_assets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no certified asset"):
        choose_assets(tmp_path, 20)
