"""Integrals and values of the polynomial through known values."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["extrapolation", "quadrature", "weights_of"]

NODES = 8  # of the Gauss quadrature: exact to rounding for any sensible step


def weights_of(
    knots: Array, order: int, log_scale: Callable[[Array], Array] | None
) -> tuple[Array, Array]:
    """Weights [n, order] of the latest values in each step, newest first: (predictor, whose
    newest is at the step's start; corrector, whose newest is at its end)."""
    nodes, shares = np.polynomial.legendre.leggauss(NODES)
    start, width = knots[:-1, None], jnp.diff(knots)[:, None]
    times = start + width * (0.5 * jnp.asarray(nodes, knots.dtype) + 0.5)
    kernel = 0.5 * width * jnp.asarray(shares, knots.dtype)
    if log_scale is not None:
        kernel = kernel * jnp.exp(log_scale(knots[1:, None]) - log_scale(times))

    def through(newest: int) -> Array:
        return jnp.sum(_basis(knots, order, newest, times) * kernel[:, None, :], axis=2)

    return through(0), through(1)


def extrapolation(knots: Array, order: int) -> Array:
    """Weights [n, order] of the latest values at each step's start, newest first, in the value of
    their polynomial at its end."""
    return _basis(knots, order, 0, knots[1:, None])[..., 0]


def _basis(knots: Array, order: int, newest: int, times: Array) -> Array:
    """Lagrange's polynomials [n, order, k] at ``times`` [n, k]; 0 where there is no such value."""
    places = jnp.arange(knots.shape[0] - 1)[:, None] + newest - jnp.arange(order)
    known = places >= 0
    at = knots[jnp.maximum(places, 0)]
    # [step, of, other]: both known, or a gap of 0 would hide in the reverse pass.
    other = known[:, :, None] & known[:, None, :] & ~jnp.eye(order, dtype=bool)
    gap = jnp.where(other, at[:, :, None] - at[:, None, :], 1.0)
    factors = (times[:, None, None, :] - at[:, None, :, None]) / gap[..., None]
    basis = jnp.prod(jnp.where(other[..., None], factors, 1.0), axis=2)
    return jnp.where(known[..., None], basis, 0.0)


def quadrature(
    start: Array, stop: Array, at: Array, log_scale: Callable[[Array], Array] | None
) -> Array:
    """Weights of values ``at`` given times in the integral of their polynomial over one step."""
    nodes, shares = np.polynomial.legendre.leggauss(NODES)
    times = start + (stop - start) * (0.5 * jnp.asarray(nodes, at.dtype) + 0.5)
    kernel = 0.5 * (stop - start) * jnp.asarray(shares, at.dtype)
    if log_scale is not None:
        kernel = kernel * jnp.exp(log_scale(stop) - log_scale(times))
    other = ~np.eye(at.shape[0], dtype=bool)
    gap = jnp.where(other, at[:, None] - at[None, :], 1.0)
    factors = (times[:, None, None] - at[None, None, :]) / gap
    return kernel @ jnp.prod(jnp.where(other, factors, 1.0), axis=2)
