"""Settings from TOML as frozen dataclasses, checked by pydantic; an unknown key is refused with the
nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

__all__ = ["build", "differences", "override", "read"]

T = TypeVar("T")

LARGEST = 2**20  # bytes of a file of settings
UNKNOWN = "unexpected_keyword_argument"
SHAPE = re.compile(r"\d{1,9}([xX]\d{1,9})*")
# What pydantic calls a wrong value -> what was expected.
NOUNS = {
    "float": "a number",
    "int": "a whole number",
    "string": "a text",
    "bool": "true or false",
    "tuple": "a list",
}


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a TOML file; FileNotFoundError or ValueError, one line each."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"expected a configuration file, {path} is a folder: name the file in it")
    if not path.exists():
        raise FileNotFoundError(f"expected a configuration file, {path} does not exist")
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise ValueError(f"expected a configuration file of at most 1 MB, {path} is none")
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected TOML in {path}: {error}") from None
    except RecursionError:
        raise ValueError(f"expected TOML in {path}: it is nested too deeply") from None


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
    nearest key for an unknown one.

    A shape may be written as a text, ``"32x32x3"``, and a text as a whole number.
    """
    try:
        # As JSON, because there pydantic takes a list for a tuple and is strict otherwise.
        text = json.dumps(_spelt_out(kind, values), default=_plain)
        return typing.cast(
            T, _adapter(typing.cast(Any, kind)).validate_json(text, strict=True, extra="forbid")
        )
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise ValueError(_message(kind, min(found, key=_rank))) from None
    except RecursionError:
        raise ValueError("bad configuration: it is nested too deeply") from None


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise ValueError(f"bad configuration: {value!r} is no number, text, list or table")


def _spelt_out(hint: Any, value: Any) -> Any:
    """The value as its type is written in JSON."""
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        hints = typing.get_type_hints(hint)
        return {key: _spelt_out(hints.get(key), inner) for key, inner in value.items()}
    if hint is str and type(value) is int:  # ``--set condition=3`` means the text
        return str(value)
    if hint == tuple[int, ...] and isinstance(value, str) and SHAPE.fullmatch(value):
        return [int(side) for side in value.lower().split("x")]
    return value


def _rank(error: Any) -> int:
    """Unknown keys first, for they may be misspelt ones that are missing; missing ones last."""
    if error["type"] == UNKNOWN:
        return 0
    return 2 if error["type"] == "missing" and isinstance(error["loc"][-1], str) else 1


def _message(kind: type, error: Any) -> str:
    where, value, wrong = error["loc"], error["input"], error["type"]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)[1:]
    if wrong == UNKNOWN:
        known = [field.name for field in dataclasses.fields(_at(kind, where[:-1]))]
        near = difflib.get_close_matches(where[-1], known, 1, 0.0)[0]
        return f"unknown configuration key {name}: did you mean {near!r}?"
    if wrong == "missing" and isinstance(where[-1], int):  # of a list of fixed length
        name, wrong = name.rpartition("[")[0], "too_long"
        where = where[:-1]
    if wrong == "missing":
        return f"bad configuration: expected {name}, which has no default, got none: set it"
    if wrong == "too_long":
        length = len(typing.get_args(_at(kind, where)))
        return f"expected a list of {length} for {name}, got {_shown(value)}"
    if wrong in ("dataclass_type", "dict_type"):
        return f"expected a table [{name}], got {name} = {_shown(value)}"
    noun = NOUNS.get(wrong.partition("_")[0])
    if noun is None:
        return f"bad configuration: {error['msg']} for {name}, got {_shown(value)}"
    return f"expected {noun} for {name}, got {_shown(value)}"


def _at(kind: Any, where: Iterable[Any]) -> Any:
    """The type of the setting there."""
    for part in where:
        kind = typing.get_type_hints(kind)[part]
    return kind


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


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value in ("", [], None) else repr(value)


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def _value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text  # not what further lines would set
