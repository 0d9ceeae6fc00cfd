"""How good a network is: held-out denoising error by noise level, and copies of training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from densityguide.flow.paths import Path
from densityguide.flow.predictions import check, convert
from densityguide.training.linear import fit_linear
from densityguide.training.loss import clock_of, noised

__all__ = ["LEVELS", "denoising_report", "denoising_report_of", "nearest", "nearest_report"]

LEVELS = (-7.0, -5.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 7.0)


def denoising_report(
    denoise: Callable[[jax.Array, jax.Array], jax.Array],
    path: Path,
    train: jax.Array,
    heldout: jax.Array,
    key: jax.Array,
    levels: Sequence[float] = LEVELS,
    repeats: int = 2,
) -> list[dict[str, float]]:
    """Per level: mean squared error of x0 per dimension, network and best linear, and the ratio.

    `denoise(x, log_snr)` maps one noisy sample to x0_hat. `train`, `heldout`: [N, ...] after the
    transform; the linear denoiser is fitted on `train`. Both see the same noise. The noise-error
    of a denoiser is (alpha / sigma)^2 times its x0-error, so the ratio is the same for both.
    """
    linear = fit_linear(train.reshape(len(train), -1))
    truth = jnp.concatenate([heldout] * repeats)
    flat = truth.reshape(len(truth), -1)

    @jax.jit
    def network(x: jax.Array, level: jax.Array) -> jax.Array:
        return jax.lax.map(lambda one: denoise(one, level), x, batch_size=64)

    rows = []
    for i, level in enumerate(levels):
        log_snr = jnp.asarray(level, truth.dtype)
        alpha, sigma = path.alpha(log_snr), path.sigma(log_snr)
        eps = jax.random.normal(jax.random.fold_in(key, i), truth.shape, truth.dtype)
        x = noised(path, truth, eps, log_snr)
        ours = float(jnp.mean(jnp.square(network(x, log_snr) - truth)))
        guess = linear.denoise(x.reshape(len(x), -1), alpha, sigma)
        best = float(jnp.mean(jnp.square(guess - flat)))
        rows.append(
            {"log_snr": float(level), "network": ours, "linear": best, "ratio": ours / best}
        )
    return rows


def denoising_report_of(
    apply: Callable[..., Any],
    params: Any,
    path: Path,
    prediction: str,
    *args: Any,
    **options: Any,
) -> list[dict[str, float]]:
    """`denoising_report` for a network with the given prediction; further arguments as there."""

    source, clock = check(prediction, path), clock_of(prediction)

    def denoise(x: jax.Array, log_snr: jax.Array) -> jax.Array:
        out = apply(params, x, log_snr)
        return convert(out, x, log_snr, path=path, source=source, target="data", clock=clock)

    return denoising_report(denoise, path, *args, **options)


def nearest(queries: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Root-mean-square distance per dimension of each query to its nearest training image: [N]."""
    a = np.asarray(queries, np.float64).reshape(len(queries), -1)
    b = np.asarray(train, np.float64).reshape(len(train), -1)
    squared = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2.0 * a @ b.T
    return np.sqrt(np.maximum(squared.min(1), 0.0) / a.shape[1])


def nearest_report(
    samples: np.ndarray, heldout: np.ndarray, train: np.ndarray
) -> dict[str, float | int]:
    """Quantiles of the nearest-training-image distance, samples against held-out images.

    `copies` is the fraction of samples nearer to a training image than 99 % of held-out images.
    """
    ours, reference = nearest(samples, train), nearest(heldout, train)
    report: dict[str, float | int] = {"samples": len(samples), "heldout": len(heldout)}
    for name, values in (("samples", ours), ("heldout", reference)):
        for q in (10, 50, 90):
            report[f"{name}_p{q}"] = round(float(np.percentile(values, q)), 5)
    report["copies"] = round(float(np.mean(ours < np.percentile(reference, 1))), 5)
    return report
