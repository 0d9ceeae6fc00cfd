"""Does log p tell pictures that a model has never seen?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from scipy.stats import rankdata

from densityguide import plotting
from densityguide.density.log_density import log_density
from densityguide.steer.alignment import score_alignment
from densityguide.steer.calibrate import fluctuation
from studies.evidence import elsewhere, statistics, subjects, tables
from studies.evidence.statistics import Interval
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.tables import Table

__all__ = ["DETECTORS", "QUESTION", "Settings", "detect"]

METHOD = """
Held-out pictures of a model's own data against pictures from elsewhere of the same shape: another
data set (resized by a bilinear filter, grey as the mean of the channels), and the held-out pictures
themselves blurred (one pixel), with their pixels in another order, in one plain colour, and noise.
All are dequantised and encoded, with two cycled probes. Four numbers may tell them apart: *low log
p*; *typicality*, the distance of log p to its mean over training pictures (Nalisnick et al., 2019);
*|h|*, the size of the rate of log p at the data end in its nominal standard deviation (0 on average
for what belongs to the density); and *low alignment*, the rate at which log p rises as the encoded
latent shrinks. The area under the ROC curve is the chance that a picture from elsewhere has more of
it than a held-out one: 1 tells them apart, 0.5 is a coin, and below 0.5 the pictures from elsewhere
look more at home than the model's own data. Bootstrap intervals.
"""
OWN, TRAIN = "held-out data", "training data"
TOLD, COIN = 0.9, 0.5  # areas under the curve
SIMPLE = ("blurred", "plain")


@dataclass(frozen=True)
class Settings:
    """``models`` counts pictures of each set."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 32


def measure(settings: Settings, model: str) -> Table:
    """A row for each picture."""
    subject, count = subjects.load(model), settings.models[model]
    trace, steps = subject.trace, settings.steps

    def numbers(flow: Any, x: Any, key: Any) -> Any:
        key_trace, key_h = jax.random.split(key)
        out = log_density(flow, x, divergence=trace, key=key_trace, steps=steps)
        h = fluctuation(flow, trace, x, flow.interval[1], key_h)
        aligned = score_alignment(flow, out.latent, steps=steps)
        return out.value, h.mean(), aligned.value

    sets = {TRAIN: subject.train(count), OWN: subject.heldout(count)}
    sets |= elsewhere.sets(subject, count, settings.seed)
    parts = []
    for number, (name, images) in enumerate(sets.items()):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(settings.seed), number), count)
        states = subject.states(images, settings.seed + 1 + number)
        log_p, h, aligned = subject.each(numbers, states, keys[: len(images)])
        parts.append(
            {
                "set": np.full(len(images), name),
                "size": np.full(len(images), float(subject.flow.size)),
                "log_density": log_p,
                "h": h,
                "alignment": aligned,
            }
        )
    return tables.concatenate(parts)


def _typical(rows: Table, table: Table) -> np.ndarray:
    mean = np.nanmean(tables.where(table, set=TRAIN)["log_density"])
    return np.abs(rows["log_density"] - mean)


# name -> what is large for pictures from elsewhere, of some rows of a table
DETECTORS: dict[str, Callable[[Table, Table], np.ndarray]] = {
    "low log p": lambda rows, table: -rows["log_density"],
    "typicality": _typical,
    "|h|": lambda rows, table: np.abs(rows["h"]),
    "low alignment": lambda rows, table: -rows["alignment"],
}


def detect(own: np.ndarray, others: np.ndarray) -> Interval:
    """Area under the ROC curve of a number that is to be larger for ``others``."""
    labels = np.repeat([0.0, 1.0], [len(own), len(others)])
    return statistics.bootstrap(_area, labels, np.concatenate([own, others]))


def _area(labels: np.ndarray, numbers: np.ndarray) -> float:
    """Mann and Whitney's U over all pairs; not a number if rows drawn anew are of one kind."""
    others = int(labels.sum())
    pairs = others * (len(labels) - others)
    above = float(rankdata(numbers)[labels > 0].sum()) - others * (others + 1) / 2.0
    return above / pairs if pairs else np.nan


def _areas(table: Table) -> dict[tuple[str, str], Interval]:
    own = tables.where(table, set=OWN)
    return {
        (name, detector): detect(number(own, table), number(part, table))
        for name in dict.fromkeys(table["set"])
        if name not in (OWN, TRAIN)
        for part in [tables.where(table, set=name)]
        for detector, number in DETECTORS.items()
    }


def _claim(text: str, cells: dict[str, Interval], rule: str, passes: Any, worst: Any) -> Claim:
    passed = [bool(passes(area)) for area in cells.values()]
    name = worst(cells, key=lambda cell: cells[cell].value)
    found = f"{sum(passed)} of {len(passed)}; furthest from it is {name}, {cells[name].words}"
    return Claim(text, found, rule, verdict(passed))


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """Areas under the curve for every model, set and detector."""
    areas = {model: _areas(table) for model, table in found.items()}

    def cells(detector: str, only: tuple[str, ...] = ()) -> dict[str, Interval]:
        return {
            f"{model}, {name}": area
            for model, row in areas.items()
            for (name, by), area in row.items()
            if by == detector and (not only or name in only)
        }

    told = f"the interval of the area under the curve (model, set) lies above {TOLD:g}"
    above = partial(_claim, rule=told, passes=lambda area: area.low > TOLD, worst=min)
    claims = [
        above("Low log p tells pictures from elsewhere.", cells("low log p")),
        above("Distance from the typical log p tells them.", cells("typicality")),
        above("The rate of log p at the data end tells them.", cells("|h|")),
        above("Low alignment tells them.", cells("low alignment")),
        _claim(
            "Simple pictures from elsewhere have more log p than the model's own data.",
            cells("low log p", SIMPLE),
            f"the interval of the area under the curve (model; {' or '.join(SIMPLE)}) lies below "
            f"{COIN:g}",
            lambda area: area.high < COIN,
            max,
        ),
    ]
    figure = plotting.spreads(
        {model: _bits(table) for model, table in found.items()}, xlabel="log p (bits/dim)"
    )
    told = (
        "Boxes hold the middle half of each set, lines 90 % of it; the band is the box of held-out "
        "data. To the right of it the model finds pictures likelier than its own kind."
    )
    sections = [Section("Log p of each set", told, figure=figure)]
    for model, table in found.items():
        rows = []
        for name in dict.fromkeys(table["set"]):
            part = tables.where(table, set=name)
            scale = part["size"][0] * np.log(2.0)
            bits = statistics.mean(part["log_density"] / scale)
            words = [
                areas[model][name, by].words if (name, by) in areas[model] else "-"
                for by in DETECTORS
            ]
            rows.append([name, len(part["size"]), bits.words, *words])
        sections.append(
            Section(
                model,
                "Mean log p in bits for each dimension, on the model's own scale (larger is "
                "likelier), and areas under the curve.",
                ("pictures", "n", "log p (bits/dim)", *DETECTORS),
                rows,
            )
        )
    return Reading(sections, claims)


def _bits(table: Table) -> dict[str, np.ndarray]:
    """Log p of the model's own held-out data, and of each set from elsewhere."""
    names = [OWN, *(name for name in dict.fromkeys(table["set"]) if name not in (OWN, TRAIN))]
    parts = {name: tables.where(table, set=name) for name in names}
    return {name: part["log_density"] / part["size"] / np.log(2.0) for name, part in parts.items()}


QUESTION = Question(
    "Does log p tell pictures that a model has never seen?", METHOD, Settings, measure, read
)
