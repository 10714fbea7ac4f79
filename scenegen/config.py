"""The configuration of a run, and its strict loader: what is not understood is refused, never ignored."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from generators.errors import GeneratorError
from physics.drop_record import DropConfig
from physics.errors import PhysicsError
from physics.hulls import HullConfig
from physics.validity import ValidityConfig
from scenegen.errors import ConfigError, StageError
from scenegen.pipeline.stage import Resources, Stage

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
"""Names become folder names: no separators, no dots."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class GeneratorConfig:
    """Which generator makes the volumes."""

    kind: Literal["procedural"] = "procedural"
    resolution: Annotated[int, Field(ge=32, le=1024)] = 128
    """Voxels along the longest side [1]."""


@dataclass(frozen=True)
class ObjectsConfig:
    """A batch of objects; the families take turns. A file may say `family: mug` or `families: all`."""

    families: tuple[str, ...]
    count: Count
    """Objects in all [1]."""
    parameters: dict[str, float] = field(default_factory=dict)
    """Family parameters that are given instead of drawn [m] or [1]."""


@dataclass(frozen=True)
class SceneConfig:
    """A scene to be composed of the certified objects."""

    name: Name
    layout: Literal["tabletop", "bin", "shelf"]
    objects: Count
    """Objects in the scene [1]."""


@dataclass(frozen=True)
class StageLimits:
    """What one stage may take; what is left out keeps its default."""

    cpus: Annotated[float, Field(ge=0)] | None = None
    """CPU cores of one call [1]."""
    gpus: Annotated[float, Field(ge=0)] | None = None
    """CUDA devices of one call, or a share of one [1]."""
    custom: dict[str, float] | None = None
    """Custom resources of the cluster [1]."""
    deadline_s: Annotated[float, Field(gt=0)] | None = None
    """Longest a call may take [s]."""
    memory_mib: Annotated[int, Field(ge=64)] | None = None
    """Memory limit of a call [MiB]."""


@dataclass(frozen=True)
class ExecutorConfig:
    """Where the stages run. Has no influence on the results."""

    kind: Literal["ray", "serial"] = "ray"
    address: str | None = None
    """Address of a Ray cluster; None starts a local Ray."""
    workers: Count | None = None
    """Stage calls at a time; None means one for each core."""
    stages: dict[str, StageLimits] = field(default_factory=dict)
    """Limits by stage name."""


@dataclass(frozen=True)
class RunConfig:
    """One complete run."""

    name: Name
    objects: Annotated[tuple[ObjectsConfig, ...], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Every random draw comes from it."""
    attempts_per_object: Annotated[int, Field(ge=1, le=100)] = 5
    """Draws for one object before it is given up [1]."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    scenes: tuple[SceneConfig, ...] = ()
    validity: ValidityConfig = field(default_factory=ValidityConfig)
    hulls: HullConfig = field(default_factory=HullConfig)
    drop: DropConfig = field(default_factory=DropConfig)
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration file, apply overrides, and check every key and value.

    Args:
        path: YAML file.
        overrides: "key.of.a.field=value" each, with the value in YAML; list entries are addressed by number.

    Raises:
        ConfigError: Names the file, the key and what was expected.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file in UTF-8: {error}") from error
    return read_config(text, source=str(path), overrides=overrides)


def read_config(text: str, *, source: str = "configuration", overrides: Sequence[str] = ()) -> RunConfig:
    """Do what `load_config` does for YAML text."""
    data = _parse(text, source)
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: expected a mapping of keys to values, got {_kind(data)}")
    for override in overrides:
        _override(data, override)
    source += f" (with --set {' --set '.join(overrides)})" if overrides else ""
    _name_families(data, source)
    try:
        checked = _model(RunConfig).model_validate_json(json.dumps(data, default=_refuse_value))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {_explain(one)}" for one in error.errors(include_url=False))) from error
    except TypeError as error:
        raise ConfigError(f"{source}: {error}") from error
    config = _build(checked, RunConfig, source, "")
    _check_objects(config, source)
    return config


def configure_stages(stages: Sequence[Stage], executor: ExecutorConfig) -> tuple[Stage, ...]:
    """Return the stages with the limits that the configuration sets.

    Raises:
        ConfigError: Limits for a stage that the chain does not have.
    """
    names = [stage.name for stage in stages]
    for name in executor.stages:
        if name not in names:
            raise ConfigError(
                f"executor.stages.{name} is not a stage. {_nearest(name, names)}Stages: {', '.join(names)}"
            )
    return tuple(_limited(stage, executor.stages.get(stage.name, StageLimits())) for stage in stages)


def _limited(stage: Stage, limits: StageLimits) -> Stage:
    old = stage.resources
    resources = Resources(
        cpus=old.cpus if limits.cpus is None else limits.cpus,
        gpus=old.gpus if limits.gpus is None else limits.gpus,
        custom=old.custom if limits.custom is None else tuple(sorted(limits.custom.items())),
    )
    return dataclasses.replace(
        stage,
        resources=resources,
        deadline_s=stage.deadline_s if limits.deadline_s is None else limits.deadline_s,
        memory_bytes=stage.memory_bytes if limits.memory_mib is None else limits.memory_mib * 2**20,
    )


# ---- text to values -------------------------------------------------------------------------------------------


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
            raise ConfigError(f"{where}: key {key!r} is {_kind(key)}, expected text")
        if key in result:
            raise ConfigError(f"{where}: key {key!r} is given twice; keep one")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)  # YAML 1.1 would read 010 as 8


def _parse(text: str, source: str) -> Any:
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


def _override(data: dict[str, Any], text: str) -> None:
    key, equals, value_text = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {text}: expected key=value, such as --set generator.resolution=64")
    value = _parse(value_text, f"--set {text}")
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
            raise ConfigError(f"--set {text}: {place} is {_kind(target)} and has no field {part!r}")
        if last:
            target[index] = value
        elif isinstance(target, dict):
            target = target.setdefault(index, {})
        else:
            target = target[index]


def _name_families(data: dict[str, Any], source: str) -> None:
    """Write `family: x` and `families: all` out as the list that they mean."""
    from generators.families import FAMILIES

    if not isinstance(data.get("objects"), list):
        return  # the schema says what is wrong with it
    for number, batch in enumerate(data["objects"]):
        if not isinstance(batch, dict):
            continue
        if ("family" in batch) == ("families" in batch):
            raise ConfigError(
                f"{source}: objects.{number} needs either 'family' (one name) or 'families' (names or all)"
            )
        if "family" in batch:
            batch["families"] = [batch.pop("family")]
        if batch["families"] == "all":
            batch["families"] = list(FAMILIES)


# ---- values to records ----------------------------------------------------------------------------------------


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
    return create_model(cls.__name__, __config__=settings, __doc__=_field_list(cls), **fields)


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
        cls: type = hint if isinstance(hint, type) else next(a for a in typing.get_args(hint) if a is not type(None))
        hints = typing.get_type_hints(cls, include_extras=True)
        given = {
            name: _build(getattr(value, name), hints[name], source, f"{where}.{name}".lstrip("."))
            for name in value.model_fields_set
        }
        _check_signs(cls, given, source, where)
        try:
            return cls(**given)
        except (PhysicsError, GeneratorError, StageError, ValueError) as error:
            raise ConfigError(f"{source}: {where}: {error}") from error
    arguments = typing.get_args(hint)
    if isinstance(value, tuple):
        hints = (arguments[0],) * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_build(v, h, source, f"{where}.{i}") for i, (v, h) in enumerate(zip(value, hints, strict=True)))
    if isinstance(value, dict):
        return {k: _build(v, arguments[1], source, f"{where}.{k}") for k, v in value.items()}
    return value


def _check_signs(cls: type, given: dict[str, Any], source: str, where: str) -> None:
    """Refuse a negative value where the default is positive: sizes, times, shares and counts are not negative."""
    for one in dataclasses.fields(cls):
        default, value = one.default, given.get(one.name)
        if isinstance(default, bool) or not isinstance(default, int | float) or not isinstance(value, int | float):
            continue
        if default > 0 and value < 0:
            key = f"{where}.{one.name}".lstrip(".")
            raise ConfigError(f"{source}: {key} is {value}, expected a value >= 0 (its default is {default})")


def _check_objects(config: RunConfig, source: str) -> None:
    """Refuse families that do not exist, parameters they do not have, and scenes that share a name."""
    import numpy as np

    from generators.families import FAMILIES

    for number, batch in enumerate(config.objects):
        if not batch.families:
            raise ConfigError(f"{source}: objects.{number}.families is empty. Families: {', '.join(FAMILIES)}")
        for name in batch.families:
            if name not in FAMILIES:
                raise ConfigError(
                    f"{source}: objects.{number}: {name!r} is not a family. {_nearest(name, FAMILIES)}"
                    f"Families: {', '.join(FAMILIES)}"
                )
            if not batch.parameters:
                continue
            try:
                FAMILIES[name].sample(np.random.default_rng(0), dict(batch.parameters))
            except GeneratorError as error:
                raise ConfigError(f"{source}: objects.{number}.parameters: {error}") from error
    names = [scene.name for scene in config.scenes]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{source}: two scenes are named {name!r}; each becomes a folder of its own")


# ---- messages -------------------------------------------------------------------------------------------------


def _explain(error: Any) -> str:
    """Return one error of pydantic in the words of the configuration: key, what was found, what was expected."""
    key, got = _key(error["loc"]), error["input"]
    context = error.get("ctx", {})
    kind = error["type"]
    if kind == "extra_forbidden":
        cls = _class_at(error["loc"][:-1])
        fields = _fields_of(cls)
        name = str(error["loc"][-1])
        return f"{key} is not a field of {cls.__name__}. {_nearest(name, fields)}Fields: {', '.join(fields)}"
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
        return f"{key} is {got!r}, expected {context['expected']}. {_nearest(str(got), options)}".strip()
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
    return f"{key} is {got!r:.60} ({_kind(got)}), expected {expected}"


def _key(loc: Sequence[Any]) -> str:
    return ".".join(str(part) for part in loc) or "the configuration"


def _class_at(loc: Sequence[Any]) -> type:
    """Return the dataclass that a key path leads to."""
    hint: Any = RunConfig
    for part in loc:
        hint = _record_in(hint, part)
    return hint


def _record_in(hint: Any, part: Any) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hint = typing.get_type_hints(hint)[part]
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            hint = next(argument for argument in typing.get_args(hint) if argument is not type(None))
        return hint
    arguments = typing.get_args(hint)
    return arguments[1] if typing.get_origin(hint) is dict else arguments[0]


def _fields_of(cls: type) -> list[str]:
    names = [one.name for one in dataclasses.fields(cls)]
    return ["family", *names] if cls is ObjectsConfig else names


def _field_list(cls: type) -> str:
    return f"Fields: {', '.join(_fields_of(cls))}."


def _nearest(name: str, names: Sequence[str] | dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}? " if near else ""


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", int: "a whole number", float: "a number",
             bool: "a truth value", type(None): "nothing"}  # fmt: skip
    return names.get(type(value), type(value).__name__)


def _refuse_value(value: Any) -> Any:
    raise TypeError(f"{value!r} is {_kind(value)}, expected text, a number, true, false, null, a list or a mapping")
