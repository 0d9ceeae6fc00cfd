"""Is low log-density detail?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from densityguide import plotting
from densityguide.density.log_density import log_density
from densityguide.plotting import spearman
from densityguide.steer import sample as sampling
from studies.evidence import measures, statistics, subjects, tables
from studies.evidence.statistics import Interval
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.tables import Table

__all__ = ["QUESTION", "Settings", "neighbour_distance"]

METHOD = """
Log p of held-out data (dequantised) and of the model's own samples, at the data end of the flow, by
the change of variables along the probability-flow ODE, with an exact trace in two dimensions and
two cycled probes for pictures. Detail of the integer pictures is measured in seven ways: bytes of
the file as PNG, as JPEG of quality 90 and as lossless WebP, power at spatial frequencies above 0.25
cycles per pixel, total variation, the mean square of the finest Haar wavelets, and the share of
pixels on an edge (Sobel slope above 0.1 of the range per pixel). One more figure needs no picture:
the distance to the fifth nearest neighbour in the training data, which is large where data are
sparse. Spearman's rank correlation of each with log p, with bootstrap intervals.
"""
PICTURES = {name: words for name, (words, _) in measures.MEASURES.items()}
MEASURES = {**PICTURES, "neighbour": "distance to 5th neighbour"}
SHOWN = ("png", "power", "edges")  # in figures
SOURCES = {"data": "held-out data", "samples": "samples"}


@dataclass(frozen=True)
class Settings:
    """``models`` counts samples, and at most as many held-out data."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 64


def neighbour_distance(points: np.ndarray, others: np.ndarray, rank: int = 5) -> np.ndarray:
    """Root mean square distance [n] per dimension to the ``rank``-th nearest of ``others``; those
    at distance 0, as a point that is one of them, do not count."""
    points = points.reshape(len(points), -1).astype(np.float64)
    others = others.reshape(len(others), -1).astype(np.float64)
    square = (others**2).sum(1)
    found = []
    for part in np.array_split(points, max(1, len(points) // 64)):
        distance = (part**2).sum(1)[:, None] + square - 2.0 * part @ others.T
        distance = np.where(distance > 1e-9 * points.shape[1], distance, np.inf)
        found.append(np.partition(distance, rank - 1, axis=1)[:, rank - 1])
    return np.sqrt(np.concatenate(found) / points.shape[1])


def measure(settings: Settings, model: str) -> Table:
    """A row for each held-out datum and each sample."""
    subject, count = subjects.load(model), settings.models[model]
    options: dict[str, Any] = {"divergence": subject.trace, "steps": settings.steps}

    def encoded(flow: Any, x: Any, key: Any) -> Any:
        out = log_density(flow, x, key=key, **options)
        return out.value, out.standard_error

    def drawn(flow: Any, key: Any) -> Any:
        out = sampling.draw(flow, key, **options)
        return out.x, out.log_density, out.standard_error

    keys = jax.random.split(jax.random.key(settings.seed), count)
    heldout = subject.heldout(count)
    value, error = subject.each(
        encoded, subject.states(heldout, settings.seed + 1), keys[: len(heldout)]
    )
    x, sample_value, sample_error = subject.each(drawn, keys)
    parts = [
        ("data", heldout, value, error),
        ("samples", subject.pictures(x), sample_value, sample_error),
    ]
    return tables.concatenate([_rows(subject, *part) for part in parts])


def _rows(
    subject: subjects.Subject, source: str, found: np.ndarray, value: Any, error: Any
) -> Table:
    table = {
        "source": np.full(len(found), source),
        "log_density": value,
        "standard_error": error,
        "neighbour": neighbour_distance(found, subject.train(20_000)),
    }
    if subject.is_image:
        table |= measures.of(found, subject.data.levels)
    return table


def correlation(rows: Table, name: str) -> Interval:
    """Rank correlation of a measure with log p."""
    return statistics.bootstrap(spearman, rows[name], rows["log_density"])


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """A table of correlations, and the pictures' claim."""
    rows, passed, weakest = [], [], []
    for model, table in found.items():
        for source, words in SOURCES.items():
            part = tables.where(table, source=source)
            row: list[Any] = [model, words, len(part["source"])]
            for name in MEASURES:
                if name not in part:
                    row.append("no picture")
                    continue
                interval = correlation(part, name)
                row.append(interval.words)
                if name in PICTURES:
                    passed.append(interval.high < 0)
                    weakest.append((interval.value, f"{model}, {words}, {MEASURES[name]}"))
            rows.append(row)
    weak = max(weakest) if weakest else (np.nan, "no picture model")
    above = sum(not fine for fine in passed)
    claim = Claim(
        "Pictures of low log-density have more detail.",
        f"{len(passed) - above} of {len(passed)} rank correlations of detail with log p have an "
        f"interval below 0; the weakest is {weak[0]:.2f} ({weak[1]})",
        "the interval of every correlation (model, source, measure) lies below 0",
        verdict(passed),
    )
    sections = [
        Section(
            "Rank correlation with log p",
            "Below 0: what has less log p has more of it.",
            ("model", "of", "n", *MEASURES.values()),
            rows,
        )
    ]
    for model, table in found.items():
        if "png" in table:
            shown = {PICTURES[name]: table[name] for name in SHOWN}
            groups = {words: table["source"] == source for source, words in SOURCES.items()}
            figure = plotting.detail(table["log_density"], shown, groups=groups, title=model)
            sections.append(Section(model, "", figure=figure))
    return Reading(sections, [claim])


QUESTION = Question("Is low log-density detail?", METHOD, Settings, measure, read)
