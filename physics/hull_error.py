"""How far a set of convex hulls is from the solid that it stands for: checks H1 to H7.

Volumes come from exact booleans on double precision meshes scaled to unit size. Surface distances are those between
the true surfaces, that of the solid M and that of the union U of the hulls. Hull error is a distance and not a share of
volume: a bowl with a wall of 5 % of its radius has 44 % of excess volume at an inflation that nobody can feel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

from physics.check import Check
from physics.errors import HullError as HullFault
from physics.hull_holes import HoleConfig, narrow_holes
from physics.hull_openings import OpeningConfig, clear_share
from physics.mesh import Mesh
from physics.surface_distance import Surface


@dataclass(frozen=True)
class HullErrorConfig:
    """Limits of H1 to H7 and the sampling behind them. Lengths are shares of L, the largest extent of the solid."""

    concavity: float = 1e-6
    """H1: share of its own hull's volume that a convex piece may lack [1]; rounding of doubles gives 1e-12."""
    least_width: float = 1e-3
    """H1: a hull thinner than this is flat [L]."""
    vertices_warn: int = 64
    """H1: vertices of one hull; PhysX takes 64 on a GPU (CoACD issue 10)."""
    vertices_limit: int = 256
    """H1: vertices of one hull at most."""
    hulls_warn: int = 64
    """H1: hulls of one body; PhysX takes 64."""
    hulls_limit: int = 128
    """H1: hulls of one body at most."""
    inflation_limit: float = 0.0075
    """H2: volume of U outside M over the area of M [L]."""
    inflation_warn: float = 0.004
    """H2: warning level [L]."""
    loss_limit: float = 0.0025
    """H3: volume of M outside U over the area of M [L]."""
    loss_warn: float = 0.001
    """H3: warning level [L]."""
    distance_limit: float = 0.03
    """H4: farthest distance between the surfaces [L]."""
    distance_warn: float = 0.02
    """H4: warning level [L]."""
    percentile_limit: float = 0.01
    """H4: 95th percentile over the area [L]."""
    grasp_limit: float = 0.005
    """H4: farthest distance on a graspable object [m]."""
    grasp_opening: float = 0.1
    """An object with a smaller extent is taken as graspable when nobody says [m]; a wide parallel gripper."""
    com_limit: float = 0.02
    """H5: distance between the centres of mass of U and M [L]."""
    support_height: float = 1e-3
    """H5: vertices this near to the lowest one carry the body [L]. Hulls keep the feet: on members of 19 families the
    margins of M and U differ by 0.012 L at most, on the round foot of a bowl by 0.032 L."""
    support_change: float = 0.001
    """H5: a support margin nearer to 0 than this is neither in nor out of balance [L]."""
    samples: int = 4000
    """H4: points per surface, beside its vertices."""
    openings: OpeningConfig = field(default_factory=OpeningConfig)
    """H6: sampling and limits of the clear rays."""
    holes: HoleConfig = field(default_factory=HoleConfig)
    """H6: search for holes that are too narrow for those rays; closed ones warn."""


@dataclass(frozen=True)
class HullError:
    """All figures behind H1 to H7. Lengths are shares of `size`."""

    body: str
    size: float
    """L: the largest extent of the solid [m]."""
    graspable: bool
    n_hulls: int
    n_vertices: int
    most_vertices: int
    """Vertices of the hull that has most."""
    concavity: float
    """Largest share of its own hull's volume that a piece lacks [1]."""
    least_width: float
    """Smallest width of a hull across one of its faces [L]."""
    iou: float
    """Volume of the intersection of U and M over that of their union [1]."""
    excess_ratio: float
    """Volume of U outside M over that of M [1]."""
    missing_ratio: float
    """Volume of M outside U over that of M [1]."""
    mean_inflation: float
    """Volume of U outside M over the area of M [L]."""
    mean_loss: float
    """Volume of M outside U over the area of M [L]."""
    outward_p95: float
    """95th percentile over the surface of U of the distance out of M [L]."""
    outward_max: float
    """Largest distance from the surface of U out of M [L]."""
    inward_p95: float
    """95th percentile over the surface of M of the distance to that of U [L]."""
    inward_max: float
    """Largest distance from the surface of M to that of U [L]."""
    com_shift: float
    """Distance between the centres of mass of U and M at uniform density [L]."""
    support_margin: float
    """Distance of the projected centre of mass inside the support polygon of M, upright; negative outside [L]."""
    hull_support_margin: float
    """The same on the support polygon of U [L]."""
    clear_rays: int
    """Rays through holes and cavities of M that were tried."""
    clear_share: float
    """Share of them that is free in U, in the opening that is worst off [1]."""
    narrow_holes: int
    """Through holes of M that are too narrow for those rays."""
    narrow_closed: int
    """Of those, how many U closes."""
    narrow_width: float
    """Width of the widest closed one [L]."""
    overlap: float
    """Sum of the hull volumes over that of U, minus 1 [1]."""


def measure_hulls(
    mesh: Mesh,
    hulls: Sequence[Mesh],
    *,
    body: str,
    config: HullErrorConfig | None = None,
    graspable: bool | None = None,
    parts: Sequence[tuple[Mesh, Sequence[Mesh]]] = (),
) -> HullError:
    """Measure hulls against the solid that they stand for.

    In a body of several parts the walls of a fit (a handle in its eye) lie deep inside U, because hulls close a gap
    narrower than twice their error; no contact reaches them. So where parts are given, the distance from solid to
    hulls is that of each part to its own hulls. It bounds the depth of every point outside such gaps, and a gap is
    closed only where both hulls are within their distances of it; H2 and the distance out of M see the rest.

    Args:
        mesh: Boundary of the solid M, closed and outward, in its upright pose (z up).
        hulls: Convex pieces in the same frame.
        body: Name for the reports.
        config: Sampling and limits.
        graspable: Whether the absolute limit of H4 applies; None decides by the smallest extent.
        parts: Surface and hulls of each part, when the mesh is the union of several.

    Raises:
        HullError: (of `physics.errors`) The mesh bounds no solid, or a hull is no closed surface.
    """
    config = config or HullErrorConfig()
    if not hulls:
        raise HullFault(f"body {body!r}: no hulls to measure")
    size, centre = float(mesh.extents.max()), mesh.bounds.mean(axis=0)
    solid = unit_solid(mesh, centre=centre, size=size, what=f"body {body!r}: the mesh")
    pieces = [
        unit_solid(hull, centre=centre, size=size, what=f"body {body!r}: hull {i}") for i, hull in enumerate(hulls)
    ]
    union = union_of(pieces)
    shared, m_volume, u_volume = (union ^ solid).volume(), solid.volume(), union.volume()
    area = solid.surface_area()
    m_vertices, m_faces = arrays(solid)
    u_vertices, u_faces = arrays(union)
    outward = _distances(u_vertices, u_faces, m_vertices, m_faces, config.samples, outside_only=True)
    inward = (
        _part_distances(parts, centre, size, config.samples, body)
        if parts
        else _distances(m_vertices, m_faces, u_vertices, u_faces, config.samples, outside_only=False)
    )
    m_com, u_com = centre_of_mass(m_vertices, m_faces), centre_of_mass(u_vertices, u_faces)
    shapes = [arrays(piece) for piece in pieces]
    rays, share = clear_share(m_vertices, m_faces, shapes, config=config.openings)
    narrow = narrow_holes(m_vertices, m_faces, shapes, config=config.holes, parts=max(len(parts), 1))
    widths, lacks = zip(*(piece_shape(piece) for piece in pieces), strict=True)
    return HullError(
        body=body,
        size=size,
        graspable=is_graspable(mesh, graspable, config),
        n_hulls=len(hulls),
        n_vertices=sum(len(hull.vertices) for hull in hulls),
        most_vertices=max(len(hull.vertices) for hull in hulls),
        concavity=max(lacks),
        least_width=min(widths),
        iou=shared / (u_volume + m_volume - shared),
        excess_ratio=max(u_volume - shared, 0.0) / m_volume,
        missing_ratio=max(m_volume - shared, 0.0) / m_volume,
        mean_inflation=max(u_volume - shared, 0.0) / area,
        mean_loss=max(m_volume - shared, 0.0) / area,
        outward_p95=outward[0],
        outward_max=outward[1],
        inward_p95=inward[0],
        inward_max=inward[1],
        com_shift=float(np.linalg.norm(u_com - m_com)),
        support_margin=support_margin(m_vertices, m_com, config.support_height),
        hull_support_margin=support_margin(u_vertices, m_com, config.support_height),
        clear_rays=rays,
        clear_share=share,
        narrow_holes=narrow.found,
        narrow_closed=narrow.closed,
        narrow_width=narrow.widest_closed,
        overlap=sum(piece.volume() for piece in pieces) / u_volume - 1.0,
    )


def hull_checks(error: HullError, *, config: HullErrorConfig | None = None) -> tuple[Check, ...]:
    """Return checks H1 to H7 on measured hulls."""
    c = config or HullErrorConfig()
    farthest = farthest_allowed(c, size=error.size, graspable=error.graspable)
    more = "cut into more hulls (lower threshold)"

    def check(
        id_: str, name: str, value: float, unit: str, limit: float | None, fix: str = "", **options: Any
    ) -> Check:
        return Check(id_, name, float(value), unit, limit, body=error.body, fix=fix, **options)

    inner, outer = sorted((error.support_margin, error.hull_support_margin), reverse=True)
    flipped = inner > c.support_change and outer < -c.support_change
    margins = f"margin {error.support_margin:.4f} L of the solid, {error.hull_support_margin:.4f} L of the hulls"
    distances = (
        ("hulls to solid", error.outward_max, error.outward_p95),
        ("solid to hulls", error.inward_max, error.inward_p95),
    )
    return (
        check("H1", "concavity of a hull", error.concavity, "1", c.concavity, "take the convex hull of each piece"),
        check(
            "H1", "smallest hull width", error.least_width, "L", c.least_width, "drop or merge flat pieces", sense=">="
        ),
        check(
            "H1",
            "vertices of a hull",
            error.most_vertices,
            "1",
            c.vertices_limit,
            "reduce its vertices",
            warn=c.vertices_warn,
        ),
        check("H1", "hulls", error.n_hulls, "1", c.hulls_limit, "merge hulls (raise threshold)", warn=c.hulls_warn),
        check("H2", "mean inflation", error.mean_inflation, "L", c.inflation_limit, more, warn=c.inflation_warn),
        check("H3", "mean loss", error.mean_loss, "L", c.loss_limit, "simplify less", warn=c.loss_warn),
        *(
            check(
                "H4",
                f"farthest surface distance, {name}",
                far,
                "L",
                farthest,
                more,
                warn=min(c.distance_warn, farthest),
                detail=f"{far * error.size * 1000:.2f} mm",
            )
            for name, far, _ in distances
        ),
        *(
            check("H4", f"95th percentile of the surface distance, {name}", p95, "L", c.percentile_limit, more)
            for name, _, p95 in distances
        ),
        check("H5", "shift of the centre of mass", error.com_shift, "L", c.com_limit, more),
        check("H5", "changes of balance in the upright pose", flipped, "1", 0.0, more, detail=margins),
        check(
            "H6",
            "clear rays through openings that stay free",
            error.clear_share,
            "1",
            c.openings.share_limit,
            "an opening is closed: " + more,
            warn=c.openings.share_warn,
            sense=">=",
            detail=f"{error.clear_rays} rays",
        ),
        check(
            "H6",
            "width of the widest narrow hole that is closed",
            error.narrow_width,
            "L",
            2 * c.holes.clearance,
            "cut through its middle",
            warn=0.0,
            detail=f"{error.narrow_closed} of {error.narrow_holes} holes",
        ),
        check("H7", "overlap of the hulls", error.overlap, "1", None),
        check("H7", "vertices of all hulls", error.n_vertices, "1", None),
        check("H7", "intersection over union", error.iou, "1", None),
    )


def is_graspable(mesh: Mesh, graspable: bool | None, config: HullErrorConfig) -> bool:
    """Return what was said about the object, or whether a gripper could span its smallest extent."""
    return bool(mesh.extents.min() < config.grasp_opening) if graspable is None else graspable


def farthest_allowed(config: HullErrorConfig, *, size: float, graspable: bool) -> float:
    """Return the limit of the farthest distance in H4 [L]."""
    return min(config.distance_limit, config.grasp_limit / size) if graspable else config.distance_limit


def unit_solid(mesh: Mesh, *, centre: np.ndarray, size: float, what: str) -> Any:
    """Return the mesh as a manifold3d solid, centred and scaled to unit size.

    Raises:
        HullError: (of `physics.errors`) The mesh is open, not manifold, or inside out.
    """
    from manifold3d import Error, Manifold, Mesh64

    vertices = np.ascontiguousarray((mesh.vertices - centre) / size)
    solid = Manifold(Mesh64(vertices, np.ascontiguousarray(mesh.faces, dtype=np.uint64)))
    if solid.status() != Error.NoError:
        raise HullFault(
            f"{what} is not closed and manifold ({solid.status().name}, {len(mesh.faces)} faces); "
            "run physics.validity on it and repair its source"
        )
    if not solid.volume() > 0:
        raise HullFault(
            f"{what} has volume {solid.volume() * size**3:.4g} m^3: its faces are wound inside out or it is flat; "
            "run physics.validity on it"
        )
    return solid


def arrays(solid: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices (V, 3) and faces (F, 3) of a manifold3d solid."""
    mesh = solid.to_mesh64()
    vertices = np.ascontiguousarray(np.asarray(mesh.vert_properties)[:, :3], dtype=np.float64)
    return vertices, np.ascontiguousarray(mesh.tri_verts, dtype=np.int64)


def union_of(pieces: list[Any]) -> Any:
    """Return the union of manifold3d solids."""
    from manifold3d import Manifold, OpType

    return Manifold.batch_boolean(pieces, OpType.Add)


def surface_samples(vertices: np.ndarray, faces: np.ndarray, count: int) -> Float64[np.ndarray, "N 3"]:
    """Return points spread evenly over the area, the same on every run.

    Faces are taken at equal steps of the cumulative area, places in them from the R2 low-discrepancy sequence
    (Roberts 2018) folded into the triangle.
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cumulative = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    index = np.arange(count)
    face = np.searchsorted(cumulative, (index + 0.5) / count * cumulative[-1]).clip(max=len(faces) - 1)
    golden = 1.32471795724474602596
    u, v = (0.5 + (index + 1) / golden) % 1.0, (0.5 + (index + 1) / golden**2) % 1.0
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u)[:, None], np.where(fold, 1 - v, v)[:, None]
    return a[face] + u * (b[face] - a[face]) + v * (c[face] - a[face])


def _distances(
    vertices: np.ndarray,
    faces: np.ndarray,
    to_vertices: np.ndarray,
    to_faces: np.ndarray,
    samples: int,
    *,
    outside_only: bool,
) -> tuple[float, float]:
    """95th percentile over the area, and maximum, of the exact distance from one surface to another.

    Seams between hulls leave parts of the surface of U deep inside M, where nothing can touch them. So from U to
    M only points outside M count; what U lacks is seen from M, whose points all count.
    """
    spread = surface_samples(vertices, faces, samples)
    points, surface = np.concatenate([spread, vertices]), Surface(to_vertices, to_faces)
    distance = np.maximum(surface.signed_distance(points), 0.0) if outside_only else surface.distance(points)
    return float(np.percentile(distance[: len(spread)], 95)), float(distance.max())


def _part_distances(
    parts: Sequence[tuple[Mesh, Sequence[Mesh]]], centre: np.ndarray, size: float, samples: int, body: str
) -> tuple[float, float]:
    """Return the largest 95th percentile and maximum of the distance from a part's surface to that of its hulls."""
    found = []
    for k, (surface, hulls) in enumerate(parts):
        what = f"body {body!r}: part {k}"
        if not hulls:
            raise HullFault(f"{what} has no hulls")
        solid = unit_solid(surface, centre=centre, size=size, what=what)
        union = union_of([unit_solid(hull, centre=centre, size=size, what=f"{what}, a hull") for hull in hulls])
        found.append(_distances(*arrays(solid), *arrays(union), samples, outside_only=False))
    return max(p95 for p95, _ in found), max(far for _, far in found)


def centre_of_mass(vertices: np.ndarray, faces: np.ndarray) -> Float64[np.ndarray, "3"]:
    """Return the centroid of the volume that a closed surface bounds."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    volume = np.einsum("fi,fi->f", a, np.cross(b, c))
    return (volume[:, None] * (a + b + c)).sum(axis=0) / (4 * volume.sum())


def support_margin(vertices: np.ndarray, com: np.ndarray, height: float) -> float:
    """Signed distance of the projected centre of mass inside the hull of the lowest vertices."""
    foot = vertices[vertices[:, 2] <= vertices[:, 2].min() + height][:, :2]
    polygon = convex_polygon(foot)
    if len(polygon) < 3:
        return -float(np.linalg.norm(foot - com[:2], axis=1).min())
    edge = np.roll(polygon, -1, axis=0) - polygon
    normal = np.stack([-edge[:, 1], edge[:, 0]], axis=1) / np.linalg.norm(edge, axis=1, keepdims=True)
    return float(np.einsum("ei,ei->e", com[:2] - polygon, normal).min())


def convex_polygon(points: np.ndarray) -> np.ndarray:
    """Counter-clockwise hull of points in the plane (Andrew's monotone chain)."""
    ordered = [tuple(p) for p in np.unique(np.round(points, 12), axis=0)]
    chains: list[list[tuple[float, ...]]] = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, ...]] = []
        for p in sequence:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        chains.append(chain[:-1])
    return np.array(chains[0] + chains[1]).reshape(-1, 2)


def _turn(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def piece_shape(piece: Any) -> tuple[float, float]:
    """Smallest width across a face, and the share of its own hull's volume that the piece lacks.

    The least width of a polytope may also lie between two edges; it is then smaller than across any face by at
    most a factor of 1.7, which is nothing beside the flatness that is looked for. The hull is Qhull's: that of
    manifold3d 3.5 has notches where many points lie nearly in a plane, and would find a notched piece convex.
    """
    from scipy.spatial import ConvexHull, QhullError

    vertices, faces = arrays(piece)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    heights = vertices @ (normals[length > 0] / length[length > 0, None]).T
    try:
        filled = piece.volume() / ConvexHull(vertices).volume
    except QhullError:  # flat to rounding
        filled = 0.0
    return float(np.ptp(heights, axis=0).min()), max(1.0 - filled, 0.0)
