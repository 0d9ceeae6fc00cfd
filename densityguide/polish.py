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
    end and ``before`` at the start, both with the same probes; ``standard_error`` of the end."""

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

    def encode(x: Array) -> LogDensity:
        return log_density(flow, x, divergence=divergence, key=key, **options)

    scale = flow.end_scale().astype(x.dtype)
    first = encode(x)
    zero, one = jnp.zeros((), x.dtype), jnp.ones((), x.dtype)
    start = _Best(zero, one, _Found.of(first))
    if iterations == 0:
        return _polished(x, zero, first, start.found, first.evaluations, first.tangents)
    slope = flow.score(x * scale, flow.interval[1]) * scale
    power = jnp.sum(slope**2)
    ray = slope / jnp.where(power > 0, power, 1.0)

    def step(best: _Best, _: None) -> tuple[_Best, tuple[Array, Array]]:
        value = best.found.value
        moved = (log_p - value) / best.gain
        out = encode(x + (best.tau + moved) * ray)
        rise = (out.value - value) / jnp.where(moved == 0, 1.0, moved)
        # A gain far from 1 means that the score is not the gradient here: trust it halfway.
        learnt = jnp.where(moved == 0, best.gain, jnp.clip(rise, 0.2, 5.0))
        nearer = _Best(best.tau + moved, learnt, _Found.of(out))
        # Too far, or the wrong way: the secant if it is shorter by half at least, else half.
        back = best._replace(gain=jnp.fmax(2.0 * best.gain, rise))
        is_nearer = jnp.abs(out.value - log_p) <= jnp.abs(value - log_p)  # not if it is nan
        kept = jax.tree.map(lambda a, b: jnp.where(is_nearer, a, b), nearer, back)
        return kept, (out.evaluations, out.tangents)

    best, spent = jax.lax.scan(step, start, None, length=iterations)
    evaluations, tangents = (jnp.sum(count) for count in spent)
    evaluations += first.evaluations + 1  # one for the score
    tangents += first.tangents
    return _polished(x, best.tau * ray, first, best.found, evaluations, tangents)


class _Found(NamedTuple):
    """What an encoding says of log p."""

    value: Array
    standard_error: Array
    degrees_of_freedom: Array
    status: Array

    @classmethod
    def of(cls, out: LogDensity) -> _Found:
        parts = (out.value, out.standard_error, out.degrees_of_freedom, out.status)
        return cls(*map(jnp.asarray, parts))


class _Best(NamedTuple):
    """Where log p was nearest so far, and the slope for the next step from there."""

    tau: Array
    gain: Array
    found: _Found


def _polished(
    x: Array, change: Array, first: LogDensity, found: _Found, evaluations: Array, tangents: Array
) -> Polished:
    return Polished(
        x=x + change,
        log_density=found.value,
        standard_error=found.standard_error,
        degrees_of_freedom=found.degrees_of_freedom,
        before=first.value,
        moved=jnp.sqrt(jnp.mean(change**2)),
        evaluations=evaluations,
        tangents=tangents,
        status=found.status,
    )
