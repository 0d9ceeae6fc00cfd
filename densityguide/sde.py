"""Log-density along stochastic differential equations, and what it says about the score."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log, pi
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import solve as solving
from densityguide import tracking
from densityguide.divergence import Trace, apply
from densityguide.errors import count, present, random_key, require, shape_of, state
from densityguide.flows import Flow, evaluate, require_flow
from densityguide.solve import Method, Numbers, Status
from densityguide.tracking import Auto, Probes

__all__ = ["Elbo", "SdeSample", "elbo", "sample_sde", "track_sde"]


class SdeSample(NamedTuple):
    """``x`` = state / alpha at the data end, its tracked ``log_density`` (nats, at noise level
    sigma / alpha) with the standard error of its trace, and the usual evidence."""

    x: Array
    log_density: Array
    standard_error: Array
    degrees_of_freedom: Array
    evaluations: Array
    tangents: Array
    status: Array
    noise_level: Array


class _State(NamedTuple):
    x: Array
    log_density: Array  # [K]


def sample_sde(
    flow: Flow,
    latent: Array,
    key: Array,
    *,
    divergence: Trace | None = None,
    **options: Any,
) -> SdeSample:
    """One sample of the reverse SDE with its log p.

    ``dx = (drift x + sigma^2 s) dl + sigma dW``, and along it (Karczewski et al., ICLR 2025,
    Theorem 1), with the same noise and no divergence::

        d log p = (-drift D + sigma^2 |s|^2 / 2) dl + sigma s . dW        (Ito)

    Discretised, a path's error is O(sqrt(step)), its mean's O(step). With ``divergence=`` the
    Stratonovich form is solved by Heun's method, whose extra term ``-sigma^2 laplacian / 2``
    removes the leading error path by path: O(step), for the price of a trace.

    Where the score is not exact the value is too high by ``sigma^2 E|e|^2 / 2`` integrated, on
    average over its own samples; see `elbo` for the bound from below.

    Raises:
        ValueError: a flow without a Gaussian path, no key, or a solver of the other calculus.
    """
    require_flow(flow, "sample_sde")
    x = state(latent, flow.shape, "latent")
    require(flow.path is not None, "the reverse SDE needs a Gaussian path: use track_sde")
    random_key(key, "sample_sde needs a key: pass jax.random.key(...)")
    trace = tracking.choose(flow, divergence, key, None)
    calculus = "ito" if trace is None else "stratonovich"
    method, numbers = solving.plan(flow, noise_form=calculus, **options)
    return _sample_sde(method, trace, flow, x, key, numbers)


@partial(jax.jit, static_argnames=("method", "trace"))
def _sample_sde(
    method: Method, trace: Trace | None, flow: Flow, x: Array, key: Array, numbers: Numbers
) -> SdeSample:
    path = present(flow.path)

    def increment(t: Array, y: _State, probes: Probes, dt: Array, dw: Array) -> _State:
        local = evaluate(flow, y.x, t, tangents=trace is not None)
        score = present(local.score)
        drift, variance = path.drift(t), path.sigma(t) ** 2
        noise = path.sigma(t) * dw
        rise = 0.5 * variance * jnp.sum(score**2) * dt + jnp.sum(score * noise)
        if trace is None:
            rate = -drift * flow.size * dt
        else:
            rate = -tracking.traces(local.tangent, trace, y.x, probes)[0][0] * dt
        return _State((drift * y.x + variance * score) * dt + noise, rate + rise)

    return _tracked(method, trace, flow, x, key, numbers, increment)


def track_sde(
    flow: Flow,
    latent: Array,
    key: Array,
    *,
    drift: Callable[..., Array],
    diffusion: Callable[..., Array],
    params: Any = None,
    noise_shape: tuple[int, ...] | None = None,
    divergence: Trace | Auto = "auto",
    **options: Any,
) -> SdeSample:
    """Log p of the base flow along any ``dx = v dt + G dW`` (Ito) started at a latent::

        d log p = (-div u + s . (v - u) + tr(G G^T H) / 2) dt + s^T G dW

    (Ito's formula with the flow's own continuity equation; Skreta et al., ICLR 2025.)

    Args:
        drift: ``(params, x, t) -> v``.
        diffusion: ``(params, x, t, w) -> G w``, linear in ``w`` of shape ``noise_shape``
            (default: the flow's), so that G is never built.
        divergence: trace for both second-order terms.

    Raises:
        ValueError: no score, no key, no trace above D = 256, a Stratonovich solver.
    """
    require_flow(flow, "track_sde")
    x = state(latent, flow.shape, "latent")
    require(flow.has_score, "track_sde needs a score: pass score= to densityguide.cnf")
    random_key(key, "track_sde needs a key: pass jax.random.key(...)")
    trace = tracking.choose(flow, divergence, key, "track_sde")
    method, numbers = solving.plan(flow, noise_form="ito", **options)
    shape = flow.shape if noise_shape is None else shape_of(noise_shape, "noise_shape")
    return _track_sde(method, trace, (drift, diffusion), shape, flow, x, params, key, numbers)


@partial(jax.jit, static_argnames=("method", "trace", "functions", "shape"))
def _track_sde(
    method: Method,
    trace: Trace,
    functions: tuple[Callable[..., Array], Callable[..., Array]],
    shape: tuple[int, ...],
    flow: Flow,
    x: Array,
    params: Any,
    key: Array,
    numbers: Numbers,
) -> SdeSample:
    drift, diffusion = functions
    # G may map from another space, so its probes are drawn there, apart from those of div u.
    key, key_bend = jax.random.split(key)
    cycle, like = trace.cycle(x.shape, method.indices), jnp.zeros(shape, x.dtype)
    bend_draw = tracking.drawer(trace, method, key_bend, like, steer=False, cycle=cycle)
    probe_draw = tracking.drawer(trace, method, jax.random.split(key, 2)[0], x, steer=False)

    def increment(t: Array, y: _State, drawn: Any, dt: Array, dw: Array) -> _State:
        probes, bend_probes = drawn
        local = evaluate(flow, y.x, t, tangents=True)
        v = drift(params, y.x, t)

        def push(w: Array) -> Array:
            return diffusion(params, y.x, t, w)

        pull = jax.linear_transpose(push, dw)
        bend = apply(lambda w: pull(local.tangent(push(w))[1])[0], trace, dw, bend_probes.report)
        divergence = tracking.traces(local.tangent, trace, y.x, probes)[0][0]
        noise, score = push(dw), present(local.score)
        rate = -divergence + jnp.sum(score * (v - local.velocity)) + 0.5 * jnp.sign(dt) * bend
        return _State(v * dt + noise, rate * dt + jnp.sum(score * noise))

    return _tracked(
        method,
        trace,
        flow,
        x,
        key,
        numbers,
        increment,
        shape=shape,
        draw=lambda index: (probe_draw(index), bend_draw(index)),
        tangents=2,
    )


def _tracked(
    method: Method,
    trace: Trace | None,
    flow: Flow,
    x: Array,
    key: Array,
    numbers: Numbers,
    increment: Callable[..., _State],
    *,
    shape: tuple[int, ...] | None = None,
    draw: Callable[[Array], Any] | None = None,
    tangents: int = 1,
) -> SdeSample:
    key_probe, key_noise = jax.random.split(key)
    replicates = 1 if trace is None else trace.probes
    start = jnp.broadcast_to(flow.prior.log_prob(x), (replicates,))
    solved = solving.solve(
        method,
        numbers,
        increment,
        _State(x, start),
        kinds=_State._make(("state", "nats")),
        path=flow.path,
        draw=draw or tracking.drawer(trace, method, key_probe, x, steer=False),
        brownian=(key_noise, x.shape if shape is None else shape),
        watch=lambda y: y.log_density,
    )
    failed = (solved.status & int(Status.NON_FINITE)) != 0
    value = jnp.mean(solved.y.log_density) + tracking.log_alpha_offset(flow)
    error, degrees = jnp.zeros_like(value), jnp.full_like(value, jnp.inf)
    each = 0
    if trace is not None:
        error, degrees = tracking.pooled_error(
            trace, method, x.shape, solved.moves, solved.y.log_density
        )
        each = tangents * trace.tangents(flow.size)
    return SdeSample(
        x=(solved.y.x / flow.end_scale()).astype(x.dtype),
        log_density=jnp.where(failed, jnp.nan, value),
        standard_error=jnp.where(failed, jnp.nan, error),
        degrees_of_freedom=degrees,
        evaluations=solved.evaluations,
        tangents=solved.evaluations * each,
        status=solved.status,
        noise_level=tracking.noise_level(flow),
    )


class Elbo(NamedTuple):
    """Lower bound on log p in nats with its Monte Carlo ``standard_error`` and ``status``."""

    value: Array
    standard_error: Array
    evaluations: Array
    status: Array
    noise_level: Array


def elbo(flow: Flow, x: Array, key: Array, *, levels: int = 64, replicates: int = 4) -> Elbo:
    """Evidence lower bound on log p of one sample, by noising it forward (Song et al.,
    NeurIPS 2021, Theorem 3, in log-SNR)::

        log p(x) >= E log p_T(x_T) - 1/2 int E[ sigma^2 (|s - g|^2 - |g|^2) + 2 drift D ] dl

    with ``g = grad log q(x_l | x)``. It is low by ``sigma^2 E_q|e|^2 / 2`` integrated, ``e`` the
    score's error, as the reverse SDE is high by the same over its own samples: the gap between
    the two measures the error of the score. ``levels`` stratified log-SNRs with antithetic noise,
    ``replicates`` times (at least 2) for the error bar.

    Raises:
        ValueError: no Gaussian path, another shape, no levels, fewer than 2 replicates.
    """
    require_flow(flow, "elbo")
    x = state(x, flow.shape, "x")
    require(flow.path is not None, "elbo needs a Gaussian path")
    random_key(key, "elbo needs a key: pass jax.random.key(...)")
    levels, replicates = count(levels, 1, "levels"), count(replicates, 2, "replicates")
    return _elbo(levels, replicates, flow, x, key)


@partial(jax.jit, static_argnames=("levels", "replicates"))
def _elbo(levels: int, replicates: int, flow: Flow, x: Array, key: Array) -> Elbo:
    path, (low, high) = present(flow.path), flow.interval
    start = x * flow.end_scale()

    def kernel(t: Array) -> tuple[Array, Array]:
        ratio = jnp.exp(path.log_alpha(t) - path.log_alpha(high))
        return ratio, path.sigma(t) ** 2 - (ratio * path.sigma(high)) ** 2

    def level(carry: Array, drawn: tuple[Array, Array]) -> tuple[Array, None]:
        t, key = drawn
        ratio, variance = kernel(t)
        scale = jnp.sqrt(jnp.maximum(variance, 1e-12))
        eps = jax.random.normal(key, x.shape, x.dtype)

        def term(eps: Array) -> Array:
            score = present(flow.field(flow.params, ratio * start + scale * eps, t)[1])
            return jnp.sum(score**2) + 2.0 * jnp.sum(score * eps) / scale

        # The antithetic pair cancels the 1 / scale of the cross term at low noise.
        power = 0.5 * (term(eps) + term(-eps))
        rate = -0.5 * path.sigma(t) ** 2 * power - path.drift(t) * flow.size
        return carry + rate * (high - low) / levels, None

    def once(key: Array) -> Array:
        key_t, key_eps = jax.random.split(key)
        u = (jnp.arange(levels) + jax.random.uniform(key_t, (levels,))) / levels
        drawn = (low + (high - low) * u.astype(x.dtype), jax.random.split(key_eps, levels))
        return jax.lax.scan(level, jnp.zeros((), x.dtype), drawn)[0]

    totals = jax.lax.map(once, jax.random.split(key, replicates))
    ratio, variance = kernel(low)
    prior_variance = path.sigma(low) ** 2
    prior = -0.5 * (jnp.sum((ratio * start) ** 2) + flow.size * variance) / prior_variance
    prior = prior - 0.5 * flow.size * (jnp.log(prior_variance) + log(2.0 * pi))
    value = jnp.mean(totals) + prior + tracking.log_alpha_offset(flow)
    return Elbo(
        value=value,
        standard_error=jnp.std(totals, ddof=1) / replicates**0.5,
        evaluations=jnp.asarray(2 * levels * replicates, jnp.int32),
        status=jnp.where(jnp.isfinite(value), 0, int(Status.NON_FINITE)).astype(jnp.int32),
        noise_level=tracking.noise_level(flow),
    )
