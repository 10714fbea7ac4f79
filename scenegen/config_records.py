"""Plain values to frozen dataclasses, strictly: unknown keys, lossy values and NaN are refused, with a suggestion."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import re
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from generators.errors import GeneratorError
from physics.errors import PhysicsError
from scenegen.config_text import kind_of
from scenegen.errors import ConfigError, ScenegenError

Record = TypeVar("Record")


def read_record(data: Any, cls: type[Record], *, source: str) -> Record:
    """Return the record that plain values describe.

    Args:
        data: Mappings, lists, text, numbers, truth values and None.
        cls: A frozen dataclass of such dataclasses.
        source: Where the values come from, for messages.

    Raises:
        ConfigError: One line for each key that is wrong.
    """
    try:
        checked = _model(cls).model_validate_json(json.dumps(data, default=_refuse_value))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        wrong = [one["loc"] for one in errors]
        # A list is called too short when its only entry is wrong, which has a line of its own.
        shown = [
            one
            for one in errors
            if one["type"] != "too_short" or not any(loc[: len(one["loc"])] == one["loc"] != loc for loc in wrong)
        ]
        lines = [f"{source}: {_explain(one, cls)}" for one in shown]
        raise ConfigError("\n".join(lines)) from error
    except TypeError as error:
        raise ConfigError(f"{source}: {error}") from error
    return _build(checked, cls, source, "")


@functools.cache
def _model(cls: type) -> type[BaseModel]:
    """Return a pydantic model of a dataclass that forbids unknown keys and lossy values, nested ones included."""
    hints = typing.get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {}
    for one in dataclasses.fields(cls):
        default: Any = ...
        if one.default is not dataclasses.MISSING:
            default = one.default
        elif one.default_factory is not dataclasses.MISSING:
            default = None  # left out: the dataclass fills it in
        fields[one.name] = (_substituted(hints[one.name]), default)
    settings = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    model = create_model(cls.__name__, __config__=settings, **fields)
    _RECORDS[model] = cls
    return model


_RECORDS: dict[type[BaseModel], type] = {}
"""The dataclass that each model stands for."""


def _substituted(hint: Any) -> Any:
    """Return a type hint with every dataclass in it replaced by its model."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _model(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return Annotated[_substituted(arguments[0]), *arguments[1:]]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_substituted(argument) for argument in arguments)]  # noqa: UP007
    if origin is tuple:
        return tuple[tuple(_substituted(argument) for argument in arguments)]
    if origin is dict:
        return dict[arguments[0], _substituted(arguments[1])]
    return hint


def _build(value: Any, hint: Any, source: str, where: str) -> Any:
    """Turn checked models back into the dataclasses, whose own invariants have the last word."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if isinstance(value, BaseModel):
        cls = _RECORDS[type(value)]
        hints = typing.get_type_hints(cls, include_extras=True)
        given = {
            name: _build(getattr(value, name), hints[name], source, f"{where}.{name}".lstrip("."))
            for name in value.model_fields_set
        }
        _check_signs(cls, given, source, where)
        try:
            return cls(**given)
        except (PhysicsError, GeneratorError, ScenegenError, ValueError) as error:
            raise ConfigError(f"{source}: {where}: {error}") from error
    arguments = typing.get_args(hint)
    if isinstance(value, tuple):
        hints = (arguments[0],) * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_build(v, h, source, f"{where}.{i}") for i, (v, h) in enumerate(zip(value, hints, strict=True)))
    if isinstance(value, dict):
        return {k: _build(v, arguments[1], source, f"{where}.{k}") for k, v in value.items()}
    return value


def _check_signs(cls: type, given: dict[str, Any], source: str, where: str) -> None:
    """Refuse a negative value where the default is positive: sizes, times, shares and counts are not negative.

    A field that may be negative all the same says so by the metadata `signed`.
    """
    for one in dataclasses.fields(cls):
        default, value = one.default, given.get(one.name)
        if (
            one.metadata.get("signed")
            or isinstance(default, bool)
            or not isinstance(default, int | float)
            or not isinstance(value, int | float)
        ):
            continue
        if default > 0 and value < 0:
            key = f"{where}.{one.name}".lstrip(".")
            raise ConfigError(f"{source}: {key} is {value}, expected a value >= 0 (its default is {default})")


def _explain(error: Any, root: type) -> str:
    """Return one error of pydantic in the words of the configuration: key, what was found, what was expected."""
    path, _ = _walk(error["loc"], root)
    key, got = _key(path), error["input"]
    context = error.get("ctx", {})
    kind = error["type"]
    if kind == "extra_forbidden":
        cls = _walk(error["loc"][:-1], root)[1]
        fields, name = fields_of(cls), str(error["loc"][-1])
        return f"{key} is not a field of {cls.__name__}. {nearest(name, fields)}Fields: {', '.join(fields)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = context["discriminator"].strip("'")
        expected = context.get("expected_tags", "the name of a kind")
        found = f"is {context['tag']!r}" if "tag" in context else "is missing"
        suggestion = nearest(context.get("tag", ""), re.findall(r"'([^']*)'", expected))
        return f"{key}.{tag} {found}, expected {expected}. {suggestion}".strip()
    if kind == "missing":
        return f"{key} is missing; it has no default"
    if kind == "finite_number":
        return f"{key} is {got}, expected a finite number"
    if kind == "string_pattern_mismatch":
        return (
            f"{key} is {got!r}, expected a name of letters, digits, '_' and '-': it becomes a folder, so no separators"
        )
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", context["expected"])
        return f"{key} is {got!r}, expected {context['expected']}. {nearest(str(got), options)}".strip()
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if "min_length" in context else f"at most {context['max_length']}"
        return f"{key} has {context['actual_length']} entries, expected {bound}"
    bounds = {"greater_than": (">", "gt"), "greater_than_equal": (">=", "ge"), "less_than": ("<", "lt"),
              "less_than_equal": ("<=", "le")}  # fmt: skip
    if kind in bounds:
        sign, name = bounds[kind]
        return f"{key} is {got}, expected a value {sign} {context[name]}"
    expected = {
        "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
        "string_type": "text", "bool_type": "true or false", "tuple_type": "a list", "dict_type": "a mapping",
        "model_type": "a mapping", "model_attributes_type": "a mapping",
    }.get(kind)  # fmt: skip
    if expected is None:
        return f"{key} is {got!r}: {error['msg']}"
    return f"{key} is {got!r:.60} ({kind_of(got)}), expected {expected}"


def _key(path: Sequence[Any]) -> str:
    return ".".join(str(part) for part in path) or "the configuration"


def _walk(loc: Sequence[Any], root: type) -> tuple[list[Any], Any]:
    """Return the keys of a place, without the tags that pydantic adds for unions, and the type found there."""
    path: list[Any] = []
    hint: Any = root
    for part in loc:
        hint, options = _bare(hint)
        tagged = next((option for option in options if part in _tags(option)), None)
        if len(options) > 1 and tagged is not None:
            hint = tagged
            continue
        path.append(part)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            hint = typing.get_type_hints(hint, include_extras=True).get(part)
        elif typing.get_origin(hint) is dict:
            hint = typing.get_args(hint)[1]
        else:
            hint = next(iter(typing.get_args(hint)), None)
    return path, _bare(hint)[0]


def _bare(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a hint without Annotated and None, and what it may be."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, (hint,)
    options = tuple(argument for argument in typing.get_args(hint) if argument is not type(None))
    return _bare(options[0]) if len(options) == 1 else (hint, options)


def _tags(option: Any) -> set[str]:
    """Return the words under which pydantic names a member of a union: its class, or its discriminator."""
    if not (isinstance(option, type) and dataclasses.is_dataclass(option)):
        return set()
    literals = [hint for hint in typing.get_type_hints(option).values() if typing.get_origin(hint) is typing.Literal]
    return {option.__name__, *(text for hint in literals for text in typing.get_args(hint))}


def fields_of(cls: type) -> list[str]:
    """Return the names of the fields, for messages."""
    return [one.name for one in dataclasses.fields(cls)]


def nearest(name: str, names: Sequence[str] | dict[str, Any]) -> str:
    """Return a sentence that suggests the nearest name, or nothing."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}? " if near else ""


def _refuse_value(value: Any) -> Any:
    raise TypeError(f"{value!r} is {kind_of(value)}, expected text, a number, true, false, null, a list or a mapping")
