"""Objects on a piece of furniture: put onto its boards at rest poses, apart from what stands there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from physics.pose import Pose
from scenegen.errors import SceneError
from scenegen.large.boards import find_boards
from scenegen.large.pool import shell_points
from scenegen.scenes.place import NoRoomError, PlaceConfig, place_at_rest
from scenegen.scenes.scene import SceneAsset, SceneObject
from scenegen.scenes.supports import Region

DRAWS = 6
"""Assets that are drawn, and then the smallest that are tried, before furniture counts as full [1]."""

MOST_TILT = float(np.deg2rad(0.5))
"""Furniture that leans more than this has tipped, if only against a wall [rad]."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Assets that may stand on furniture."""

    assets: tuple[SceneAsset, ...]
    weights: Float64[np.ndarray, "A"]
    """Probability of each [1]."""


@dataclass(frozen=True)
class Load:
    """How many objects a piece of furniture is to carry."""

    carrier: str
    """Name of the piece among the members of its component."""
    objects: int
    """Objects on it [1]."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the objects that it carries."""
        return tuple(f"{self.carrier}_on_{number:02d}" for number in range(self.objects))


def find_fallen(loads: Sequence[Load], objects: Sequence[SceneObject]) -> dict[str, str]:
    """Return furniture that has tipped, and what has left its boards, with the reason."""
    known = {one.name: one for one in objects}
    fallen: dict[str, str] = {}
    for load in loads:
        carrier = known[load.carrier]
        tilt = float(np.arccos(np.clip(carrier.X_WB.rotation[2, 2], -1, 1)))
        if not tilt <= MOST_TILT:  # negated, so that what is no number has tipped
            fallen[load.carrier] = f"tipped by {np.rad2deg(tilt):.3g} degrees"
        home, bounds = carrier.X_WB.inverse(), carrier.asset.model.root.bounds
        lowest = find_boards(carrier.asset)[0].centre[2]
        for name in load.names:
            com = home.compose(known[name].X_WB).apply(known[name].asset.model.root.inertial.com)
            over = (com[:2] >= bounds[0, :2]).all() and (com[:2] <= bounds[1, :2]).all()
            if not (over and com[2] >= lowest):
                fallen[name] = f"fell off {load.carrier}"
    return fallen


def put_on(
    carrier: SceneObject,
    names: Sequence[str],
    kept: Sequence[SceneObject],
    pool: Pool,
    rng: np.random.Generator,
    config: PlaceConfig,
) -> list[SceneObject]:
    """Return new objects on the boards of a piece of furniture.

    Args:
        carrier: The furniture, upright.
        names: Names of the new objects.
        kept: What stands on it already.
        pool: What is drawn from.
        rng: Draws rest poses, headings and places.
        config: Gaps and patience.

    Raises:
        SceneError: There is no room (says how many found some).
    """
    boards = find_boards(carrier.asset)
    home = carrier.X_WB.inverse()
    obstacles = [home.compose(one.X_WB).apply(shell_points(one.asset)) for one in kept]
    placed: list[SceneObject] = []
    for name in names:
        found = _find_place(boards, obstacles, pool, rng, config)
        if found is None:
            raise SceneError(
                f"{carrier.name} ({carrier.asset.model.name}): {len(kept) + len(names)} objects were to stand on it, "
                f"{len(kept) + len(placed)} found room; lower options.objects_per_furniture, or mix.largest"
            )
        asset, X_CB = found
        placed.append(SceneObject(name, asset, carrier.X_WB.compose(X_CB)))
        obstacles.append(X_CB.apply(shell_points(asset)))
    return placed


def _find_place(
    boards: Sequence[Region],
    obstacles: Sequence[np.ndarray],
    pool: Pool,
    rng: np.random.Generator,
    config: PlaceConfig,
) -> tuple[SceneAsset, Pose] | None:
    """Return an asset and its place in the frame of the furniture; the smallest are tried where no drawn one fits."""
    drawn = [pool.assets[int(number)] for number in rng.choice(len(pool.assets), size=DRAWS, p=pool.weights)]
    smallest = sorted(pool.assets, key=lambda asset: (asset.model.root.size, asset.asset_id))[:DRAWS]
    for asset in (*drawn, *smallest):
        try:
            (X_CB,) = place_at_rest(
                [(asset.model, asset.rest_poses)], boards, rng=rng, config=config, obstacles=obstacles
            )
        except NoRoomError:
            continue
        return asset, X_CB
    return None
