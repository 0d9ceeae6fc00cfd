"""Steering at equal detail, and beside calibration, landing and guidance by class."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from studies.evidence import subjects, tables
from studies.evidence.cells import Cells
from studies.evidence.compared import (
    READING,
    cells,
    figure,
    line,
    no_worse,
    no_worse_at_equal_detail,
    space,
)
from studies.evidence.curves import between
from studies.evidence.judge import MEASURES
from studies.evidence.samplers import NAMES
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.tables import Table

__all__ = ["QUESTION", "Settings"]

METHOD = """
As for [steering at the same log p](quality.md), with the same measures of quality, but compared at
equal detail as well: at the same mean size of the pictures as PNG. That size need not rise and fall
with log p, and one size may belong to two places of a dial; so pictures with more log p than the
plain model's are compared with each other, and those with less among themselves, the plain model
being the beginning of either. Where two ways share no size, nothing is compared.

Beside prior guidance (the latent times a factor) and density guidance (`quantile`) stand calibrated
guidance (`calibrated`: the rate by the size that it was measured to have), landed guidance (`land`
along the quantile until the measured log p is the plain mean plus so many standard deviations; the
search's solves are counted), and classifier-free guidance (scales from 1, the conditional model),
where the network was told classes: each latent has a class, drawn as often as training data have
it. Its log p is measured, as that of all others, under the model that is told no class.
"""
METHODS = ("prior", "density", "calibrated", "landed", "class")
BYTES = "mean size of a picture as PNG (bytes)"


@dataclass(frozen=True)
class Settings:
    """``models`` counts samples of each cell, at most as many as there are held-out data."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 32
    factors: tuple[float, ...] = (0.85, 0.95, 1.05, 1.15)
    q: tuple[float, ...] = (0.25, 0.4, 0.6, 0.75)
    calibrated: tuple[float, ...] = (0.1, 0.3, 0.7, 0.9)
    landings: tuple[float, ...] = (-1.0, 1.0)  # standard deviations of log p from its mean
    scales: tuple[float, ...] = (1.0, 2.0, 4.0)
    draws: int = 40  # random halves


def measure(settings: Settings, model: str) -> Table:
    """For each cell (method, dial) a row of all samples, draw 0, and one of each random half."""
    subject, count = subjects.load(model), settings.models[model]
    made = Cells(subject, count, settings.steps, settings.draws, settings.seed)
    dials = {"prior": settings.factors, "density": settings.q, "calibrated": settings.calibrated}
    rows, mean, spread = made.swept(dials)
    for offset in settings.landings:
        rows += made.of("landed", offset, mean + offset * spread)
    if subject.flow.classes is not None:
        known = np.asarray(subject.data.labels)
        labels = np.random.default_rng(settings.seed).choice(known, len(made.data))
        for scale in settings.scales:
            rows += made.of("class", scale, scale, labels)
    return tables.from_rows(rows)


def _diversity(found: dict[str, Table]) -> Claim:
    """What guidance by class costs, where there are classes."""
    passed, words = [], []
    for model, table in found.items():
        if "class" not in table["method"]:
            continue
        column = f"recall {space(table)}"
        gap = between(line(table, "density", column), line(table, "class", column))
        passed.append(bool(gap.low > 0))
        words.append(f"{model} {gap.words}" if np.isfinite(gap.value) else f"{model} no such log p")
    return Claim(
        "At the same log p, density guidance keeps more diversity than classifier-free guidance.",
        f"difference in recall, over the common range of log p: {'; '.join(words)}",
        "its interval lies above 0 for every model with classes",
        verdict(passed),
    )


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """Curves over bytes and over log p, the cells, and five claims."""
    claims = [
        no_worse_at_equal_detail(
            found,
            "density",
            "prior",
            side,
            f"With {change} log p than the plain model, at equal detail, density guidance costs no "
            "more quality than prior guidance.",
        )
        for side, change in ((1, "more"), (-1, "less"))
    ]
    claims += [
        no_worse(
            found,
            one,
            "density",
            f"At the same log p, {NAMES[one]} costs no more quality than density guidance by q.",
        )
        for one in ("calibrated", "landed")
    ]
    claims.append(_diversity(found))
    measures = {name: MEASURES[name] for name in ("sliced", "precision", "recall")}
    sections = [
        Section(
            f"{words[0].upper()}{words[1:]}, by {by}",
            READING[name],
            figure=figure(found, METHODS, name, words, *axis),
        )
        for name, words in measures.items()
        for by, axis in {"size": ("bytes", BYTES), "log p": ()}.items()
    ]
    sections += [
        cells(model, table, METHODS, {"bytes": "PNG bytes"}) for model, table in found.items()
    ]
    return Reading(sections, claims)


QUESTION = Question("What does steering cost at equal detail?", METHOD, Settings, measure, read)
