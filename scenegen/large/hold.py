"""How components are settled and judged, and the assets that they draw."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from physics.model import Model
from scenegen.large.heap import HeapConfig
from scenegen.large.heap_rest import HeapRestConfig
from scenegen.large.pool import read_asset, shell_points, shell_volume
from scenegen.scenes.place import PlaceConfig
from scenegen.scenes.scene import SceneAsset, SceneObject
from scenegen.scenes.settle import SettleConfig
from scenegen.scenes.verify import SceneCheckConfig


@dataclass(frozen=True, eq=False)
class HoldConfig:
    """How components are settled and judged."""

    root: str
    """Output folder of the run."""
    models: dict[str, Model]
    """Furniture by kind."""
    poured: tuple[str, ...] = ()
    """Folders of the assets that are poured."""
    poured_weights: Float64[np.ndarray, "P"] = field(default_factory=lambda: np.zeros(0))
    """Probability of each [1]."""
    carried: tuple[str, ...] = ()
    """Folders of the assets that stand on furniture."""
    carried_weights: Float64[np.ndarray, "C"] = field(default_factory=lambda: np.zeros(0))
    """Probability of each [1]."""
    ground: str = "concrete"
    """Material of the floor."""
    rounds: int = 8
    """Times that failing objects are replaced before the component is given up [1]."""
    relaxations: int = 4
    """Times that a component that creeps is judged again from where it has come [1]."""
    layer: int = 40
    """Objects that are poured at once, all of them free [1]; more are poured in layers, see `scenegen.large.heap`."""
    coarse_step: float = 2.0
    """Time step while objects are poured, over that of the verdict [1]."""
    place: PlaceConfig = field(default_factory=PlaceConfig)
    pour: SettleConfig = field(default_factory=lambda: SettleConfig(longest=6.0))
    heap: HeapConfig = field(default_factory=HeapConfig)
    """How more than `layer` objects are poured."""
    relax: SettleConfig = field(default_factory=lambda: SettleConfig(longest=4.0, quiet_time=0.3, quiet_speed=1e-3))
    """The rest of the way, with all furniture and at the step of the verdict."""
    heap_rest: HeapRestConfig = field(default_factory=HeapRestConfig)
    """The same of a heap."""
    heap_spare: float = 0.25
    """Share of a heap that is poured besides what is asked for, as far as there is room [1]: of 125 objects of 8
    hulls and more 20 % were taken out before all held."""
    checks: SceneCheckConfig = field(default_factory=SceneCheckConfig)


def draw_poured(config: HoldConfig, rng: np.random.Generator, room: float = np.inf) -> SceneAsset | None:
    """Return an asset to be poured whose convex hull takes at most `room` [m^3]; None where there is none."""
    weights = config.poured_weights * [
        shell_volume(read_asset(config.root, folder)) <= room for folder in config.poured
    ]
    if not weights.sum() > 0:
        return None
    return read_asset(config.root, config.poured[int(rng.choice(len(weights), p=weights / weights.sum()))])


def top_of(one: SceneObject) -> float:
    """Return the height of an object's highest point [m]."""
    return float(one.X_WB.apply(shell_points(one.asset))[:, 2].max())
