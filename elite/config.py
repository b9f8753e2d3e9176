"""Configuration: dataclasses filled from YAML files and dotted overrides, strictly.

A key that no dataclass has, or a value of another type than the field's, is an error that names the
key; nothing is ignored and nothing is guessed.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from elite.errors import EliteError

__all__ = [
    "CONFIGS",
    "ConfigError",
    "dump_config",
    "from_mapping",
    "from_overrides",
    "load_config",
    "to_mapping",
]

CONFIGS = Path(__file__).parent / "configs"
T = TypeVar("T")


class ConfigError(EliteError):
    """A configuration file or an override that does not fit its dataclass."""


def load_config(cls: type[T], source: str | Path, overrides: Sequence[str] = ()) -> T:
    """Reads a YAML file into the dataclass `cls`.

    Args:
        cls: a dataclass whose fields are plain values, tuples, mappings or dataclasses.
        source: a path, or the name of a file in `elite/configs` without its ending.
        overrides: as in `["optimizer.lr=0.1", "data.roots=[a, b]"]`; the values are YAML.

    Raises:
        ConfigError: for a missing file, an unknown key or a value of the wrong type.
    """
    mapping = _read(_find(source))
    for override in overrides:
        _apply(mapping, override)
    return from_mapping(cls, mapping)


def from_overrides(cls: type[T], overrides: Sequence[str]) -> T:
    """The dataclass `cls` with its defaults, changed by overrides as `load_config` takes them."""
    mapping: dict[str, Any] = {}
    for override in overrides:
        _apply(mapping, override)
    return from_mapping(cls, mapping)


def dump_config(config: Any) -> str:
    """A dataclass as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True)


def to_mapping(config: Any) -> dict[str, Any]:
    """A dataclass as plain dictionaries, lists and values, ready for YAML or JSON."""
    return cast("dict[str, Any]", _plain(dataclasses.asdict(config)))


def from_mapping(cls: type[T], mapping: Any, where: str = "") -> T:
    """Fills the dataclass `cls` from a mapping; `where` is the dotted key of the mapping itself."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"config: `{where or cls.__name__}` must hold keys, got {mapping!r}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cast("Any", cls)) if field.init}
    for key in mapping:
        if key not in fields:
            raise _unknown(_join(where, str(key)), str(key), list(fields))
    for name, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and name not in mapping:
            raise ConfigError(f"config: `{_join(where, name)}` is missing and has no default")
    values = {key: _convert(hints[key], value, _join(where, key)) for key, value in mapping.items()}
    return cls(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`, or an error that names the key `where`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(value, _Override):
        may_be_text = str in (hint, *arguments) and value.parsed is not None
        value = value.text if may_be_text and type(value.parsed) is int else value.parsed
    if dataclasses.is_dataclass(hint):
        return from_mapping(cast("type[Any]", hint), value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return _convert_tuple(arguments, value, where)
    if origin is dict and isinstance(value, Mapping):
        key_type, value_type = arguments
        return {
            _convert(key_type, k, where): _convert(value_type, v, _join(where, str(k)))
            for k, v in value.items()
        }
    if origin is typing.Literal and value in arguments:
        return value
    if hint is float and (type(value) in (int, float) or _is_exponent(value)):
        return float(value)
    if hint in (int, bool, str) and type(value) is hint:
        return value
    hint_name = hint.__name__ if isinstance(hint, type) and origin is None else hint
    raise ConfigError(f"config: `{where}` must be {hint_name}, got {value!r}")


def _is_exponent(value: Any) -> bool:
    """Whether YAML 1.1 read a number like 1e-4, which has no point, as text."""
    return isinstance(value, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", value) is not None


def _convert_tuple(arguments: tuple[Any, ...], value: Sequence[Any], where: str) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = arguments[:1] * len(value)
    if len(arguments) != len(value):
        raise ConfigError(f"config: `{where}` must have {len(arguments)} items, got {len(value)}")
    return tuple(
        _convert(hint, item, f"{where}[{i}]")
        for i, (hint, item) in enumerate(zip(arguments, value, strict=True))
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    shipped = CONFIGS / f"{source}.yaml"
    if shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
    raise ConfigError(f"config: there is no file {source}", f"Shipped configurations: {names}.")


def _read(path: Path) -> dict[str, Any]:
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"config: {path} is not YAML ({error})") from error
    if not isinstance(mapping, dict):
        raise ConfigError(f"config: {path} must hold keys, got {mapping!r}")
    return mapping


@dataclasses.dataclass(frozen=True)
class _Override:
    """A value from the command line. What it means depends on its key: sequence 00 is no number."""

    text: str
    parsed: Any


def _apply(mapping: dict[str, Any], override: str) -> None:
    """Sets one dotted key of a nested mapping."""
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"config: an override is written key=value, got {override!r}")
    *parents, last = key.split(".")
    for parent in parents:
        mapping = mapping.setdefault(parent, {})
        if not isinstance(mapping, dict):
            raise ConfigError(f"config: `{key}`: `{parent}` has a value and no keys below it")
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"config: the value of `{key}` is not YAML, got {text!r}") from error
    mapping[last] = parsed if isinstance(parsed, dict) else _Override(text, parsed)


def _unknown(where: str, key: str, known: list[str]) -> ConfigError:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"Did you mean `{close[0]}`?" if close else f"Known keys: {', '.join(known)}."
    return ConfigError(f"config: `{where}` is not a key", hint)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
