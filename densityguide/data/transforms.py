"""Invertible transforms of quantised data, with their log-Jacobians.

    y = 2 (x + u) / levels - 1,    u ~ U[0, 1)^D,    x in {0, ..., levels - 1}^D,  y in [-1, 1)^D

so log |det dy/d(x + u)| = -D log(levels / 2) nats, and a density p_Y of y is the density
log p(x + u) = log p_Y(y) - D log(levels / 2) of the dequantised data (Uria et al. 2013,
Theis et al. 2016). Its mean over u is a lower bound on log P(x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from densityguide.checks import count, require

__all__ = ["MOST", "Dequantise", "nats_to_bits_per_dim"]

MOST = 2**16  # levels


@dataclass(frozen=True)
class Dequantise:
    """Uniform dequantisation of integers 0 .. levels - 1, then affine to [-1, 1).

    ``levels`` is 2 to 65536: ``2**bits`` for pictures of 8, 10, 12 or 16 bits. ValueError for
    anything else.
    """

    levels: int = 256

    def __post_init__(self) -> None:
        levels = count(self.levels, 2, "levels")
        require(
            levels <= MOST,
            f"levels must be at most {MOST} (16 bits), got {levels}: single precision cannot tell "
            "more apart",
        )
        object.__setattr__(self, "levels", levels)

    def forward(self, x: jax.Array, u: jax.Array) -> jax.Array:
        """y = 2 (x + u) / levels - 1; x integers and u in [0, 1), both [...]."""
        dtype = jnp.promote_types(jnp.result_type(u), jnp.float32)
        return 2.0 * (jnp.asarray(x, dtype) + u) / self.levels - 1.0

    def __call__(self, x: jax.Array, key: jax.Array) -> jax.Array:
        """`forward` with u drawn from `key`."""
        u = jax.random.uniform(key, jnp.shape(x))
        # A u just below 1 would round x + u up into the next bin, and one just above 0 down where
        # the levels are no power of 2. For 256 levels 1 - 2^-14 is safe.
        margin = 2.0 * self.levels * float(jnp.finfo(u.dtype).eps)
        least = margin if self.levels & (self.levels - 1) else 0.0
        return self.forward(x, jnp.clip(u, least, 1.0 - margin))

    def inverse(self, y: jax.Array) -> jax.Array:
        """floor(levels (y + 1) / 2), clipped to the valid range, [...]: uint8 up to 256
        levels, uint16 above."""
        value = jnp.floor((jnp.asarray(y) + 1.0) * (0.5 * self.levels))
        whole = jnp.uint8 if self.levels <= 256 else jnp.uint16
        return jnp.clip(value, 0, self.levels - 1).astype(whole)

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
