"""Extraction: the generated tables exhaustively, the mesh on random fields and closed forms, every refusal."""

from itertools import product

import igl.predicates
import manifold3d
import numpy as np
import pytest

from generators.errors import VolumeError
from generators.marching_table import CENTRE, CORNERS, PatchTable, cube_table, tetrahedra_table
from generators.surface import SurfaceMethod, extract_surface, field_normals
from generators.volume import SparseVolume
from physics.topology import trace_topology
from physics.validity import face_quality

TABLES = {"cubes": cube_table(), "tetrahedra": tetrahedra_table()}
METHODS = tuple(SurfaceMethod)


def patch(table: PatchTable, pattern: int) -> np.ndarray:
    return table.triangles[table.starts[pattern] : table.starts[pattern + 1]].astype(int)


def edges_of(faces: np.ndarray) -> list[tuple[int, int]]:
    return [(int(face[k]), int(face[(k + 1) % 3])) for face in faces for k in range(3)]


def rim(table: PatchTable, pattern: int) -> set[tuple[int, int]]:
    """Directed edges of a patch that have no partner within the cell."""
    edges = edges_of(patch(table, pattern))
    return {edge for edge in edges if edge[::-1] not in edges}


def sides_of(table: PatchTable, edge: int) -> set[tuple[int, int]]:
    """Sides (axis, 0 or 1) of the cell in which an edge lies."""
    a, b = CORNERS[table.edges[edge]]
    return {(axis, int(a[axis])) for axis in range(3) if a[axis] == b[axis]}


def band_of(field, count: int, *, width: float = 3.0, reach: float = 1.2) -> SparseVolume:
    """Band of a function of x, y, z over a cube of `count` voxels, slab by slab."""
    h = 2 * reach / count
    axis = -reach + h * np.arange(count + 1)
    coords, values = [], []
    for i in range(count + 1):
        slab = np.broadcast_to(field(axis[i], axis[:, None], axis[None, :]), (count + 1, count + 1))
        j, k = np.nonzero(np.abs(slab) < width * h)
        coords.append(np.stack([np.full(len(j), i), j, k], axis=1))
        values.append(slab[j, k])
    flat = np.concatenate(values).astype(np.float32)
    flat[flat == 0] = 1e-9
    return SparseVolume(np.concatenate(coords).astype(np.int32), flat, h, (-reach, -reach, -reach))


def noise(rng: np.random.Generator, count: int = 9) -> SparseVolume:
    """White noise with an outside border: every sign pattern beside every other."""
    values = rng.normal(size=(count,) * 3).astype(np.float32)
    for axis in range(3):
        for side in (0, -1):
            index = [slice(None)] * 3
            index[axis] = side
            values[tuple(index)] = np.abs(values[tuple(index)])
    coords = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int32)
    return SparseVolume(coords, values.reshape(-1), 0.01, (0.0, 0.0, 0.0))


def sphere(x, y, z):
    return np.sqrt(x**2 + y**2 + z**2) - 0.9


def torus(x, y, z):
    return np.hypot(np.hypot(x, y) - 0.8, z) - 0.3


@pytest.mark.parametrize("name", TABLES)
def test_every_patch_is_manifold_oriented_and_ends_on_the_sides(name):
    table = TABLES[name]
    for pattern in range(256):
        faces = patch(table, pattern)
        edges = edges_of(faces)
        assert len(set(edges)) == len(edges), "an edge is run twice in the same direction"
        crossed = {e for e, (a, b) in enumerate(table.edges) if (pattern >> a ^ pattern >> b) & 1}
        assert set(faces.reshape(-1).tolist()) - {CENTRE} == crossed
        for a, b in rim(table, pattern):
            assert len(sides_of(table, a) & sides_of(table, b)) == 1
        for a, b in set(edges) - rim(table, pattern):
            if CENTRE not in (a, b) and name == "cubes":
                assert not sides_of(table, a) & sides_of(table, b), "an inner edge lies in a side of the cell"
        if len(faces):
            # Within the cell each vertex has one open fan: as many edges as faces and one more, or all of a closed fan.
            for vertex in crossed | ({CENTRE} & set(faces.reshape(-1).tolist())):
                around = faces[(faces == vertex).any(axis=1)]
                ends = [e for e in edges_of(around) if vertex not in e]
                starts, stops = {a for a, _ in ends}, {b for _, b in ends}
                assert len(starts - stops) == (0 if vertex == CENTRE or starts == stops else 1)


@pytest.mark.parametrize("name", TABLES)
def test_neighbouring_cells_always_agree_at_their_side(name):
    """All pairs of patterns that can lie side by side, along each axis."""
    table = TABLES[name]
    index = {(int(a), int(b)): e for e, (a, b) in enumerate(table.edges)}
    for axis in range(3):
        bit = 1 << (2 - axis)
        high = [n for n in range(8) if n & bit]

        def at(side: int, pattern: int, axis=axis) -> set[tuple[int, int]]:
            here = (axis, side)
            return {e for e in rim(table, pattern) if all(here in sides_of(table, v) for v in e)}

        shift = {e: index[a - bit, b - bit] for (a, b), e in index.items() if a & bit and b & bit}
        low = {pattern: at(0, pattern) for pattern in range(256)}
        for pattern in range(256):
            mine = {(shift[b], shift[a]) for a, b in at(1, pattern)}
            face = sum(1 << (n - bit) for n in high if pattern >> n & 1)
            rest = sum(1 << n for n in high)
            for other in range(256):
                if other & ~rest == face:
                    assert low[other] == mine


@pytest.mark.parametrize("name", TABLES)
def test_no_patch_cuts_itself_wherever_its_vertices_lie(name):
    """Exact predicates on all patterns, with random and with extreme positions, in cells far apart."""
    table, rng = TABLES[name], np.random.default_rng(1)
    vertices, faces, count = [], [], 0
    for trial, pattern in product(range(24), range(256)):
        rows = patch(table, pattern)
        if not len(rows):
            continue
        share = rng.uniform(0.02, 0.98, len(table.edges)) if trial % 2 else rng.choice([0.02, 0.98], len(table.edges))
        a, b = CORNERS[table.edges[:, 0]], CORNERS[table.edges[:, 1]]
        points = a + share[:, None] * (b - a)
        loop = list(table.centres[pattern])
        points = np.vstack([points, points[loop].mean(axis=0) if loop else np.full(3, 0.5)])
        vertices.append(points + 2.0 * np.array([trial, pattern, 0]))
        faces.append(np.where(rows == CENTRE, len(table.edges), rows) + count)
        count += len(points)
    found, pairs, _ = igl.predicates.find_self_intersections(
        np.ascontiguousarray(np.vstack(vertices)), np.vstack(faces).astype(np.int64)
    )
    assert not found and not len(pairs)


def test_ambiguous_faces_separate_the_inside():
    table = TABLES["cubes"]
    assert len(patch(table, 0b00001001)) == 2  # corners 0 and 3, diagonal on a side: two lone triangles
    assert len(patch(table, 0b10000001)) == 2  # corners 0 and 7, opposite


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(4))
def test_noise_gives_a_closed_manifold_without_cuts_or_slivers(method, seed):
    mesh = extract_surface(noise(np.random.default_rng(seed)), method=method)
    assert trace_topology(mesh.faces, len(mesh.vertices)).closed
    solid = manifold3d.Manifold(manifold3d.Mesh64(mesh.vertices.copy(), mesh.faces.astype(np.uint64)))
    assert solid.status() == manifold3d.Error.NoError and solid.num_tri() == len(mesh.faces)
    found, _, _ = igl.predicates.find_self_intersections(mesh.vertices.copy(), mesh.faces.astype(np.int64))
    assert not found
    assert mesh.volume > 0
    areas, heights = face_quality(mesh.vertices, mesh.faces)
    assert areas.min() > 1e-6 * 0.01**2 and heights.min() > 1e-4
    assert mesh.normals is not None
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("field", "volume", "genus"), [(sphere, 4 / 3 * np.pi * 0.9**3, 0), (torus, 2 * np.pi**2 * 0.8 * 0.09, 1)]
)
def test_closed_forms_and_second_order(method, field, volume, genus):
    errors = []
    for count in (32, 64):
        mesh = extract_surface(band_of(field, count), method=method)
        assert trace_topology(mesh.faces, len(mesh.vertices)).genus == genus
        errors.append(abs(mesh.volume / volume - 1))
    assert errors[1] < 0.004 and errors[0] / errors[1] > 3


def test_normals_point_outwards_and_match_the_field():
    volume = band_of(sphere, 48)
    mesh = extract_surface(volume)
    exact = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    assert mesh.normals is not None
    assert np.einsum("vi,vi->v", mesh.normals, exact).min() > np.cos(np.radians(2))
    again = field_normals(volume, mesh.vertices)
    np.testing.assert_allclose(again, mesh.normals, atol=1e-6)
    with pytest.raises(VolumeError, match="off the band"):
        field_normals(volume, np.zeros((1, 3)))


def test_same_volume_gives_the_same_bytes():
    volume = band_of(torus, 32)
    assert extract_surface(volume).digest == extract_surface(volume).digest


def test_tiny_and_huge_values_give_no_coincident_vertices():
    volume = noise(np.random.default_rng(3))
    values = volume.values * np.where(np.arange(len(volume.values)) % 2, 1e-30, 1e8).astype(np.float32)
    mesh = extract_surface(SparseVolume(volume.coords, values, 0.01, (0.0, 0.0, 0.0)))
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)
    assert face_quality(mesh.vertices, mesh.faces)[1].min() > 1e-4


def test_far_corner_of_the_lattice_changes_nothing_but_the_place():
    volume = band_of(sphere, 24)
    moved = SparseVolume(volume.coords + np.int32(1_000_000), volume.values, volume.voxel_size, volume.origin)
    np.testing.assert_array_equal(extract_surface(volume).faces, extract_surface(moved).faces)


def broken(what: str) -> SparseVolume:
    good = band_of(sphere, 24)
    coords, values = good.coords.copy(), good.values.copy()
    if what == "zero":
        values[7] = 0
    elif what == "nan":
        values[7] = np.nan
    elif what == "order":
        coords[[3, 4]] = coords[[4, 3]]
    elif what == "twice":
        coords[4] = coords[3]
    elif what == "hole":  # a node right inside the surface is missing
        keep = np.arange(len(values)) != np.argmax(np.where(values < 0, values, -np.inf))
        coords, values = coords[keep], values[keep]
    elif what == "cut":  # the solid is cut open by the end of the band
        keep = coords[:, 0] > 12
        coords, values = coords[keep], values[keep]
    elif what == "shut":  # the inner half of the band is gone
        keep = values > 0
        coords, values = coords[keep], values[keep]
    elif what == "empty":
        coords, values = coords[:0], values[:0]
    elif what == "shape":
        values = values[1:]
    elif what == "size":
        return SparseVolume(coords, values, -1.0, good.origin)
    return SparseVolume(coords, values, good.voxel_size, good.origin)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", ["zero", "nan", "order", "twice", "hole", "cut", "shut", "empty", "shape", "size"])
def test_broken_volumes_are_refused(what, method):
    """By the volume itself or by the extraction, whichever looks first."""
    with pytest.raises(VolumeError):
        extract_surface(broken(what), method=method)


def test_random_missing_nodes_never_give_an_open_mesh():
    """Whatever is left out: refused, or closed all the same."""
    good = band_of(torus, 20)
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        keep = rng.random(len(good.values)) > rng.choice([0.0005, 0.01])
        try:
            volume = SparseVolume(good.coords[keep], good.values[keep], good.voxel_size, good.origin)
            mesh = extract_surface(volume)
        except VolumeError:
            refused += 1
            continue
        assert trace_topology(mesh.faces, len(mesh.vertices)).closed
    assert 0 < refused < 60
