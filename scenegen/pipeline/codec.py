"""Records to json and arrays and back, by their type hints. Strict both ways: nothing is guessed, nothing is lost.

A record is a tree of frozen dataclasses whose fields are float, int, bool, str, None, an Enum of strings, a numpy
array, a tuple, a dict with string keys, a record, a Literal, or a union of these. Members of a union other than
None carry a "type" tag. Floats come back bit by bit; NaN and infinities are written as strings, as json has none.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
import operator
import types
import typing
from functools import cache
from typing import Any

import numpy as np

from scenegen.errors import CodecError

ARRAY_KINDS = "biufUS"
"""Kinds of dtype that may be written: truth values, integers, floats, fixed-length text."""

SPECIAL_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""How the floats that json lacks are spelt."""


def encode(record: Any, hint: Any) -> tuple[Any, list[np.ndarray]]:
    """Return a record as json values and a list of arrays, to which the json refers by position.

    Args:
        record: A value of the type `hint`.
        hint: The declared type; the value must be of exactly this type.

    Raises:
        CodecError: A value is not of its declared type, or the type cannot be written (names the field).
    """
    arrays: list[np.ndarray] = []
    return _encode(record, hint, arrays, _name(hint)), arrays


def decode(value: Any, arrays: list[np.ndarray], hint: Any) -> Any:
    """Return the record that `encode` wrote.

    Raises:
        CodecError: The json does not hold a value of that type (names the field).
    """
    return _decode(value, hint, arrays, _name(hint))


def dump_json(value: Any) -> bytes:
    """Return json as canonical bytes: no spaces, ASCII, keys in the order of the value."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def array_bytes(array: np.ndarray) -> bytes:
    """Return the little-endian, C-ordered bytes of an array."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C").tobytes()


def record_digest(record: Any) -> str:
    """Return the SHA-256 of a record's json and arrays: equal for equal content."""
    value, arrays = encode(record, type(record))
    sha = hashlib.sha256(dump_json([type(record).__qualname__, value]))
    for array in arrays:
        sha.update(dump_json([array.dtype.newbyteorder("<").str, array.shape]))
        sha.update(array_bytes(array))
    return sha.hexdigest()


def schema_digest(hint: Any) -> str:
    """Return the SHA-256 of a type's fields, nested types included; it changes when a stored record cannot be read."""
    seen: dict[type, None] = {}
    _collect(hint, seen)
    rows = [[cls.__qualname__, {name: str(h) for name, h in field_hints(cls).items()}] for cls in seen]
    return hashlib.sha256(dump_json(rows)).hexdigest()


@cache
def field_hints(cls: type) -> dict[str, Any]:
    """Return the resolved type hint of each constructor field of a dataclass.

    Raises:
        CodecError: A hint cannot be resolved, for example because its import is for type checkers only.
    """
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError, AttributeError) as error:
        raise CodecError(f"{cls.__qualname__}: cannot resolve its type hints: {error}") from error
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _is_array(hint: Any) -> bool:
    return hint is np.ndarray or typing.get_origin(hint) is np.ndarray or _jaxtyping(hint)


def _jaxtyping(hint: Any) -> bool:
    return isinstance(hint, type) and getattr(hint, "array_type", None) is np.ndarray


def _is_record(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _name(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else str(hint)


def _members(hint: Any, where: str) -> dict[str, Any]:
    """Return the members of a union other than None, by tag."""
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    tags = {_name(member): member for member in members}
    if len(tags) != len(members):
        raise CodecError(f"{where}: members of {hint} need different names")
    return tags


def _collect(hint: Any, seen: dict[type, None]) -> None:
    if _is_record(hint):
        if hint not in seen:
            seen[hint] = None
            for inner in field_hints(hint).values():
                _collect(inner, seen)
    elif not _is_array(hint):
        for inner in typing.get_args(hint):
            _collect(inner, seen)


# ---- values to json -------------------------------------------------------------------------------------------


def _encode(value: Any, hint: Any, arrays: list[np.ndarray], where: str) -> Any:
    origin = typing.get_origin(hint)
    if _is_union(hint):
        return _encode_union(value, hint, arrays, where)
    if hint is None or hint is type(None):
        return _expect(value, type(None), where)
    if _is_array(hint):
        return _encode_array(value, arrays, where)
    if _is_record(hint):
        _expect(value, hint, where)
        hints = field_hints(hint)
        return {name: _encode(getattr(value, name), h, arrays, f"{where}.{name}") for name, h in hints.items()}
    if origin is tuple:
        hints = _tuple_hints(_expect(value, tuple, where), hint, where)
        return [_encode(v, h, arrays, f"{where}[{i}]") for i, (v, h) in enumerate(zip(value, hints, strict=True))]
    if origin is dict:
        _expect(value, dict, where)
        key_hint, value_hint = typing.get_args(hint)
        if key_hint is not str:
            raise CodecError(f"{where}: keys of {hint} must be declared str")
        return {
            _expect(key, str, where): _encode(v, value_hint, arrays, f"{where}[{key!r}]") for key, v in value.items()
        }
    if origin is typing.Literal:
        return _literal(value, hint, where)
    return _encode_scalar(value, hint, where)


def _encode_scalar(value: Any, hint: Any, where: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _expect(_expect(value, hint, where).value, str, where)
    if hint is bool:
        return bool(_expect(value, (bool, np.bool_), where))
    if hint is int:
        if isinstance(value, bool | np.bool_):
            raise CodecError(f"{where}: expected int, got {value!r} (bool)")
        return operator.index(_expect(value, (int, np.integer), where))
    if hint is float:
        return _encode_float(value, where)
    if hint is str:
        return str(_expect(value, (str, np.str_), where))
    raise CodecError(f"{where}: a field of type {_name(hint)} cannot be written; see the module docstring of codec")


def _encode_float(value: Any, where: str) -> float | str:
    if isinstance(value, bool | np.bool_):
        raise CodecError(f"{where}: expected float, got {value!r} (bool)")
    _expect(value, (float, int, np.floating, np.integer), where)
    number = float(value)
    if isinstance(value, int | np.integer) and int(number) != int(value):
        raise CodecError(f"{where}: {value} is not exactly a float")
    if math.isfinite(number):
        return number
    return "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"


def _encode_union(value: Any, hint: Any, arrays: list[np.ndarray], where: str) -> Any:
    if value is None and type(None) in typing.get_args(hint):
        return None
    members = _members(hint, where)
    if len(members) == 1:
        return _encode(value, next(iter(members.values())), arrays, where)
    for tag, member in members.items():
        if _belongs(value, member):
            return {"type": tag, "value": _encode(value, member, arrays, where)}
    raise CodecError(f"{where}: expected one of {', '.join(members)}, got {type(value).__qualname__}")


def _belongs(value: Any, member: Any) -> bool:
    if _is_array(member):
        return isinstance(value, np.ndarray)
    if typing.get_origin(member) is typing.Literal:
        return value in typing.get_args(member)
    return type(value) is (typing.get_origin(member) or member)


def _encode_array(value: Any, arrays: list[np.ndarray], where: str) -> dict[str, int]:
    _expect(value, np.ndarray, where)
    if value.dtype.kind not in ARRAY_KINDS:
        raise CodecError(f"{where}: an array of dtype {value.dtype} cannot be written")
    arrays.append(value)
    return {"array": len(arrays) - 1}


def _expect(value: Any, kind: Any, where: str) -> Any:
    """Return the value if it is of that kind; a record must be of exactly that class, lest fields get lost."""
    exact = isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, enum.Enum))
    if (type(value) is not kind) if exact else not isinstance(value, kind):
        names = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(_name(name) for name in names)
        raise CodecError(f"{where}: expected {expected}, got {value!r:.80} ({type(value).__qualname__})")
    return value


def _tuple_hints(value: Any, hint: Any, where: str) -> tuple[Any, ...]:
    hints = typing.get_args(hint)
    if len(hints) == 2 and hints[1] is Ellipsis:
        return (hints[0],) * len(value)
    if len(hints) != len(value):
        raise CodecError(f"{where}: expected {len(hints)} values, got {len(value)}")
    return hints


def _literal(value: Any, hint: Any, where: str) -> Any:
    if not any(type(value) is type(option) and value == option for option in typing.get_args(hint)):
        raise CodecError(f"{where}: expected one of {typing.get_args(hint)}, got {value!r}")
    return value


# ---- json to values -------------------------------------------------------------------------------------------


def _decode(value: Any, hint: Any, arrays: list[np.ndarray], where: str) -> Any:
    origin = typing.get_origin(hint)
    if _is_union(hint):
        return _decode_union(value, hint, arrays, where)
    if hint is None or hint is type(None):
        return _expect(value, type(None), where)
    if _is_array(hint):
        return _decode_array(value, arrays, where)
    if _is_record(hint):
        return _decode_record(value, hint, arrays, where)
    if origin is tuple:
        hints = _tuple_hints(_expect(value, list, where), hint, where)
        return tuple(_decode(v, h, arrays, f"{where}[{i}]") for i, (v, h) in enumerate(zip(value, hints, strict=True)))
    if origin is dict:
        inner = typing.get_args(hint)[1]
        return {k: _decode(v, inner, arrays, f"{where}[{k!r}]") for k, v in _expect(value, dict, where).items()}
    if origin is typing.Literal:
        return _literal(value, hint, where)
    return _decode_scalar(value, hint, where)


def _decode_scalar(value: Any, hint: Any, where: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError as error:
            raise CodecError(f"{where}: {error}") from error
    if hint is float:
        if isinstance(value, str) and value in SPECIAL_FLOATS:
            return SPECIAL_FLOATS[value]
        return _expect(value, float, where)
    if hint in (bool, int, str) and type(value) is hint:
        return value
    raise CodecError(f"{where}: expected {_name(hint)}, got {value!r:.80} ({type(value).__qualname__})")


def _decode_union(value: Any, hint: Any, arrays: list[np.ndarray], where: str) -> Any:
    if value is None and type(None) in typing.get_args(hint):
        return None
    members = _members(hint, where)
    if len(members) == 1:
        return _decode(value, next(iter(members.values())), arrays, where)
    if not isinstance(value, dict) or set(value) != {"type", "value"} or value["type"] not in members:
        raise CodecError(f"{where}: expected a value tagged as one of {', '.join(members)}, got {value!r:.80}")
    return _decode(value["value"], members[value["type"]], arrays, where)


def _decode_record(value: Any, hint: Any, arrays: list[np.ndarray], where: str) -> Any:
    hints = field_hints(hint)
    _expect(value, dict, where)
    if set(value) != set(hints):
        raise CodecError(f"{where}: expected the fields {sorted(hints)}, got {sorted(value)}")
    fields = {name: _decode(value[name], h, arrays, f"{where}.{name}") for name, h in hints.items()}
    try:
        return hint(**fields)
    except Exception as error:  # the record's own invariants: their error class belongs to their package
        raise CodecError(f"{where}: {type(error).__name__}: {error}") from error


def _decode_array(value: Any, arrays: list[np.ndarray], where: str) -> np.ndarray:
    if not isinstance(value, dict) or set(value) != {"array"} or type(value["array"]) is not int:
        raise CodecError(f"{where}: expected a reference to an array, got {value!r:.80}")
    if not 0 <= value["array"] < len(arrays):
        raise CodecError(f"{where}: refers to array {value['array']} of {len(arrays)}")
    return arrays[value["array"]]
