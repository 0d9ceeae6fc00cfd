"""Conversions among what a network may predict, on any Gaussian path.

With ``x = alpha x0 + sigma eps``, score ``s`` and velocity ``u`` per unit log-SNR:

* noise: ``s = -eps / sigma``
* data: ``s = (alpha x0 - x) / sigma^2``
* v: ``v = alpha eps - sigma x0`` (Salimans and Ho, ICLR 2022), so ``eps = alpha v + sigma x``;
  only where ``alpha^2 + sigma^2 = 1``
* velocity: ``w = dx/dt`` in the network's own clock ``t``. One rule covers every clock:
  ``u = w dt/dlog_snr`` and ``s = 2 (u - drift x) / sigma^2``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast, get_args

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import clocks
from densityguide.errors import require
from densityguide.paths import Path

__all__ = ["Prediction", "check", "convert", "score_from", "score_to"]

Prediction = Literal["noise", "data", "v", "score", "velocity"]


def check(prediction: str, path: Path) -> Prediction:
    """``prediction`` itself; ValueError unless it is known and makes sense on ``path``."""
    known = get_args(Prediction)
    require(
        prediction in known, f"prediction must be one of {', '.join(known)}, got {prediction!r}"
    )
    require(
        prediction != "v" or path.preserves_variance,
        f"prediction 'v' needs the variance preserving path, got {path.name}: "
        "use 'velocity' on the linear path, or convert the output to 'noise'",
    )
    return cast(Prediction, prediction)


def _clock_rate(clock: Callable[[Array], Array], log_snr: Array) -> Array:
    return jax.jvp(clock, (log_snr,), (jnp.ones_like(log_snr),))[1]


def score_from(
    output: Array,
    x: Array,
    log_snr: Array,
    *,
    path: Path,
    prediction: Prediction,
    clock: Callable[[Array], Array] = clocks.log_snr,
) -> Array:
    """The score ``grad log p`` from a network's output; all arrays shaped like ``x``."""
    alpha, sigma = path.alpha(log_snr), path.sigma(log_snr)
    if prediction == "noise":
        return -output / sigma
    if prediction == "data":
        return (alpha * output - x) / sigma**2
    if prediction == "v":
        return -(alpha / sigma) * output - x
    if prediction == "velocity":
        velocity = output * _clock_rate(clock, log_snr)
        return 2.0 * (velocity - path.drift(log_snr) * x) / sigma**2
    return output


def score_to(
    score: Array,
    x: Array,
    log_snr: Array,
    *,
    path: Path,
    prediction: Prediction,
    clock: Callable[[Array], Array] = clocks.log_snr,
) -> Array:
    """What a network of this kind would predict, from the score: inverse of `score_from`."""
    alpha, sigma = path.alpha(log_snr), path.sigma(log_snr)
    if prediction == "noise":
        return -sigma * score
    if prediction == "data":
        return (x + sigma**2 * score) / alpha
    if prediction == "v":
        return -(sigma / alpha) * (x + score)
    if prediction == "velocity":
        velocity = path.drift(log_snr) * x + 0.5 * sigma**2 * score
        return velocity / _clock_rate(clock, log_snr)
    return score


def convert(
    value: Array,
    x: Array,
    log_snr: Array,
    *,
    path: Path,
    source: Prediction,
    target: Prediction,
    clock: Callable[[Array], Array] = clocks.log_snr,
) -> Array:
    """From one kind of prediction to another, through the score."""
    check(source, path)
    check(target, path)
    score = score_from(value, x, log_snr, path=path, prediction=source, clock=clock)
    return score_to(score, x, log_snr, path=path, prediction=target, clock=clock)
