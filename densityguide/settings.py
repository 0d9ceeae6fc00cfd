"""Settings from TOML: frozen dataclasses, unknown keys refused with the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

import dacite

__all__ = ["build", "differences", "override", "read"]

T = TypeVar("T")

NOUNS = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
KINDS: dict[type, tuple[type, ...]] = {float: (Real,), int: (Integral,), bool: ()}
KINDS[str] = (str, int)  # ``--set condition=3`` means the text


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a TOML file; FileNotFoundError or ValueError, one line each."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a configuration file, {path} does not exist")
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected TOML in {path}: {error}") from None


def override(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """The tables with ``"table.key=value"`` put in; a value is TOML, or else a string."""
    result = _copy(values)
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ValueError(f"expected KEY=VALUE to override a setting, got {text!r}")
        *tables, key = name.split(".")
        inner = result
        for table in tables:
            inner = inner.setdefault(table, {})
            if not isinstance(inner, dict):
                raise ValueError(f"expected a table {table} to override {name}, it is {inner!r}")
        inner[key] = _value(value.strip())
    return result


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass ``kind`` of these tables; ValueError, one line, naming the setting, and the
    nearest key for an unknown one."""
    _check_table(kind, values, "")
    hooks: dict[type[Any], Callable[[Any], Any]] = {float: float, int: int, str: _word}
    try:
        return dacite.from_dict(
            kind, dict(values), dacite.Config(cast=[tuple], type_hooks=hooks, strict=True)
        )
    except (dacite.DaciteError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"bad configuration: {reason}") from None


def differences(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> list[str]:
    """Each setting that differs, as ``"table.key was 1, is 2"``."""
    found = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{where}{key}.")
        elif before != after:
            found.append(f"{where}{key} was {before!r}, is {after!r}")
    return found


def _check_table(kind: Any, values: Any, where: str) -> None:
    """ValueError unless the values make the dataclass ``kind``, missing ones aside; ``where`` is
    empty, or the name of the table and a dot."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    for key, value in values.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, 1, 0.0)[0]
            raise ValueError(f"unknown configuration key {where}{key}: did you mean {near!r}?")
        _check(hints[key], value, f"{where}{key}")


def _check(hint: Any, value: Any, name: str) -> None:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) or origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"expected a table [{name}], got {name} = {_shown(value)}")
        if origin is dict:
            for key, entry in value.items():
                _check(inner[1], entry, f"{name}.{key}")
        else:
            _check_table(hint, value, f"{name}.")
    elif origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"expected a list for {name}, got {_shown(value)}")
        kinds = inner[:1] * len(value) if inner[1] is Ellipsis else inner
        if len(kinds) != len(value):
            raise ValueError(f"expected a list of {len(kinds)} for {name}, got {_shown(value)}")
        for number, (kind, entry) in enumerate(zip(kinds, value, strict=True)):
            _check(kind, entry, f"{name}[{number}]")
    elif hint in NOUNS:
        accepted = () if isinstance(value, bool) else KINDS[hint]  # Python takes true for 1
        if not (isinstance(value, accepted) or type(value) is hint):
            raise ValueError(f"expected {NOUNS[hint]} for {name}, got {_shown(value)}")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _word(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def _value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if len(found) == 1 else text  # not what further lines would set
