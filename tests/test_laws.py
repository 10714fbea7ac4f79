"""Closed forms of contact: the engines show them at every size, and engines that are set wrongly do not."""

from __future__ import annotations

import json
import math
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from physics import laws
from physics.drop_mujoco import open_mujoco
from physics.drop_pybullet import PybulletConfig, open_pybullet
from physics.laws import LAWS, Law, Measurement
from physics.mujoco_spec import MujocoConfig
from scenegen.law_selftest import LawAnswer, LawRequest, measure_law
from scenegen.pipeline.codec import decode, encode
from scenegen.reports.selftest import print_laws, write_selftest

CASES = [(law, engine) for law in LAWS for engine in law.engines]
NAMES = [f"{law.name} in {engine}" for law, engine in CASES]


def find(name: str) -> Law:
    return next(law for law in LAWS if law.name == name)


@pytest.mark.parametrize(("law", "engine"), CASES, ids=NAMES)
@pytest.mark.parametrize("size", [0.002, 0.1])
def test_law_holds(law: Law, engine: str, size: float) -> None:
    measured = law.measure(engine, size)
    assert measured.holds, measured


@pytest.mark.slow
@pytest.mark.parametrize(("law", "engine"), CASES, ids=NAMES)
@pytest.mark.parametrize("size", [0.005, 0.01, 0.02, 0.05, 0.3, 1.0])
def test_law_holds_at_the_other_sizes(law: Law, engine: str, size: float) -> None:
    measured = law.measure(engine, size)
    assert measured.holds, measured


def test_contacts_too_soft_for_a_small_body_break_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    soft = MujocoConfig(contact_time_per_tau=math.inf)
    monkeypatch.setitem(laws.ENGINES, "mujoco", lambda world: open_mujoco(world, config=soft))
    assert not find("cube sinks in").measure("mujoco", 0.002).holds
    assert not find("cylinder tips").measure("mujoco", 0.002).holds


def test_margins_of_the_size_of_a_body_break_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    fat = PybulletConfig(margin_share=0.005, timestep_share=0.1)
    monkeypatch.setitem(laws.ENGINES, "pybullet", lambda world: open_pybullet(world, config=fat))
    broken = [law.name for law in LAWS if "pybullet" in law.engines and not law.measure("pybullet", 0.01).holds]
    assert broken


def test_an_engine_without_rebound_breaks_the_law_of_bouncing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laws, "open_pybullet", lambda world, config: open_pybullet(world))
    assert not find("sphere bounces").measure("pybullet", 0.1).holds


def test_what_cannot_be_measured_is_wrong_and_said(tmp_path: Path) -> None:
    refused = measure_law(LawRequest("law_0", "cube slides", "mujoco", 1e-5), None)
    assert "mujoco refuses" in refused.error and not refused.right
    value, arrays = encode(refused, LawAnswer)
    assert decode(value, arrays, LawAnswer).error == refused.error
    wrong = LawAnswer(LawRequest("law_1", "cube slides", "pybullet", 0.1), Measurement(2.0, 1.0, 0.5, "m/s^2"), "")
    right = LawAnswer(LawRequest("law_2", "cube slides", "pybullet", 0.2), Measurement(1.1, 1.0, 0.5, "m/s^2"), "")
    assert not wrong.right and right.right
    printed = StringIO()
    print_laws([refused, wrong, right], Console(file=printed, width=200))
    text = printed.getvalue()
    assert "0 of 1" in text and "1 of 2" in text and "100 mm" in text
    saved = json.loads(write_selftest([], [refused, wrong, right], tmp_path).read_text())
    assert [row["right"] for row in saved["laws"]] == [False, False, True] and saved["laws"][0]["measured"] is None
