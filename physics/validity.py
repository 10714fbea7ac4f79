"""Checks G1 to G8: whether a triangle mesh bounds one solid body with walls, asked of any mesh at all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import igl
import igl.predicates
import manifold3d
import numpy as np
from jaxtyping import Float64, Int64

from physics.check import Check
from physics.mesh import Mesh
from physics.topology import Topology, trace_topology
from physics.wall import WallConfig, thinnest_wall

NAN = float("nan")
HOST_SAMPLES = 1000
"""Vertices of a cavity that are tried when its host is sought."""


@dataclass(frozen=True)
class ValidityConfig:
    """Limits of the geometry checks; sizes are shares of L, the largest extent along the axes of the body."""

    farthest: float = 1e6
    """G1: largest coordinate [m]; beyond it volumes lose their digits."""
    smallest_size: float = 1e-3
    """G1: least L [m]; smaller is a mistake of units or beyond the engines."""
    smallest_size_warn: float = 5e-3
    """G1: L below which a warning is due [m]."""
    largest_size: float = 10.0
    """G1: largest L [m]."""
    largest_size_warn: float = 3.0
    """G1: L above which a warning is due [m]."""
    double_count: float = 1e-3
    """G4: largest difference of signed and union volume, as a share of the union."""
    folded_angle: float = 1e-5
    """G4: faces that meet at a smaller angle than this lie on each other [rad]; the predicates skip neighbours."""
    debris_share: float = 1e-4
    """G5: a shell with a smaller share of the volume is debris."""
    face_area: float = 1e-10
    """G6: least area of a face over L^2."""
    face_height: float = 1e-4
    """G6: least height of a face over its longest edge."""
    wall_floors: float = 10.0
    """G7: least wall in multiples of what a perfect solid sinks into the ground at rest."""
    penetration_floor: float = 2e-5
    """G7: that depth where the caller has not measured it [m]."""
    wall_share_warn: float = 0.005
    """G7: wall over L below which a warning is due."""
    wall_warn: float = 5e-4
    """G7: wall below which a warning is due [m]."""
    wall: WallConfig = field(default_factory=WallConfig)
    """G7: how walls are sampled."""


@dataclass(frozen=True)
class _Shells:
    """The closed shells of a mesh: outer ones hold matter, inner ones are cavities."""

    volumes: Float64[np.ndarray, "S"]
    """Signed volume of each shell [m^3]."""
    host: Int64[np.ndarray, "S"]
    """For an inner shell the outer shell around it, -1 if there is none; for an outer shell itself."""


def check_validity(
    mesh: Mesh | tuple[np.ndarray, np.ndarray],
    *,
    body: str,
    config: ValidityConfig | None = None,
    declared_components: int = 1,
    declared_genus: int | tuple[int, ...] | None = None,
    declared_cavities: int = 0,
    penetration_floor: float | None = None,
) -> tuple[Check, ...]:
    """Measure whether a mesh bounds the solid that was declared.

    Never raises on bad geometry. What cannot be measured, because something before it failed, has the value NaN and so
    fails as well: numbers first, then the closed boundary, then everything that needs an inside.

    Args:
        mesh: A mesh, or vertices (V, 3) [m] and faces (F, 3), which may hold anything.
        body: Name of the body, for the checks.
        config: Limits.
        declared_components: How many separate bodies the mesh holds.
        declared_genus: How many handles (holes one can reach through) it has, or may have; None when unknown.
        declared_cavities: How many closed cavities are meant.
        penetration_floor: Depth to which a perfect solid sinks into the ground in the engine used [m].

    Returns:
        At least one check for each of G1 to G7, and G8 when a genus was declared.
    """
    config = config or ValidityConfig()
    vertices, faces, fault = _arrays(mesh)
    numbers, sound = _check_numbers(vertices, faces, fault, config)
    topology = trace_topology(faces, len(vertices)) if sound else None
    closed = topology is not None and topology.closed
    shells = _trace_shells(vertices, faces, topology) if topology is not None and closed else None
    checks = [
        *numbers,
        *_check_boundary(vertices, faces, topology),
        *_check_orientation(vertices, faces, topology, shells, declared_cavities),
        *_check_overlap(vertices, faces, topology, shells, config),
        *_check_bodies(vertices, faces, topology, shells, declared_components, config),
        *_check_faces(vertices, faces, sound, config),
        _check_walls(vertices, faces, shells, config, penetration_floor),
    ]
    if declared_genus is not None:
        genus = NAN if topology is None else topology.genus
        allowed = (declared_genus,) if isinstance(declared_genus, int) else declared_genus
        detail = f"genus {genus:g}, declared {' or '.join(map(str, allowed))}"
        fix = "A hole was closed or torn open: use a finer voxel_size or a smaller simplification tolerance."
        beside = min(abs(genus - count) for count in allowed)
        checks.append(Check("G8", "handles beside those declared", beside, "1", 0, fix=fix, detail=detail))
    return tuple(replace(check, body=body) for check in checks)


def count_self_intersections(vertices: Float64[np.ndarray, "V 3"], faces: np.ndarray) -> tuple[int, int]:
    """Return how many pairs of faces cut each other, and one face that does (-1 for none), by exact predicates."""
    # The predicates skip faces of the same corners, but only after comparing each with all of its copies.
    kept = np.sort(np.unique(np.sort(faces, axis=1), axis=0, return_index=True)[1])
    found, pairs, _ = igl.predicates.find_self_intersections(
        np.array(vertices, dtype=np.float64, order="C"), np.array(faces[kept], dtype=np.int64, order="C")
    )
    pairs = np.asarray(pairs)
    return (len(pairs), int(kept[pairs[0, 0]])) if found else (0, -1)


def manifold_of(vertices: Float64[np.ndarray, "V 3"], faces: np.ndarray) -> manifold3d.Manifold:
    """Return the solid as manifold3d reads it; its status says whether it could."""
    return manifold3d.Manifold(
        manifold3d.Mesh64(np.array(vertices, dtype=np.float64, order="C"), np.array(faces, dtype=np.uint64, order="C"))
    )


def face_quality(vertices: Float64[np.ndarray, "V 3"], faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return area [m^2] and height over longest edge of each face, 0 for a face without extent."""
    corners = vertices[faces]
    sides = np.roll(corners, -1, axis=1) - corners
    twice = np.linalg.norm(np.cross(sides[:, 0], -sides[:, 2]), axis=1)
    longest = np.linalg.norm(sides, axis=2).max(axis=1)
    return twice / 2, twice / np.where(longest > 0, longest, 1) ** 2


def _arrays(mesh: Mesh | tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, str]:
    """Return vertices and faces as float64 and int64, with a reason when that is not possible."""
    raw = (mesh.vertices, mesh.faces) if isinstance(mesh, Mesh) else mesh
    empty = np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
    try:
        vertices, faces = (np.asarray(part) for part in raw)
        if vertices.dtype.kind not in "fiu" or faces.dtype.kind not in "iu":
            return *empty, f"vertices of {vertices.dtype} and faces of {faces.dtype}: floats and integers are needed"
    except (ValueError, TypeError) as error:  # ragged lists: a bad asset, not a broken program
        return *empty, f"vertices and faces are no arrays: {error}"
    for name, array in (("vertices", vertices), ("faces", faces)):
        if array.ndim != 2 or array.shape[1] != 3 or not len(array):
            return *empty, f"{name} have shape {array.shape}, (n, 3) with n > 0 is needed"
    return vertices.astype(np.float64), faces.astype(np.int64), ""


def _check_numbers(
    vertices: np.ndarray, faces: np.ndarray, fault: str, config: ValidityConfig
) -> tuple[list[Check], bool]:
    loose = np.flatnonzero(~(np.abs(vertices) <= config.farthest).all(axis=1))
    beyond = np.flatnonzero(((faces < 0) | (faces >= len(vertices))).any(axis=1))
    count = len(loose) + len(beyond) + bool(fault)
    detail = fault
    if len(loose):
        detail = f"vertex {loose[0]} is {vertices[loose[0]]}"
    elif len(beyond):
        detail = f"face {beyond[0]} is {faces[beyond[0]]} with {len(vertices)} vertices"
    fix = "Write finite coordinates and valid indices; make the mesh again from its source."
    numbers = Check("G1", "vertices and faces that are no numbers", count, "1", 0, fix=fix, detail=detail)
    size = float(np.ptp(vertices[np.unique(faces)], axis=0).max()) if not count else NAN
    fix = "Check the unit of the file: all lengths are metres."
    return [
        numbers,
        Check("G1", "largest extent", size, "m", config.largest_size, config.largest_size_warn, fix=fix),
        Check("G1", "largest extent", size, "m", config.smallest_size, config.smallest_size_warn, ">=", fix=fix),
    ], not count


def _check_boundary(vertices: np.ndarray, faces: np.ndarray, topology: Topology | None) -> list[Check]:
    edge_name, vertex_name, kept_name = "edges without exactly 2 faces", "vertices without exactly 1 fan", "faces lost"
    fix = "Re-extract the surface from a volume (voxelize_mesh, extract_surface); holes are not to be patched."
    if topology is None:
        return [Check("G2", name, NAN, "1", 0, fix=fix) for name in (edge_name, vertex_name, kept_name)]
    edges, points = topology.wrong_edges, topology.wrong_vertices
    edge_at = f"edge {edges[0]} at {_place(vertices[edges[0]].mean(axis=0))}" if len(edges) else ""
    point_at = f"vertex {points[0]} at {_place(vertices[points[0]])}" if len(points) else ""
    solid = manifold_of(vertices, faces)
    status = solid.status()
    lost = abs(len(faces) - solid.num_tri())
    if status != manifold3d.Error.NoError:
        lost = len(faces)
    detail = f"manifold3d says {status.name}, {solid.num_tri()} of {len(faces)} faces kept"
    return [
        Check("G2", edge_name, len(edges), "1", 0, fix=fix, detail=edge_at),
        Check("G2", vertex_name, len(points), "1", 0, fix=fix, detail=point_at),
        Check("G2", kept_name, lost, "1", 0, fix=fix, detail=detail if lost else ""),
    ]


def _check_orientation(vertices, faces, topology: Topology | None, shells: _Shells | None, declared: int):
    fix = "Turn the faces so that each is counter-clockwise seen from outside; declare the cavities that are meant."
    turned = NAN if topology is None else len(topology.turned_edges)
    at = ""
    if topology is not None and len(topology.turned_edges):
        at = f"edge {topology.turned_edges[0]} at {_place(vertices[topology.turned_edges[0]].mean(axis=0))}"
    inward, cavities, where = NAN, NAN, ""
    if shells is not None and topology is not None:
        loose = np.flatnonzero(shells.host < 0)
        inward, cavities = len(loose), int(((shells.volumes <= 0) & (shells.host >= 0)).sum())
        if len(loose):
            face = int(np.argmax(topology.shells == loose[0]))
            where = f"shell of {shells.volumes[loose[0]]:.3g} m^3 at {_place(vertices[faces[face, 0]])}"
    detail = f"{cavities:g} found, {declared} declared"
    return [
        Check("G3", "edges between a face and a flipped one", turned, "1", 0, fix=fix, detail=at),
        Check("G3", "shells that face inwards", inward, "1", 0, fix=fix, detail=where),
        Check("G3", "cavities beside those declared", abs(cavities - declared), "1", 0, fix=fix, detail=detail),
    ]


def _trace_shells(vertices: np.ndarray, faces: np.ndarray, topology: Topology) -> _Shells:
    """Return volumes and nesting; a cavity belongs to the smallest outer shell that winds round it.

    Some vertices are enough: a cavity that leaves its host cuts it, and G4 counts that.
    """
    corners = vertices[faces] - vertices[faces[0, 0]]
    parts = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    volumes = np.bincount(topology.shells, weights=parts, minlength=topology.shell_count)
    host = np.where(volumes > 0, np.arange(len(volumes)), -1)
    outer = np.flatnonzero(volumes > 0)
    for inner in np.flatnonzero(volumes <= 0):
        points = vertices[np.unique(faces[topology.shells == inner])]
        points = points[:: -(-len(points) // HOST_SAMPLES)]
        for candidate in outer[np.argsort(volumes[outer], kind="stable")]:
            if volumes[candidate] <= -volumes[inner]:
                continue
            around = np.asarray(igl.fast_winding_number(vertices, faces[topology.shells == candidate], points))
            if (around > 0.75).all():
                host[inner] = candidate
                break
    return _Shells(volumes, host)


def _check_overlap(vertices, faces, topology: Topology | None, shells: _Shells | None, config: ValidityConfig):
    fix = "Unite the overlapping parts before the mass is computed, or re-extract from a volume."
    count, at = NAN, ""
    if topology is not None:
        hits, face = count_self_intersections(vertices, faces)
        folded = _folded(vertices, faces, config.folded_angle)
        count = hits + len(folded)
        if count:
            face = face if hits else int(folded[0])
            at = f"face {face} at {_place(vertices[faces[face]].mean(axis=0))}"
    share, detail = NAN, ""
    if topology is not None and shells is not None and (shells.host >= 0).all():
        signed, union = float(shells.volumes.sum()), _union_volume(vertices, faces, topology, shells)
        share = abs(signed - union) / union if union > 0 else NAN
        detail = f"signed {signed:.6g} m^3, union {union:.6g} m^3"
    return [
        Check("G4", "volume counted twice", share, "1", config.double_count, fix=fix, detail=detail),
        Check("G4", "pairs of faces that cut each other", count, "1", 0, fix=fix, detail=at),
    ]


def _folded(vertices: np.ndarray, faces: np.ndarray, angle: float) -> np.ndarray:
    """Return faces that lie back on a neighbour."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals / np.where(length > 0, length, 1)
    start, end = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    key = np.minimum(start, end) * len(vertices) + np.maximum(start, end)
    order = np.argsort(key, kind="stable")
    pair = np.flatnonzero(key[order][1:] == key[order][:-1])
    one, two = order[pair] // 3, order[pair + 1] // 3
    # The angle between opposite normals, from a sum that is exact where a cosine would round to -1.
    return one[np.linalg.norm(normals[one] + normals[two], axis=1) < angle]


def _union_volume(vertices: np.ndarray, faces: np.ndarray, topology: Topology, shells: _Shells) -> float:
    solids = []
    for outer in np.flatnonzero(shells.volumes > 0):
        solid = manifold_of(vertices, faces[topology.shells == outer])
        for inner in np.flatnonzero((shells.host == outer) & (shells.volumes <= 0)):
            solid -= manifold_of(vertices, faces[topology.shells == inner][:, ::-1])
        solids.append(solid)
    union = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add) if len(solids) > 1 else solids[0]
    return float(union.volume()) if union.status() == manifold3d.Error.NoError else NAN


def _check_bodies(vertices, faces, topology: Topology | None, shells: _Shells | None, declared: int, config):
    count, debris, detail, at = NAN, NAN, "", ""
    if topology is not None and shells is not None:
        small = np.abs(shells.volumes) < config.debris_share * np.abs(shells.volumes).sum()
        count, debris = int((~small & (shells.volumes > 0)).sum()), int(small.sum())
        detail = f"{count} found, {declared} declared"
        if debris:
            face = int(np.argmax(topology.shells == np.flatnonzero(small)[0]))
            at = f"shell of {shells.volumes[small][0]:.3g} m^3 at {_place(vertices[faces[face, 0]])}"
    fix = "Keep the parts that belong together in one piece, and remove loose crumbs on the volume before extraction."
    return [
        Check("G5", "bodies beside those declared", abs(count - declared), "1", 0, fix=fix, detail=detail),
        Check("G5", "shells that are debris", debris, "1", 0, fix=fix, detail=at),
    ]


def _check_faces(vertices: np.ndarray, faces: np.ndarray, sound: bool, config: ValidityConfig) -> list[Check]:
    area, height, at = NAN, NAN, ["", ""]
    if sound:
        areas, heights = face_quality(vertices, faces)
        size = float(np.ptp(vertices[np.unique(faces)], axis=0).max())
        area, height = float(areas.min()) / size**2 if size > 0 else NAN, float(heights.min())
        at = [f"face {f} at {_place(vertices[faces[f]].mean(axis=0))}" for f in (areas.argmin(), heights.argmin())]
    fix = "Simplify with a smaller tolerance, or extract on a lattice that is not finer than the detail."
    return [
        Check("G6", "smallest face area over L^2", area, "1", config.face_area, sense=">=", fix=fix, detail=at[0]),
        Check(
            "G6", "smallest face height over edge", height, "1", config.face_height, sense=">=", fix=fix, detail=at[1]
        ),
    ]


def _check_walls(vertices, faces, shells: _Shells | None, config: ValidityConfig, floor: float | None) -> Check:
    thickness, detail, warn = NAN, "not measured: the mesh has no inside", config.wall_warn
    if shells is not None and (shells.host >= 0).all():
        wall = thinnest_wall(vertices, faces, config.wall)
        thickness, detail = wall.thickness, f"at {_place(wall.place)}"
        warn = max(warn, config.wall_share_warn * float(np.ptp(vertices, axis=0).max()))
    limit = config.wall_floors * (config.penetration_floor if floor is None else floor)
    fix = "Thicken the wall: it is no thicker than what the engine lets a body sink into the ground."
    return Check("G7", "thinnest wall", thickness, "m", limit, max(warn, limit), ">=", fix=fix, detail=detail)


def _place(point: np.ndarray | tuple[float, float, float]) -> str:
    return "({}) m".format(", ".join(f"{value:.4g}" for value in point)) if math.isfinite(sum(point)) else "no place"
