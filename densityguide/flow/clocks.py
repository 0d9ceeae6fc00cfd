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
1000 sigma of SD3 and Flux      2 log((1 - sigma) / sigma)
beta(t) of a VP SDE             -log(expm1(beta_min t + (beta_max - beta_min) t^2 / 2))
==============================  ===================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import require, verb
from densityguide.flow import paths

__all__ = ["ConditionalOtTime", "Scaled", "SdeTime", "Table", "conditional_ot_time", "cosine_time"]
__all__ += ["ddpm", "ddpm_log_snr", "edm_noise", "flow_time", "log_snr", "reversed_flow_time"]
__all__ += ["scaled", "sde_time", "sigmas"]


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
class Table:
    """Index into a table of log-SNRs that fall or rise, interpolated linearly."""

    name: str
    table: tuple[float, ...]

    def __repr__(self) -> str:
        low, high = sorted((self.table[0], self.table[-1]))
        return f"{self.name}({len(self.table)} steps, log-SNR {low:.4g} to {high:.4g})"

    def __call__(self, log_snr: Array) -> Array:
        order = 1 if self.table[0] < self.table[-1] else -1
        index = jnp.arange(0.0, len(self.table), 1.0)
        return jnp.interp(log_snr, jnp.asarray(self.table[::order]), index[::order])


@verb
def ddpm(betas: Sequence[float] | np.ndarray | None = None) -> Table:
    """DDPM or ADM timesteps 0 .. T - 1 (continuous), from the table of betas [T], the scheduler's
    own (``trained_betas``, say).

    Default: the linear table from 1e-4 to 0.02 with T = 1000. Log-SNR beyond the table's range
    is clipped to its ends: choose the flow's range inside ``ddpm_log_snr(betas)``. With zero
    terminal SNR the table ends one index earlier, at the last finite level.
    """
    return Table("Ddpm", tuple(float(v) for v in ddpm_log_snr(betas)))


@verb
def sigmas(table: Sequence[float] | np.ndarray) -> Table:
    """Index into a table of noise levels ``sigma / alpha`` that falls, as of NCSN, or rises, as of
    k-diffusion: ``log_snr = -2 log(sigma / alpha)``, interpolated linearly in log sigma.

    ValueError unless the table is one of positive numbers that run one way.
    """
    levels = np.asarray(table, np.float64)
    moves = np.diff(levels) if levels.ndim == 1 else np.zeros(1)
    fine = levels.ndim == 1 and levels.size > 1 and bool((levels > 0).all())
    require(
        fine and bool((moves > 0).all() or (moves < 0).all()),
        "sigmas must be a list of positive noise levels that rises or falls: leave a last 0 out",
    )
    return Table("Sigmas", tuple(float(v) for v in -2.0 * np.log(levels)))


@dataclass(frozen=True)
class Scaled:
    """Another clock times a number; see `scaled`."""

    clock: Callable[[Array], Array]
    factor: float

    def __call__(self, log_snr: Array) -> Array:
        return self.factor * self.clock(log_snr)


@verb
def scaled(clock: Callable[[Array], Array], factor: float) -> Scaled:
    """``factor clock(log_snr)``: ``scaled(reversed_flow_time, 1000)`` is the ``1000 sigma`` of
    Stable Diffusion 3 and Flux. Their *shift* says where the steps of a solve go, and belongs to
    the grid: ``densityguide.grids.shifted(shift)``. ValueError for a factor of 0."""
    require(
        callable(clock) and isinstance(factor, (int, float)) and factor != 0,
        f"scaled needs a clock and a number that is not 0, got {clock!r} and {factor!r}",
    )
    return Scaled(clock, float(factor))


@dataclass(frozen=True)
class SdeTime:
    """Time of the VP or sub-VP SDE; see `sde_time`."""

    path: paths.Path
    least: float
    greatest: float

    def __call__(self, log_snr: Array) -> Array:
        total = -2.0 * self.path.log_alpha(log_snr)
        rise = self.greatest - self.least
        # The root of least t + rise t^2 / 2 = total, without cancellation at small t.
        return 2.0 * total / (self.least + jnp.sqrt(self.least**2 + 2.0 * rise * total))


@verb
def sde_time(path: paths.Path, beta_min: float = 0.1, beta_max: float = 20.0) -> SdeTime:
    """Time t in [0, 1], data at 0, of the VP and sub-VP SDEs with ``beta = beta_min + t (beta_max -
    beta_min)``: ``alpha = exp(-beta_min t / 2 - (beta_max - beta_min) t^2 / 4)`` (Song et al., ICLR
    2021, appendix C). Their code hands networks ``999 t``: ``scaled(sde_time(path), 999)``.
    ValueError unless ``0 < beta_min < beta_max``."""
    require(
        0.0 < float(beta_min) < float(beta_max),
        f"betas must rise from above 0, got {beta_min} and {beta_max}",
    )
    return SdeTime(paths.check(path), float(beta_min), float(beta_max))


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
