"""Clocks: from log-SNR to the time a network was trained with.

A clock is a callable ``log_snr -> t``. ``densityguide.diffusion`` calls the user's network with
``t``; if the network predicts the velocity ``dx/dt``, the clock's derivative converts it.
Clocks are compared by value, so building one twice does not compile twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.errors import require

__all__ = ["Ddpm", "cosine_time", "ddpm", "ddpm_log_snr", "edm_noise", "flow_time"]
__all__ += ["log_snr", "reversed_flow_time"]


def log_snr(log_snr: Array) -> Array:
    """The network takes the log-SNR itself."""
    return log_snr


def flow_time(log_snr: Array) -> Array:
    """Flow matching with data at t = 1: ``t = alpha = sigmoid(log_snr / 2)``."""
    return jax.nn.sigmoid(0.5 * log_snr)


def reversed_flow_time(log_snr: Array) -> Array:
    """Rectified flow with data at t = 0: ``t = sigma = sigmoid(-log_snr / 2)``."""
    return jax.nn.sigmoid(-0.5 * log_snr)


def cosine_time(log_snr: Array) -> Array:
    """The cosine schedule, data at t = 0: ``log_snr = -2 log tan(pi t / 2)``."""
    return 2.0 / jnp.pi * jnp.arctan(jnp.exp(-0.5 * log_snr))


def edm_noise(log_snr: Array) -> Array:
    """EDM's ``c_noise = log(sigma / alpha) / 4 = -log_snr / 8`` (Karras et al. 2022)."""
    return -0.125 * log_snr


@dataclass(frozen=True)
class Ddpm:
    """Index into a table of betas, interpolated linearly in log-SNR; see :func:`ddpm`."""

    table: tuple[float, ...]

    def __call__(self, log_snr: Array) -> Array:
        rising = jnp.asarray(self.table[::-1])
        index = jnp.arange(len(self.table) - 1.0, -1.0, -1.0)
        return jnp.interp(log_snr, rising, index)


def ddpm(betas: Sequence[float] | np.ndarray | None = None) -> Ddpm:
    """DDPM or ADM timesteps 0 .. T - 1 (continuous), from the table of betas [T].

    Default: the linear table from 1e-4 to 0.02 with T = 1000. Log-SNR beyond the table's range
    is clipped to its ends: choose the flow's range inside ``ddpm_log_snr(betas)``.
    """
    return Ddpm(tuple(float(v) for v in ddpm_log_snr(betas)))


def ddpm_log_snr(betas: ArrayLike | Sequence[float] | None = None) -> np.ndarray:
    """Log-SNR [T] at each index of a table of betas: ``log(abar / (1 - abar))``,
    ``abar = cumprod(1 - beta)``. It falls with the index."""
    table = np.linspace(1e-4, 0.02, 1000) if betas is None else np.asarray(betas, np.float64)
    inside = table.ndim == 1 and table.size > 1 and bool(np.all((table > 0) & (table < 1)))
    require(inside, "betas must be a list of numbers in (0, 1): pass the scheduler's own betas")
    log_abar = np.cumsum(np.log1p(-table))
    return log_abar - np.log(-np.expm1(log_abar))
