"""A question and its settings, from the tables of a TOML file."""

from __future__ import annotations

import dataclasses
import difflib
import math
from typing import Any, NamedTuple

from densityguide.disk import settings
from studies.evidence import subjects
from studies.evidence.questions import QUESTIONS

__all__ = ["Asked", "check"]

FEWEST, MOST = 8, 10**6  # samples of a model
LEAST = {"seed": 0, "steps": 2, "sde_steps": 4, "repeats": 2}  # of whole numbers; 1 of others
SHARES = ("q", "quantiles", "values", "share")


class Asked(NamedTuple):
    """A question by its name, and its settings with every seed that it is put with."""

    name: str
    settings: tuple[Any, ...]


def check(values: dict[str, Any], *, small: bool = False) -> Asked:
    """What a file's tables ask for: ``again`` lists seeds beside the first, and a table ``small``
    what is different where a rough answer will do. ValueError, one line, for values that make no
    question."""
    values = dict(values)
    less = values.pop("small", {})
    values = values | less if small else values
    again = _seeds(values.pop("again", []))
    name = values.pop("question", None)
    if name not in QUESTIONS:
        near = difflib.get_close_matches(str(name), QUESTIONS, 1) or list(QUESTIONS)
        raise ValueError(
            f"expected question = one of those known, got {name!r}: try {', '.join(near)}"
        )
    chosen: Any = settings.build(QUESTIONS[name].settings, values)
    if not chosen.models:
        raise ValueError("expected a table models with counts, got none: e.g. models.digits8 = 64")
    for field in dataclasses.fields(chosen):
        _check(field.name, getattr(chosen, field.name))
    if len({chosen.seed, *again}) <= len(again):
        raise ValueError(f"expected other seeds than {chosen.seed} under again, got {again}")
    each = [chosen, *[dataclasses.replace(chosen, seed=seed) for seed in again]]
    return Asked(str(name), tuple(each))


def _seeds(value: Any) -> list[int]:
    if not isinstance(value, list):
        raise ValueError(f"expected again to be a list of seeds, got {value!r}: e.g. again = [1]")
    for seed in value:
        _within("again", seed, 0, 2**32 - 1)
    return value


def _check(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for model, count in value.items():
            if model not in subjects.names():
                known = subjects.names()
                near = difflib.get_close_matches(model, known, 1) or known
                raise ValueError(f"unknown model {model!r} under {name}: did you mean {near[0]!r}?")
            _within(f"{name}.{model}", count, FEWEST if name == "models" else 2, MOST)
    elif isinstance(value, tuple):
        if not value:
            raise ValueError(f"expected some {name}, got none: set e.g. {name} = [0.5]")
        for one in value:
            _check(name, one)
    elif isinstance(value, int):
        _within(name, value, LEAST.get(name, 1), 2**32 - 1 if name == "seed" else MOST)
    elif not math.isfinite(value) or (name in SHARES and not 0.0 < value < 1.0):
        what = "between 0 and 1" if name in SHARES else "finite"
        raise ValueError(f"expected {name} {what}, got {value}")


def _within(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"expected {name} a count of {low} to {high}, got {value!r}")
