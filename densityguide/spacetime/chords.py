"""Chords of a polygon: exact divergences between neighbours, from their moments alone.

All of it is invariant under ``T -> (x0 - c, |x0 - c|^2)``. With ``c`` the middle of the two means
the squares of the means drop out, and a chord of float32 keeps its digits at low noise, where
``nu |x0|^2`` is thousands of times the chord.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from densityguide.spacetime.point import Point

__all__ = ["Chords", "log_density_change", "polygon", "trace_weights"]


class Chords(NamedTuple):
    """The n chords of a polygon: ``jeffreys`` [n], exact at any separation, and
    ``log_density``, the change of log p(y) in nats over each [n]."""

    jeffreys: Array
    log_density: Array


def _rows(a: Array) -> Array:
    return a.reshape(a.shape[0], -1)


def _between(points: Point, mean: Array, noise: Array, stride: int) -> Chords:
    """Chords from every point to the ``stride``-th after it."""
    y, m = _rows(points.y), _rows(mean)
    level = points.log_snr
    nu, trace = jnp.exp(level), noise * jnp.exp(-level)
    first, last = slice(None, -stride), slice(stride, None)
    middle = 0.5 * (m[first] + m[last])
    step = m[last] - m[first]
    before, after = y[first] - middle, y[last] - middle
    nu0, nu1 = nu[first, None], nu[last, None]
    pull = jnp.sum((nu1 * after - nu0 * before) * step, axis=1)
    turn = nu[last] - nu[first]
    jeffreys = pull - 0.5 * turn * (trace[last] - trace[first])
    mean_square = 0.25 * jnp.sum(step**2, axis=1) + 0.5 * (trace[first] + trace[last])
    bowl = 0.5 * jnp.sum(nu1 * after**2 - nu0 * before**2, axis=1)
    size = y.shape[1]
    change = -0.5 * turn * mean_square - bowl + 0.5 * size * (level[last] - level[first])
    return Chords(jeffreys, change)


def polygon(points: Point, mean: Array, noise: Array) -> Chords:
    """Chords of a polygon of n + 1 points with means [n + 1, *shape] and tr Cov(eps) [n + 1].

    ``J = KL(a || b) + KL(b || a) = d eta . d mu`` [ST, Lemma D.2], which with
    ``c = (m_a + m_b) / 2`` is ``d(nu (y - c)) . dm - d nu d(tr K) / 2``. The change of log p(y) is
    ``mu . d eta - d(nu |y|^2 / 2 - (D / 2) log nu)``, by the trapezoidal rule.
    """
    return _between(points, mean, noise, 1)


def log_density_change(points: Point, mean: Array, noise: Array) -> Array:
    """Change of log p(y) in nats from the first point of a curve to each [n + 1]; no ODE.

    The trapezoidal rule over every chord and over every second point, extrapolated: of fourth
    order where n is even and the curve smooth, else of second.
    """
    fine = jnp.cumsum(polygon(points, mean, noise).log_density)
    fine = jnp.concatenate([jnp.zeros_like(fine[:1]), fine])
    count = fine.shape[0] - 1
    if count % 2:
        return fine
    coarse = jnp.cumsum(_between(points, mean, noise, 2).log_density[::2])
    gain = (fine[2::2] - coarse) / 3.0
    places = jnp.arange(count + 1, dtype=fine.dtype)
    even = jnp.arange(0, count + 1, 2, dtype=fine.dtype)
    return fine + jnp.interp(places, even, jnp.concatenate([jnp.zeros_like(gain[:1]), gain]))


def trace_weights(log_snr: Array) -> tuple[Array, Array]:
    """How much one unit of tr Cov(eps) at each point adds to the energy and to the end's log p
    (of the trapezoidal rule), [n + 1] each: summation by parts."""
    nu = jnp.exp(log_snr)
    turn = jnp.diff(nu)
    zero = jnp.zeros_like(turn[:1])
    after, before = jnp.concatenate([turn, zero]), jnp.concatenate([zero, turn])
    count = turn.shape[0]
    return 0.25 * count * (after - before) / nu, -0.25 * (after + before) / nu
