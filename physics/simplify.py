"""Fewer triangles for the same solid: edge collapse by manifold3d, every result measured before it is believed."""

from __future__ import annotations

from dataclasses import dataclass

import igl
import manifold3d
import numpy as np
from scipy.spatial import KDTree

from physics.errors import MeshError
from physics.mesh import Mesh
from physics.slivers import flip_slivers
from physics.topology import trace_topology
from physics.validity import ValidityConfig, count_self_intersections, face_quality, manifold_of
from physics.wall import WallConfig, thinnest_wall


@dataclass(frozen=True)
class SimplifyConfig:
    """What a simplified mesh may differ in."""

    halvings: int = 3
    """How often the tolerance is halved before the original is kept."""
    clean_passes: tuple[float, ...] = (0.1, 0.3, 1.0)
    """Tolerances of further collapses, as shares of the first, for as long as it leaves flat faces."""
    flip_height: float = 1e-3
    """Faces with less height over edge get their longest edge turned; ten times what is refused."""
    volume_change: float = 5e-3
    """Largest change of the volume, as a share."""
    distance_factor: float = 2.0
    """Largest distance between the surfaces in multiples of the tolerance."""
    distance_samples: int = 20000
    """Points per surface at which the distance is measured: the vertices, thinned evenly, and as many face centres."""
    face_area: float = ValidityConfig.face_area
    """Least area of a face over L^2, as in check G6."""
    face_height: float = ValidityConfig.face_height
    """Least height of a face over its longest edge, as in check G6."""
    fold_angle: float = 1.9
    """Where faces at an edge turn by more [rad], and by more than in the original, the thinnest wall is compared."""
    wall_share: float = 0.5
    """Least thickness of the thinnest wall over that of the original, where the surface folds."""


@dataclass(frozen=True)
class Deviation:
    """One attempt at one tolerance, and how far its result is from the original."""

    tolerance: float
    """Tolerance given to manifold3d [m]."""
    faces: int
    """Number of faces that were left."""
    volume_change: float
    """Change of the volume, as a share."""
    distance: float
    """Largest distance between the two surfaces at the samples, both ways [m]."""
    self_intersections: int
    """Pairs of faces that cut each other."""
    reason: str
    """Why it was refused, with the number; empty when it was accepted."""


@dataclass(frozen=True, eq=False)
class SimplifyResult:
    """The mesh to use, and the record of how it came about."""

    mesh: Mesh
    """The simplified mesh, or the original when every attempt was refused."""
    tolerance_used: float
    """Tolerance of the accepted attempt [m]; 0 for the original."""
    fallback: str
    """Why the original was kept; empty when an attempt was accepted, at whatever tolerance."""
    deviations: tuple[Deviation, ...]
    """Every attempt in order; the last is the accepted one unless the original was kept."""


def simplify_mesh(mesh: Mesh, *, tolerance: float, config: SimplifyConfig | None = None) -> SimplifyResult:
    """Return a mesh of the same solid with fewer triangles.

    manifold3d keeps the surface a manifold but does not promise that it stays free of self-intersections, so genus,
    shells, volume, distance, self-intersections and the shape of the faces are measured, and the tolerance is halved
    where one of them is off. The vertices are a subset of the original ones and keep their normals; with the field at
    hand, `generators.surface.field_normals` gives the same.

    Args:
        mesh: A closed, manifold mesh, wound outwards.
        tolerance: How far the surface may move [m], > 0.
        config: Limits.

    Raises:
        MeshError: The tolerance is not positive, or the mesh is not a closed manifold.
    """
    config = config or SimplifyConfig()
    if not (np.isfinite(tolerance) and tolerance > 0):
        raise MeshError(f"simplify_mesh needs a tolerance > 0 m, got {tolerance}")
    solid = manifold_of(mesh.vertices, mesh.faces)
    topology = trace_topology(mesh.faces, len(mesh.vertices))
    if solid.status() != manifold3d.Error.NoError or not topology.closed:
        raise MeshError(
            f"simplify_mesh needs a closed manifold; manifold3d says {solid.status().name}, "
            f"{len(topology.wrong_edges)} edges without 2 faces. Run check_validity for the places"
        )
    attempts: list[Deviation] = []
    for halving in range(config.halvings + 1):
        candidate = _collapse(mesh, solid, tolerance / 2**halving, config)
        attempts.append(_measure(mesh, candidate, tolerance / 2**halving, config))
        if not attempts[-1].reason:
            return SimplifyResult(candidate, attempts[-1].tolerance, "", tuple(attempts))
    fallback = f"not simplified after {len(attempts)} attempts: {attempts[-1].reason}"
    return SimplifyResult(mesh, 0.0, fallback, tuple(attempts))


def _collapse(mesh: Mesh, solid: manifold3d.Manifold, tolerance: float, config: SimplifyConfig) -> Mesh:
    """Collapse edges; read the result anew, which drops most flat faces, and turn the edges of those left."""
    out = solid.simplify(tolerance).to_mesh64()
    vertices, faces = np.asarray(out.vert_properties)[:, :3], np.asarray(out.tri_verts)
    for share in config.clean_passes:
        out = manifold_of(vertices, faces).simplify(share * tolerance).to_mesh64()
        vertices, faces = np.asarray(out.vert_properties, dtype=np.float64)[:, :3], np.asarray(out.tri_verts)
        faces = flip_slivers(vertices, faces.astype(np.int32), face_height=config.flip_height)
        if not len(faces) or face_quality(vertices, faces)[1].min() >= config.face_height:
            break
    if mesh.normals is None or not len(vertices):
        return Mesh(vertices, faces)
    _, nearest = KDTree(mesh.vertices).query(vertices)
    return Mesh(vertices, faces, mesh.normals[nearest])


def _measure(mesh: Mesh, candidate: Mesh, tolerance: float, config: SimplifyConfig) -> Deviation:
    """Compare a candidate with the original, cheapest question first; what was not asked is NaN or -1."""
    volume, distance, cuts = float("nan"), float("nan"), -1
    reason = _compare_topology(mesh, candidate)
    if not reason:
        volume = abs(candidate.volume - mesh.volume) / abs(mesh.volume)
        areas, heights = face_quality(candidate.vertices, candidate.faces)
        area, height = float(areas.min()) / float(mesh.extents.max()) ** 2, float(heights.min())
        if not volume <= config.volume_change:
            reason = f"volume changes by {volume:.3g}, limit {config.volume_change:g}"
        elif area < config.face_area or height < config.face_height:
            reason = (
                f"a face has area {area:.3g} L^2 and height {height:.3g} of its edge, limits {config.face_area:g} and "
                f"{config.face_height:g}"
            )
    if not reason:
        cuts, _ = count_self_intersections(candidate.vertices, candidate.faces)
        if cuts:
            reason = f"{cuts} pairs of faces cut each other"
    if not reason:
        reason = _find_blade(mesh, candidate, config)
    if not reason:
        distance = max(
            _distance(mesh, candidate, config.distance_samples), _distance(candidate, mesh, config.distance_samples)
        )
        if not distance <= config.distance_factor * tolerance:
            reason = f"surfaces are {distance:.3g} m apart, limit {config.distance_factor * tolerance:.3g} m"
    return Deviation(tolerance, len(candidate.faces), volume, distance, cuts, reason)


def _find_blade(mesh: Mesh, candidate: Mesh, config: SimplifyConfig) -> str:
    """Return why a candidate has a blade that is not in the solid: a strip folded over its neighbour, uncut by it.

    Seen: one fold of 3.1 rad, and pairs of 2.3 rad, around blades 0.5 to 20 um thick.
    """
    turn = sharpest_turn(candidate)
    if turn <= max(config.fold_angle, sharpest_turn(mesh)):
        return ""
    walls = [thinnest_wall(m.vertices, m.faces.astype(np.int64), WallConfig()).thickness for m in (candidate, mesh)]
    if walls[0] >= config.wall_share * walls[1]:
        return ""
    return f"the surface folds back by {turn:.3g} rad around a wall of {walls[0]:.3g} m, before {walls[1]:.3g} m"


def _compare_topology(mesh: Mesh, candidate: Mesh) -> str:
    before = trace_topology(mesh.faces, len(mesh.vertices))
    after = trace_topology(candidate.faces, len(candidate.vertices)) if len(candidate.faces) else None
    if after is None or not after.closed:
        return "nothing is left" if after is None else "the result is not closed"
    if (before.shell_count, before.genus) != (after.shell_count, after.genus):
        return (
            f"{after.shell_count} shells of genus {after.genus:g}, "
            f"before {before.shell_count} of genus {before.genus:g}"
        )
    return ""


def sharpest_turn(mesh: Mesh) -> float:
    """Return the largest angle between the normals of two faces at an edge of a closed manifold [rad]."""
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    edges = np.sort(np.concatenate([mesh.faces[:, [k, k - 2]] for k in range(3)]), axis=1)
    owner = np.tile(np.arange(len(mesh.faces)), 3)[np.lexsort(edges.T)]
    cosine = np.einsum("ei,ei->e", normals[owner[::2]], normals[owner[1::2]])
    return float(np.arccos(np.clip(cosine.min(), -1.0, 1.0)))


def _distance(from_mesh: Mesh, to_mesh: Mesh, samples: int) -> float:
    """Return the largest distance of vertices and face centres of one surface from the other [m]."""
    centres = from_mesh.triangles.mean(axis=1)
    parts = [points[:: -(-len(points) // samples)] for points in (from_mesh.vertices, centres)]
    points = np.ascontiguousarray(np.concatenate(parts))
    squared = igl.point_mesh_squared_distance(points, to_mesh.vertices, to_mesh.faces.astype(np.int64))[0]
    return float(np.sqrt(np.asarray(squared).max()))
