"""Show an asset or a scene: MuJoCo's viewer where there is a display, a picture elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from scenegen.errors import ReportError

PICTURE_SIZE = (960, 720)
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
    from mujoco import MjModel  # pyright: ignore[reportAttributeAccessIssue]

    try:
        model = MjModel.from_xml_path(str(model_file))
    except ValueError as error:
        raise ReportError(f"{model_file} does not load in MuJoCo: {error}") from error
    mujoco.viewer.launch(model)
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
    raise ReportError(f"cannot draw {model_file}: there is no display, and no software renderer yet")
