"""How well noise is predicted at each level, beside the best linear denoiser."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.flow.flow import Flow
from densityguide.flow.predictions import Place
from densityguide.verify.wirings import Wiring, score

__all__ = ["Denoising", "errors", "gain", "judge", "within"]

# Of the variance of what a network predicts: what small networks leave. The linear bound falls
# below it in nearly pure noise, where nothing is left to learn; no mistake in the wiring is so
# small at all levels.
FLOOR = 0.01


class Denoising(NamedTuple):
    """Per level: the error, the best linear denoiser's, and what is allowed."""

    levels: tuple[float, ...]
    error: np.ndarray
    linear: np.ndarray
    allowed: np.ndarray

    @property
    def passed(self) -> bool:
        return bool(np.all(self.error <= self.allowed))

    @property
    def worst(self) -> int:
        return int(np.argmax(self.error / self.allowed))

    @property
    def merit(self) -> float:
        """Mean log of error / linear: less is better."""
        return float(np.mean(np.log(np.maximum(self.error / self.linear, 1e-6))))


def within(flow: Flow, levels: tuple[float, ...]) -> tuple[float, ...]:
    """The levels inside the flow's range; its middle if there is none."""
    start, stop = (float(end) for end in flow.interval)
    return tuple(v for v in levels if start < v < stop) or (0.5 * (start + stop),)


def errors(
    flow: Flow,
    wiring: Wiring,
    data: Array,
    noise: Array,
    levels: tuple[float, ...],
    *,
    shift: float = 0.0,
    labels: Array | None = None,
) -> np.ndarray:
    """``|eps_hat - eps|^2 / D`` [levels, n]; the network is told the log-SNR plus ``shift``."""
    found = []
    for level in levels:
        log_snr = jnp.asarray(level, data.dtype)
        alpha, sigma = wiring.path.alpha(log_snr), wiring.path.sigma(log_snr)
        x = alpha * data + sigma * noise
        told = jnp.clip(log_snr + shift, *flow.interval)
        eps = -sigma * score(flow, wiring, x, log_snr, told, labels)
        found.append(jnp.mean((eps - noise) ** 2, axis=tuple(range(1, data.ndim))))
    each = np.asarray(jnp.stack(found), np.float64)
    return np.where(np.isfinite(each), each, np.inf)


def judge(
    flow: Flow,
    wiring: Wiring,
    data: Array,
    noise: Array,
    levels: tuple[float, ...],
) -> Denoising:
    """The errors against the best isotropic linear denoiser's, ``a^2 v / (a^2 v + sigma^2)``.

    More is allowed by three standard errors of the average, and by `FLOOR`.
    """
    each = errors(flow, wiring, data, noise, levels)
    n = data.shape[0]
    spread = jnp.mean((data - jnp.mean(data, axis=0)) ** 2) * n / max(n - 1, 1)
    snr = np.exp(np.asarray(levels, np.float64)) * max(float(spread), 1e-12)
    linear = snr / (snr + 1.0)
    error = each.mean(axis=1)
    with np.errstate(invalid="ignore"):
        doubt = np.nan_to_num(each.std(axis=1) / np.sqrt(n))
    floor = FLOOR * np.asarray([_unit(wiring, data, noise, level) for level in levels])
    # Of a few samples the spread says little, and a wrong wiring's is as large as its error.
    slack = 1.05 + 3.0 * np.minimum(doubt / linear, 1.0 / np.sqrt(n))
    return Denoising(levels, error, linear, slack * linear + floor)


def _unit(wiring: Wiring, data: Array, noise: Array, level: float) -> float:
    """The error of the noise when what the network predicts is off by its own mean square."""
    log_snr = jnp.asarray(level, data.dtype)
    sigma = wiring.path.sigma(log_snr)
    x = wiring.path.alpha(log_snr) * data + sigma * noise
    at = Place(x, log_snr, wiring.path, wiring.clock)
    right = wiring.kind.from_score(-noise / sigma, at)
    twice = wiring.kind.from_score(-2.0 * noise / sigma, at)
    slope = jnp.mean((twice - right) ** 2) / jnp.mean(noise**2)
    return float(jnp.mean(right**2) / jnp.maximum(slope, 1e-20))


def gain(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """By what part errors [levels, n] fall, and the standard error of that; levels count alike."""
    usual = before.mean(axis=1, keepdims=True)
    if not (np.isfinite(usual).all() and np.isfinite(after).all()):
        return (0.0, 0.0) if np.isfinite(usual).all() else (float(np.isfinite(after).all()), 0.0)
    each = np.mean((before - after) / usual, axis=0)
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(each.size))
