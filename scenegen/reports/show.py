"""Show an asset or a scene: MuJoCo's viewer where there is a display, a picture elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics.mesh import Mesh
from physics.pose import Pose
from scenegen.errors import ReportError
from scenegen.scenes.supports import make_box

if TYPE_CHECKING:
    from scenegen.reports.render import RenderObject

PICTURE_SIZE = (640, 480)
"""Width and height of the picture [pixel]."""


def show_model(path: Path, *, picture: bool = False) -> Path | None:
    """Open the viewer and wait until it is closed, or write a picture.

    Args:
        path: Folder of an asset or a scene, or an MJCF file.
        picture: Write a picture even where there is a display.

    Returns:
        The picture, or None after the viewer.

    Raises:
        ReportError: There is nothing to show, or it does not load.
    """
    model_file = find_model(path)
    if picture or not has_display():
        return _picture(model_file)
    import mujoco.viewer

    mujoco.viewer.launch(_load(model_file))
    return None


def has_display() -> bool:
    """Return whether a window can be opened here."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def find_model(path: Path) -> Path:
    """Return the MJCF file of an asset or a scene.

    Raises:
        ReportError: There is none, or more than one.
    """
    if not path.exists():
        raise ReportError(f"{path} is not there; give the folder of an asset or a scene, or an MJCF file")
    if path.is_file():
        if path.suffix != ".xml":
            raise ReportError(f"{path} is not an MJCF file (*.xml); give the folder of an asset or a scene")
        return path
    named = path / "scene.xml"
    found = [named] if named.exists() else sorted(path.glob("*.xml"))
    if len(found) != 1:
        inner = sorted(
            {str(file.parent) for file in path.glob("*/*/*.xml")} | {str(f.parent) for f in path.glob("*/*.xml")}
        )
        hint = f", for example {inner[0]}" if inner else ""
        raise ReportError(
            f"{path} holds {len(found)} MJCF files, expected one; give the folder of an asset or a scene{hint}"
        )
    return found[0]


def _picture(model_file: Path) -> Path:
    """Draw a model as it starts, and write the picture into the current folder, beside nothing that is certified."""
    from scenegen.reports.camera import frame_camera
    from scenegen.reports.picture import save_png
    from scenegen.reports.render import RenderConfig, render, world_bounds

    objects = _surfaces(_load(model_file))
    if not objects:
        raise ReportError(f"{model_file} holds no surface to draw")
    bounds = world_bounds(objects)
    width, height = PICTURE_SIZE
    config = RenderConfig(ground_height=float(bounds[0, 2]))
    picture = render(objects, frame_camera(bounds, width=width, height=height), config=config)
    return save_png(picture.color, Path.cwd() / f"{model_file.resolve().parent.name}_{model_file.stem}.png")


def _load(model_file: Path) -> Any:
    from mujoco import MjModel  # pyright: ignore[reportAttributeAccessIssue]

    try:
        return MjModel.from_xml_path(str(model_file.resolve()))
    except ValueError as error:
        raise ReportError(f"{model_file} does not load in MuJoCo: {error}") from error


def _surfaces(model: Any) -> list[RenderObject]:
    """Return the visual geoms of a compiled model where they start; all geoms where none is only visual."""
    import mujoco

    from scenegen.reports.render import RenderObject

    data = mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]
    mujoco.mj_forward(model, data)  # pyright: ignore[reportAttributeAccessIssue]
    drawn = [g for g in range(model.ngeom) if not (model.geom_contype[g] or model.geom_conaffinity[g])]
    objects = []
    for geom in drawn or range(model.ngeom):
        mesh = _geom_mesh(model, geom)
        if mesh is not None:
            pose = Pose.from_matrix(data.geom_xmat[geom].reshape(3, 3), data.geom_xpos[geom])
            material = model.geom_matid[geom]
            rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
            body = model.body(model.geom_bodyid[geom]).name or "world"
            objects.append(RenderObject(mesh, pose, (float(rgba[0]), float(rgba[1]), float(rgba[2])), name=body))
    return objects


def _geom_mesh(model: Any, geom: int) -> Mesh | None:
    """Return the surface of a mesh or box geom in its own frame; None for anything else, such as the ground."""
    from mujoco import mjtGeom  # pyright: ignore[reportAttributeAccessIssue]

    if model.geom_type[geom] == mjtGeom.mjGEOM_BOX:
        return make_box(tuple(-model.geom_size[geom]), tuple(model.geom_size[geom]))
    if model.geom_type[geom] != mjtGeom.mjGEOM_MESH:
        return None
    mesh = model.geom_dataid[geom]
    vertices = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
    return Mesh(vertices, model.mesh_face[model.mesh_faceadr[mesh] :][: model.mesh_facenum[mesh]])
