"""The numbers of a scene for report.json, the table of scenes, and its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from physics.check import Check
from scenegen.reports.placed_asset import PlacedAsset
from scenegen.reports.report_entry import describe_check, finite
from scenegen.reports.scene_entry import PoseTable, SceneEntry, closest_check, share_of_limit


def scene_row(entry: SceneEntry, placed: Mapping[str, PlacedAsset]) -> dict[str, Any]:
    """Return the facts of a scene; what is not known, or makes no sense for it, is null.

    Args:
        entry: The scene.
        placed: Assets that the report has a page for, by content.
    """
    poses, counts = entry.poses, entry.counts
    closest = closest_check(entry.checks)
    return {
        "name": entry.name,
        "layout": entry.layout,
        "status": entry.status,
        "accepted": entry.accepted,
        "state": entry.state,
        "worst": entry.worst,
        "asked": entry.asked,
        "objects": None if poses is None else len(poses.names),
        "assets": None if poses is None else len(set(poses.asset_ids)),
        "geoms": entry.geoms,
        "furniture": entry.pieces,
        **_components(entry.counts, poses),
        "sampled": None if counts is None else counts["sampled"],
        "stances": None if counts is None else counts["stances"],
        **_contents(poses, placed),
        "replaced": list(entry.replaced),
        "merged": list(entry.merged),
        "closest": None if closest is None else _closest(closest),
        "checks": [describe_check(check) for check in entry.checks],
        "engines": [f"{name} {version}" for name, version in entry.engines],
        "ground": entry.ground,
        "seed": entry.seed,
        "notes": list(entry.notes),
        "folder": entry.folder,
    }


def _components(counts: Mapping[str, int] | None, poses: PoseTable | None) -> dict[str, Any]:
    """Return who touches whom; only scenes that were judged by components know."""
    names = ("alone", "in_components", "components", "largest_component")
    if counts is None or poses is None:
        return {**dict.fromkeys(names), "touching_share": None, "component_sizes": []}
    touching = counts.get("touching")  # scenes of before did not count it
    return {
        **{name: counts[name] for name in names},
        "touching_share": None if touching is None else touching / max(len(poses.names), 1),
        "component_sizes": [{"size": size, "count": count} for size, count in poses.component_sizes.items()],
    }


def _contents(poses: PoseTable | None, placed: Mapping[str, PlacedAsset]) -> dict[str, Any]:
    """Return what the objects are and are made of, as far as the report knows their assets."""
    if poses is None:
        return {"mass_kg": None, "families": {}, "materials": {}, "unlisted": 0}
    known = Counter(asset for asset in poses.asset_ids if asset in placed)
    unlisted = len(poses.names) - sum(known.values())
    materials: Counter[str] = Counter()
    for asset, count in known.items():
        materials.update(dict.fromkeys(placed[asset].materials, count))
    mass = sum(placed[asset].mass * count for asset, count in sorted(known.items()))
    return {
        "mass_kg": None if unlisted else finite(mass),
        "families": _ranked(Counter(poses.families)),
        "materials": _ranked(materials),
        "unlisted": unlisted,
    }


def _ranked(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts with the largest first, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _closest(check: Check) -> dict[str, Any]:
    """Return the check that came closest to its limit; its share is null where nothing at all is allowed."""
    share = share_of_limit(check)
    return {**describe_check(check), "share": finite(share)}
