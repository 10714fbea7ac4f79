"""asset.json, the one numeric source of an asset: from record to json and back, to the same doubles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from generators.volume import SparseVolume
from physics.mass import MassProperties
from physics.materials import Material
from physics.mesh import Mesh
from physics.model import Body, Hull, Joint, JointKind, Model, Part
from physics.pose import Pose
from scenegen.assets.asset import Asset, Origin, Provenance, RestPose
from scenegen.assets.layout import ASSET_JSON, VOLUME_NPZ, hull_paths, part_paths
from scenegen.errors import AssetError

SCHEMA = 1
"""Version of the layout of asset.json."""

UNITS = {"length": "m", "mass": "kg", "inertia": "kg m^2", "density": "kg/m^3", "angle": "rad"}
FRAME = "right-handed, z up; origin at the centre of the base of the upright pose, front +x; quaternions (w, x, y, z)"


def describe_asset(asset: Asset, files: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of asset.json; `files` holds the SHA-256 of every other file."""
    model = asset.model
    materials = {part.material.name: part.material for _, part, _ in part_paths(model)}
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "asset_id": asset.asset_id,
        "family": asset.family,
        "licence": asset.licence,
        "units": UNITS,
        "frame": FRAME,
        "model": {
            "name": model.name,
            "bodies": [_describe_body(body, model) for body in model.bodies],
            "joints": [_describe_joint(joint) for joint in model.joints],
        },
        "materials": {name: asdict(material) for name, material in materials.items()},
        "symmetry_axis": None if asset.symmetry_axis is None else list(asset.symmetry_axis),
        "rest_poses": [_describe_rest(pose) for pose in asset.rest_poses],
        "volume_count": len(asset.volumes),
        "provenance": _describe_provenance(asset.provenance),
        "files": dict(files),
    }
    return {**record, "digest": record_digest(record)}


def _describe_body(body: Body, model: Model) -> dict[str, Any]:
    return {
        "name": body.name,
        "mass": body.inertial.mass,
        "com": body.inertial.com.tolist(),
        "inertia": body.inertial.inertia.tolist(),
        "bounds": body.bounds.tolist(),
        "parts": [
            {"name": part.name, "material": part.material.name, "surface": path}
            for owner, part, path in part_paths(model)
            if owner == body.name
        ],
        "hulls": [{"part": hull.part, "file": path} for owner, hull, path in hull_paths(model) if owner == body.name],
    }


def _describe_joint(joint: Joint) -> dict[str, Any]:
    return {
        "name": joint.name,
        "kind": joint.kind.value,
        "parent": joint.parent,
        "child": joint.child,
        "position": joint.X_PC.position.tolist(),
        "quaternion": joint.X_PC.quaternion.tolist(),
        "axis": joint.axis.tolist(),
        "lower": joint.lower,
        "upper": joint.upper,
    }


def _describe_rest(pose: RestPose) -> dict[str, Any]:
    return {
        "position": pose.X_WB.position.tolist(),
        "quaternion": pose.X_WB.quaternion.tolist(),
        "probability": pose.probability,
        "upright": pose.upright,
        "engines": list(pose.engines),
        "rolls": pose.rolls,
    }


def _describe_provenance(provenance: Provenance) -> dict[str, Any]:
    record = asdict(provenance)
    if provenance.origin is None:  # what was drawn has none, and says nothing of it
        del record["origin"]
    else:
        record["origin"]["altered"] = list(provenance.origin.altered)
    return record


def _restore_provenance(entry: dict[str, Any]) -> Provenance:
    origin = entry.get("origin")
    if origin is None:
        return Provenance(**entry)
    return Provenance(**{**entry, "origin": Origin(**{**origin, "altered": tuple(origin["altered"])})})


def record_digest(record: dict[str, Any]) -> str:
    """Return the SHA-256 that asset.json states of its own content."""
    return hashlib.sha256(json.dumps(record, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def read_obj(path: Path) -> Mesh:
    """Read an OBJ file as `write_obj` writes it, to the same doubles.

    Raises:
        AssetError: The file holds anything else.
    """
    text = path.read_text("ascii")
    lines, tokens = text.splitlines(), text.split()
    kinds = tokens[::4]
    vertices, normals, faces = (kinds.count(kind) for kind in ("v", "vn", "f"))
    in_order = ["v"] * vertices + ["vn"] * normals + ["f"] * faces
    fours = all(line.count(" ") == 3 for line in lines) and len(tokens) == 4 * len(lines)
    if kinds != in_order or not fours:
        wanted = zip(lines, [*in_order, ""], strict=False)
        stray = next(
            (line for line, kind in wanted if not line.startswith(f"{kind} ") or line.count(" ") != 3), lines[-1]
        )
        raise AssetError(f"{path}: {stray[:60]!r} is not a line that scenegen writes, or not in its place")
    del tokens[::4]
    first_normal, first_corner = 3 * vertices, 3 * (vertices + normals)
    corners = tokens[first_corner:]
    if normals:  # a corner is "vertex//normal", twice the same number
        corners = [corner.partition("/")[0] for corner in corners]
    return Mesh(
        np.array(tokens[:first_normal], np.float64).reshape(-1, 3),
        np.array(corners, np.int32).reshape(-1, 3) - 1,
        np.array(tokens[first_normal:first_corner], np.float64).reshape(-1, 3) if normals else None,
    )


def restore_asset(record: dict[str, Any], folder: Path) -> Asset:
    """Return the asset that asset.json and the meshes and volumes beside it describe."""
    materials = {
        name: Material(**{**entry, "base_color": tuple(entry["base_color"])})
        for name, entry in record["materials"].items()
    }
    listed = record["files"]
    model = record["model"]
    axis = record["symmetry_axis"]
    return Asset(
        model=Model(
            model["name"],
            tuple(_restore_body(entry, materials, listed, folder) for entry in model["bodies"]),
            tuple(_restore_joint(entry) for entry in model["joints"]),
        ),
        volumes=_restore_volumes(folder / VOLUME_NPZ, record["volume_count"]),
        family=record["family"],
        provenance=_restore_provenance(record["provenance"]),
        rest_poses=tuple(_restore_rest(entry) for entry in record["rest_poses"]),
        symmetry_axis=None if axis is None else (axis[0], axis[1], axis[2]),
        licence=record["licence"],
    )


def _restore_body(entry: dict[str, Any], materials: dict[str, Material], listed: dict[str, str], folder: Path) -> Body:
    for name in [part["surface"] for part in entry["parts"]] + [hull["file"] for hull in entry["hulls"]]:
        if name not in listed:
            raise AssetError(f"{folder / ASSET_JSON}: body {entry['name']!r} uses {name!r}, which has no hash")
    return Body(
        entry["name"],
        tuple(
            Part(part["name"], read_obj(folder / part["surface"]), materials[part["material"]])
            for part in entry["parts"]
        ),
        tuple(Hull(read_obj(folder / hull["file"]), hull["part"]) for hull in entry["hulls"]),
        MassProperties(entry["mass"], np.array(entry["com"]), np.array(entry["inertia"])),
    )


def _restore_joint(entry: dict[str, Any]) -> Joint:
    pose = Pose(np.array(entry["position"]), np.array(entry["quaternion"]))
    names = entry["name"], JointKind(entry["kind"]), entry["parent"], entry["child"]
    return Joint(*names, pose, np.array(entry["axis"]), entry["lower"], entry["upper"])


def _restore_rest(entry: dict[str, Any]) -> RestPose:
    pose = Pose(np.array(entry["position"]), np.array(entry["quaternion"]))
    return RestPose(pose, entry["probability"], entry["upright"], tuple(entry["engines"]), entry["rolls"])


def _restore_volumes(path: Path, count: int) -> tuple[SparseVolume, ...]:
    if not count:
        return ()
    with np.load(path, allow_pickle=False) as data:
        parts = [{name: data[f"part_{n:03d}_{name}"] for name in _VOLUME_ARRAYS} for n in range(count)]
    return tuple(
        SparseVolume(part["coords"], part["values"], float(part["voxel_size"]), tuple(part["origin"].tolist()))
        for part in parts
    )


_VOLUME_ARRAYS = ("coords", "values", "voxel_size", "origin")
