"""The steps of a verification: a file becomes a draft, which goes through the checks of our own and is judged whole.

    file -> solid, mass -> hulls -> drops in two engines -> agreement -> verdict

A step whose input is not there, because the file bounds no solid, is left out; what it would have shown is missing,
and the verdict says so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from physics.check import Verdict
from physics.crumbs import drop_crumbs
from physics.errors import HullError, MassError, PhysicsError
from physics.hull_error import hull_checks, measure_hulls
from physics.hulls import HullConfig, union_mesh
from physics.mass import MassProperties, integrate_mesh
from physics.mass_checks import check_mass
from physics.materials import Material, find_material, sized_friction
from physics.mesh import Mesh
from physics.mesh_io import read_objects, weld
from physics.model import Body, Hull, Model, Part
from physics.simplify import simplify_mesh
from physics.topology import trace_topology
from physics.validity import check_validity
from scenegen.assets import build
from scenegen.assets.asset import Origin, content_id
from scenegen.assets.build import AssetRequest, BatteryConfig, Draft, SurfaceConfig
from scenegen.assets.certificate import Certificate, drop_rows, floor_rows
from scenegen.errors import AssetError
from scenegen.pipeline.stage import Rejection
from scenegen.verification.declared import DeclaredBody
from scenegen.verification.mjcf import read_mjcf
from scenegen.verification.request import LARGEST_FILE, METRES, UNITLESS, VerifyOptions, VerifyRequest
from scenegen.verification.urdf import read_urdf

Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Turns y up into z up."""
SIMPLIFICATION = 0.1
"""Largest shift of the surface when triangles of a solid that was made are merged [voxels]."""
MOST_FACES = 500_000
"""Meshes of more faces are refused: exact predicates and hulls on them take minutes [1]."""
SLIVERS = (1e-4, 1e-3)
"""How far the surface of a closed body may move while its slivers are taken off, over L; the first that does [1]."""
SOLID_CHECKS = ("G2", "G3", "G4", "G5", "G6")
"""Checks that a mesh has to hold to be left as it is by `solidify`."""
LARGEST_LOSS = 0.25
"""A solid that is made is refused where more than this share of the outer area has no surface within a voxel [1]."""
FARTHEST = 1e6
"""Coordinates beyond this are no object's: products of such numbers leave the range of doubles [m]."""


def read_file(request: VerifyRequest, config: SurfaceConfig) -> Draft | Rejection:
    """Read a file and check its geometry (G1 to G7) and its mass (I1 to I4)."""
    path, options = Path(request.path), request.options
    altered: list[str] = []
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise AssetError(f"{path} has more than {LARGEST_FILE >> 20} MiB")
        link = _declared_body(path)
        seen = (_mesh_of(path, options),) if link is None else tuple(_joined(objects) for objects in link.visuals)
        surfaces = _united(link, altered) if link is not None and options.derive_inertia else seen
        if sum(len(mesh.faces) for mesh in surfaces) > MOST_FACES:
            raise AssetError(f"{path} has more than {MOST_FACES:,} faces; simplify it first")
        _check_range(path, (*seen, *(link.hulls if link is not None else ())))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except (AssetError, PhysicsError, OSError) as error:
        return Rejection("read", "the file cannot be judged", np.nan, None, "", str(error))
    # Named after its content: the random drops must not depend on which files were given beside it.
    asked = AssetRequest(f"file_{sha256[:16]}", request.seed, _name_of(path))
    units = options.units if path.suffix.lower() in UNITLESS and options.units is not None else "m"
    draft = Draft(asked, None, origin=Origin(path.name, sha256, units), whole=True)
    if options.solidify:
        try:
            surfaces = tuple(_made_solid(mesh, options, config, altered) for mesh in surfaces)
        except (AssetError, PhysicsError) as error:
            return Rejection("read", "no solid to be made", np.nan, None, "", str(error))
    try:
        return judge_solid(draft, surfaces, link, options, config, altered)
    except (AssetError, PhysicsError) as error:
        return Rejection("read", "the file cannot be judged", np.nan, None, "", str(error))


def _check_range(path: Path, meshes: Sequence[Mesh]) -> None:
    farthest = max((float(np.abs(mesh.vertices).max()) for mesh in meshes if len(mesh.vertices)), default=0.0)
    if farthest > FARTHEST:
        raise AssetError(f"{path}: a vertex lies {farthest:.3g} m from the origin; check its numbers and its unit")


def judge_solid(
    draft: Draft,
    surfaces: tuple[Mesh, ...],
    link: DeclaredBody | None,
    options: VerifyOptions,
    config: SurfaceConfig,
    altered: list[str],
) -> Draft | Rejection:
    """Judge geometry and mass; the draft has a model where there is a solid with a mass.

    Args:
        draft: Names the object.
        surfaces: Boundary of each part [m].
        link: What a URDF declares; None where mass and hulls are to be made.
        options: Material, whose friction lengths are limited to what fits the size, and whether inertia is derived.
        config: Limits.
        altered: What was altered before.
    """
    name = draft.request.family
    bounds = np.stack([mesh.bounds for mesh in surfaces])
    low, high = bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)
    # The frame of a model: origin at the centre of the base.
    offset = -np.array([*(low + high)[:2] / 2, low[2]])
    material = sized_friction(find_material(options.material), float((high - low).max()))
    surfaces = tuple(mesh.translated(offset) for mesh in surfaces)
    names = [name] if len(surfaces) == 1 else [f"visual_{number}" for number in range(len(surfaces))]
    checks = [
        check
        for part, mesh in zip(names, surfaces, strict=True)
        for check in check_validity(mesh, body=name if len(surfaces) == 1 else f"{name}/{part}", config=config.validity)
    ]
    try:
        density = options.density or material.density
        whole = [integrate_mesh(mesh, density=density) for mesh in surfaces]
        mass = build.combine_masses(whole) if link is None else _declared(link, whole, offset, options, altered)
    except MassError:
        mass = None  # G3 has said why
    material = _homogeneous(material, surfaces, mass)
    parts = tuple(Part(part, mesh, material) for part, mesh in zip(names, surfaces, strict=True))
    model = None
    if mass is not None:
        hulls = () if link is None else tuple(_hull(mesh.translated(offset), parts) for mesh in link.hulls)
        body = Body(name, parts, hulls, mass)
        checks += check_mass(body, config=config.mass)
        model = Model(name, (body,))
    broken = any(check.id in ("G1", "G2", "G3") and check.verdict is Verdict.FAIL for check in checks)
    return build.extend(draft, "read", checks, model=None if broken else model, fallbacks=tuple(altered))


def _declared(
    link: DeclaredBody, whole: list[MassProperties], offset: np.ndarray, options: VerifyOptions, altered: list[str]
) -> MassProperties:
    """Return the mass that a URDF declares, in the frame of the model; with the inertia of its solid where asked."""
    declared = MassProperties(link.mass.mass, link.mass.com + offset, link.mass.inertia)
    if not options.derive_inertia:
        return declared
    solid = build.combine_masses(whole)
    share = declared.mass / solid.mass
    moved = float(np.linalg.norm(solid.com - declared.com))
    altered.append(
        f"altered: centre of mass and inertia are those of the visual solid at the declared {declared.mass:.4g} kg; "
        f"the declared centre is {moved * 1e3:.3g} mm away, the declared moments are "
        f"{declared.principal_moments.max() / (share * solid.principal_moments.max()):.3g} times as large"
    )
    return MassProperties(declared.mass, solid.com, share * solid.inertia)


def _homogeneous(material: Material, surfaces: tuple[Mesh, ...], mass: MassProperties | None) -> Material:
    """Return the material with the density that gives the mass, so that I4 judges the distribution of mass alone."""
    volume = sum(mesh.volume for mesh in surfaces)
    return material if mass is None or volume <= 0 else replace(material, density=mass.mass / volume)


def _joined(meshes: Sequence[Mesh]) -> Mesh:
    """Return several meshes as one; what they share at their borders is made one."""
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    faces = [mesh.faces + start for mesh, start in zip(meshes, first, strict=True)]
    return weld(Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces).astype(np.int32)))


def _united(link: DeclaredBody, altered: list[str]) -> tuple[Mesh, ...]:
    """Return the visual elements, each as the exact union of its objects where they are closed solids."""
    surfaces = []
    for objects in link.visuals:
        solid = _joined(objects)
        if len(objects) > 1 and all(trace_topology(mesh.faces, len(mesh.vertices)).closed for mesh in objects):
            try:
                solid = union_mesh(objects, link.name)
                altered.append(f"altered: {len(objects)} closed objects of the visual solid are united")
            except HullError:
                pass  # an object that is closed and yet no solid: judged as it is, and G3 or G4 says so
        surfaces.append(solid)
    return tuple(surfaces)


def _declared_body(path: Path) -> DeclaredBody | None:
    """Return what a model file declares; None for a mesh."""
    if path.suffix.lower() == ".urdf":
        return read_urdf(path, _objects)
    return read_mjcf(path) if path.suffix.lower() == ".xml" else None


def _objects(path: Path) -> list[Mesh]:
    """Return the objects of a mesh file, placed and scaled as it says."""
    return read_objects(path, most_faces=MOST_FACES)


def _mesh_of(path: Path, options: VerifyOptions) -> Mesh:
    """Return a mesh file as one surface, z up [m]."""
    whole = _joined(_objects(path))
    unclear = path.suffix.lower() in UNITLESS
    if unclear and options.units is not None:
        whole = Mesh(METRES[options.units] * whole.vertices, whole.faces)
    return whole.rotated(Y_UP) if (options.up == "y" if unclear else True) else whole


def _made_solid(mesh: Mesh, options: VerifyOptions, config: SurfaceConfig, altered: list[str]) -> Mesh:
    """Return a mesh that is one closed body without slivers as it is, freed of its slivers, or made solid anew.

    Raises:
        AssetError: as `_solidified`.
    """
    wrong = _no_solid(mesh, config)
    if wrong == {"G6"}:
        for share in SLIVERS:
            simplified = simplify_mesh(mesh, tolerance=share * float(mesh.extents.max()))
            if not simplified.fallback and not _no_solid(simplified.mesh, config):
                change = simplified.mesh.volume / mesh.volume - 1
                altered.append(
                    f"altered: slivers taken off by simplifying within {simplified.tolerance_used * 1e3:.2g} mm; "
                    f"{len(mesh.faces)} faces became {len(simplified.mesh.faces)}, the volume changed by {change:.2g}"
                )
                return simplified.mesh
    return _solidified(mesh, options, altered) if wrong else mesh


def _no_solid(mesh: Mesh, config: SurfaceConfig) -> set[str]:
    """Return the checks that keep a mesh from being one closed body that does not cut itself, without slivers."""
    checks = check_validity(mesh, body="solid", config=config.validity)
    return {check.id for check in checks if check.verdict is Verdict.FAIL and check.id in SOLID_CHECKS}


def _solidified(mesh: Mesh, options: VerifyOptions, altered: list[str]) -> Mesh:
    """Return the solid that a mesh winds round, and note how far that moved its surface.

    Raises:
        AssetError: nothing is inside, or the mesh is too open.
    """
    from generators.errors import GeneratorError
    from generators.surface import extract_surface
    from generators.voxelize import unresolved_area, voxelize_mesh

    try:
        volume = voxelize_mesh(mesh, resolution=options.resolution)
        surface = extract_surface(volume)
    except GeneratorError as error:
        raise AssetError(f"no solid can be made of it: {error}") from error
    solid, crumbs = drop_crumbs(
        simplify_mesh(surface, tolerance=SIMPLIFICATION * volume.voxel_size).mesh, volume=volume.voxel_size**3
    )
    lost = unresolved_area(mesh, solid, reach=volume.voxel_size).share
    if lost > LARGEST_LOSS:
        raise AssetError(
            f"no solid can be made of it: {100 * lost:.2g} % of its outer area is thinner than {options.resolution} "
            f"voxels of {volume.voxel_size * 1e3:.3g} mm can show; raise --resolution"
        )
    altered.append(
        f"altered: made solid at {options.resolution} voxels of {volume.voxel_size * 1e3:.3g} mm; "
        f"{100 * lost:.2g} % of the outer area has no surface within a voxel; "
        f"volume {solid.volume:.4g} m^3, the file's signed volume is {mesh.volume:.4g} m^3"
        + (f"; {crumbs} shells of less than a voxel taken off" if crumbs else "")
    )
    return solid


def _hull(mesh: Mesh, parts: tuple[Part, ...]) -> Hull:
    """Return the convex hull of a collision object, as engines take it, with the material of the nearest part."""
    import trimesh
    from scipy.spatial import QhullError

    try:
        hull = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).convex_hull
    except (QhullError, ValueError) as error:
        size = " x ".join(f"{extent:.3g}" for extent in np.ptp(mesh.bounds, axis=0))
        raise AssetError(f"collision geometry of {size} m has no convex hull: it encloses nothing") from error
    return Hull(Mesh(np.asarray(hull.vertices), np.asarray(hull.faces)), parts[0].name)


def cover(draft: Draft, config: HullConfig) -> Draft | Rejection:
    """Measure the hulls that a file declares, or make some for a mesh (H1 to H7)."""
    if draft.model is None:
        return draft
    body = draft.solid.root
    if not body.hulls:
        made = build.decompose_solid(draft, config)
        if isinstance(made, Rejection):
            return _without_model(draft, made.message)
        return made
    try:
        surfaces = [part.surface for part in body.parts]
        whole = surfaces[0] if len(surfaces) == 1 else union_mesh(surfaces, body.name)
        error = measure_hulls(whole, [hull.mesh for hull in body.hulls], body=body.name, config=config.limits)
    except HullError as fault:
        return _without_model(draft, str(fault))
    return build.extend(draft, "hulls", hull_checks(error, config=config.limits))


def _without_model(draft: Draft, why: str) -> Draft:
    """Return a draft that goes no further, with the reason."""
    return replace(draft, model=None, notes=(*draft.notes, why))


def drop_in_mujoco(draft: Draft, config: BatteryConfig) -> Draft | Rejection:
    """Run the battery of drops in MuJoCo."""
    return draft if draft.model is None else build.drop_in_mujoco(draft, config)


def drop_in_pybullet(draft: Draft, config: BatteryConfig) -> Draft | Rejection:
    """Run the battery of drops in PyBullet."""
    return draft if draft.model is None else build.drop_in_pybullet(draft, config)


def compare_engines(draft: Draft, config: BatteryConfig) -> Draft | Rejection:
    """Compare the equilibria of both engines (D12); what an engine refused has none."""
    dropped = draft.model is not None and all(record.drops for record in draft.drops)
    return build.compare_engines(draft, config) if dropped else draft


def judge(draft: Draft, config: BatteryConfig) -> Certificate:
    """Return all evidence; its verdict follows from it. What a failed step left out counts as missing."""
    drops = draft.drops
    return Certificate(
        asset_id=content_id(draft.model) if draft.model is not None else "",
        engines=tuple((record.engine, record.engine_version) for record in drops),
        bodies=tuple(body.name for body in draft.model.bodies) if draft.model is not None else (draft.request.family,),
        checks=draft.checks + tuple(check for record in drops for check in record.checks if check not in draft.checks),
        fallbacks=draft.fallbacks,
        notes=draft.notes,
        floors=floor_rows(config.floors),
        drops=drop_rows(drops),
    )


def _name_of(path: Path) -> str:
    """Return the file's name as a name of a model."""
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")
    return name if name[:1].isalpha() else f"asset_{name}" if name else "asset"
