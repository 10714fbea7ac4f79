"""Output folders of verifications whose results are known, without running an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from physics import truth
from physics.check import Check
from physics.floors import REFERENCE_MATERIAL, convex_body
from physics.model import Model
from scenegen.assets.build import AssetRequest, Draft
from scenegen.assets.certificate import Certificate, DropSummary
from scenegen.pipeline.store import Store
from scenegen.run import STORE
from scenegen.verification.evidence import write_evidence
from scenegen.verification.request import VerifyOptions
from scenegen.verification.verified import VerifiedFile

HOSTILE = "<img src=x onerror=alert(1)><script>\u2028.stl"
"""A file name that would run, were it taken for markup."""


def checks(value: float, *, undecided: bool = False) -> tuple[Check, ...]:
    return (
        Check("G2", "edges without exactly 2 faces", 0.0, "1", 0.0, body="box"),
        Check("H4", "largest distance over L", value, "1", 0.03, warn=0.02, body="box", fix="make finer hulls"),
        Check("D4", "rest penetration over l", float("nan") if undecided else 0.001, "1", 0.01, engine="mujoco"),
        Check("D12", "rest poses of mujoco hold", 1e-5, "1", 1e-3, engine="pybullet", undecided=undecided),
    )


def certificate(value: float, *, undecided: bool = False) -> Certificate:
    drops = tuple(
        DropSummary(engine, "upright", "rested", seconds, 1e-5, 1e-6, 0.0, 500)
        for engine, seconds in (("mujoco", 0.1 + value), ("pybullet", 0.1 + 2 * value))
    )
    return Certificate(
        asset_id="0" * 32,
        engines=(("mujoco", "4.0.0"), ("pybullet", "3.2.7")),
        bodies=("box",),
        checks=checks(value, undecided=undecided),
        drops=drops,
    )


def make_folder(out: Path, *, count: int = 4, with_shape: int = 2) -> list[VerifiedFile]:
    """Write a verification of `count` files, of which the first ones have a shape."""
    store = Store(out / STORE)
    body = convex_body("box", truth.box((0.1, 0.06, 0.03)).mesh.translated(np.array([0, 0, 0.015])), REFERENCE_MATERIAL)
    draft = store.put(Draft(AssetRequest("asset_00000", 0, "box"), None, model=Model("box", (body,))), Draft)
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        name = HOSTILE if number == 0 else f"part_{number:04d}.stl"
        value = float(rng.uniform(0.0, 0.04))
        held = None if number % 10 == 3 else certificate(value, undecided=number % 10 == 2)
        reason = "" if held else "the file is empty"
        file = VerifiedFile(Path("/data") / name, held, reason)
        found.append(replace(file, draft=draft) if number < with_shape else file)
    write_evidence(found, VerifyOptions(units="m"), out)
    return found
