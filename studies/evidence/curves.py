"""Curves over log p, known as an estimate and its random halves, and what lies between two."""

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
    """``log_p`` and ``values`` [1 + halves, cells], the first row the estimate, by rising log p."""

    log_p: np.ndarray
    values: np.ndarray

    @property
    def intervals(self) -> list[Interval]:
        """Intervals of the value at each cell."""
        return [statistics.halves(column[0], column[1:]) for column in self.values.T]

    def at(self, log_p: np.ndarray) -> np.ndarray:
        """Values [1 + halves, len(log_p)], joined by straight lines."""
        rows = []
        for x, y in zip(self.log_p, self.values, strict=True):
            order = np.argsort(x)
            rows.append(np.interp(log_p, x[order], y[order]))
        return np.stack(rows)


def curve(table: Table, methods: Sequence[str], column: str) -> Curve:
    """The curve through the cells (method, dial) of these methods; a cell's rows go by draw."""
    first = int(np.sum(table["draw"] == 0))
    keep = np.isin(table["method"].reshape(first, -1)[:, 0], list(methods))
    log_p, values = (table[name].reshape(first, -1)[keep].T for name in ("log_density", column))
    order = np.argsort(log_p[0])
    return Curve(log_p[:, order], values[:, order])


def between(
    one: Curve, two: Curve, combine: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.subtract
) -> Interval:
    """``combine(one, two)`` at the same log p, mean over the range that both reached; not a number
    where they share none."""
    low = max(one.log_p[0].min(), two.log_p[0].min())
    high = min(one.log_p[0].max(), two.log_p[0].max())
    if not low <= high:
        return Interval(np.nan, np.nan, np.nan)
    points = np.linspace(low, high, POINTS)
    means = combine(one.at(points), two.at(points)).mean(axis=1)
    return statistics.halves(means[0], means[1:])
