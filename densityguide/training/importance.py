"""A proposal of log-SNR that learns where the loss is large.

The variance of the importance-weighted loss w(l) e / q(l), e the squared error of one sample, is
least for

    q*(l) proportional to w(l) sqrt(E[e^2 | l])

(Rubinstein and Kroese, Simulation and the Monte Carlo Method, sec. 5.7). Here q* is a histogram of
running second moments of w e, mixed with a fixed density, which bounds the weights:

    q(l) = share histogram(l) + (1 - share) fixed(l).

The loss stays unbiased for every histogram, since the weights divide by the q in use.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from densityguide.training.noise_levels import NoiseLevels, strata

__all__ = ["BINS", "Adapted", "Histogram", "fresh"]

BINS = 32
# Samples are forgotten over about this many steps; one imagined sample a bin, of average size,
# stands in where none was seen.
MEMORY, PRIOR = 200.0, 1.0


class Histogram(NamedTuple):
    """Per bin of log-SNR, equally wide: sum of (w e)^2 and number of samples, both fading [K]."""

    squares: jax.Array
    counts: jax.Array

    def masses(self) -> jax.Array:
        """Probability of each bin [K], proportional to the root of its second moment."""
        average = jnp.sum(self.squares) / jnp.maximum(jnp.sum(self.counts), 1.0)
        average = jnp.where(average > 0, average, 1.0)
        moment = (self.squares + PRIOR * average) / (self.counts + PRIOR)
        root = jnp.sqrt(moment)
        return root / jnp.sum(root)

    def seen(self, position: jax.Array, values: jax.Array) -> Histogram:
        """With the values w e [B] of samples at `position` [B] in [0, 1] of the range. A value that
        is not finite is left out: it must not outlive the step it spoils."""
        bins = self.counts.shape[0]
        usable = jnp.isfinite(jnp.square(values))
        square = jnp.where(usable, jnp.square(values), 0.0)
        index = _index(position, bins)
        keep = 1.0 - 1.0 / MEMORY
        return Histogram(
            keep * self.squares + jax.ops.segment_sum(square, index, bins),
            keep * self.counts + jax.ops.segment_sum(usable.astype(square.dtype), index, bins),
        )


def _index(position: jax.Array, bins: int) -> jax.Array:
    return jnp.clip(jnp.floor(position * bins), 0, bins - 1).astype(jnp.int32)


def fresh(bins: int = BINS) -> Histogram:
    """Nothing seen: all bins alike."""
    return Histogram(jnp.zeros(bins), jnp.zeros(bins))


class Adapted(NamedTuple):
    """The mixture of a histogram and a fixed density on the same range."""

    fixed: NoiseLevels
    share: float
    histogram: Histogram

    def _position(self, log_snr: jax.Array) -> jax.Array:
        return (log_snr - self.fixed.low) / (self.fixed.high - self.fixed.low)

    def density(self, log_snr: jax.Array) -> jax.Array:
        """q(log_snr) inside the range."""
        masses = self.histogram.masses()
        bins = masses.shape[0]
        inside = masses[_index(self._position(log_snr), bins)] * bins
        inside = inside / (self.fixed.high - self.fixed.low)
        return self.share * inside + (1 - self.share) * self.fixed.density(log_snr)

    def transport(self, u: jax.Array) -> jax.Array:
        """u ~ U[0, 1) to q: the histogram for u < share, then the fixed density."""
        masses = self.histogram.masses()
        edges = jnp.concatenate([jnp.zeros(1, masses.dtype), jnp.cumsum(masses)])
        edges = edges / edges[-1]
        places = jnp.linspace(self.fixed.low, self.fixed.high, edges.shape[0])
        learned = jnp.interp(jnp.minimum(u / self.share, 1.0), edges, places)
        rest = jnp.clip((u - self.share) / (1 - self.share), 0.0, 1.0)
        return jnp.where(u < self.share, learned, self.fixed.transport(rest))

    def draw(self, key: jax.Array, count: int) -> jax.Array:
        """`count` stratified draws [count], each exactly ~ q."""
        return self.transport(strata(key, count))

    def learn(self, log_snr: jax.Array, weighted: jax.Array) -> Histogram:
        """The histogram after seeing importance-weighted losses w e / q [B] at log_snr [B]."""
        return self.histogram.seen(self._position(log_snr), weighted * self.density(log_snr))
