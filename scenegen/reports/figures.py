"""Pictures of a run: a sheet of its assets, and views of a scene with depth, segmentation and camera."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from physics.engine import State, World
from physics.model import Model
from scenegen.errors import ReportError
from scenegen.reports.picture import Picture
from scenegen.reports.render import (
    RenderConfig,
    contact_sheet,
    frame_camera,
    objects_of_world,
    render_model,
    render_world,
    save_png,
    world_bounds,
)

DIRECTIONS = (
    (0.95, -1.45, 0.95),
    (-1.35, -0.95, 0.70),
    (0.55, -0.95, 1.60),
    (-0.70, -0.75, 1.90),
    (-0.95, 1.45, 0.95),
    (0.20, -0.45, 2.20),
)
"""Directions from a scene towards its camera that are tried; the two that show most are taken."""

PREVIEW = (120, 80)
"""Columns and rows of the previews by which directions are judged [pixels]."""

MARGIN = 0.08
"""Space around the objects of a scene in its pictures, as a share of their extent [1]."""

DEPTH_LIMIT = 2**16 - 1
"""Largest depth that a 16-bit picture can hold [mm]; 0 stands for nothing seen."""


def write_asset_sheet(
    models: Sequence[Model], labels: Sequence[str], path: Path, *, columns: int = 6, size: int = 256
) -> Path:
    """Draw models side by side, upright, each with its label.

    Args:
        models: What to draw.
        labels: One line each.
        path: The PNG file.
        columns: Pictures in a row.
        size: Side of one picture [pixels].

    Raises:
        ReportError: There are no models, or another number of labels.
    """
    if not models:
        raise ReportError("a sheet of no assets cannot be drawn; the run has no certified asset")
    pictures = [render_model(model, width=size, height=size).color for model in models]
    return save_png(contact_sheet(pictures, labels, columns=columns), path)


def write_thumb_sheet(thumbs: Sequence[Path], labels: Sequence[str], path: Path, *, columns: int = 6) -> Path:
    """Put pictures that are there already side by side, each with its label.

    Args:
        thumbs: PNG files of one size.
        labels: One line each.
        path: The PNG file.
        columns: Pictures in a row.
    """
    from PIL import Image

    pictures = [np.asarray(Image.open(thumb).convert("RGB")) for thumb in thumbs]
    return save_png(contact_sheet(pictures, labels, columns=columns), path)


def write_scene_pictures(
    world: World,
    folder: Path,
    *,
    state: State | None = None,
    width: int = 960,
    height: int = 640,
    config: RenderConfig | None = None,
) -> tuple[Path, ...]:
    """Write colour, depth and segmentation of a scene from the two sides that show most, and one camera.json.

    Args:
        world: The scene.
        folder: Where the files go; made when it is not there.
        state: Poses of the free bodies; where they were put when not given.
        width: Columns [pixels].
        height: Rows [pixels].
        config: Samples and light.

    Returns:
        The files: `<view>_color.png`, `<view>_depth.png` (16 bit, millimetres along the camera's axis, 0 for nothing),
        `<view>_segmentation.png` (index into the names of camera.json), `camera.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    cameras = {}
    bounds = _stage_bounds(world, state)
    for view, direction in zip(("first", "second"), _best_directions(world, state, bounds), strict=True):
        camera = frame_camera(bounds, direction=direction, width=width, height=height)
        picture = render_world(world, state, camera=camera, config=config)
        files.append(save_png(picture.color, folder / f"{view}_color.png"))
        files.append(save_png(depth_image(picture), folder / f"{view}_depth.png"))
        files.append(save_png(_labels(picture), folder / f"{view}_segmentation.png"))
        cameras[view] = describe_camera(picture)
    target = folder / "camera.json"
    target.write_text(json.dumps(cameras, indent=1, allow_nan=False) + "\n")
    return (*files, target)


def _stage_bounds(world: World, state: State | None) -> np.ndarray:
    """Return the box around the free objects, with some of what carries them; all of a world without any (2, 3) [m]."""
    free = {placement.name for placement in world.placements if not placement.fixed}
    everything = objects_of_world(world, state)
    bounds = world_bounds([item for item in everything if item.name in free] or everything)
    margin = MARGIN * float(np.ptp(bounds, axis=0).max())
    return bounds + np.array([[-margin], [margin]])


def _best_directions(
    world: World, state: State | None, bounds: np.ndarray
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the two directions from which most objects, then most of them, can be seen (walls may hide them)."""
    free = {placement.name for placement in world.placements if not placement.fixed}
    width, height = PREVIEW
    plain = RenderConfig(supersampling=1, sun_samples=1, dome_samples=1, smooth_passes=0)
    seen = []
    for number, direction in enumerate(DIRECTIONS):
        camera = frame_camera(bounds, direction=direction, width=width, height=height)
        picture = render_world(world, state, camera=camera, config=plain)
        labels, counts = np.unique(picture.segmentation, return_counts=True)
        shown = [count for label, count in zip(labels, counts, strict=True) if picture.names[label] in free]
        # A few pixels are no view of an object: each counts up to a share of the picture.
        enough = width * height / 500
        seen.append((-sum(min(count / enough, 1.0) for count in shown), number))
    first, second = sorted(seen)[:2]
    return DIRECTIONS[first[1]], DIRECTIONS[second[1]]


def depth_image(picture: Picture) -> np.ndarray:
    """Return depth as 16-bit millimetres; what is farther than 65.535 m, or nothing at all, is 0."""
    millimetres = np.where(np.isfinite(picture.depth), np.round(picture.depth.astype(np.float64) * 1000), 0.0)
    return np.where(millimetres > DEPTH_LIMIT, 0.0, millimetres).astype(np.uint16)


def describe_camera(picture: Picture) -> dict[str, object]:
    """Return intrinsics, pose and names of one picture for camera.json."""
    camera = picture.camera
    return {
        "width": camera.width,
        "height": camera.height,
        "intrinsics": camera.intrinsics.tolist(),
        "position": camera.X_WC.position.tolist(),
        "quaternion_wxyz": camera.X_WC.quaternion.tolist(),
        "convention": "x right, y down, z forward; pixel (0, 0) spans columns 0 to 1; metres, pixels",
        "depth_unit": "mm",
        "names": list(picture.names),
    }


def _labels(picture: Picture) -> np.ndarray:
    if len(picture.names) > 2**16:
        raise ReportError(f"a segmentation of {len(picture.names)} names does not fit 16 bits")
    return picture.segmentation.astype(np.uint8 if len(picture.names) <= 256 else np.uint16)
