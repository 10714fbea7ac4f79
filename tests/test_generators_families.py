"""Families: ranges, determinism, topology as declared, upright stability, walls, and the fit of the hammer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull

from generators.families import FAMILIES
from generators.procedural import ProceduralGenerator
from generators.surface import extract_surface
from physics.mesh import Mesh

LEAST_TIP = 6.0
"""A member stands on a slope of at least this [degree]."""

DENSITY = {"head": 7800.0, "handle": 700.0}
"""Steel and wood [kg/m^3]; one density elsewhere."""


def components(mesh: Mesh) -> int:
    a, b, c = mesh.faces.T
    links = coo_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, c])), shape=(len(mesh.vertices),) * 2)
    return int(connected_components(links)[0])


def centroid(mesh: Mesh) -> tuple[float, np.ndarray]:
    t = mesh.triangles
    wedge = np.einsum("fi,fi->f", t[:, 0], np.cross(t[:, 1], t[:, 2])) / 6
    return float(wedge.sum()), (wedge[:, None] * t.sum(axis=1) / 4).sum(axis=0) / wedge.sum()


def check_member(family: str, seed: int, resolution: int) -> None:
    body = ProceduralGenerator().generate(family, rng=np.random.default_rng(seed), resolution=resolution).bodies[0]
    mass, moment, base = 0.0, np.zeros(3), []
    for part in body.parts:
        mesh, voxel = extract_surface(part.volume), part.volume.voxel_size
        euler = len(mesh.vertices) - len(mesh.faces) // 2
        pieces = components(mesh)
        assert pieces == part.components, f"{part.name} has {pieces} pieces"
        assert euler == 2 * pieces - 2 * part.genus, f"{part.name} has Euler characteristic {euler}"
        assert mesh.bounds[0, 2] > -0.1 * voxel, "the base bulges below the floor"
        volume, centre = centroid(mesh)
        mass += DENSITY.get(part.name, 1.0) * volume
        moment += DENSITY.get(part.name, 1.0) * volume * centre
        base.append(mesh.vertices[mesh.vertices[:, 2] < 0.35 * voxel, :2])
    com = moment / mass
    sides = ConvexHull(np.concatenate(base)).equations
    margin = float(-(sides[:, :2] @ com[:2] + sides[:, 2]).max())
    assert np.degrees(np.arctan2(margin, com[2])) > LEAST_TIP, f"tips over: centre of mass at {com}"


@pytest.mark.parametrize("family", FAMILIES)
def test_member_is_whole_and_stands(family: str) -> None:
    check_member(family, seed=11, resolution=128)


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [104, 128, 160])
@pytest.mark.parametrize("family", FAMILIES)
def test_many_members_are_whole_and_stand(family: str, resolution: int) -> None:
    for seed in range(12):
        check_member(family, seed, resolution)


@pytest.mark.parametrize("family", FAMILIES)
def test_ranges_span_a_factor_of_two_and_are_used(family: str) -> None:
    kind = FAMILIES[family]
    drawn = np.array([dataclasses.astuple(kind.sample(np.random.default_rng(s))) for s in range(400)], dtype=float)
    for column, field in zip(drawn.T, dataclasses.fields(kind.params), strict=True):
        low, high = field.metadata["low"], field.metadata["high"]
        assert high >= 2 * low - 1e-12, field.name
        assert column.min() >= low and column.max() <= high, field.name
        assert column.max() >= 1.95 * column.min(), field.name  # 400 draws do not quite reach the ends


@pytest.mark.parametrize("family", FAMILIES)
def test_walls_keep_two_and_a_half_voxels_at_128(family: str) -> None:
    kind = FAMILIES[family]
    for seed in range(150):
        parts = kind.make(kind.sample(np.random.default_rng(seed)))
        low = np.min([p.solid.bounds[0] for p in parts], axis=0)
        high = np.max([p.solid.bounds[1] for p in parts], axis=0)
        assert min(p.solid.wall for p in parts) >= 2.5 * (high - low).max() / 128


@pytest.mark.parametrize("family", FAMILIES)
def test_every_draw_is_possible(family: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(1000):
        FAMILIES[family].sample(rng)  # raises where the bounds of a parameter leave nothing


@pytest.mark.parametrize("family", FAMILIES)
def test_members_are_deterministic_and_differ(family: str) -> None:
    kind = FAMILIES[family]
    first, again, other = (kind.sample(np.random.default_rng(s)) for s in (5, 5, 6))
    assert first == again
    assert first != other
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (500, 3))
    for a, b in zip(kind.make(first), kind.make(again), strict=True):
        assert np.array_equal(a.solid.distance(points), b.solid.distance(points))


def test_there_are_at_least_twenty_families() -> None:
    assert len(FAMILIES) >= 20
    assert all(name == family.name for name, family in FAMILIES.items())


def test_symmetry_axis_is_one() -> None:
    """Turning a body about its declared axis changes nothing."""
    for kind in FAMILIES.values():
        for part in kind.make(kind.sample(np.random.default_rng(2))):
            if part.solid.symmetry_axis is None:
                continue
            p = np.random.default_rng(1).uniform(part.solid.bounds[0], part.solid.bounds[1], (300, 3))
            c, s = np.cos(1.1), np.sin(1.1)
            turned = p @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
            np.testing.assert_allclose(part.solid.distance(p), part.solid.distance(turned), atol=1e-12)


def test_hammer_parts_fit_without_overlap() -> None:
    kind = FAMILIES["hammer"]
    for seed in range(20):
        head, handle = (p.solid for p in kind.make(kind.sample(np.random.default_rng(seed))))
        p = np.random.default_rng(seed).uniform(head.bounds[0], head.bounds[1], (4000, 3))
        a, b = head.distance(p), handle.distance(p)
        assert not ((a < -1e-12) & (b < -1e-12)).any()
        assert ((np.abs(a) < 1e-3) & (np.abs(b) < 1e-3)).any()


def test_mug_handle_stays_out_of_the_cavity() -> None:
    kind = FAMILIES["mug"]
    for seed in range(30):
        params = kind.sample(np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        fillet = max(params.base_fillet, params.wall)
        r = (params.radius - params.wall) * np.sqrt(rng.random(3000)) * 0.999
        angle, z = rng.uniform(-0.6, 0.6, 3000), rng.uniform(fillet, params.height, 3000)
        p = np.column_stack([r * np.cos(angle), r * np.sin(angle), z])
        assert (kind.make(params)[0].solid.distance(p) > 0).all()
