"""Gaussian paths in the log-SNR clock.

A path noises data as ``x = alpha x0 + sigma eps`` with ``log_snr = log(alpha^2 / sigma^2)``,
which increases from noise to data. In this clock every path has the same diffusion,
``g^2 = sigma^2``, and paths differ only in how they scale ``x``:

=====================  ==========================  ===========================  ===========
path                   alpha                       sigma                        drift
=====================  ==========================  ===========================  ===========
variance preserving    sqrt(sigmoid(log_snr))      sqrt(sigmoid(-log_snr))      sigma^2 / 2
variance exploding     1                           exp(-log_snr / 2)            0
linear                 sigmoid(log_snr / 2)        sigmoid(-log_snr / 2)        sigma / 2
=====================  ==========================  ===========================  ===========

Probability-flow velocity: ``u = drift * x + sigma^2 / 2 * score`` (Song et al., ICLR 2021, in
the log-SNR clock of Kingma et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

__all__ = ["Path", "linear", "variance_exploding", "variance_preserving"]


@dataclass(frozen=True)
class Path:
    """A Gaussian path: two functions of the log-SNR. Compared and hashed by value.

    ``log_alpha`` and ``log_sigma`` map a scalar (or array) log-SNR to the logarithms of the
    signal and noise scales; logarithms keep both ends exact in float32.
    """

    name: str
    log_alpha: Callable[[Array], Array]
    log_sigma: Callable[[Array], Array]

    def alpha(self, log_snr: ArrayLike) -> Array:
        """Signal scale."""
        return jnp.exp(self.log_alpha(jnp.asarray(log_snr)))

    def sigma(self, log_snr: ArrayLike) -> Array:
        """Noise scale; ``sigma^2`` is also the squared diffusion per unit log-SNR."""
        return jnp.exp(self.log_sigma(jnp.asarray(log_snr)))

    def drift(self, log_snr: ArrayLike) -> Array:
        """``d log(alpha) / d log_snr``, the linear part of the velocity."""
        log_snr = jnp.asarray(log_snr)
        return jax.jvp(self.log_alpha, (log_snr,), (jnp.ones_like(log_snr),))[1]

    @property
    def preserves_variance(self) -> bool:
        """Whether ``alpha^2 + sigma^2 = 1``, which v-prediction takes for granted."""
        return self.name == "variance_preserving"


def _vp_log_alpha(log_snr: Array) -> Array:
    return 0.5 * jax.nn.log_sigmoid(log_snr)


def _vp_log_sigma(log_snr: Array) -> Array:
    return 0.5 * jax.nn.log_sigmoid(-log_snr)


def _ve_log_alpha(log_snr: Array) -> Array:
    return 0.0 * log_snr


def _ve_log_sigma(log_snr: Array) -> Array:
    return -0.5 * log_snr


def _linear_log_alpha(log_snr: Array) -> Array:
    return jax.nn.log_sigmoid(0.5 * log_snr)


def _linear_log_sigma(log_snr: Array) -> Array:
    return jax.nn.log_sigmoid(-0.5 * log_snr)


def variance_preserving() -> Path:
    """``alpha^2 + sigma^2 = 1``: DDPM, improved and cosine diffusion (Ho et al. 2020)."""
    return Path("variance_preserving", _vp_log_alpha, _vp_log_sigma)


def variance_exploding() -> Path:
    """``alpha = 1``: NCSN and EDM (Karras et al. 2022)."""
    return Path("variance_exploding", _ve_log_alpha, _ve_log_sigma)


def linear() -> Path:
    """``alpha + sigma = 1``: rectified flow and optimal-transport flow matching."""
    return Path("linear", _linear_log_alpha, _linear_log_sigma)
