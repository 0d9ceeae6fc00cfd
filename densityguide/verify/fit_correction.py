"""Learn what a short solve gets wrong about a flow, once, for `log_density(correction=)`."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide import solve as solving
from densityguide.checks import count as whole
from densityguide.checks import floating, random_key, require, verb
from densityguide.density import streams
from densityguide.density.correction import Correction, features, fitted
from densityguide.density.error_bar import solver_error
from densityguide.density.log_density import solve_back
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import Method, Numbers
from densityguide.solve.adams import Adams
from densityguide.steer.sample import latent, sample

__all__ = ["Found", "fit_correction", "found_in", "open_after"]

COUNT, FEWEST = 48, 24  # samples: fewer leave one of the flow's own in five uncorrected
ROUNDING = 4.0  # units in the last place of log p


@verb
def fit_correction(
    flow: Flow,
    key: Array,
    *,
    steps: int = 8,
    order: int = 3,
    count: int | None = None,
    batch: int = 8,
    divergence: Trace | Auto = "auto",
    reference: int = 128,
    x: Any = None,
) -> Correction:
    """What ``steps`` steps of `Adams` get wrong about log p of this flow, learned from samples that
    are also encoded in ``reference`` steps, by the same frozen probes; see
    `densityguide.density.correction` for the regression.

    ``log_density(flow, x, correction=...)`` then takes ``steps + 1`` evaluations, takes off the
    predicted error, and reports the half-width of the 95 % interval of what is left, with what the
    long solves leave open, as ``solver_error``. A sample unlike those of the fit gets no
    correction, and keeps the solve's own bar and COARSE: of the flow's own, one in twenty with 48
    samples to learn from. The fit costs ``reference + steps + 2`` evaluations with their traces a
    sample.

    Args:
        steps, order: of the solve to be corrected, on the default grid.
        count: the flow's own samples to learn from (48), ``batch`` at a time.
        divergence: "auto" is exact up to D = 256; above, `densityguide.orthogonal(2)` will do for
            any later number of probes.
        reference: steps of the solve that is taken for the truth.
        x: samples [n, ...] to learn from in place of the flow's own, if those that you will ask
            about are of another kind (held-out data, guided samples).

    Raises:
        ValueError: fewer than 24 samples, ``count`` beside ``x``, ``reference`` less than four
            times ``steps``, D above 256 without a trace; called under ``jit``.
    """
    require_flow(flow, "fit_correction")
    random_key(key, "fit_correction needs key=: pass jax.random.key(...)")
    require(x is None or count is None, "x= says what to learn from: drop count=")
    number = whole(COUNT if count is None else count, FEWEST, "count")
    batch, order = whole(batch, 1, "batch"), Adams(whole(order, 1, "order")).order
    steps, reference = whole(steps, 2, "steps"), whole(reference, 8, "reference")
    require(
        reference >= 4 * steps,
        f"reference must be at least four times steps, got {reference} and {steps}",
    )
    trace = streams.required(flow, divergence, key, "fit_correction")
    key_own, key_trace = jax.random.split(key)
    if x is None:
        x = _own(number, batch, flow, key_own)
    x = floating(x, "x", "bring samples to the scale of the model first")
    require(
        x.shape[1:] == flow.shape and len(x) >= FEWEST,
        f"x must be [n >= {FEWEST}, {', '.join(map(str, flow.shape))}], got {x.shape}",
    )
    keys = jax.random.split(key_trace, len(x))
    short = found_in(steps, order, flow, x, keys, trace, batch)
    long = found_in(reference, 4, flow, x, keys, trace, batch)
    require(
        not any(isinstance(leaf, jax.core.Tracer) for leaf in (*short, *long)),
        "fit_correction is called outside jit and vmap: pass its result in",
    )
    known, truth = np.asarray(short.features, float), np.asarray(long.features, float)[:, 0]
    fine = np.isfinite(known).all(axis=1) & np.isfinite(truth)
    if not fine.all():
        lost = f"{len(fine) - fine.sum()} of {len(fine)} samples were not finite"
        require(fine.sum() >= FEWEST, f"fit_correction needs samples: {lost}: take more steps")
        warnings.warn(f"fit_correction: {lost} and are left out", stacklevel=3)
    coarse = int(np.asarray(long.coarse)[fine].sum())
    if coarse:
        warnings.warn(
            f"fit_correction: {reference} steps are coarse for {coarse} of {fine.sum()} samples, "
            "and their error with them: raise reference=",
            stacklevel=3,
        )
    left = open_after(jax.tree.map(lambda leaf: np.asarray(leaf)[fine], long))
    return fitted(flow, steps, order, known[fine], (known[:, 0] - truth)[fine], left)


class Found(NamedTuple):
    """Of samples after a solve: features [n, 4], log p first, nan where it failed; the bar [n] of
    the solve in nats; and whether it is coarse."""

    features: Array
    bar: Array
    coarse: Array


def open_after(long: Found) -> float:
    """What long solves leave open of log p, in nats: 95 % of their bars, and rounding."""
    rounding = ROUNDING * float(np.finfo(long.features.dtype).eps)
    size = float(np.abs(long.features[:, 0]).max())
    return float(np.percentile(long.bar, 95)) + rounding * size


@partial(jax.jit, static_argnames=("count", "batch"))
def _own(count: int, batch: int, flow: Flow, key: Array) -> Array:
    keys = jax.random.split(key, count)
    one = lambda key: sample(flow, latent(flow, key), divergence=None).x  # noqa: E731
    return jax.lax.map(one, keys, batch_size=min(batch, count))


def found_in(
    steps: int, order: int, flow: Flow, x: Array, keys: Array, trace: Trace, batch: int
) -> Found:
    """What so many steps find, by probes that stay the same all the way: then solves of different
    steps differ by their errors alone."""
    method, numbers = solving.plan(flow, guided=False, steps=steps, solver=Adams(order))
    return _found(method, trace, batch, flow, x, keys, numbers)


@partial(jax.jit, static_argnames=("method", "trace", "batch"))
def _found(
    method: Method,
    trace: Trace,
    batch: int,
    flow: Flow,
    x: Array,
    keys: Array,
    numbers: Numbers,
) -> Found:
    def one(x: Array, key: Array) -> Found:
        drawn = streams.drawer(trace, method, key, x, cycle=1)(jnp.zeros((), jnp.int32))
        solved, value = solve_back(method, trace, flow, x, lambda index: drawn, numbers)
        value = jnp.where(solved.status != 0, jnp.nan, value)  # x is then the last finite state
        assert solved.error is not None
        assert solved.coarse is not None
        off = solver_error(solved.error.log_density)
        return Found(features(value, solved.y.x, solved), off, solved.coarse)

    return jax.lax.map(lambda each: one(*each), (x, keys), batch_size=batch)
