"""The evidence lower bound, which needs no solve."""

from __future__ import annotations

from functools import partial
from math import log, pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import count, present, random_key, require, state, verb
from densityguide.density.derive_score import check_joint
from densityguide.flow import priors
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import Status

__all__ = ["Elbo", "elbo"]


class Elbo(NamedTuple):
    """Lower bound on log p in nats with its Monte Carlo ``standard_error`` and ``status``."""

    value: Array
    standard_error: Array
    evaluations: Array
    status: Array
    noise_level: Array


@verb
def elbo(flow: Flow, x: Array, key: Array, *, levels: int = 64, replicates: int = 4) -> Elbo:
    """Evidence lower bound on log p of one sample, by noising it forward (Song et al.,
    NeurIPS 2021, Theorem 3, in log-SNR)::

        log p(x) >= E log p_T(x_T) - 1/2 int E[ sigma^2 (|s - g|^2 - |g|^2) + 2 drift D ] dl

    with ``g = grad log q(x_l | x)``. It is too low by the integral of ``sigma^2 E_q|e|^2 / 2``, e
    the error of the score; the reverse SDE is too high by the same over its own samples, so the gap
    between the two measures that error. ``levels`` stratified log-SNRs with antithetic noise are
    drawn ``replicates`` times (at least 2) for the error bar. N(0, sigma_T^2 I) stands in for a
    prior that is not the isotropic normal.

    Raises:
        ValueError: no Gaussian path, another shape, no levels, fewer than 2 replicates.
    """
    require_flow(flow, "elbo")
    x = state(x, flow.shape, "x")
    require(flow.path is not None, "elbo needs a Gaussian path")
    check_joint(flow, "elbo")
    random_key(key, "elbo needs a key: pass jax.random.key(...)")
    levels, replicates = count(levels, 1, "levels"), count(replicates, 2, "replicates")
    return _elbo(levels, replicates, flow, x, key)


@partial(jax.jit, static_argnames=("levels", "replicates"))
def _elbo(levels: int, replicates: int, flow: Flow, x: Array, key: Array) -> Elbo:
    path, (low, high) = present(flow.path), flow.interval
    start = flow.to_state(x)

    def kernel(t: Array) -> tuple[Array, Array]:
        ratio = jnp.exp(path.log_alpha(t) - path.log_alpha(high))
        return ratio, path.sigma(t) ** 2 - (ratio * path.sigma(high)) ** 2

    def level(carry: Array, drawn: tuple[Array, Array]) -> tuple[Array, None]:
        t, key = drawn
        ratio, variance = kernel(t)
        scale = jnp.sqrt(jnp.maximum(variance, 1e-12))
        eps = flow.place(jax.random.normal(key, x.shape, x.dtype))

        def term(eps: Array) -> Array:
            score = present(flow.outputs(ratio * start + scale * eps, t)[1])
            return jnp.sum(score**2) + 2.0 * jnp.sum(score * eps) / scale

        # The antithetic pair cancels the 1 / scale of the cross term at low noise.
        power = 0.5 * (term(eps) + term(-eps))
        rate = -0.5 * path.sigma(t) ** 2 * power - path.drift(t) * flow.dimensions
        return carry + rate * (high - low) / levels, None

    def once(key: Array) -> Array:
        key_t, key_eps = jax.random.split(key)
        u = (jnp.arange(levels) + jax.random.uniform(key_t, (levels,))) / levels
        drawn = (low + (high - low) * u.astype(x.dtype), jax.random.split(key_eps, levels))
        return jax.lax.scan(level, jnp.zeros((), x.dtype), drawn)[0]

    totals = jax.lax.map(once, jax.random.split(key, replicates))
    ratio, variance = kernel(low)
    normal = isinstance(flow.prior, priors.Normal)
    prior_variance = (flow.prior.scale if normal else path.sigma(low)) ** 2
    prior = -0.5 * (jnp.sum((ratio * start) ** 2) + flow.dimensions * variance) / prior_variance
    prior = prior - 0.5 * flow.dimensions * (jnp.log(prior_variance) + log(2.0 * pi))
    value = jnp.mean(totals) + prior + flow.log_volume()
    return Elbo(
        value=value,
        standard_error=jnp.std(totals, ddof=1) / replicates**0.5,
        evaluations=jnp.asarray(2 * levels * replicates, jnp.int32),
        status=jnp.where(jnp.isfinite(value), 0, int(Status.NON_FINITE)).astype(jnp.int32),
        noise_level=flow.noise_level(),
    )
