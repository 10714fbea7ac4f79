"""Parts of one body: overlapping and separated parts are caught, fitting ones pass."""

import numpy as np
import pytest

from physics.check import Verdict
from physics.materials import find_material
from physics.model import Body, Part
from physics.part_fit import check_part_fit
from scenegen.scenes.supports import make_box

OAK = find_material("oak")


def _verdicts(x):
    first = Part("first", make_box((0, 0, 0), (0.1, 0.1, 0.1)), OAK)
    second = Part("second", make_box((x, 0, 0), (x + 0.1, 0.1, 0.1)), OAK)
    return {check.id: check for check in check_part_fit(Body("pair", (first, second)))}


def test_parts_that_share_a_face_pass():
    assert {check.verdict for check in _verdicts(0.1).values()} == {Verdict.PASS}


def test_overlap_is_measured_and_fails():
    checks = _verdicts(0.05)
    assert checks["G4"].verdict is Verdict.FAIL
    assert checks["G4"].value == pytest.approx(1 / 3)


def test_parts_that_lie_apart_fail():
    checks = _verdicts(0.13)
    assert checks["G5"].verdict is Verdict.FAIL and checks["G5"].value == 2
    assert np.isclose(checks["G4"].value, 0.0)


def test_one_part_needs_no_fit():
    assert check_part_fit(Body("single", (Part("only", make_box((0, 0, 0), (1, 1, 1)), OAK),))) == ()
