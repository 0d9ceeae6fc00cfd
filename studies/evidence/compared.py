"""What cells say: curves of every measure, tables, and whether a sampler is worse than another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from densityguide import plotting
from studies.evidence import tables
from studies.evidence.cells import HELDOUT
from studies.evidence.curves import Curve, between, curve
from studies.evidence.judge import MEASURES
from studies.evidence.samplers import NAMES, PLAIN
from studies.evidence.statistics import Interval
from studies.evidence.study import Claim, Section, verdict
from studies.evidence.tables import Table

__all__ = [
    "LOG_P",
    "READING",
    "cells",
    "figure",
    "line",
    "no_worse",
    "no_worse_at_equal_detail",
    "space",
]

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
LOG_P = "log_density"
# Samplers of which the plain model is a place of the dial: factor 1, q = 0.5.
THROUGH = ("prior", "density", "calibrated")


def space(table: Table) -> str:
    """Where quality is judged: in features of pictures, else where points are."""
    return "features" if "sliced features" in table else "pixels"


def line(table: Table, method: str, column: str) -> Curve:
    """A sampler's curve, without the plain model."""
    return curve(table, (method,), column)


def no_worse(found: dict[str, Table], one: str, two: str, text: str) -> Claim:
    """The claim that a sampler costs no more quality than another at the same log p."""

    def lines(table: Table, column: str) -> tuple[Curve, Curve]:
        return line(table, one, column), line(table, two, column)

    return _judged(found, lines, (one, two), text, "log p")


def no_worse_at_equal_detail(
    found: dict[str, Table], one: str, two: str, side: int, text: str
) -> Claim:
    """The same at equal PNG bytes, on one ``side`` of the plain model, from which both start."""

    def lines(table: Table, column: str) -> tuple[Curve, Curve]:
        first, second = (
            curve(table, (name, PLAIN), column, "bytes", side=side) for name in (one, two)
        )
        return first, second

    return _judged(found, lines, (one, two), text, "PNG bytes")


def _judged(
    found: dict[str, Table],
    lines: Callable[[Table, str], tuple[Curve, Curve]],
    names: tuple[str, str],
    text: str,
    at: str,
) -> Claim:
    passed, worst, apart = [], [], 0
    for model, table in found.items():
        for name, margin in MARGIN.items():
            gap = between(*lines(table, f"{name} {space(table)}"))
            if not np.isfinite(gap.value):
                apart += 1
                continue
            if name == "sliced":
                scale = line(table, PLAIN, f"{name} {space(table)}").values[0, 0]
                gap = Interval(*(end / scale for end in gap))
                loss = gap
            else:
                loss = Interval(-gap.value, -gap.high, -gap.low)
            passed.append(bool(loss.high < margin))
            unit = " of the plain model's" if name == "sliced" else ""
            worst.append((loss.value / margin, f"{model}, {MEASURES[name]}, {gap.words}{unit}"))
    one, two = (NAMES[name] for name in names)
    words = f"{sum(passed)} of {len(passed)} differences, {one} less {two}, stay within the margin"
    if worst:
        words += f"; the least favourable is {max(worst)[1]}"
    if apart:
        words += f"; {apart} more have no {at} in common"
    return Claim(
        text,
        words,
        f"mean difference over the common range of {at}, for every model: the interval lies below "
        f"{MARGIN['sliced']:.0%} of the plain model's sliced Wasserstein distance, and above "
        f"-{MARGIN['precision']} in precision and in recall",
        verdict(passed),
    )


def figure(
    found: dict[str, Table],
    methods: Sequence[str],
    column: str,
    label: str,
    over: str = LOG_P,
    along: str = "achieved mean log p (nats)",
) -> Any:
    """A measure of every sampler, a panel for each model; samplers of which the plain model is a
    place are drawn through it."""
    panels: dict[str, dict[str, Any]] = {}
    for model, table in found.items():
        name = f"{column} {space(table)}" if column in MEASURES else column
        panels[model] = {}
        for method in methods:
            drawn = (method, PLAIN) if method in THROUGH else (method,)
            if method in table["method"]:
                known = curve(table, drawn, name, over)
                panels[model][NAMES[method]] = (known.places[0], known.intervals)
        panels[model][HELDOUT] = ([0.0], line(table, HELDOUT, name).intervals)
    return plotting.intervals(panels, xlabel=along, ylabel=label, columns=3, flat=(HELDOUT,))


def cells(
    model: str, table: Table, methods: Sequence[str], more: dict[str, str] | None = None
) -> Section:
    """A row for each cell, by sampler and log p; ``more`` names further columns."""
    told, where, rows = table["accuracy"][0], space(table), []
    more = more or {}
    text = (
        "Distances are in the plane."
        if np.isnan(told)
        else (
            f"Distances are in features, and the last two in pixels. The classifier is right "
            f"for {told:.0%} of the held-out pictures; chance is {1 / table['classes'][0]:.0%}."
        )
    )
    for method in (HELDOUT, PLAIN, *methods):
        part = tables.where(table, method=method, draw=0.0)
        for index in np.argsort(part[LOG_P]):
            drawn = [part[name][index] for name in ("dial", "evaluations", "tangents", "failed")]
            row: list[Any] = [NAMES.get(method, method)]
            row += ["-"] * len(drawn) if method == HELDOUT else drawn
            row += [part[name][index] for name in (LOG_P, "spread", *more, "nearest")]
            row += [part[f"{name} {where}"][index] for name in MEASURES]
            if where != "pixels":
                row += [part[f"{name} pixels"][index] for name in ("sliced", "kernel")]
            rows.append(row)
    heads = ("method", "dial", "evaluations", "tangents", "failed", "log p", "spread")
    both = ("sliced (pixels)", "kernel (pixels)") if where != "pixels" else ()
    names = (*heads, *more.values(), "nearest", *MEASURES.values(), *both)
    return Section(model, text, names, rows)
