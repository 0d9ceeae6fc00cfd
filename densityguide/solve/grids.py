"""Step grids: where the steps of a solve go, in log-SNR.

Each grid is a function ``(start, stop, steps) -> knots`` with ``steps + 1`` increasing log-SNR
values from ``start`` (noise end) to ``stop`` (data end). A grid changes only where a solver
looks, never what it computes; any increasing array of knots serves as well.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import require, verb
from densityguide.flow.clocks import ddpm_log_snr

__all__ = ["cosine", "ddpm", "eased", "edm", "flow_time", "shifted", "uniform"]


def _unit(steps: int, like: Array) -> Array:
    return jnp.linspace(0.0, 1.0, steps + 1, dtype=jnp.result_type(like, float))


def _pinned(knots: Array, start: Array, stop: Array) -> Array:
    # Rounding must not move the ends: they say at which noise level a log-density holds.
    return knots.at[0].set(start).at[-1].set(stop)


def uniform(start: ArrayLike, stop: ArrayLike, steps: int) -> Array:
    """Equal steps in log-SNR."""
    start, stop = jnp.asarray(start), jnp.asarray(stop)
    return _pinned(start + (stop - start) * _unit(steps, start), start, stop)


def eased(start: ArrayLike, stop: ArrayLike, steps: int) -> Array:
    """Steps that shrink to 0.3 of their mean at both ends, in whatever clock the flow has: knots at
    the shares ``u - 0.7 sin(2 pi u) / (2 pi)`` of the interval, u in equal steps.

    A multistep method begins at a low order and loses little of its own where its first steps are
    short. Measured against equal steps and Chebyshev's points, which are shorter still at the ends:
    ``python -m studies benchmark plane``.
    """
    start, stop = jnp.asarray(start), jnp.asarray(stop)
    unit = _unit(steps, start)
    share = unit - 0.7 / (2.0 * jnp.pi) * jnp.sin(2.0 * jnp.pi * unit)
    return _pinned(start + (stop - start) * share, start, stop)


def cosine(start: ArrayLike, stop: ArrayLike, steps: int) -> Array:
    """Equal steps in the time of the cosine schedule, ``log_snr = -2 log tan(pi t / 2)``
    (Nichol and Dhariwal, ICML 2021, without their offset)."""
    start, stop = jnp.asarray(start), jnp.asarray(stop)
    first, last = jnp.arctan(jnp.exp(-0.5 * start)), jnp.arctan(jnp.exp(-0.5 * stop))
    angle = first + (last - first) * _unit(steps, start)
    return _pinned(-2.0 * jnp.log(jnp.tan(angle)), start, stop)


def edm(start: ArrayLike, stop: ArrayLike, steps: int, rho: float = 7.0) -> Array:
    """Equal steps in ``(sigma / alpha)^(1 / rho)`` (Karras et al., NeurIPS 2022, Eq. 5)."""
    start, stop = jnp.asarray(start), jnp.asarray(stop)
    first, last = jnp.exp(-0.5 * start / rho), jnp.exp(-0.5 * stop / rho)
    root = first + (last - first) * _unit(steps, start)
    return _pinned(-2.0 * rho * jnp.log(root), start, stop)


def flow_time(start: ArrayLike, stop: ArrayLike, steps: int) -> Array:
    """Equal steps in the time of the linear path, ``t = sigmoid(log_snr / 2)``."""
    start, stop = jnp.asarray(start), jnp.asarray(stop)
    first, last = jax.nn.sigmoid(0.5 * start), jax.nn.sigmoid(0.5 * stop)
    t = first + (last - first) * _unit(steps, start)
    return _pinned(jnp.log(t) * 2.0 - jnp.log1p(-t) * 2.0, start, stop)


@verb
def shifted(shift: float) -> Callable[[ArrayLike, ArrayLike, int], Array]:
    """The grid of Stable Diffusion 3 and Flux: equal steps in u, with
    ``sigma = shift u / (1 + (shift - 1) u)`` on the linear path (Esser et al., ICML 2024, Eq. 23).

    In log-SNR that is `flow_time` moved by ``2 log(shift)``. Flux's dynamic ``mu`` is
    ``shift = exp(mu)``. ValueError unless shift is positive.
    """
    require(float(shift) > 0, f"shift must be positive, got {shift}")
    move = 2.0 * log(float(shift))

    def grid(start: ArrayLike, stop: ArrayLike, steps: int) -> Array:
        start, stop = jnp.asarray(start), jnp.asarray(stop)
        return _pinned(flow_time(start + move, stop + move, steps) - move, start, stop)

    return grid


def ddpm(start: ArrayLike, stop: ArrayLike, steps: int, betas: ArrayLike | None = None) -> Array:
    """Equal steps in the index of a table of DDPM betas (Ho et al., NeurIPS 2020).

    ``betas`` [T] defaults to the linear table 1e-4 .. 0.02 with T = 1000. The table's log-SNR is
    interpolated linearly in the index and continued linearly beyond the table's ends.
    """
    start, stop = jnp.asarray(start), jnp.asarray(stop)
    table = jnp.asarray(ddpm_log_snr(betas))
    first, last = _index_of(start, table), _index_of(stop, table)
    knots = _value_at(first + (last - first) * _unit(steps, start), table)
    return _pinned(knots, start, stop)


def _value_at(index: Array, table: Array) -> Array:
    low = jnp.clip(jnp.floor(index).astype(int), 0, table.shape[0] - 2)
    return table[low] + (index - low) * (table[low + 1] - table[low])


def _index_of(log_snr: Array, table: Array) -> Array:
    # The table falls with the index; searchsorted wants it rising.
    low = table.shape[0] - 1 - jnp.searchsorted(table[::-1], log_snr)
    low = jnp.clip(low, 0, table.shape[0] - 2)
    return low + (log_snr - table[low]) / (table[low + 1] - table[low])
