"""Random log-SNR: a density on [low, high], low-discrepancy draws, importance weights.

    q(l) = share logistic(l; centre, scale) / Z + (1 - share) / (high - low),

the logistic truncated to the range. Drawing from one such density and weighting by another,
E_q[w(l) / q(l) loss(l)] = E_w[loss(l)], is unbiased for the stated weighting w whatever q is.
Stratified draws follow Kingma et al., "Variational Diffusion Models", NeurIPS 2021.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["NoiseLevels", "strata"]


def strata(key: jax.Array, count: int) -> jax.Array:
    """(i + u) / count with one shared u: each is uniform on [0, 1), together they are even."""
    return (jnp.arange(count) + jax.random.uniform(key)) / count


class NoiseLevels(NamedTuple):
    """Mixture of a truncated logistic and a uniform density on [low, high]."""

    low: float
    high: float
    centre: float = 0.0
    scale: float = 1.5
    share: float = 0.5

    def _ends(self) -> tuple[jax.Array, jax.Array]:
        ends = (jnp.asarray([self.low, self.high]) - self.centre) / self.scale
        return tuple(jax.nn.sigmoid(ends))

    def density(self, log_snr: jax.Array) -> jax.Array:
        """q(log_snr) inside the range."""
        z = (log_snr - self.centre) / self.scale
        first, last = self._ends()
        logistic = jax.nn.sigmoid(z) * jax.nn.sigmoid(-z) / (self.scale * (last - first))
        return self.share * logistic + (1 - self.share) / (self.high - self.low)

    def transport(self, u: jax.Array) -> jax.Array:
        """u ~ U[0, 1) to q, piece by piece: the logistic for u < share, then the uniform part."""
        first, last = self._ends()
        share = jnp.maximum(self.share, 1e-6)
        inside = first + (last - first) * jnp.clip(u / share, 0.0, 1.0)
        middle = self.centre + self.scale * (jnp.log(inside) - jnp.log1p(-inside))
        rest = jnp.clip((u - self.share) / jnp.maximum(1 - self.share, 1e-6), 0.0, 1.0)
        spread = self.low + (self.high - self.low) * rest
        return jnp.clip(jnp.where(u < self.share, middle, spread), self.low, self.high)

    def draw(self, key: jax.Array, count: int) -> jax.Array:
        """`count` stratified draws [count], each exactly ~ q."""
        return self.transport(strata(key, count))
