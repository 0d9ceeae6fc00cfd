"""Closing correction: move a finished sample until its own log p is the one asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.divergence import Trace
from densityguide.flows import Flow
from densityguide.likelihood import LogDensity, log_density
from densityguide.tracking import Auto

__all__ = ["Polished", "polish"]


class Polished(NamedTuple):
    """``x`` moved by ``moved`` (root mean square per entry); ``log_density`` re-encoded at the
    end and ``before`` at the start, both with the same probes; ``standard_error`` of either."""

    x: Array
    log_density: Array
    standard_error: Array
    degrees_of_freedom: Array
    before: Array
    moved: Array
    evaluations: Array
    tangents: Array
    status: Array


def polish(
    flow: Flow,
    x: Array,
    log_p: Array,
    *,
    iterations: int,
    divergence: Trace | Auto = "auto",
    key: Array | None = None,
    **options: Any,
) -> Polished:
    """Secant steps along the score at the data end until the encoded log p equals ``log_p``.

    What a guidance tracks is the model's score; what `log_density` finds is the flow's own
    density, and for a learned score the two differ. Along the unit-gain direction
    ``g / |g|^2``, ``g`` the score of x, log p grows by one nat per unit step to first order; the
    secant learns the true slope. A step that leads further from ``log_p`` is taken back and made
    shorter, so the result is never further from it than ``x`` was. Probes are frozen, so the
    function is smooth. With ``iterations=0`` the sample is only encoded.
    """

    def encode(x: Array) -> Any:
        return log_density(flow, x, divergence=divergence, key=key, **options)

    scale = flow.end_scale().astype(x.dtype)
    first = encode(x)
    if iterations == 0:
        still = jnp.zeros((), x.dtype)
        return _polished(x, first, first.value, still, 1, first.status)
    slope = flow.score(x * scale, flow.interval[1]) * scale
    power = jnp.sum(slope**2)
    ray = slope / jnp.where(power > 0, power, 1.0)

    def step(best: _Best, _: None) -> tuple[_Best, None]:
        moved = (log_p - best.value) / best.gain
        out = encode(x + (best.tau + moved) * ray)
        rise = (out.value - best.value) / jnp.where(moved == 0, 1.0, moved)
        # A gain far from 1 means that the score is not the gradient here: trust it halfway.
        learnt = jnp.where(moved == 0, best.gain, jnp.clip(rise, 0.2, 5.0))
        nearer = _Best(best.tau + moved, out.value, learnt, out.status)
        # Too far, or the wrong way: the secant if it is shorter by half at least, else half.
        back = best._replace(gain=jnp.fmax(2.0 * best.gain, rise))
        is_nearer = jnp.abs(out.value - log_p) <= jnp.abs(best.value - log_p)  # not if it is nan
        return jax.tree.map(lambda a, b: jnp.where(is_nearer, a, b), nearer, back), None

    zero, one = jnp.zeros((), x.dtype), jnp.ones((), x.dtype)
    start = _Best(zero, first.value, one, jnp.asarray(first.status))
    best, _ = jax.lax.scan(step, start, None, length=iterations)
    moved = jnp.sqrt(jnp.mean((best.tau * ray) ** 2))
    return _polished(x + best.tau * ray, first, best.value, moved, iterations + 1, best.status)


class _Best(NamedTuple):
    """Where log p was nearest so far, and the slope for the next step from there."""

    tau: Array
    value: Array
    gain: Array
    status: Array


def _polished(
    x: Array, first: LogDensity, value: Array, moved: Array, solves: int, status: Array
) -> Polished:
    return Polished(
        x=x,
        log_density=value,
        standard_error=first.standard_error,
        degrees_of_freedom=first.degrees_of_freedom,
        before=first.value,
        moved=moved,
        evaluations=first.evaluations * solves,
        tangents=first.tangents * solves,
        status=status,
    )
