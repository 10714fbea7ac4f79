"""Text of a configuration to plain values: YAML without objects, duplicates or surprises, and overrides."""

from __future__ import annotations

import re
from typing import Any

import yaml

from scenegen.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Plain values only, as YAML 1.2 reads them: `1e-3` is a number, `no` and dates are text."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        where = f"line {key_node.start_mark.line + 1}"
        if not isinstance(key, str):
            raise ConfigError(f"{where}: key {key!r} is {kind_of(key)}, expected text")
        if key in result:
            raise ConfigError(f"{where}: key {key!r} is given twice; keep one")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)  # YAML 1.1 would read 010 as 8


def parse_text(text: str, source: str) -> Any:
    """Return the plain values of YAML text.

    Raises:
        ConfigError: It is not YAML, gives a key twice, or asks for an object to be constructed.
    """
    try:
        return yaml.load(text, _Loader)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except yaml.constructor.ConstructorError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(
            f"{source}: line {line}: {error.problem}. Only plain values are read: text, numbers, true, false, "
            "null, lists and mappings; objects are never constructed"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from None


def apply_override(data: dict[str, Any], text: str) -> None:
    """Set one key of nested values, in place, from "key.of.a.field=value".

    Raises:
        ConfigError: It is not of that form, or addresses something that has no fields.
    """
    key, equals, value_text = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {text}: expected key=value, such as --set generator.resolution=64")
    value = parse_text(value_text, f"--set {text}")
    target: Any = data
    for depth, part in enumerate(parts):
        last, place = depth == len(parts) - 1, ".".join(parts[:depth]) or "the configuration"
        if isinstance(target, list):
            if not part.isdigit() or int(part) >= len(target):
                raise ConfigError(f"--set {text}: {place} is a list of {len(target)}; expected a number, got {part!r}")
            index: Any = int(part)
        elif isinstance(target, dict):
            index = part
        else:
            raise ConfigError(f"--set {text}: {place} is {kind_of(target)} and has no field {part!r}")
        if last:
            target[index] = value
        elif isinstance(target, dict):
            target = target.setdefault(index, {})
        else:
            target = target[index]


def kind_of(value: Any) -> str:
    """Return what a value is, in words for messages."""
    names = {dict: "a mapping", list: "a list", str: "text", int: "a whole number", float: "a number",
             bool: "a truth value", type(None): "nothing"}  # fmt: skip
    return names.get(type(value), type(value).__name__)
