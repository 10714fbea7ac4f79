"""The first steps of a second verdict: an asset is read back from its folder, and what was read is measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physics.check import Check
from physics.errors import PhysicsError
from physics.hull_error import hull_checks, measure_hulls
from physics.hulls import HullConfig, union_mesh
from physics.mass_checks import check_mass
from physics.model import Body
from physics.part_fit import check_part_fit
from physics.validity import check_validity
from scenegen.assets import build
from scenegen.assets.build import AssetRequest, Draft, SurfaceConfig
from scenegen.assets.package import load_asset
from scenegen.assets.readback import read_back
from scenegen.errors import AssetError
from scenegen.pipeline.stage import Rejection


@dataclass(frozen=True)
class RereadRequest:
    """The folder of one asset."""

    item_id: str
    folder: str
    content: str
    """SHA-256 over all its files: a changed folder is judged anew."""


def hash_folder(folder: Path) -> str:
    """Return one SHA-256 over the names and bytes of all files of a folder but certificates.

    Raises:
        AssetError: A file cannot be read.
    """
    sha = hashlib.sha256()
    try:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            if not path.name.startswith("certificate_"):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                sha.update(f"{path.relative_to(folder).as_posix()}\0{content}\0".encode())
    except OSError as error:
        raise AssetError(f"{folder}: cannot be read: {error}") from error
    return sha.hexdigest()


def reread_asset(request: RereadRequest, config: SurfaceConfig) -> Draft | Rejection:
    """Stage: read an asset from its files; check geometry, mass and formats (G1 to G7, I1 to I4, X1 to X4).

    How many handles a drawn part should have is not in its folder: G8 is not made again.
    """
    folder = Path(request.folder)
    try:
        asset = load_asset(folder)
        if asset.asset_id != folder.name:
            raise AssetError(f"{folder}: holds asset {asset.asset_id}, but its folder has another name")
        drawn = asset.provenance.origin is None
        checks = [check for body in asset.model.bodies for check in check_solid(body, config, drawn=drawn)]
        checks += read_back(folder)
    except (AssetError, PhysicsError) as error:
        return Rejection("reread", "the folder cannot be judged", np.nan, None, "", str(error))
    origin = asset.provenance.origin
    # The name and the seed under which it was judged first: the same drops, so that only what changed shows.
    asked = AssetRequest(asset.provenance.item_id, asset.provenance.seed, asset.family)
    draft = Draft(asked, None, symmetry_axis=asset.symmetry_axis, origin=origin, whole=True)
    altered = () if origin is None else origin.altered
    return build.extend(draft, "reread", checks, model=asset.model, fallbacks=altered)


def remeasure_hulls(draft: Draft, config: HullConfig) -> Draft | Rejection:
    """Stage: measure the hulls of an asset as they are (H1 to H7)."""
    try:
        checks = [check for body in draft.solid.bodies for check in check_hulls(body, config)]
    except PhysicsError as error:
        return Rejection("hulls", "the hulls cannot be measured", np.nan, None, "", str(error))
    return build.extend(draft, "hulls", checks)


def check_solid(
    body: Body, config: SurfaceConfig, *, drawn: bool = True, genus: Mapping[str, int] | None = None
) -> tuple[Check, ...]:
    """Return the checks of the parts of a body and of its mass (G1 to G7, I1 to I4).

    Args:
        body: Body as it is declared.
        config: Limits.
        drawn: Whether it was drawn here, and its parts must fit together.
        genus: Handles that were declared of a part, where that is known, for G8.
    """
    checks: list[Check] = []
    for part in body.parts:
        place = body.name if len(body.parts) == 1 else f"{body.name}/{part.name}"
        declared = None if genus is None else genus.get(part.name)
        checks += check_validity(part.surface, body=place, config=config.validity, declared_genus=declared)
    if drawn:
        checks += check_part_fit(body)
    return (*checks, *check_mass(body, config=config.mass))


def check_hulls(body: Body, config: HullConfig) -> tuple[Check, ...]:
    """Return H1 to H7 of the hulls of a body as they are.

    Raises:
        HullError: (of `physics.errors`) The body bounds no solid, or a hull is no closed surface.
    """
    surfaces = [part.surface for part in body.parts]
    whole = surfaces[0] if len(surfaces) == 1 else union_mesh(surfaces, body.name)
    owned = [(part.surface, [hull.mesh for hull in body.hulls if hull.part == part.name]) for part in body.parts]
    # The hulls that a foreign file declares stand for all of its parts.
    parts = owned if len(owned) > 1 and all(hulls for _, hulls in owned) else ()
    meshes = [hull.mesh for hull in body.hulls]
    error = measure_hulls(whole, meshes, body=body.name, config=config.limits, parts=parts)
    return hull_checks(error, config=config.limits)
