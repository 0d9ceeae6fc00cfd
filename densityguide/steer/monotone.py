"""Where the dial turns the right way: the range in which a flow's own log p rises with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, random_key, require, verb
from densityguide.checks import count as whole
from densityguide.density import streams
from densityguide.density.log_density import log_density as measure
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import failed
from densityguide.steer import rules
from densityguide.steer.guidance import Guidance
from densityguide.steer.sample import draw

__all__ = ["QUANTILES", "Monotone", "monotone_range"]

QUANTILES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
CERTAIN = 2.0  # standard errors by which log p must rise


class Monotone(NamedTuple):
    """What was measured at each of the ``values`` [n] of the dial.

    ``log_density`` [n] is mean measured log p in nats; ``rise`` [n - 1] the mean, over the same
    latents, of the difference between neighbours, with its ``standard_error``; ``sure`` [n - 1],
    whether that is above two of them; ``low`` and ``high`` are the ends of the longest run of
    values with sure rises (nan if none is); ``failed`` [n] counts samples that are left out.
    """

    values: np.ndarray
    log_density: np.ndarray
    rise: np.ndarray
    standard_error: np.ndarray
    sure: np.ndarray
    low: float
    high: float
    failed: np.ndarray


@verb
def monotone_range(
    flow: Flow,
    key: Array,
    *,
    along: Callable[[Any], Guidance] = rules.quantile,
    values: ArrayLike | Sequence[float] = QUANTILES,
    count: int = 16,
    divergence: Trace | Auto = "auto",
    steps: int | None = None,
) -> Monotone:
    """Decode the same ``count`` latents at every value of ``along``, encode them again, and see
    where mean log p rises from one value to the next.

    Density guidance takes the score for the gradient of the flow's log p, which a learned score is
    not quite: far out the dial can turn back while what is tracked goes on rising. No score enters
    what is compared here. ``flow.calibration._replace(dial=...)`` keeps the range with the flow.

    Raises:
        ValueError: values that do not rise, fewer than 4 latents, D above 256 without a trace.
    """
    require_flow(flow, "monotone_range")
    random_key(key, "monotone_range needs key=: pass jax.random.key(...)")
    known = concrete(values)
    asked = np.zeros(0) if known is None else np.asarray(known, np.float64)
    require(
        asked.ndim == 1 and len(asked) > 1 and bool((np.diff(asked) > 0).all()),
        f"values must be two or more rising numbers, got {values}",
    )
    trace = streams.required(flow, divergence, key, "monotone_range")
    keys = jax.random.split(key, whole(count, 4, "count"))
    found = [_row(along, trace, steps, flow, keys, jnp.asarray(value)) for value in asked]
    log_density = np.stack([np.asarray(row[0], np.float64) for row in found])
    lost = np.stack([np.asarray(row[1]) for row in found])
    log_density[lost] = np.nan
    return _read(asked, log_density)


@partial(jax.jit, static_argnames=("along", "trace", "steps"))
def _row(
    along: Callable[[Any], Guidance],
    trace: Trace,
    steps: int | None,
    flow: Flow,
    keys: Array,
    value: Array,
) -> tuple[Array, Array]:
    def one(key: Array) -> tuple[Array, Array]:
        key, key_trace = jax.random.split(key)
        # What guidance tracks is not asked for, so its trace need not be paid for.
        out = draw(flow, key, guidance=along(value), divergence=None, steps=steps)
        found = measure(flow, out.x, divergence=trace, key=key_trace, steps=steps)
        return found.value, failed(out.status | found.status)

    log_density, lost = jax.lax.map(one, keys, batch_size=8)
    return log_density, lost


def _read(values: np.ndarray, log_density: np.ndarray) -> Monotone:
    """The range, from log p [values, latents]; latents that failed at either value do not count."""
    rises = np.diff(log_density, axis=0)
    there = np.isfinite(rises)
    counts = np.maximum(there.sum(axis=1), 2)
    rise = np.nansum(rises, axis=1) / counts
    spread = np.sqrt(np.nansum((rises - rise[:, None]) ** 2, axis=1) / (counts - 1))
    error = spread / np.sqrt(counts)
    sure = (rise > CERTAIN * error) & (there.sum(axis=1) > 1)
    first, length = _longest(sure)
    ends = (values[first], values[first + length]) if length else (np.nan, np.nan)
    mean = np.nanmean(np.where(np.isfinite(log_density), log_density, np.nan), axis=1)
    lost = (~np.isfinite(log_density)).sum(axis=1)
    return Monotone(values, mean, rise, error, sure, float(ends[0]), float(ends[1]), lost)


def _longest(sure: np.ndarray) -> tuple[int, int]:
    """(where it begins, its length) of the longest run of True."""
    best = start = length = 0
    for index, one in enumerate(sure):
        length = length + 1 if one else 0
        if length > best:
            best, start = length, index - length + 1
    return start, best
