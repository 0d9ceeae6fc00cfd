"""Denoising losses on a Gaussian path x = alpha x0 + sigma eps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from densityguide.flow import clocks, paths
from densityguide.training.config import Loss
from densityguide.training.importance import Adapted, Histogram
from densityguide.training.noise_levels import NoiseLevels

__all__ = [
    "Draws",
    "check",
    "clock_of",
    "denoising_loss",
    "draws_of",
    "error_of",
    "error_scale",
    "kept_labels",
    "levels",
    "noised",
    "path_of",
    "target",
    "weighted_errors",
]


def path_of(name: str) -> paths.Path:
    """The path called `name`; ValueError for another name."""
    known = ("variance_preserving", "variance_exploding", "linear")
    if name not in known:
        raise ValueError(f"expected loss.path among {', '.join(known)}, got {name!r}")
    return getattr(paths, name)()


def clock_of(prediction: str) -> Callable[[jax.Array], jax.Array]:
    """The clock in which a prediction is meant: velocities are per unit of flow time."""
    return clocks.flow_time if prediction == "velocity" else clocks.log_snr


def levels(
    loss: Loss, histogram: Histogram | None = None
) -> tuple[NoiseLevels | Adapted, NoiseLevels]:
    """The proposal that log-SNR is drawn from and the weighting w the loss is an average over."""
    low, high = loss.log_snr

    def make(share: float) -> NoiseLevels:
        return NoiseLevels(low, high, loss.centre, loss.scale, share)

    fixed = make(loss.proposal_share)
    proposal = fixed if histogram is None else Adapted(fixed, loss.adapt, histogram)
    return proposal, make(0.0 if loss.weighting == "likelihood" else loss.weighting_share)


def error_of(loss: Loss) -> str:
    """The quantity whose squared error the loss averages."""
    return "noise" if loss.weighting == "likelihood" else loss.error or loss.prediction


def noised(path: paths.Path, x0: jax.Array, eps: jax.Array, log_snr: jax.Array) -> jax.Array:
    """x = alpha x0 + sigma eps for one sample."""
    return path.alpha(log_snr) * x0 + path.sigma(log_snr) * eps


def target(
    path: paths.Path, prediction: str, x0: jax.Array, eps: jax.Array, log_snr: jax.Array
) -> jax.Array:
    """What the network should predict for one sample, shaped like x0.

    noise: eps; data: x0; v: alpha eps - sigma x0; velocity: dx/dt in flow time (on the linear path
    +-(x0 - eps)). ValueError for another name, and for v off the variance preserving path.
    """
    if prediction == "noise":
        return eps
    if prediction == "data":
        return x0
    if prediction == "v" and path.preserves_variance:
        return path.alpha(log_snr) * eps - path.sigma(log_snr) * x0
    if prediction == "velocity":
        one = jnp.ones_like(log_snr)
        derivative = jax.jvp(lambda t: noised(path, x0, eps, t), (log_snr,), (one,))[1]
        return derivative / jax.jvp(clocks.flow_time, (log_snr,), (one,))[1]
    raise ValueError(
        f"expected loss.prediction noise, data, velocity, or v on variance_preserving, "
        f"got {prediction!r} on {path.name}"
    )


def error_scale(kind: str, log_snr: jax.Array) -> jax.Array:
    """Squared error of `kind` by that of x0, a function of log-SNR alone: data 1, noise
    alpha^2 / sigma^2, v 1 / sigma^2 (variance preserving), velocity 1 / sigma^2 (linear path)."""
    if kind == "data":
        return jnp.ones_like(log_snr)
    if kind == "noise":
        return jnp.exp(log_snr)
    if kind == "v":
        return 1.0 + jnp.exp(log_snr)
    if kind == "velocity":
        return (1.0 + jnp.exp(0.5 * log_snr)) ** 2
    raise ValueError(f"expected loss.error data, noise, v or velocity, got {kind!r}")


def kept_labels(labels: jax.Array, key: jax.Array, drop: float) -> jax.Array:
    """The labels, a share `drop` of them replaced by -1: no class."""
    return jnp.where(jax.random.uniform(key, labels.shape) < drop, -1, labels)


class Draws(NamedTuple):
    """The randomness of one batch: log-SNR [B], its importance weight w / q [B], noise [B, ...] and
    the labels the network is told [B], if any."""

    log_snr: jax.Array
    weight: jax.Array
    eps: jax.Array
    told: jax.Array | None


def draws_of(
    key: jax.Array,
    x0: jax.Array,
    loss: Loss,
    labels: jax.Array | None = None,
    histogram: Histogram | None = None,
) -> Draws:
    """Log-SNR from the proposal, stratified over the batch, and noise for x0 [B, ...]."""
    proposal, weighting = levels(loss, histogram)
    key_level, key_noise = jax.random.split(key)
    log_snr = proposal.draw(key_level, x0.shape[0])
    eps = jax.random.normal(key_noise, x0.shape, x0.dtype)
    told = None
    if labels is not None:
        told = kept_labels(labels, jax.random.fold_in(key, 2), loss.label_drop)
    return Draws(log_snr, weighting.density(log_snr) / proposal.density(log_snr), eps, told)


def weighted_errors(
    apply: Callable[..., Any], params: Any, x0: jax.Array, draws: Draws, loss: Loss
) -> jax.Array:
    """w / q mean_d |apply(params, x, log_snr) - target|^2 per sample [B], the error rescaled to
    that of `error_of(loss)`."""
    path = path_of(loss.path)

    def one(x0: jax.Array, eps: jax.Array, log_snr: jax.Array, *label: jax.Array) -> jax.Array:
        out = apply(params, noised(path, x0, eps, log_snr), log_snr, *label)
        error = out - target(path, loss.prediction, x0, eps, log_snr)
        return jnp.mean(jnp.square(error))

    told = () if draws.told is None else (draws.told,)
    weights, kind = draws.weight, error_of(loss)
    if kind != loss.prediction:
        if loss.prediction == "velocity" and path.name != "linear":
            raise ValueError(
                f"expected loss.error empty and loss.weighting quality for velocity on {path.name}"
            )
        scales = [error_scale(kind, draws.log_snr) for kind in (kind, loss.prediction)]
        weights = weights * scales[0] / scales[1]
    return weights * jax.vmap(one)(x0, draws.eps, draws.log_snr, *told)


def check(loss: Loss) -> None:
    """ValueError for a path, prediction or error that is unknown or does not go with the others,
    before anything is computed."""

    def whole(one: jax.Array) -> jax.Array:
        draws = Draws(one, one, one, None)
        return weighted_errors(lambda params, x, log_snr: x, None, one, draws, loss)

    jax.eval_shape(whole, jax.ShapeDtypeStruct((1,), jnp.float32))


def denoising_loss(
    apply: Callable[..., Any],
    params: Any,
    x0: jax.Array,
    key: jax.Array,
    loss: Loss,
    labels: jax.Array | None = None,
    histogram: Histogram | None = None,
) -> jax.Array:
    """E over log_snr ~ w, eps of mean_d |error|^2: a scalar estimate from one batch x0 [B, ...].

    Log-SNR is drawn from the proposal and re-weighted, so the proposal changes the variance only.
    `labels` [B], if given, are a further argument of `apply`.

    With `weighting = "quality"`, w is the mixture of logistic and uniform that the configuration
    states, and the error that of `loss.error`. With `weighting = "likelihood"`, w is uniform and
    the error that of the noise, and D (high - low) / 2 times the loss is the diffusion part of the
    negative evidence lower bound in nats,

        1/2 int E |eps - eps_hat|^2 dl,    l = log-SNR from low to high,

    (Kingma et al., NeurIPS 2021, eq. 17; with g(t)^2 as weight of the score in Song et al., NeurIPS
    2021, eq. 7). On held-out data it is dominated by high log-SNR, hence the other default.
    """
    draws = draws_of(key, x0, loss, labels, histogram)
    return jnp.mean(weighted_errors(apply, params, x0, draws, loss))
