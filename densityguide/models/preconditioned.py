"""EDM's preconditioning as a network of its own (Karras et al., NeurIPS 2022, Table 1)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from densityguide.flow.networks import preconditioned

__all__ = ["Preconditioned"]


class Preconditioned(nn.Module):
    """``D(x) = c_skip x + c_out inner(c_in x, log_snr)``: predicts data on the variance-exploding
    path, from an inner network whose inputs and outputs have unit scale. ``sigma_data`` is the
    standard deviation of the data.
    """

    inner: nn.Module
    sigma_data: float = 0.5

    @nn.compact
    def __call__(
        self, x: jax.Array, log_snr: jax.Array, label: jax.Array | None = None
    ) -> jax.Array:
        inner = lambda x: self.inner(x, log_snr, label)  # noqa: E731
        return preconditioned(inner, x, jnp.exp(-0.5 * log_snr), self.sigma_data)
