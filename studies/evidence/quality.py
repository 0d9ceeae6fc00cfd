"""Prior guidance, density guidance and high-density sampling at the same achieved log p."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from studies.evidence import statistics, subjects, tables
from studies.evidence.cells import Cells
from studies.evidence.compared import LOG_P, READING, cells, figure, line, no_worse, space
from studies.evidence.curves import between
from studies.evidence.judge import MEASURES
from studies.evidence.samplers import NAMES, PLAIN
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.tables import Table

__all__ = ["QUESTION", "Settings"]

METHOD = """
The same latents are decoded by prior guidance (the latent times a factor), density guidance
(`quantile`), target guidance (plain mean of log p plus so many of its standard deviations) and
high-density sampling (from a log-SNR on), each at several values of its dial; factor 1 is the plain
model, and is drawn on the curve of density guidance too, as q = 0.5, but not compared. Achieved log
p is that of the sample encoded again along the plain probability-flow ODE, not the one the sampler
tracked; with exact traces in two dimensions and two cycled probes beyond. Spread is its standard
deviation between samples. All solves have the same number of steps: fewer than digits and the plane
need at the ends of their [dial](dial.md). Evaluations, and tangents, which are products with the
Jacobian, are those of a sample without its log p, but for `target`, which needs log p and measures
it; the encoding that gives achieved log p is not counted.

Quality compares sets of equal size, samples with training data (mean over four disjoint sets of
these): sliced Wasserstein distance (128 directions), kernel distance (unbiased, cubic polynomial),
precision and recall (manifolds of the third neighbour), and the median distance to the nearest of
up to 20,000 training data, divided by that of held-out data: well below 1 would be memorising.
Held-out data measured in the same way are the level to compare with. Spaces are pixels and, for
pictures, the last hidden layer of a small convolutional network trained here to tell the classes of
the training data or, where these have none, by how many quarters a picture was turned; its accuracy
on held-out pictures is stated. Both spaces are centred and scaled by the training data.

Intervals are 1.96 standard errors from random halves of samples and training sets, the same halves
for all methods, so that differences are paired. (In the files of rows draw 0 is the whole set, and
1 and on are the halves.) Methods are compared at the same mean log p by linear interpolation,
averaged over 33 points of the range that both reached with all samples; for halves the range is the
same, and a curve that ends before it is continued by its last value. Not measured: what people see
in the pictures, and deep features of a network trained on other data.
"""
METHODS = ("prior", "density", "target", "high")


@dataclass(frozen=True)
class Settings:
    """``models`` counts samples of each cell, at most as many as there are held-out data."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 64
    factors: tuple[float, ...] = (0.85, 0.95, 1.05, 1.15)
    q: tuple[float, ...] = (0.25, 0.4, 0.6, 0.75)
    targets: tuple[float, ...] = (-1.0, 1.0)  # standard deviations of log p from its mean
    switches: tuple[float, ...] = (-1.0, 2.0, 5.0)  # log-SNR
    draws: int = 40  # random halves


# --- the slow half ---------------------------------------------------------------------------


def measure(settings: Settings, model: str) -> Table:
    """For each cell (method, dial) a row of all samples, draw 0, and one of each random half."""
    subject, count = subjects.load(model), settings.models[model]
    made = Cells(subject, count, settings.steps, settings.draws, settings.seed)
    dials = {"prior": settings.factors, "density": settings.q, "high": settings.switches}
    rows, mean, spread = made.swept(dials)
    for offset in settings.targets:
        rows += made.of("target", offset, mean + offset * spread)
    return tables.from_rows(rows)


# --- the quick half --------------------------------------------------------------------------


def _ratio(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return one / two


def _control(found: dict[str, Table], method: str) -> Claim:
    ratios = {
        model: between(line(table, method, "spread"), line(table, "prior", "spread"), _ratio)
        for model, table in found.items()
    }
    listed = "; ".join(f"{model} {ratio.words}" for model, ratio in ratios.items())
    name = NAMES[method].capitalize()
    return Claim(
        f"{name} controls log p more tightly than prior guidance.",
        f"spread of achieved log p between samples, relative to prior guidance: {listed}",
        "the ratio's interval, at the same mean log p, lies below 1 for every model",
        verdict([bool(ratio.high < 1.0) for ratio in ratios.values()]),
    )


def _highest(found: dict[str, Table]) -> list[Claim]:
    """How far high-density sampling reaches, and what it costs there."""
    gains, recalls, lines, costs = [], [], [], []
    for model, table in found.items():
        where = space(table)
        others = [line(table, name, LOG_P).places[:, -1] for name in ("prior", "density")]
        reached = line(table, "high", LOG_P).places[:, -1]
        further = reached - np.maximum(*others)
        gain = statistics.halves(further[0], further[1:])
        changes = []
        for name in ("precision", "recall"):
            column = f"{name} {where}"
            change = line(table, "high", column).values[:, -1]
            change = change - line(table, PLAIN, column).values[:, 0]
            changes.append(statistics.halves(change[0], change[1:]))
        gains.append(bool(gain.low > 0))
        recalls.append(bool(changes[1].high < 0))
        lines.append(f"{model} {gain.words}")
        costs.append(f"{model} {changes[1].words} and {changes[0].words}")
    return [
        Claim(
            "High-density sampling reaches higher log p than prior and density guidance.",
            f"mean log p at its best switch less the best of the others' dials, in nats: "
            f"{'; '.join(lines)}",
            "the interval lies above 0 for every model; only the dials listed below were tried",
            verdict(gains),
        ),
        Claim(
            "High-density sampling pays with diversity.",
            f"change of recall, and of precision, from plain samples to the switch of highest "
            f"log p: {'; '.join(costs)}",
            "the interval of the change of recall lies below 0 for every model",
            verdict(recalls),
        ),
    ]


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """Curves of every measure, the cells, and five claims."""
    same = "At the same log p, density guidance costs no more quality than prior guidance."
    claims = [no_worse(found, "density", "prior", same)]
    claims += [_control(found, "density"), _control(found, "target"), *_highest(found)]
    figures = {**MEASURES, "nearest": "distance to training data", "spread": "spread of log p"}
    sections = [
        Section(
            words[0].upper() + words[1:],
            READING.get(name, ""),
            figure=figure(found, METHODS, name, words),
        )
        for name, words in figures.items()
    ]
    sections += [cells(model, table, METHODS) for model, table in found.items()]
    return Reading(sections, claims)


QUESTION = Question("What does steering log p cost?", METHOD, Settings, measure, read)
