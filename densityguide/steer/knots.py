"""A smooth function of time through given points: schedules of log p, q, or noise.

Piecewise cubic Hermite interpolation with Fritsch-Carlson slopes (SIAM J. Numer. Anal. 1980):
continuously differentiable, exact at the knots, and never overshooting them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, number, require

__all__ = ["Knots", "knots"]


class Knots(NamedTuple):
    """``values`` [n] at rising ``times`` [n]; constant beyond the ends."""

    times: Array
    values: Array

    def __call__(self, t: ArrayLike) -> Array:
        t = jnp.clip(jnp.asarray(t), self.times[0], self.times[-1])
        return _polynomial(self, t)

    def derivative(self, t: ArrayLike) -> Array:
        """Derivative by time. Beyond the ends the last cubic goes on, so that rounding of a
        solver's last stage does no harm."""
        t = jnp.asarray(t)
        return jax.jvp(lambda t: _polynomial(self, t), (t,), (jnp.ones_like(t),))[1]


def _polynomial(knots: Knots, t: Array) -> Array:
    times, values = knots
    slopes = _slopes(times, values)
    i = jnp.clip(jnp.searchsorted(times, t, side="right") - 1, 0, times.shape[0] - 2)
    width = times[i + 1] - times[i]
    z = (t - times[i]) / width
    rise = values[i + 1] - values[i]
    left, right = slopes[i] * width - rise, rise - slopes[i + 1] * width
    return values[i] + z * rise + z * (1 - z) * ((1 - z) * left + z * right)


def knots(times: ArrayLike | Sequence[Any], values: ArrayLike | Sequence[Any]) -> Knots:
    """A function of the flow's clock through ``values`` at ``times`` (strictly rising, both [n],
    n of at least 2)."""
    known = concrete(times)
    times, values = number(times, "times"), number(values, "values")
    require(
        times.ndim == 1 and times.shape == values.shape and times.shape[0] >= 2,
        f"knots need times and values of one shape [n >= 2], got {times.shape} and {values.shape}",
    )
    require(
        known is None or bool((known[1:] > known[:-1]).all()),
        "knots need strictly rising times: sort them",
    )
    return Knots(times, values)


def _slopes(times: Array, values: Array) -> Array:
    width, secant = jnp.diff(times), jnp.diff(values) / jnp.diff(times)
    if secant.shape[0] == 1:
        return jnp.concatenate([secant, secant])
    w1 = 2 * width[1:] + width[:-1]
    w2 = width[1:] + 2 * width[:-1]
    agree = secant[1:] * secant[:-1] > 0
    # Guarded twice, so that gradients stay finite where the secants disagree.
    left = jnp.where(agree, secant[:-1], 1.0)
    right = jnp.where(agree, secant[1:], 1.0)
    inner = jnp.where(agree, (w1 + w2) / (w1 / left + w2 / right), 0.0)
    return jnp.concatenate([_end(width, secant), inner, _end(width[::-1], secant[::-1])[::-1]])


def _end(width: Array, secant: Array) -> Array:
    slope = ((2 * width[0] + width[1]) * secant[0] - width[0] * secant[1]) / (width[0] + width[1])
    slope = jnp.where(slope * secant[0] <= 0, 0.0, slope)
    steep = (secant[0] * secant[1] < 0) & (jnp.abs(slope) > 3 * jnp.abs(secant[0]))
    return jnp.where(steep, 3 * secant[0], slope)[None]
