"""A question and its settings, from the tables of a TOML file."""

from __future__ import annotations

import dataclasses
import difflib
import math
from typing import Any

from densityguide import models
from densityguide.disk import settings
from studies.evidence.questions import QUESTIONS

__all__ = ["check"]

FEWEST, MOST = 8, 10**6  # samples of a model
LEAST = {"seed": 0, "steps": 2, "sde_steps": 4, "repeats": 2}  # of whole numbers; 1 of others
SHARES = ("q", "quantiles", "values", "share")


def check(values: dict[str, Any]) -> tuple[str, Any]:
    """(question, its settings); ValueError, one line, for values that make none."""
    values = dict(values)
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
    return str(name), chosen


def _check(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for model, count in value.items():
            if model not in models.names():
                near = difflib.get_close_matches(model, models.names(), 1) or models.names()
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
