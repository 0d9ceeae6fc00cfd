"""Divergences of two denoising distributions, in closed form at any separation."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import count, require
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow
from densityguide.solve import Status
from densityguide.spacetime import evaluate, kinks
from densityguide.spacetime.chords import polygon, trace_weights
from densityguide.spacetime.family import matmuls
from densityguide.spacetime.point import Point, check_flow, check_pair, check_point, inside
from densityguide.spacetime.reference import log_density_at

__all__ = ["Divergence", "Information", "divergence", "information", "relative_entropy"]


class Divergence(NamedTuple):
    """``jeffreys`` = KL(a || b) + KL(b || a) in nats with its probes' error bar; ``forward`` =
    KL(a || b) and ``backward`` = KL(b || a), with one ``kl_error`` for both (the error of the two
    log p included), None unless a closed form or ``log_density_steps`` gave log p."""

    jeffreys: Array
    standard_error: Array
    degrees_of_freedom: Array
    forward: Array | None
    backward: Array | None
    kl_error: Array | None
    evaluations: Array
    tangents: Array
    status: Array


def relative_entropy(of: Point, mean: Array, noise: Array, other: Point, change: Array) -> Array:
    """``KL(of || other) = psi_b - psi_a - (eta_b - eta_a) . mu_a`` in nats.

    ``mean`` and ``noise`` are the moments of ``of``, ``change`` is log p(y) at ``other`` less that
    at ``of``. In the chart centred on ``mean``::

        change + (nu_b |y_b - m_a|^2 - nu_a |y_a - m_a|^2) / 2 - (D / 2) (l_b - l_a)
            + (nu_b - nu_a) tr K_a / 2
    """
    nu_a, nu_b = jnp.exp(of.log_snr), jnp.exp(other.log_snr)
    bowls = nu_b * jnp.sum((other.y - mean) ** 2) - nu_a * jnp.sum((of.y - mean) ** 2)
    turn = jnp.expm1(other.log_snr - of.log_snr) * noise
    return change + 0.5 * (bowls + turn) - 0.5 * of.y.size * (other.log_snr - of.log_snr)


def divergence(
    flow: Flow,
    a: Point,
    b: Point,
    *,
    divergence: Trace | Auto = "auto",
    log_density_steps: int | None = None,
    key: Array | None = None,
) -> Divergence:
    """Jeffreys and Kullback-Leibler divergences of two denoising distributions.

    Jeffreys is ``d eta . d mu``, two evaluations and no ODE [ST, Lemma D.2]. KL needs log p at
    both ends, which is what this library has: a closed form, or two ODE solves.

    Args:
        divergence: trace at the two points; "auto" is exact up to D = 256.
        log_density_steps: steps of the two solves; None takes none, and leaves KL out for
            flows without a closed form.
        key: needed by estimated traces.

    Raises:
        ValueError: a flow without a path or with a classifier-free mixture, one point given twice,
            points of another shape or out of range, no trace above D = 256.
    """
    verb = "spacetime.divergence"
    a, b = check_pair(flow, a, b, verb)
    trace, _ = evaluate.choose(flow, divergence, None, key, 2, verb)
    if log_density_steps is not None:
        log_density_steps = count(log_density_steps, 1, "log_density_steps")
    return _divergence(trace, log_density_steps, flow, a, b, key)


@partial(jax.jit, static_argnames=("trace", "steps"))
def _divergence(
    trace: Trace, steps: int | None, flow: Flow, a: Point, b: Point, key: Array | None
) -> Divergence:
    kinks.warn(flow)
    keys = [None] * 3 if key is None else list(jax.random.split(key, 3))
    points = jax.tree.map(lambda *two: jnp.stack(two), a, b)
    with matmuls():
        ends = evaluate.end_moments(flow, a, b, trace, keys[0])
    noise = jnp.mean(ends.noise, axis=1)
    found = evaluate.along(ends, jax.tree.map(lambda x: x[:0], ends))
    jeffreys = polygon(points, ends.mean, noise).jeffreys[0]
    weights = 2.0 * trace_weights(points.log_snr)[0]
    bar = evaluate.error_bar(weights, found, trace, trace, flow.shape)
    forward = backward = error = None
    evaluations = jnp.asarray(2, jnp.int32)
    tangents = jnp.asarray(2 * trace.tangents(flow.size), jnp.int32)
    status = jnp.where(inside(flow, points), 0, int(Status.INVALID)).astype(jnp.int32)
    status |= jnp.where(jnp.isfinite(jeffreys), 0, int(Status.NON_FINITE))
    if flow.density is not None or steps is not None:
        at_a = log_density_at(flow, a, trace, keys[1], steps or 1)
        at_b = log_density_at(flow, b, trace, keys[2], steps or 1)
        change = at_b.value - at_a.value
        forward = relative_entropy(a, ends.mean[0], noise[0], b, change)
        backward = relative_entropy(b, ends.mean[1], noise[1], a, -change)
        own = bar.standard_error  # of the sum of both: no less than that of either
        error = jnp.sqrt(own**2 + at_a.standard_error**2 + at_b.standard_error**2)
        evaluations += at_a.evaluations + at_b.evaluations
        tangents += at_a.tangents + at_b.tangents
        status |= at_a.status | at_b.status
    return Divergence(
        jeffreys=jeffreys,
        standard_error=bar.standard_error,
        degrees_of_freedom=bar.degrees_of_freedom,
        forward=forward,
        backward=backward,
        kl_error=error,
        evaluations=evaluations,
        tangents=tangents,
        status=status,
    )


class Information(NamedTuple):
    """``value`` = KL of a denoising distribution to the data distribution in nats: what the noised
    state tells about the data. ``standard_error`` of the probes; ``status``."""

    value: Array
    standard_error: Array
    evaluations: Array
    tangents: Array
    status: Array


def information(
    flow: Flow,
    at: Point,
    *,
    divergence: Trace | Auto = "auto",
    log_density_steps: int | None = None,
    key: Array | None = None,
) -> Information:
    """``KL(p(x0 | x) || p0)``: log p *is* the information distance to the noise end::

        -log p(y) - (D / 2) log(2 pi / nu) - nu |y - m|^2 / 2 - tr Cov(eps | x) / 2

    Raises:
        ValueError: as `divergence`, and a flow without a closed form without
            ``log_density_steps``.
    """
    verb = "spacetime.information"
    check_flow(flow, verb)
    at = check_point(flow, at, verb)
    trace, _ = evaluate.choose(flow, divergence, None, key, 2, verb)
    require(
        flow.density is not None or log_density_steps is not None,
        f"{verb} needs log p, which this flow has no closed form of: pass log_density_steps=64",
    )
    steps = 1 if log_density_steps is None else count(log_density_steps, 1, "log_density_steps")
    return _information(trace, steps, flow, at, key)


@partial(jax.jit, static_argnames=("trace", "steps"))
def _information(trace: Trace, steps: int, flow: Flow, at: Point, key: Array | None) -> Information:
    keys = [None] * 2 if key is None else list(jax.random.split(key))
    with matmuls():
        ends = evaluate.end_moments(flow, at, at, trace, keys[0])
    mean, draws = ends.mean[0], ends.noise[0]
    known = log_density_at(flow, at, trace, keys[1], steps)
    nu, size = jnp.exp(at.log_snr), flow.size
    square = nu * jnp.sum((at.y - mean) ** 2) + jnp.mean(draws)
    value = -known.value - 0.5 * (size * (jnp.log(2.0 * jnp.pi) - at.log_snr) + square)
    own = jnp.zeros_like(value)
    if not trace.is_exact:
        own = 0.5 * jnp.std(draws, ddof=1) / trace.probes**0.5
    status = jnp.where(inside(flow, at), 0, int(Status.INVALID)).astype(jnp.int32)
    return Information(
        value=value,
        standard_error=jnp.sqrt(own**2 + known.standard_error**2),
        evaluations=known.evaluations + 1,
        tangents=known.tangents + trace.tangents(size),
        status=status | known.status,
    )
