"""The certificate: all evidence about one asset, and the verdict that follows from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from physics.check import SEVERITY, Check, Verdict, overall_verdict
from physics.drop_record import DropRecord
from physics.floors import EngineFloors
from scenegen.assets.asset import Asset
from scenegen.errors import AssetError, CodecError
from scenegen.pipeline.codec import decode, encode

if TYPE_CHECKING:
    from scenegen.assets.build import Draft

CHECKS_VERSION = "5"
"""Version of the checks: raised when a check, its limit's meaning or the required set changes."""

REQUIRED_ENGINES = ("mujoco", "pybullet")
"""Engines that must both have judged an asset."""

GEOMETRY_CHECKS = (*(f"G{n}" for n in range(1, 8)), *(f"I{n}" for n in range(1, 5)), *(f"H{n}" for n in range(1, 8)))
"""Checks that every body of an asset needs."""

ENGINE_CHECKS = ("I5", *(f"D{n}" for n in range(1, 12)), "D14")
"""Checks that are needed once in each required engine."""

REQUIRED_CHECKS = (*GEOMETRY_CHECKS, *ENGINE_CHECKS, "D12")
"""Checks without which an asset is never PASS."""


@dataclass(frozen=True)
class DropSummary:
    """One drop in a few numbers."""

    engine: str
    name: str
    """Name of the start."""
    outcome: str
    settle_seconds: float
    """Time from contact to rest [s]."""
    penetration: float
    """Rest depth [m]."""
    creep_position: float
    """Displacement while it should stand [m]."""
    rest_angle: float
    """Angle to the nearest stable pose [rad]."""
    steps: int
    """Engine steps [1]."""


@dataclass(frozen=True)
class FloorSummary:
    """What perfect solids of one size show in one engine."""

    engine: str
    engine_version: str
    size: float
    """Largest extent of the reference solid [m]."""
    penetration: float
    """Rest penetration [m]."""
    jitter_position: float
    """RMS of the position at rest [m]."""
    jitter_angle: float
    """RMS of the rotation at rest [rad]."""
    creep_position: float
    """Displacement while it should stand [m]."""
    creep_angle: float
    """Change of tilt while it should stand [rad]."""


@dataclass(frozen=True)
class Certificate:
    """Evidence about one asset, by one version of the checks in named versions of the engines."""

    asset_id: str
    engines: tuple[tuple[str, str], ...]
    """Name and version of each engine that judged the asset."""
    bodies: tuple[str, ...]
    """Bodies of the asset, each of which needs evidence."""
    checks: tuple[Check, ...]
    fallbacks: tuple[str, ...] = ()
    """Degraded steps; with any, the verdict is at best WARN."""
    notes: tuple[str, ...] = ()
    """Steps that took another way to the same limits, and what an engine cannot represent."""
    floors: tuple[FloorSummary, ...] = ()
    """What perfect solids show in these engines."""
    drops: tuple[DropSummary, ...] = ()
    checks_version: str = CHECKS_VERSION

    @property
    def missing(self) -> tuple[str, ...]:
        """Evidence that must be there and is not, such as "G3 [handle]" or "D6 [pybullet]"."""
        present = {check.id for check in self.checks}
        lacking = [identifier for identifier in REQUIRED_CHECKS if identifier not in present]
        lacking += [f"engine {name}" for name in REQUIRED_ENGINES if name not in dict(self.engines)]
        for identifier in (*ENGINE_CHECKS, *GEOMETRY_CHECKS):
            held = [check for check in self.checks if check.id == identifier]
            if identifier in ENGINE_CHECKS and held:
                engines = {check.engine for check in held}
                lacking += [f"{identifier} [{name}]" for name in REQUIRED_ENGINES if name not in engines]
            if identifier in GEOMETRY_CHECKS and held and len(self.bodies) > 1:
                seen = {check.body.partition("/")[0] for check in held}
                lacking += [f"{identifier} [{name}]" for name in self.bodies if name not in seen]
        return tuple(lacking)

    @property
    def verdict(self) -> Verdict:
        """Worst verdict of the checks; with a fallback at best WARN, with missing evidence at best UNDECIDED."""
        verdict = overall_verdict(self.checks, REQUIRED_CHECKS)
        if self.fallbacks:
            verdict = max(verdict, Verdict.WARN, key=SEVERITY.index)
        return max(verdict, Verdict.UNDECIDED, key=SEVERITY.index) if self.missing else verdict

    @property
    def file_name(self) -> str:
        """Name of the file beside the asset: version of the checks and of the engines."""
        engines = "_".join(f"{name}-{version}" for name, version in self.engines)
        # Evidence under other limits must not take the place of evidence under the published ones.
        limits = f"-{hashlib.sha256(repr(self.fallbacks).encode()).hexdigest()[:8]}" if self.fallbacks else ""
        return f"certificate_v{self.checks_version}{limits}_{re.sub('[^A-Za-z0-9._+-]', '-', engines)}.json"


def certify(asset: Asset, draft: Draft, *, floors: Sequence[EngineFloors] = ()) -> Certificate:
    """Return the certificate of an asset from everything that its draft went through."""
    return make_certificate(
        asset, draft.checks, draft.drops, fallbacks=draft.fallbacks, notes=draft.notes, floors=floors
    )


def make_certificate(
    asset: Asset,
    checks: Sequence[Check],
    drops: Sequence[DropRecord],
    *,
    fallbacks: Sequence[str] = (),
    notes: Sequence[str] = (),
    floors: Sequence[EngineFloors] = (),
) -> Certificate:
    """Return the certificate of an asset.

    Args:
        asset: The asset that was judged.
        checks: All evidence, the checks of the drops included or not: those of `drops` are added where they lack.
        drops: Drop records, one an engine.
        fallbacks: Degraded steps.
        notes: Other ways that were taken.
        floors: What perfect solids show in the engines.
    """
    held = list(checks)
    held += [check for record in drops for check in record.checks if check not in held]
    return Certificate(
        asset_id=asset.asset_id,
        engines=tuple((record.engine, record.engine_version) for record in drops),
        bodies=tuple(body.name for body in asset.model.bodies),
        checks=tuple(held),
        fallbacks=tuple(fallbacks),
        notes=tuple(notes),
        floors=floor_rows(floors),
        drops=drop_rows(drops),
    )


def certificate_bytes(certificate: Certificate) -> bytes:
    """Return a certificate as json that people can read: the verdict first, a digest of all the rest last."""
    value, _ = encode(certificate, Certificate)
    head = {"verdict": certificate.verdict.value, "missing": list(certificate.missing)}
    body = {**head, **value}
    body["checks"] = [
        {"verdict": check.verdict.value, **row} for check, row in zip(certificate.checks, value["checks"], strict=True)
    ]
    body["digest"] = _digest(body)
    return (json.dumps(body, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()


def load_certificate(path: Path) -> Certificate:
    """Read a certificate; its verdict is computed anew from its checks.

    Raises:
        AssetError: The file is missing or damaged, or its stated verdict does not follow from its checks.
    """
    try:
        body = json.loads(path.read_bytes())
        stated = body.pop("verdict")
        digest = body.pop("digest")
        missing = body.pop("missing")
        if digest != _digest({"verdict": stated, "missing": missing, **body}):
            raise AssetError(f"{path}: its content does not have the digest that it states; restore it or certify anew")
        for row in body["checks"]:
            row.pop("verdict")
        certificate = decode(body, [], Certificate)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, CodecError) as error:
        raise AssetError(f"{path}: not a certificate: {error}") from error
    if certificate.verdict.value != stated:
        raise AssetError(f"{path}: states {stated}, but its checks give {certificate.verdict}; certify the asset anew")
    return certificate


def _digest(body: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def floor_rows(floors: Sequence[EngineFloors]) -> tuple[FloorSummary, ...]:
    """Return one row for each engine and size of reference solids."""
    names = [field.name for field in fields(FloorSummary)[3:]]
    return tuple(
        FloorSummary(
            entry.engine,
            entry.engine_version,
            float(size),
            **{name: float(getattr(entry, name)[row]) for name in names},
        )
        for entry in floors
        for row, size in enumerate(entry.sizes)
    )


def drop_rows(drops: Sequence[DropRecord]) -> tuple[DropSummary, ...]:
    """Return one row for each drop, those at half the time step after the others of their engine."""
    return tuple(
        DropSummary(
            record.engine,
            drop.name,
            str(drop.outcome),
            drop.settle_seconds,
            drop.penetration,
            drop.creep_position,
            drop.rest_angle,
            drop.steps,
        )
        for record in drops
        for drop in (*record.drops, *record.repeats)
    )
