"""A question and its settings, from the tables of a TOML file."""

from __future__ import annotations

import dataclasses
import difflib
import math
from typing import Any, NamedTuple

from densityguide.disk import settings
from studies.evidence import subjects
from studies.evidence.questions import QUESTIONS

__all__ = ["Asked", "Put", "check", "model_of"]

FEWEST, MOST = 8, 10**6  # samples of a model
LEAST = {"seed": 0, "steps": 2, "sde_steps": 4, "repeats": 2}  # of whole numbers; 1 of others
SHARES = ("q", "quantiles", "values", "share", "calibrated")


class Put(NamedTuple):
    """One putting of a question: its settings, what its files end in, which of its models are
    those of another training, and which keep the rows of the first putting."""

    label: str
    settings: Any
    ending: str = ""
    retrained: tuple[str, ...] = ()
    once: tuple[str, ...] = ()

    def stem(self, model: str) -> str:
        """What the file of a model's rows is called, after the question."""
        if model in self.once:
            return model
        return model + (subjects.AGAIN if model in self.retrained else self.ending)

    def of(self, model: str) -> tuple[Any, str]:
        """The settings to measure a model with, and the model."""
        if model not in self.retrained:
            return self.settings, model
        other, changes = f"{model}{subjects.AGAIN}", {}
        for field in dataclasses.fields(self.settings):
            value = getattr(self.settings, field.name)
            if isinstance(value, dict) and model in value:
                changes[field.name] = {**value, other: value[model]}
        return dataclasses.replace(self.settings, **changes), other


def model_of(stem: str) -> str:
    """The model whose rows a file holds, from its `Put.stem`."""
    return stem.partition("-seed")[0].removesuffix(subjects.AGAIN)


class Asked(NamedTuple):
    """A question by its name, and every putting of it: the first, and what it is compared with."""

    name: str
    puttings: tuple[Put, ...]


def check(values: dict[str, Any], *, small: bool = False) -> Asked:
    """What a file's tables ask for: ``again`` lists seeds beside the first, ``once`` the models
    that are too dear for them, ``retrained`` models that are also taken from another training, and
    a table ``small`` what is different where a rough answer will do. ValueError, one line, for
    values that make no question."""
    values = dict(values)
    less = values.pop("small", {})
    values = values | less if small else values
    again = _seeds(values.pop("again", []))
    once = values.pop("once", [])
    retrained = _retrained(values.pop("retrained", []))
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
    kept = _once(once, chosen.models)
    each = [Put(f"seed {chosen.seed}", chosen)]
    for seed in again:
        other = dataclasses.replace(chosen, seed=seed)
        label = f"seed {seed}" + (f", but for {', '.join(kept)}" if kept else "")
        each.append(Put(label, other, f"-seed{seed}", once=kept))
    others = tuple(model for model in retrained if model in chosen.models)
    if others:
        each.append(Put(f"{', '.join(others)} trained again", chosen, retrained=others))
    return Asked(str(name), tuple(each))


def _retrained(value: Any) -> list[str]:
    known = subjects.retrained()
    if not isinstance(value, list) or not set(value) <= set(known):
        raise ValueError(
            f"expected retrained to list models with another training, got {value!r}: known are "
            f"{', '.join(known)}"
        )
    return value


def _once(value: Any, models: dict[str, int]) -> tuple[str, ...]:
    if not isinstance(value, list) or not set(value) <= set(subjects.names()):
        raise ValueError(
            f"expected once to list models that other seeds leave as they are, got {value!r}: "
            f"known are {', '.join(subjects.names())}"
        )
    kept = tuple(model for model in models if model in value)
    if len(kept) == len(models):
        raise ValueError(
            "expected once to leave a model for other seeds: shorten it, or set again = []"
        )
    return kept


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
