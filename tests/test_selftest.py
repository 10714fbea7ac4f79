"""The verifier on bodies whose verdict is known: mutants are refused by name, sound solids are accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from physics.check import Verdict
from physics.hulls import HullConfig
from physics.mutants import DENSITY, MUTANTS
from scenegen import cli
from scenegen.assets.build import SurfaceConfig
from scenegen.pipeline.stage import Finished, Item, Rejected, Rejection
from scenegen.selftest import SIZES, SOUND, Answer, SpecimenRequest, answer_of, confusion, make_specimen
from scenegen.verification import chain


def refusal(case: str, size: float) -> str:
    """The check that refuses a specimen before anything is dropped; empty where none does."""
    draft = make_specimen(SpecimenRequest("case", case, size, 0), SurfaceConfig())
    if not isinstance(draft, Rejection):
        draft = chain.cover(draft, HullConfig())
    return draft.reason if isinstance(draft, Rejection) else ""


@pytest.mark.parametrize("size", SIZES)
def test_every_mutant_is_refused_by_the_check_that_names_it(size: float) -> None:
    assert len(MUTANTS) >= 20
    for mutant in MUTANTS:
        assert refusal(mutant.name, size).partition(" ")[0] in mutant.checks, mutant.name


@pytest.mark.parametrize("case", [name for name in SOUND if name not in ("torus", "sphere", "hemisphere")])
def test_sound_solids_pass_geometry_mass_and_hulls(case: str) -> None:
    assert refusal(case, 0.1) == ""


def test_closed_forms_scale_with_the_size() -> None:
    for make in SOUND.values():
        solid = make()
        doubled = solid.sized(2 * float(solid.mesh.extents.max()))
        assert doubled.mass_properties(DENSITY).mass == pytest.approx(8 * DENSITY * solid.volume)
        assert doubled.inertia == pytest.approx(32 * solid.inertia)


def test_answers_are_counted_by_what_they_are_worth() -> None:
    rejection = Rejection("read", "I4 inertia", 0.1, 0.001, "1", "FAIL I4 inertia")
    sound, mutant = SpecimenRequest("a", "cube", 0.1, 0), SpecimenRequest("b", "inertia tenfold", 0.1, 0)
    named = answer_of(mutant, {"b": Rejected(Item("b", mutant), rejection, ())})
    misnamed = answer_of(mutant, {"b": Rejected(Item("b", mutant), replace(rejection, reason="G6 faces"), ())})
    false_fail = answer_of(sound, {"a": Rejected(Item("a", sound), rejection, ())})
    open_question = answer_of(sound, {"a": Rejected(Item("a", sound), replace(rejection, message="UNDECIDED D12"), ())})
    false_pass = Answer(mutant, "WARN", "", False)
    counted = confusion([named, misnamed, false_fail, open_question, false_pass, Answer(sound, "PASS", "", True)])
    assert [answer.right for answer in (named, misnamed, false_fail, open_question)] == [True, False, False, False]
    assert (counted.mutants_refused, counted.mutants_misnamed, counted.mutants_accepted) == (1, 1, 1)
    assert (counted.sound_accepted, counted.sound_refused, counted.sound_undecided) == (1, 1, 1)


def test_a_mutant_that_finishes_is_a_false_pass() -> None:
    certificate = SimpleNamespace(verdict=Verdict.PASS)
    request = SpecimenRequest("a", "debris", 0.1, 0)
    finished = Finished(Item("a", request), "", (), lambda: certificate)
    assert not answer_of(request, {"a": finished}).right


@pytest.mark.slow
def test_the_command_prints_and_saves_the_matrix(tmp_path: Path) -> None:
    command = ["selftest", "--out", str(tmp_path), "--size", "0.05", "--executor", "serial"]
    result = CliRunner().invoke(cli.app, command)
    record = json.loads((tmp_path / "selftest.json").read_text())
    assert "0 false passes, 0 false fails" in result.output
    assert record["confusion"]["mutants_accepted"] == 0 and record["confusion"]["broken"] == 0
    assert len(record["answers"]) == len(SOUND) + len(MUTANTS)
