"""Simulation-ready objects and scenes at scale, with proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenegen.api import attach, generate, load_asset, load_asset_pybullet, load_scene, load_scene_pybullet, verify

__version__ = "0.1.0"

__all__ = ["attach", "generate", "load_asset", "load_asset_pybullet", "load_scene", "load_scene_pybullet", "verify"]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used (PEP 562), so that importing the package takes no time."""
    if name in __all__:
        from scenegen import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
