"""Invertible transforms of quantised data, with their log-Jacobians.

    y = 2 (x + u) / levels - 1,    u ~ U[0, 1)^D,    x in {0, ..., levels - 1}^D,  y in [-1, 1)^D

so log |det dy/d(x + u)| = -D log(levels / 2) nats, and a density p_Y of y is the density
log p(x + u) = log p_Y(y) - D log(levels / 2) of the dequantised data (Uria et al. 2013,
Theis et al. 2016). Its mean over u is a lower bound on log P(x).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Dequantise", "nats_to_bits_per_dim"]


class Dequantise(NamedTuple):
    """Uniform dequantisation of integers 0 .. levels - 1, then affine to [-1, 1)."""

    levels: int = 256

    def forward(self, x: jax.Array, u: jax.Array) -> jax.Array:
        """y = 2 (x + u) / levels - 1; x integers and u in [0, 1), both [...]."""
        dtype = jnp.promote_types(jnp.result_type(u), jnp.float32)
        return 2.0 * (jnp.asarray(x, dtype) + u) / self.levels - 1.0

    def __call__(self, x: jax.Array, key: jax.Array) -> jax.Array:
        """`forward` with u drawn from `key`."""
        # In float32 a u just below 1 would round x + u up into the next bin.
        u = jnp.minimum(jax.random.uniform(key, jnp.shape(x)), 1.0 - 2.0**-14)
        return self.forward(x, u)

    def inverse(self, y: jax.Array) -> jax.Array:
        """floor(levels (y + 1) / 2), clipped to the valid range, as uint8 [...]."""
        value = jnp.floor((jnp.asarray(y) + 1.0) * (0.5 * self.levels))
        return jnp.clip(value, 0, self.levels - 1).astype(jnp.uint8)

    def log_jacobian(self, dims: int) -> float:
        """log |det dy/d(x + u)| = -dims log(levels / 2), in nats."""
        return -dims * math.log(self.levels / 2.0)

    def data_log_density(self, log_density: jax.Array, dims: int) -> jax.Array:
        """Nats of y to nats of the dequantised data: log p_Y(y) + log_jacobian(dims)."""
        return log_density + self.log_jacobian(dims)

    def bits_per_dim(self, log_density: jax.Array, dims: int) -> jax.Array:
        """Nats of y to bits per dimension of the integer data."""
        return nats_to_bits_per_dim(self.data_log_density(log_density, dims), dims)


def nats_to_bits_per_dim(log_density: jax.Array, dims: int) -> jax.Array:
    """bits/dim = -log p(x) / (dims log 2), log p in nats of the data *in integer units*."""
    return -log_density / (dims * math.log(2.0))
