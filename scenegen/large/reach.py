"""Where an object is known to be, and whether two objects could touch: what does not touch does not interact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.pose import Pose
from scenegen.large.pool import shell_points
from scenegen.scenes.place import footprint, separated
from scenegen.scenes.scene import SceneAsset


@dataclass(frozen=True, eq=False)
class Reach:
    """The space that an object does not leave."""

    box: Float64[np.ndarray, "2 3"]
    """Box that holds it at all times [m]."""
    outline: Float64[np.ndarray, "K 2"]
    """Its convex outline from above, at rest [m]."""
    growth: float
    """How far it may leave that outline [m]."""

    def grown(self, by: float) -> Reach:
        """Return the reach of an object that may go farther [m]."""
        return Reach(self.box + np.array([[-by], [by]]), self.outline, self.growth + by)


def reach_at(asset: SceneAsset, X_WB: Pose, swept: np.ndarray | None = None) -> Reach:
    """Return the reach of an object at rest; `swept` is the box (2, 3) that it needed while it was verified."""
    points = X_WB.apply(shell_points(asset))
    box = np.stack([points.min(axis=0), points.max(axis=0)])
    if swept is None:
        return Reach(box, footprint(points), 0.0)
    growth = float(max((box[0] - swept[0]).max(), (swept[1] - box[1]).max(), 0.0))
    return Reach(np.stack([np.minimum(box[0], swept[0]), np.maximum(box[1], swept[1])]), footprint(points), growth)


def may_touch(a: Reach, b: Reach, margin: float) -> bool:
    """Return whether two objects come closer than `margin`, seen from above and from the side; never False wrongly."""
    if (a.box[0] > b.box[1] + margin).any() or (b.box[0] > a.box[1] + margin).any():
        return False
    return not separated(a.outline, b.outline, margin + a.growth + b.growth)
