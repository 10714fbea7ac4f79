"""A pinhole camera without distortion, and how to place one so that a box fills the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.pose import Pose, frozen
from scenegen.errors import ReportError


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera at a place in the world. Its frame C has x to the right, y down and z forward (as in OpenCV)."""

    position: Float64[np.ndarray, "3"]
    """Centre of projection in W [m]."""
    target: Float64[np.ndarray, "3"]
    """Point in W in the middle of the picture [m]."""
    width: int
    """Columns [pixels]."""
    height: int
    """Rows [pixels]."""
    vertical_fov: float = np.radians(30.0)
    """Angle between the lower and the upper edge of the picture [rad]."""
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """Direction in W that is up in the picture [1]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", frozen(self.position))
        object.__setattr__(self, "target", frozen(self.target))
        if self.width < 1 or self.height < 1 or not 0 < self.vertical_fov < np.pi:
            raise ReportError(
                f"a camera of {self.width} x {self.height} pixels and {self.vertical_fov:g} rad sees nothing; "
                "expected at least one pixel and an angle between 0 and pi"
            )
        if np.linalg.norm(np.cross(self.target - self.position, self.up)) < 1e-12:
            raise ReportError(f"camera at {self.position} m looks along its up direction {self.up}; choose another up")

    @property
    def X_WC(self) -> Pose:
        """Pose of the camera frame in W."""
        forward = self.target - self.position
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right = right / np.linalg.norm(right)
        return Pose.from_matrix(np.stack([right, np.cross(forward, right), forward], axis=1), self.position)

    @property
    def intrinsics(self) -> Float64[np.ndarray, "3 3"]:
        """K [pixels]: point (x, y, z) of C is seen at column K00 x/z + K02; the first pixel spans columns 0 to 1."""
        focal = self.height / 2 / np.tan(self.vertical_fov / 2)
        return np.array([[focal, 0.0, self.width / 2], [0.0, focal, self.height / 2], [0.0, 0.0, 1.0]])


def frame_camera(
    bounds: np.ndarray,
    *,
    direction: tuple[float, float, float] = (1.0, -1.35, 0.85),
    width: int = 256,
    height: int = 256,
    vertical_fov: float = np.radians(28.0),
    margin: float = 1.12,
) -> Camera:
    """Return a camera that sees a box whole and as large as possible.

    Args:
        bounds: Smallest and largest corner of the box in W (2, 3) [m].
        direction: From the box towards the camera, any length.
        width: Columns [pixels].
        height: Rows [pixels].
        vertical_fov: Angle between the lower and the upper edge [rad].
        margin: Size of the picture over the size of the box in it [1].
    """
    bounds = np.asarray(bounds, dtype=np.float64)
    corners = np.array([[bounds[i, 0], bounds[j, 1], bounds[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    back = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    centre = bounds.mean(axis=0)
    size = max(float(np.linalg.norm(np.ptp(bounds, axis=0))), 1e-9)
    half_y = np.tan(vertical_fov / 2) / margin
    half_x = half_y * width / height
    distance = size
    for _ in range(3):  # aim at the middle of what is seen, then step back until all of it is
        probe = Camera(centre + back * size, centre, width, height, vertical_fov)
        rotation = probe.X_WC.rotation
        local = (corners - centre) @ rotation
        # A corner (x, y, z), z forward from the target, is inside when |x| <= half_x (distance + z).
        distance = max(
            float((np.abs(local[:, 0]) / half_x - local[:, 2]).max()),
            float((np.abs(local[:, 1]) / half_y - local[:, 2]).max()),
        )
        seen = local[:, :2] / (local[:, 2:] + distance)
        middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
        centre = centre + rotation[:, :2] @ (middle * distance)
    return Camera(centre + back * distance * 1.002, centre, width, height, vertical_fov)
