"""The best linear denoiser: the yardstick a network must beat.

For data with mean m and covariance C, the linear minimum-mean-square-error estimate of x0 from
x = alpha x0 + sigma eps is the Wiener filter

    x0_hat = m + alpha C (alpha^2 C + sigma^2 I)^{-1} (x - alpha m),

exact (not only linear-best) when the data are Gaussian.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["LinearDenoiser", "fit_linear"]


class LinearDenoiser(NamedTuple):
    """Mean [D], eigenvectors [D, D] (columns) and eigenvalues [D] of the data's covariance."""

    mean: jax.Array
    vectors: jax.Array
    values: jax.Array

    def denoise(self, x: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
        """x0_hat [N, D] from x [N, D]."""
        gain = alpha * self.values / (alpha**2 * self.values + sigma**2)
        return self.mean + (((x - alpha * self.mean) @ self.vectors) * gain) @ self.vectors.T

    def error(self, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
        """Expected squared error of x0_hat per dimension on data of this mean and covariance."""
        return jnp.mean(self.values * sigma**2 / (alpha**2 * self.values + sigma**2))


def fit_linear(data: jax.Array) -> LinearDenoiser:
    """Fit to data [N, D]; one eigendecomposition of the D x D covariance."""
    mean = data.mean(0)
    centred = data - mean
    values, vectors = jnp.linalg.eigh(centred.T @ centred / data.shape[0])
    return LinearDenoiser(mean, vectors, jnp.maximum(values, 0.0))
