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
    secant learns the true slope. Probes are frozen, so the function is smooth. With
    ``iterations=0`` the sample is only encoded.
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

    def step(carry: Any, _: None) -> tuple[Any, Array]:
        tau, value, gain = carry
        # A gain far from 1 means that the score is not the gradient here: trust it halfway.
        tau_new = tau + (log_p - value) / gain
        out = encode(x + tau_new * ray)
        value_new = out.value
        moved = tau_new - tau
        rise = (value_new - value) / jnp.where(moved == 0, 1.0, moved)
        gain = jnp.where(jnp.abs(moved) > 0, jnp.clip(rise, 0.2, 5.0), gain)
        return (tau_new, value_new, gain), out.status

    start = (jnp.zeros((), x.dtype), first.value, jnp.ones((), x.dtype))
    (tau, value, _), seen = jax.lax.scan(step, start, None, length=iterations)
    moved = jnp.sqrt(jnp.mean((tau * ray) ** 2))
    status = first.status | jnp.bitwise_or.reduce(seen)
    return _polished(x + tau * ray, first, value, moved, iterations + 1, status)


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
