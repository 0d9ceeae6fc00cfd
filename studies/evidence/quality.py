"""Prior guidance, density guidance and high-density sampling at the same achieved log p."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from densityguide import plotting
from densityguide.density.log_density import log_density
from densityguide.steer import sample as sampling
from studies.evidence import statistics, subjects, tables
from studies.evidence.curves import Curve, between, curve
from studies.evidence.judge import MEASURES, Judge
from studies.evidence.samplers import METHODS, PLAIN, samplers
from studies.evidence.statistics import Interval
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
HELDOUT = "held-out data"
MARGIN = {"sliced": 0.25, "precision": 0.1, "recall": 0.1}  # the first relative to plain samples
READING = {
    "sliced": "In features for pictures, in the plane for points. Smaller is better; held-out data "
    "show how far apart sets of this size are that come from one distribution.",
    "kernel": "0 is expected of sets of one distribution.",
    "precision": "The share of samples that lie within the training data's manifold.",
    "recall": "The share of training data that lie within the samples' manifold.",
    "nearest": "Median distance in pixels to the nearest training datum, in that of held-out data.",
    "spread": "Standard deviation between samples, in nats.",
}


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
    subject = subjects.load(model)
    heldout = subject.heldout(settings.models[model])
    count = len(heldout)
    trace = subject.trace
    judge = Judge(subject, count, settings.draws, settings.seed)

    def encoded(flow: Any, x: Any, key: Any) -> Any:
        return log_density(flow, x, divergence=trace, key=key, steps=settings.steps).value

    keys = jax.random.split(jax.random.key(settings.seed), (3, count))
    latents = subject.each(sampling.latent, keys[0])
    drawn_by = samplers(settings.steps, trace)

    def cell(method: str, dial: float, asked: float) -> list[dict[str, Any]]:
        column = np.full(count, asked, np.float32)
        out = subject.each(drawn_by[method], latents, keys[1], column)
        log_p = subject.each(encoded, out.x, keys[2])
        shared = {
            "method": method,
            "dial": dial,
            "evaluations": float(out.evaluations[0]),
            "tangents": float(out.tangents[0]),
            "unmet": float(np.nanmean(out.unmet)),
        }
        return [shared | row for row in judge.rows(subject.pictures(out.x), log_p)]

    states = subject.states(heldout, settings.seed + 1)
    nothing = {"method": HELDOUT, "dial": 0.0, "evaluations": 0.0, "tangents": 0.0, "unmet": 0.0}
    log_p = subject.each(encoded, states, keys[2])
    rows = [nothing | row for row in judge.rows(heldout, log_p)]
    plain = cell(PLAIN, 1.0, 1.0)
    mean, spread = plain[0]["log_density"], plain[0]["spread"]
    rows += plain
    dials = {"prior": settings.factors, "density": settings.q, "high": settings.switches}
    for method, values in dials.items():
        for value in values:
            rows += cell(method, value, value)
    for offset in settings.targets:
        rows += cell("target", offset, mean + offset * spread)
    return tables.from_rows(rows)


# --- the quick half --------------------------------------------------------------------------


def _space(table: Table) -> str:
    return "features" if "sliced features" in table else "pixels"


def _line(table: Table, method: str, column: str) -> Curve:
    """A method's curve."""
    return curve(table, (method,), column)


def _drawn(table: Table, method: str, column: str) -> Curve:
    """The curve as drawn, with the plain model (factor 1, q = 0.5), which comparisons leave out."""
    return curve(table, (method, PLAIN) if method in ("prior", "density") else (method,), column)


def _ratio(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return one / two


def _quality(found: dict[str, Table]) -> Claim:
    passed, worst = [], []
    for model, table in found.items():
        for name, margin in MARGIN.items():
            column = f"{name} {_space(table)}"
            gap = between(_line(table, "density", column), _line(table, "prior", column))
            if name == "sliced":
                scale = _line(table, PLAIN, column).values[0, 0]
                gap = Interval(*(end / scale for end in gap))
                loss = gap
            else:
                loss = Interval(-gap.value, -gap.high, -gap.low)
            passed.append(bool(loss.high < margin))
            unit = " of the plain model's" if name == "sliced" else ""
            worst.append((loss.value / margin, f"{model}, {MEASURES[name]}, {gap.words}{unit}"))
    return Claim(
        "At the same log p, density guidance costs no more quality than prior guidance.",
        f"{sum(passed)} of {len(passed)} differences, density less prior guidance, stay within the "
        f"margin; the least favourable is {max(worst)[1]}",
        "mean difference over the common range of log p, for every model: the interval lies below "
        f"{MARGIN['sliced']:.0%} of the plain model's sliced Wasserstein distance, and above "
        f"-{MARGIN['precision']} in precision and in recall",
        verdict(passed),
    )


def _control(found: dict[str, Table], method: str) -> Claim:
    ratios = {
        model: between(_line(table, method, "spread"), _line(table, "prior", "spread"), _ratio)
        for model, table in found.items()
    }
    listed = "; ".join(f"{model} {ratio.words}" for model, ratio in ratios.items())
    name = METHODS[method].capitalize()
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
        space = _space(table)
        others = [_line(table, name, "log_density").log_p[:, -1] for name in ("prior", "density")]
        reached = _line(table, "high", "log_density").log_p[:, -1]
        further = reached - np.maximum(*others)
        gain = statistics.halves(further[0], further[1:])
        changes = []
        for name in ("precision", "recall"):
            column = f"{name} {space}"
            change = _line(table, "high", column).values[:, -1]
            change = change - _line(table, PLAIN, column).values[:, 0]
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


def _figure(found: dict[str, Table], column: str, label: str) -> Any:
    panels: dict[str, dict[str, Any]] = {}
    for model, table in found.items():
        name = f"{column} {_space(table)}" if column in MEASURES else column
        lines = {words: _drawn(table, method, name) for method, words in METHODS.items()}
        panels[model] = {words: (line.log_p[0], line.intervals) for words, line in lines.items()}
        panels[model][HELDOUT] = ([0.0], _line(table, HELDOUT, name).intervals)
    return plotting.intervals(
        panels,
        xlabel="achieved mean log p (nats)",
        ylabel=label,
        columns=3,
        flat=(HELDOUT,),
    )


def _rows(table: Table) -> list[list[Any]]:
    """A row for each cell, by method and log p."""
    space, rows = _space(table), []
    for method in (HELDOUT, PLAIN, *METHODS):
        part = tables.where(table, method=method, draw=0.0)
        for index in np.argsort(part["log_density"]):
            drawn = [part[name][index] for name in ("dial", "evaluations", "tangents", "failed")]
            row: list[Any] = [METHODS.get(method, method)]
            row += ["-"] * len(drawn) if method == HELDOUT else drawn
            row += [part[name][index] for name in ("log_density", "spread", "nearest")]
            row += [part[f"{name} {space}"][index] for name in MEASURES]
            if space != "pixels":
                row += [part[f"{name} pixels"][index] for name in ("sliced", "kernel")]
            rows.append(row)
    return rows


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """Curves of every measure, the cells, and five claims."""
    claims = [_quality(found), _control(found, "density"), _control(found, "target")]
    claims += _highest(found)
    figures = {**MEASURES, "nearest": "distance to training data", "spread": "spread of log p"}
    sections = [
        Section(
            words[0].upper() + words[1:],
            READING.get(name, ""),
            figure=_figure(found, name, words),
        )
        for name, words in figures.items()
    ]
    heads = ("method", "dial", "evaluations", "tangents", "failed", "log p", "spread", "nearest")
    for model, table in found.items():
        told = table["accuracy"][0]
        text = (
            "Distances are in the plane."
            if np.isnan(told)
            else (
                f"Distances are in features, and the last two in pixels. The classifier is right "
                f"for {told:.0%} of the held-out pictures; chance is {1 / table['classes'][0]:.0%}."
            )
        )
        both = ("sliced (pixels)", "kernel (pixels)") if _space(table) != "pixels" else ()
        names = (*MEASURES.values(), *both)
        sections.append(Section(model, text, (*heads, *names), _rows(table)))
    return Reading(sections, claims)


QUESTION = Question("What does steering log p cost?", METHOD, Settings, measure, read)
