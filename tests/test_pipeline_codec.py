"""Round trips of records, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float64

from physics.mass import MassProperties
from physics.materials import Material
from physics.mesh import Mesh
from physics.model import Body, Hull, Joint, JointKind, Model, Part
from physics.pose import Pose
from scenegen.errors import CodecError
from scenegen.pipeline.codec import array_bytes, decode, dump_json, encode, record_digest, schema_digest


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Ball:
    radius: float


@dataclass(frozen=True)
class Box:
    sides: tuple[float, float, float]


@dataclass(frozen=True)
class Large(Ball):
    extra: int = 3


@dataclass(frozen=True, eq=False)
class Everything:
    number: float
    count: int
    flag: bool
    text: str
    colour: Colour
    mode: Literal["a", "b"]
    shape: Ball | Box
    shapes: tuple[Ball | Box, ...] = ()
    maybe: Ball | None = None
    table: dict[str, float] = field(default_factory=dict)
    points: Float64[np.ndarray, "N 3"] | None = None
    scalar: int | float | str | None = None


def round_trip(record, hint=None):
    hint = hint or type(record)
    value, arrays = encode(record, hint)
    return decode(json.loads(dump_json(value)), arrays, hint)


def everything(**changes) -> Everything:
    values = {"number": 0.1, "count": 3, "flag": True, "text": "ä\n", "colour": Colour.RED, "mode": "b"}
    values["shape"] = Box((1, 2, 3))
    return Everything(**(values | changes))


def test_every_kind_of_field_comes_back():
    record = everything(
        shapes=(Ball(1.0), Box((0.1, 0.2, 0.3))), maybe=Ball(2.0), table={"b": 1.0, "a": math.inf},
        points=np.arange(6.0).reshape(2, 3), scalar="nan",
    )  # fmt: skip
    back = round_trip(record)
    assert (back.number, back.count, back.flag, back.text, back.colour) == (0.1, 3, True, "ä\n", Colour.RED)
    assert isinstance(back.colour, Colour)
    assert (back.shape, back.shapes, back.maybe, back.scalar) == (
        Box((1.0, 2.0, 3.0)),
        record.shapes,
        record.maybe,
        "nan",
    )
    assert list(back.table.items()) == [("b", 1.0), ("a", math.inf)]
    np.testing.assert_array_equal(back.points, record.points)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_floats_come_back_bit_by_bit(number):
    back = round_trip(Ball(number)).radius
    assert np.float64(back).tobytes() == np.float64(number).tobytes() or (math.isnan(back) and math.isnan(number))


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "f4", "i4", "u1", "?", "<U3"])
def test_arrays_keep_their_bytes(dtype):
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    _, arrays = encode(everything(points=array), Everything)
    np.testing.assert_array_equal(arrays[0], array)
    assert array_bytes(arrays[0]) == array_bytes(np.asfortranarray(array))


def test_a_whole_model_comes_back():
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    mesh = Mesh(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    oak = Material("oak", 700.0, 0.5, 0.001, 0.0001, 0.3, (0.5, 0.3, 0.1), 0.0, 0.6, "a book")
    mass = MassProperties(1.0, np.zeros(3), np.eye(3))
    bodies = tuple(Body(name, (Part("p", mesh, oak),), (Hull(mesh, "p"),), mass) for name in ("a", "b"))
    joint = Joint("j", JointKind.REVOLUTE, "a", "b", Pose.translation(0, 0, 1), np.array([0.0, 0, 1]), -1.0, 1.0)
    model = Model("m", bodies, (joint,))
    back = round_trip(model)
    assert record_digest(back) == record_digest(model)
    assert back.bodies[1].parts[0].surface.digest == mesh.digest
    assert back.joints[0].kind is JointKind.REVOLUTE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": "3"}, "Everything.number: expected float"),
        ({"number": True}, "expected float, got True"),
        ({"number": 2**53 + 1}, "not exactly a float"),
        ({"count": 3.0}, "Everything.count: expected int"),
        ({"count": True}, "expected int, got True"),
        ({"mode": "c"}, r"expected one of \('a', 'b'\), got 'c'"),
        ({"shape": 3.0}, "expected one of Ball, Box, got float"),
        ({"shape": Large(1.0)}, "expected one of Ball, Box, got Large"),
        ({"maybe": Large(1.0)}, "Everything.maybe: expected Ball"),
        ({"points": np.array([None])}, "dtype object cannot be written"),
        ({"table": {1: 2.0}}, "expected str, got 1"),
        ({"shapes": [Ball(1.0)]}, "expected tuple"),
    ],
)
def test_refuses_what_would_be_lost(changes, message):
    with pytest.raises(CodecError, match=message):
        encode(everything(**changes), Everything)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"radius": 1}, "expected float, got 1"),
        ({"radius": 1.0, "extra": 1}, "expected the fields"),
        ({}, "expected the fields"),
        ([], "expected dict"),
    ],
)
def test_refuses_json_that_holds_something_else(value, message):
    with pytest.raises(CodecError, match=message):
        decode(value, [], Ball)


def test_invariants_of_the_record_hold_when_reading():
    with pytest.raises(CodecError, match="MassError: mass is -1"):
        decode({"mass": -1.0, "com": {"array": 0}, "inertia": {"array": 1}}, [np.zeros(3), np.eye(3)], MassProperties)


def test_digest_and_schema_tell_records_apart():
    assert record_digest(Ball(1.0)) != record_digest(Ball(1.0 + 1e-16 * 4))
    assert record_digest(everything(points=np.zeros((2, 3)))) != record_digest(everything(points=np.zeros((3, 2))))
    assert schema_digest(Ball) != schema_digest(Large)
    assert schema_digest(Everything) == schema_digest(Everything)


def test_a_type_that_cannot_be_written_is_named():
    @dataclass(frozen=True)
    class Odd:
        thing: object

    with pytest.raises(CodecError, match=r"Odd.thing: a field of type object cannot be written"):
        encode(Odd(3), Odd)
