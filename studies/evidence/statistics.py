"""Intervals: how far a figure may be off because samples are few."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from densityguide.verify import alignment_report as reports

__all__ = ["Interval", "bootstrap", "halves", "mean", "number", "share"]

DRAWS = 1000  # of the bootstrap


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """Like ``0.81 (0.74 to 0.86)``."""
        value, low, high = (number(part) for part in self)
        return f"{value} ({low} to {high})"

    @property
    def percent(self) -> str:
        """The same of a share, like ``81.0% (74.1% to 86.3%)``."""
        value, low, high = (f"{part:.1%}" for part in self)
        return f"{value} ({low} to {high})"


def number(value: float) -> str:
    """Three digits, or whole ones from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def bootstrap(statistic: Callable[..., float], *columns: np.ndarray, seed: int = 0) -> Interval:
    """``statistic(*columns)`` with the percentile interval of Efron's bootstrap (1979), which draws
    the n rows anew; rows in which a column is not finite are left out."""
    fine = np.all([np.isfinite(c).reshape(len(c), -1).all(axis=1) for c in columns], axis=0)
    kept = [column[fine] for column in columns]
    size = int(fine.sum())
    if size < 2:
        return Interval(np.nan, np.nan, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            (np.arange(size),),
            lambda rows: statistic(*(column[rows] for column in kept)),
            vectorized=False,
            n_resamples=DRAWS,
            batch=1,  # as many rows at a time as there are
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    # Rows drawn anew may be all equal, where a statistic such as a correlation is undefined.
    low, high = np.nanpercentile(drawn.bootstrap_distribution, [2.5, 97.5])
    return Interval(float(statistic(*kept)), float(low), float(high))


def share(passed: np.ndarray) -> Interval:
    """The share of what passed, with Wilson's interval."""
    met, count = int(np.sum(passed)), len(passed)
    low, high = reports.wilson_interval(met, count)
    return Interval(met / count, float(low), float(high))


def mean(column: np.ndarray, seed: int = 0) -> Interval:
    """The mean of a column with its interval."""
    return bootstrap(np.mean, np.asarray(column, np.float64), seed=seed)


def halves(estimate: float, replicates: np.ndarray) -> Interval:
    """The estimate with 1.96 standard errors to either side, from estimates of random halves drawn
    without replacement (delete-d jackknife of Shao and Wu, 1989, with d = n / 2): their spread is
    the standard error of the whole, also for statistics that repeated rows would bias."""
    fine = replicates[np.isfinite(replicates)]
    error = 1.96 * float(np.std(fine)) if len(fine) > 1 else np.nan
    return Interval(float(estimate), float(estimate) - error, float(estimate) + error)
