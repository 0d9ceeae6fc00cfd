"""Deviations of one log p from another: their size without the noise of measuring, and units."""

from __future__ import annotations

from math import log

import numpy as np

from studies.evidence import statistics
from studies.evidence.statistics import Interval

__all__ = ["bits", "interval", "root_mean_square"]


def bits(nats: np.ndarray, size: float) -> np.ndarray:
    """Bits per dimension of differences in nats in ``size`` dimensions."""
    return np.asarray(nats, np.float64) / (size * log(2.0))


def root_mean_square(error: np.ndarray, noise: np.ndarray) -> float:
    """``sqrt(mean error^2 - mean noise^2)``, 0 where noise explains all of it; ``noise`` is the
    standard error of each measurement, independent of what is measured."""
    return float(np.sqrt(max(np.mean(error**2) - np.mean(noise**2), 0.0)))


def interval(error: np.ndarray, noise: np.ndarray | None = None) -> Interval:
    """`root_mean_square` with its bootstrap interval; by default there is no noise."""
    error = np.asarray(error, np.float64)
    silent = np.zeros_like(error) if noise is None else np.asarray(noise, np.float64)
    return statistics.bootstrap(root_mean_square, error, silent)
