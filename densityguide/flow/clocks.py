"""Clocks: from log-SNR to the time a network was trained with.

A clock is a callable ``log_snr -> t``. ``densityguide.diffusion`` calls the user's network with
``t``; if the network predicts the velocity ``dx/dt``, the clock's derivative converts it.
Clocks are compared by value, so building one twice does not compile twice.

The range ``log_snr=`` of a flow in the terms of other schedules:

==============================  ===================================================
trained in                      log-SNR
==============================  ===================================================
t = alpha, linear path          2 log(t / (1 - t))
t, data at 0, linear path       2 log((1 - t) / t)
t = alpha, conditional OT       2 log(t / (1 - (1 - sigma_min) t))
sigma of EDM                    -2 log(sigma)
t of the cosine schedule        -2 log tan(pi t / 2)
index of a table of betas       ``ddpm_log_snr(betas)[index]``
==============================  ===================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import require, verb
from densityguide.flow import paths

__all__ = ["ConditionalOtTime", "Ddpm", "conditional_ot_time", "cosine_time", "ddpm"]
__all__ += ["ddpm_log_snr", "edm_noise", "flow_time", "log_snr", "reversed_flow_time"]


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
class ConditionalOtTime:
    """``t = alpha`` of conditional OT; see `conditional_ot_time`."""

    path: paths.Path

    def __call__(self, log_snr: Array) -> Array:
        return self.path.alpha(log_snr)


@verb
def conditional_ot_time(sigma_min: float) -> ConditionalOtTime:
    """Conditional OT with noise ``sigma_min`` left on the data at t = 1 (Lipman et al., ICLR 2023):
    ``t = alpha = r / (1 + (1 - sigma_min) r)``, ``r = exp(log_snr / 2)``. ValueError for a number
    outside [0, 1)."""
    return ConditionalOtTime(paths.conditional_ot(sigma_min))


@dataclass(frozen=True)
class Ddpm:
    """Index into a table of betas, interpolated linearly in log-SNR; see :func:`ddpm`."""

    table: tuple[float, ...]

    def __repr__(self) -> str:
        last, first = self.table[-1], self.table[0]
        return f"Ddpm({len(self.table)} steps, log-SNR {last:.4g} to {first:.4g})"

    def __call__(self, log_snr: Array) -> Array:
        rising = jnp.asarray(self.table[::-1])
        index = jnp.arange(len(self.table) - 1.0, -1.0, -1.0)
        return jnp.interp(log_snr, rising, index)


@verb
def ddpm(betas: Sequence[float] | np.ndarray | None = None) -> Ddpm:
    """DDPM or ADM timesteps 0 .. T - 1 (continuous), from the table of betas [T].

    Default: the linear table from 1e-4 to 0.02 with T = 1000. Log-SNR beyond the table's range
    is clipped to its ends: choose the flow's range inside ``ddpm_log_snr(betas)``. With zero
    terminal SNR the table ends one index earlier, at the last finite level.
    """
    return Ddpm(tuple(float(v) for v in ddpm_log_snr(betas)))


@verb
def ddpm_log_snr(betas: ArrayLike | Sequence[float] | None = None) -> np.ndarray:
    """Log-SNR at each index of a table of betas [T]: ``log(abar / (1 - abar))``,
    ``abar = cumprod(1 - beta)``. It falls with the index; ``log_snr=(table[-1], table[0])`` is the
    whole range.

    A schedule with zero terminal SNR (Lin et al., WACV 2024) ends with beta = 1: its last level is
    pure noise at log-SNR minus infinity, where no flow can start. The table then has T - 1 entries
    and ends at the last finite one.

    Raises:
        ValueError: numbers outside (0, 1), a table of another shape, or alphas (their cumulative
            products, say) in place of betas.
    """
    table = np.linspace(1e-4, 0.02, 1000) if betas is None else np.asarray(betas, np.float64)
    if table.ndim == 1 and table.size > 1:
        require(
            not (table[0] > 0.5 and bool(np.all(np.diff(table) < 0))),
            f"betas must be those of the scheduler, which start near 0: a table that falls from "
            f"{table[0]:.4g} looks like alphas_cumprod or alphas, pass "
            "1 - alphas_cumprod[t] / alphas_cumprod[t - 1]",
        )
        # The last level has no signal at all.
        table = table[:-1] if table[-1] == 1.0 else table
    inside = table.ndim == 1 and table.size > 1 and bool(np.all((table > 0) & (table < 1)))
    require(
        inside,
        "betas must be a list of numbers in (0, 1), the last one up to 1: pass the scheduler's own "
        "betas",
    )
    log_abar = np.cumsum(np.log1p(-table))
    return log_abar - np.log(-np.expm1(log_abar))
