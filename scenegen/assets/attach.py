"""Putting an asset into a user's own MuJoCo specification."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from physics.mesh_io import write_obj
from physics.model import Model
from physics.pose import Pose
from scenegen.assets.asset import Asset, check_name
from scenegen.assets.export_mjcf import mjcf_bytes
from scenegen.assets.layout import hull_paths, part_paths
from scenegen.errors import AssetError


def attach(spec: Any, asset: Asset | Model, prefix: str, *, X_WB: Pose | None = None) -> Any:
    """Add an asset to a `mujoco.MjSpec` as a free body with explicit inertials.

    The specification keeps its own options: integrator, cone and time step of the verification are not carried over.

    Args:
        spec: The user's specification.
        asset: What to add.
        prefix: Put before every name of the asset, such as "left_mug_"; different for each asset that is attached.
        X_WB: Where to put it; standing at the origin when not given.

    Returns:
        The root body in the specification; its name is the prefix and the name of the model's root.

    Raises:
        AssetError: The prefix is no name, or is taken.
    """
    import mujoco

    check_name(prefix)
    model = asset.model if isinstance(asset, Asset) else asset
    name = f"{prefix}{model.root.name}"
    if spec.body(name) is not None:
        raise AssetError(f"the specification already has a body {name!r}; choose another prefix")
    # Files of different assets have the same names; the specification knows them by name only.
    assets = {f"{prefix}/{path}": data for path, data in _mesh_files(model).items()}
    child = mujoco.MjSpec.from_string(mjcf_bytes(model, options=False).decode())  # pyright: ignore[reportAttributeAccessIssue]
    for mesh in child.meshes:
        mesh.file = f"{prefix}/{mesh.file}"
    child.assets = assets
    pose = X_WB or Pose.identity()
    frame = spec.worldbody.add_frame(pos=pose.position, quat=pose.quaternion)
    spec.attach(child, prefix=prefix, frame=frame)
    spec.assets = {**spec.assets, **assets}
    return spec.body(name)


def _mesh_files(model: Model) -> dict[str, bytes]:
    files = {path: part.surface for _, part, path in part_paths(model)}
    files |= {path: hull.mesh for _, hull, path in hull_paths(model)}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "mesh.obj"
        contents = {}
        for path, mesh in files.items():
            write_obj(mesh, target)
            contents[path] = target.read_bytes()
    return contents
