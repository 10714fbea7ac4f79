"""Convex decomposition: hulls of a solid, accepted by what they measure and not by how they were made.

A ladder of methods from cheap to dear is climbed until the hulls pass H1 to H7: one hull for a convex solid, greedy
plane cuts, which are cut again where hulls close a deep gap, then CoACD. It ends early where no finer cut can help.
CoACD can abort, hang or fill the memory, so it runs in a child process only; it does not check orientation, so a mesh
that bounds no solid is refused before.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from physics.check import SEVERITY, Check, Verdict, overall_verdict
from physics.coacd_run import ChildLimits, CoacdConfig, coacd_hulls
from physics.convex import hull_planes, sure_hull
from physics.errors import HullError as HullFault
from physics.fan_cuts import FanConfig
from physics.gap_cuts import covered_air, open_gaps
from physics.hull_error import (
    HullError,
    HullErrorConfig,
    arrays,
    centre_of_mass,
    convex_polygon,
    farthest_allowed,
    hull_checks,
    is_graspable,
    measure_hulls,
    piece_shape,
    support_margin,
    union_of,
    unit_solid,
)
from physics.isolate import ChildCrashed, ChildOutOfMemory
from physics.mesh import Mesh
from physics.model import Body, Hull
from physics.plane_cuts import (
    LEAST_VOLUME,
    CutConfig,
    Cutting,
    cut_solid,
    hull_corners,
    simplified,
)

ALGORITHM = "9"
"""Raised when the same input gives other hulls, so that old cache entries are not read."""

MOST_GROWTH = 1.08
"""A hull that lost corners grows by this factor at most to have its volume back [1]; a ball needs 1.03."""
MOST_OUTWARDS = 0.012
"""It grows beyond what it stands for by this at most [L]."""
ALL_PIECES = 0.8
"""With this share of the pieces that a rung allows it is taken as ended by their number [1]."""
SAME_DEPTH = 0.01
"""Depths that differ by this share are of one place [1]."""


@dataclass(frozen=True)
class Rung:
    """One method of the ladder."""

    name: str
    method: CutConfig | CoacdConfig
    after: Verdict = Verdict.FAIL
    """Tried only when the best hulls so far are this bad or worse."""


LADDER = (
    Rung("cuts", CutConfig(), after=Verdict.PASS),
    Rung(
        "closer cuts",
        CutConfig(target_distance=0.018, target_inflation=0.003, fan=FanConfig(sagitta=0.013)),
        after=Verdict.WARN,
    ),
    Rung("fine cuts", CutConfig(faces=3000, target_distance=0.012, target_inflation=0.003)),
    Rung("CoACD .05 20/10/2", CoacdConfig()),
    Rung("CoACD .03 20/60/3", CoacdConfig(threshold=0.03, iterations=60, depth=3, resolution=2000)),
)
"""Methods from cheap to dear; see benchmarks/hulls.py for what each yields."""


@dataclass(frozen=True)
class HullConfig:
    """How a body gets its hulls."""

    ladder: tuple[Rung, ...] = LADDER
    limits: HullErrorConfig = field(default_factory=HullErrorConfig)
    convex_share: float = 0.98
    """A solid that fills this share of its own hull is tried as one hull [1]."""
    reach: float = 1.1
    """Cuts aim at this share of the farthest distance that H4 allows; faces are then set back by 0.4 of it [1]."""
    most_vertices: int = 64
    """Vertices of a hull at most (PhysX on a GPU takes 64)."""
    vertex_error: float = 0.01
    """A hull that misses more than this for want of vertices is halved [L].

    At 0.018 a rounded body (a toy duck) has 13 hulls and an IoU of 0.976, at 0.01 15 hulls and 0.983."""
    coacd_faces: int = 3000
    """CoACD gets a mesh simplified towards this many faces."""
    child: ChildLimits = field(default_factory=ChildLimits)
    """What the child that runs CoACD may use."""

    def __post_init__(self) -> None:
        if not self.ladder:
            raise HullFault("the ladder has no rungs")
        if self.most_vertices < 8:
            raise HullFault(f"most_vertices must be at least 8, got {self.most_vertices}")


@dataclass(frozen=True)
class Attempt:
    """What one rung yielded."""

    rung: str
    hulls: int
    verdict: Verdict
    failures: tuple[str, ...]
    """Checks that did not pass, or how the child died."""


@dataclass(frozen=True, eq=False)
class HullResult:
    """The hulls that were taken, what they measure, and what was tried before."""

    hulls: tuple[Mesh, ...]
    error: HullError
    rung: str
    attempts: tuple[Attempt, ...]
    fallback: str | None
    """Why the first method was not taken; None when it was."""


def decompose_mesh(
    mesh: Mesh,
    *,
    config: HullConfig | None = None,
    cache: Path | None = None,
    name: str = "mesh",
    graspable: bool | None = None,
) -> HullResult:
    """Return convex hulls of a solid.

    Args:
        mesh: Closed, manifold, outward boundary in its upright pose.
        config: Ladder and limits.
        cache: Folder of earlier results, keyed by mesh, configuration and versions; None for none.
        name: Name for the reports.
        graspable: Whether the absolute limit of H4 applies; None decides by size.

    Raises:
        HullError: (of `physics.errors`) The mesh bounds no solid, or no method returned any hull.
        ChildTimedOut: CoACD got no CPU for so long that its wall deadline passed: the machine's fault, not the mesh's.
    """
    config = config or HullConfig()
    centre, size = mesh.bounds.mean(axis=0), float(mesh.extents.max())
    solid = unit_solid(mesh, centre=centre, size=size, what=f"{name}: the mesh")
    path = None if cache is None else Path(cache) / f"{_key(mesh, config, name, graspable)}.hulls"
    if path is not None and (stored := _load(path, mesh, config, name, graspable)) is not None:
        return stored
    farthest = farthest_allowed(config.limits, size=size, graspable=is_graspable(mesh, graspable, config.limits))
    attempts: list[Attempt] = []
    best: tuple[tuple, HullResult, Verdict] | None = None
    exhausted = False  # whether cuts ended for the number of pieces
    deepest = np.inf  # distance of the solid's surface to that of the last hulls
    cutting: Cutting | None = None  # pieces of the last cuts
    for rung in _rungs(solid, config):
        if best is not None and SEVERITY.index(best[2]) < SEVERITY.index(rung.after):
            continue
        if exhausted and isinstance(rung.method, CutConfig):
            continue
        try:
            solids, cutting = _solids(solid, rung.method, config, farthest, cutting)
        except (ChildCrashed, ChildOutOfMemory) as error:
            attempts.append(Attempt(rung.name, 0, Verdict.FAIL, (str(error).splitlines()[0],)))
            continue
        hulls = tuple(_mesh_of(hull, centre, size) for hull in _planted(solids, solid, config))
        if not hulls:
            attempts.append(Attempt(rung.name, 0, Verdict.FAIL, ("all of its hulls are flat",)))
            continue
        measured = measure_hulls(mesh, hulls, body=name, config=config.limits, graspable=graspable)
        checks = hull_checks(measured, config=config.limits)
        verdict = overall_verdict(checks)
        attempts.append(Attempt(rung.name, len(hulls), verdict, _failures(checks)))
        rank = (SEVERITY.index(verdict), len(_failures(checks)), len(hulls))
        if best is None or rank < best[0]:
            best = (rank, HullResult(hulls, measured, rung.name, (), None), verdict)
        if verdict is Verdict.PASS or _is_final(checks) or _stuck(deepest, measured.inward_max, farthest):
            break
        if isinstance(rung.method, CoacdConfig) and len(hulls) > config.limits.hulls_limit:
            break  # a finer threshold yields more hulls still
        if isinstance(rung.method, CutConfig) and rung.method.most_pieces > 1 and measured.inward_max > farthest:
            if len(hulls) < ALL_PIECES * rung.method.most_pieces:
                break  # cuts opened what they could: what is left is narrower than any cut
            exhausted = True
        deepest = measured.inward_max
    if best is None:
        raise HullFault(f"{name}: no method returned hulls: {'; '.join(str(a.failures) for a in attempts)}")
    chosen = best[1]
    first = attempts[0]
    fallback = None if chosen.rung == first.rung else f"{name}: {chosen.rung} after {first.rung} ({first.failures})"
    result = HullResult(chosen.hulls, chosen.error, chosen.rung, tuple(attempts), fallback)
    if path is not None:
        _store(path, result)
    return result


def without_slabs(config: HullConfig) -> HullConfig:
    """Return the same ladder, none of whose cuts takes the slab of a wall off whole: hulls are more and smaller."""
    ladder = tuple(
        replace(rung, method=replace(rung.method, slab_share=1.0)) if isinstance(rung.method, CutConfig) else rung
        for rung in config.ladder
    )
    return replace(config, ladder=ladder)


def decompose_body(
    body: Body,
    *,
    config: HullConfig | None = None,
    cache: Path | None = None,
    graspable: bool | None = None,
) -> tuple[Body, tuple[Check, ...], tuple[str, ...]]:
    """Return the body with hulls, checks H1 to H7 on the whole of it, and the fallbacks that were taken.

    Every part is decomposed by itself, so that each hull has one material; the body is measured as the union of its
    parts against all hulls. Whether it is graspable is decided on the body, not on its parts.

    Raises:
        HullError: (of `physics.errors`) A part bounds no solid.
    """
    config = config or HullConfig()
    whole = None if len(body.parts) == 1 else union_mesh([part.surface for part in body.parts], body.name)
    if whole is not None:
        graspable = is_graspable(whole, graspable, config.limits)
    hulls: list[Hull] = []
    fallbacks: list[str] = []
    results = []
    for part in body.parts:
        name = body.name if len(body.parts) == 1 else f"{body.name}/{part.name}"
        result = decompose_mesh(part.surface, config=config, cache=cache, name=name, graspable=graspable)
        results.append(result)
        hulls += [Hull(mesh, part.name) for mesh in result.hulls]
        fallbacks += [result.fallback] if result.fallback else []
    if whole is None:
        error = results[0].error
    else:
        error = measure_hulls(
            whole,
            [hull.mesh for hull in hulls],
            body=body.name,
            config=config.limits,
            graspable=graspable,
            parts=[(part.surface, result.hulls) for part, result in zip(body.parts, results, strict=True)],
        )
    made = Body(body.name, body.parts, tuple(hulls), body.mass_properties)
    return made, hull_checks(error, config=config.limits), tuple(fallbacks)


def _rungs(solid: Any, config: HullConfig) -> tuple[Rung, ...]:
    """Put the single hull first where the solid nearly fills it."""
    if solid.volume() > config.convex_share * solid.hull().volume():
        single = CutConfig(most_pieces=1)
        return (Rung("one hull", single, after=Verdict.PASS), *config.ladder)
    return config.ladder


def _solids(
    solid: Any, method: CutConfig | CoacdConfig, config: HullConfig, farthest: float, before: Cutting | None
) -> tuple[list[Any], Cutting | None]:
    """Return the hulls that a method makes of a scaled solid, and the pieces that cuts on may start from."""
    if isinstance(method, CutConfig):
        nearer = replace(method, target_distance=min(method.target_distance, config.reach * farthest))
        cutting = cut_solid(solid, nearer, before)
        return _cut_solids(solid, cutting, config, farthest), cutting
    vertices, faces = arrays(simplified(solid, CutConfig(faces=config.coacd_faces)))
    pieces = coacd_hulls(vertices, faces, method, config.most_vertices, config.child)
    return [hull for points in pieces for hull in _finished(points, config)], before


def _cut_solids(solid: Any, cutting: Cutting, config: HullConfig, farthest: float) -> list[Any]:
    """Return hulls of the pieces of a solid, cut again for as long as that opens gaps that they close."""
    limits, cut = config.limits, cutting.config
    groups = cutting.groups()
    hulls = [_finished(hull_corners(group, solid, cut), config) for group in groups]
    best: tuple[float, list[Any]] = (np.inf, [])
    before = (np.inf, np.inf)
    for left in range(cut.gaps.rounds, -1, -1):
        flat = [hull for parts in hulls for hull in parts]
        if not flat or len(flat) > min(limits.hulls_limit, cut.most_pieces):
            return best[1] or flat
        air, depth = covered_air(
            solid,
            union_of(flat),
            farthest=farthest,
            percentile=limits.percentile_limit,
            samples=limits.samples,
            config=cut.gaps,
        )
        best = min(best, (depth, flat), key=lambda found: found[0])
        stuck = depth > (1 - SAME_DEPTH) * before[0] and len(air) > (1 - cut.gaps.least_step) * before[1]
        if not len(air) or not left or stuck or len(flat) >= cut.most_pieces:
            return best[1] if len(air) else flat
        before = (depth, len(air))
        opened = open_gaps(groups, hulls, air, cut.merge_inflation * solid.surface_area(), cut)
        made = {id(group): parts for group, parts in zip(groups, hulls, strict=True)}
        hulls = [made.get(id(g)) or _finished(hull_corners(g, solid, cut), config) for g in opened]
        groups = opened
    return best[1]


def _planted(hulls: list[Any], solid: Any, config: HullConfig) -> list[Any]:
    """Return hulls that reach the corners of the solid's foot where their balance would differ from its own.

    Corners of a foot are lost where faces are set back and where hulls have few vertices. Each is a point of the
    solid, so the nearest hull takes it.
    """
    if not hulls:
        return hulls
    height, change = config.limits.support_height, config.limits.support_change
    vertices, faces = arrays(solid)
    com = centre_of_mass(vertices, faces)
    margins = [support_margin(points, com, height) for points in (vertices, arrays(union_of(hulls))[0])]
    if not (max(margins) > change and min(margins) < -change):
        return hulls
    lowest = vertices[vertices[:, 2] <= vertices[:, 2].min() + height]
    polygon = convex_polygon(lowest[:, :2])
    made = list(hulls)
    for corner in polygon:
        point = lowest[np.linalg.norm(lowest[:, :2] - corner, axis=1).argmin()]
        heights = np.array([_heights(hull, point[None]).max() for hull in made])
        nearest = int(heights.argmin())
        if heights[nearest] <= 0 or heights[nearest] > MOST_OUTWARDS:
            continue
        points = np.concatenate([arrays(made[nearest])[0], point[None]])
        grown = sure_hull(points)
        if grown.num_vert() > config.most_vertices:  # the corner beside it goes
            away = np.linalg.norm(points[:-1] - point, axis=1)
            grown = sure_hull(np.delete(points, int(away.argmin()), axis=0))
        if grown.num_vert() <= config.most_vertices:
            made[nearest] = grown
    return made


def _finished(points: np.ndarray, config: HullConfig) -> list[Any]:
    """Return the hulls of few vertices that stand for the hull of points; flat ones are left out."""
    parts = _with_few_vertices(sure_hull(points), config.most_vertices, config.vertex_error)
    return [part for part in parts if _is_thick(part, config.limits.least_width)]


def _mesh_of(hull: Any, centre: np.ndarray, size: float) -> Mesh:
    """Return a scaled solid as a mesh [m]."""
    vertices, faces = arrays(hull)
    return Mesh(vertices * size + centre, faces.astype(np.int32))


def _with_few_vertices(hull: Any, most: int, error: float) -> list[Any]:
    """Return a convex solid by hulls of at most so many corners each.

    Those corners are taken that lie farthest outside the hull of the others. Where that still misses more than the
    error (a ball needs some 120 corners), the solid is halved.
    """
    from manifold3d import Manifold

    if hull.num_vert() <= most:
        return [hull]
    corners = arrays(hull)[0]
    signs = np.array([[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if x or y or z])
    chosen = np.unique((corners @ signs.T).argmax(axis=0))[: most // 2]
    while True:
        inner = Manifold.hull_points(corners[chosen])
        height = _heights(inner, corners)
        height[chosen] = -np.inf
        if len(chosen) >= most:
            break
        farthest = np.unique(height.argmax(axis=0))
        farthest = farthest[np.argsort(-height[farthest].max(axis=1), kind="stable")]
        chosen = np.concatenate([chosen, farthest[: max(1, (most - len(chosen)) // 2)]])
    if height.max() > error:
        axis = int(np.argmax(np.ptp(corners, axis=0)))
        middle = float(corners[:, axis].min() + corners[:, axis].max()) / 2
        halves = hull.split_by_plane(tuple(np.eye(3)[axis]), middle)
        return [part for half in halves for part in _with_few_vertices(half.hull(), most, error)]
    return [_grown(inner, hull, corners)]


def _grown(inner: Any, hull: Any, corners: np.ndarray) -> Any:
    """Return a hull grown about its centre to a volume, within the box of the corners that it stands for.

    It then errs as much outwards as inwards, and by no more than `MOST_OUTWARDS`.
    """
    from manifold3d import Manifold

    vertices, low, high = arrays(inner)[0], corners.min(axis=0), corners.max(axis=0)
    centre, volume = vertices.mean(axis=0), hull.volume()
    grown, least, most = inner, 1.0, MOST_GROWTH
    for _ in range(8):
        growth = (least + most) / 2
        grown = Manifold.hull_points(np.clip(centre + growth * (vertices - centre), low, high))
        small = grown.volume() < volume and _heights(hull, arrays(grown)[0]).max() < MOST_OUTWARDS
        least, most = (growth, most) if small else (least, growth)
    return grown


def _heights(hull: Any, points: np.ndarray) -> np.ndarray:
    """Height of each point over the plane of each face of a hull (P, K)."""
    normal, offset, _ = hull_planes(hull)
    return points @ normal.T - offset


def _is_thick(hull: Any, least_width: float) -> bool:
    """Whether a hull is not flat. Flat ones carry nothing and upset engines; what they covered is in H3."""
    return hull.volume() > LEAST_VOLUME and piece_shape(hull)[0] > least_width


def union_mesh(meshes: Sequence[Mesh], name: str) -> Mesh:
    """Return the boundary of the union of solids."""
    from manifold3d import Manifold, OpType

    bounds = np.concatenate([mesh.bounds for mesh in meshes])
    low, high = bounds.min(axis=0), bounds.max(axis=0)
    centre, size = (low + high) / 2, float((high - low).max())
    solids = [
        unit_solid(mesh, centre=centre, size=size, what=f"body {name!r}: part {i}") for i, mesh in enumerate(meshes)
    ]
    vertices, faces = arrays(Manifold.batch_boolean(solids, OpType.Add))
    return Mesh(vertices * size + centre, faces.astype(np.int32))


def _is_final(checks: Sequence[Check]) -> bool:
    """Whether finer cuts cannot make a PASS of a WARN: the hulls are many, or nothing but narrow holes is closed."""
    warned = [check for check in checks if check.verdict is Verdict.WARN]
    return overall_verdict(checks) is Verdict.WARN and (
        any(check.name == "hulls" for check in warned) or all(check.id == "H6" for check in warned)
    )


def _stuck(before: float, now: float, limit: float) -> bool:
    """Whether finer hulls left the same place of the solid too deep inside: a gap that no hulls this large spare."""
    return min(before, now) > limit and abs(now - before) < SAME_DEPTH * before


def _failures(checks: Sequence[Check]) -> tuple[str, ...]:
    return tuple(check.describe() for check in checks if check.verdict is not Verdict.PASS)


def _key(mesh: Mesh, config: HullConfig, name: str, graspable: bool | None) -> str:
    """SHA-256 of everything that the result depends on."""
    versions = {package: version(package) for package in ("coacd", "manifold3d", "libigl", "numpy")}
    text = json.dumps([ALGORITHM, mesh.digest, asdict(config), name, graspable, versions], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _store(path: Path, result: HullResult) -> None:
    """Write hulls and attempts atomically, behind a digest of the bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"rung": result.rung, "attempts": [asdict(a) for a in result.attempts], "fallback": result.fallback}
    arrays_of = {
        f"{n}_{field}": getattr(h, field) for n, h in enumerate(result.hulls) for field in ("vertices", "faces")
    }
    buffer = io.BytesIO()
    np.savez(buffer, facts=np.array(json.dumps(facts)), count=np.array(len(result.hulls)), **arrays_of)
    data = buffer.getvalue()
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(hashlib.sha256(data).digest() + data)
    os.replace(file.name, path)


def _load(path: Path, mesh: Mesh, config: HullConfig, name: str, graspable: bool | None) -> HullResult | None:
    """Return a stored result, its hulls measured anew; None when there is none or its bytes were changed."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(raw[32:]).digest() != raw[:32]:
        return None
    with np.load(io.BytesIO(raw[32:]), allow_pickle=False) as stored:
        facts = json.loads(str(stored["facts"]))
        hulls = tuple(Mesh(stored[f"{n}_vertices"], stored[f"{n}_faces"]) for n in range(int(stored["count"])))
    attempts = tuple(
        Attempt(row["rung"], row["hulls"], Verdict(row["verdict"]), tuple(row["failures"])) for row in facts["attempts"]
    )
    error = measure_hulls(mesh, hulls, body=name, config=config.limits, graspable=graspable)
    return HullResult(hulls, error, facts["rung"], attempts, facts["fallback"])
