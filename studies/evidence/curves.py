"""Curves over log p, or over detail, known as an estimate and its random halves, and what lies
between two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from studies.evidence import statistics
from studies.evidence.statistics import Interval
from studies.evidence.tables import Table

__all__ = ["Curve", "between", "curve"]

POINTS = 33  # of the common range


class Curve(NamedTuple):
    """``places`` and ``values`` [1 + halves, cells], the first row the estimate; places rise."""

    places: np.ndarray
    values: np.ndarray

    @property
    def intervals(self) -> list[Interval]:
        """Intervals of the value at each cell."""
        return [statistics.halves(column[0], column[1:]) for column in self.values.T]

    def at(self, places: np.ndarray) -> np.ndarray:
        """Values [1 + halves, len(places)], joined by straight lines."""
        rows = []
        for x, y in zip(self.places, self.values, strict=True):
            order = np.argsort(x)
            rows.append(np.interp(places, x[order], y[order]))
        return np.stack(rows)


def curve(
    table: Table, methods: Sequence[str], column: str, over: str = "log_density", side: int = 0
) -> Curve:
    """The curve through the cells (method, dial) of these methods, a column over another; of those
    on one ``side`` of the plain model, with more log p (1) or less (-1). A cell's rows go by
    draw."""
    first = int(np.sum(table["draw"] == 0))
    method, log_p = (table[name].reshape(first, -1)[:, 0] for name in ("method", "log_density"))
    keep = np.isin(method, list(methods))
    if side:
        keep &= side * (log_p - log_p[method == "plain"]) >= 0
    places, values = (table[name].reshape(first, -1)[keep].T for name in (over, column))
    order = np.argsort(places[0])
    return Curve(places[:, order], values[:, order])


def between(
    one: Curve, two: Curve, combine: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.subtract
) -> Interval:
    """``combine(one, two)`` at the same place, mean over the range that both reached; not a number
    where they share none, or one of them was not measured."""
    if not (one.places.size and two.places.size):
        return Interval(np.nan, np.nan, np.nan)
    low = max(one.places[0].min(), two.places[0].min())
    high = min(one.places[0].max(), two.places[0].max())
    if not low <= high:
        return Interval(np.nan, np.nan, np.nan)
    points = np.linspace(low, high, POINTS)
    means = combine(one.at(points), two.at(points)).mean(axis=1)
    return statistics.halves(means[0], means[1:])
