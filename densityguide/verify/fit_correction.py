"""Learn what a short solve gets wrong about a flow, once, for `log_density(correction=)`."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide import solve as solving
from densityguide.checks import count as whole
from densityguide.checks import floating, random_key, require, verb
from densityguide.density import streams
from densityguide.density.correction import Correction, features, fitted
from densityguide.density.log_density import solve_back
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import Method, Numbers
from densityguide.solve.adams import Adams
from densityguide.steer.sample import latent, sample

__all__ = ["fit_correction", "known_after"]

FEWEST = 16  # samples: a fit of five numbers, and its spread


@verb
def fit_correction(
    flow: Flow,
    key: Array,
    *,
    steps: int = 8,
    order: int = 3,
    count: int = 48,
    batch: int = 8,
    divergence: Trace | Auto = "auto",
    reference: int = 128,
    x: Any = None,
) -> Correction:
    """What ``steps`` steps of `Adams` get wrong about log p of this flow, learned from ``count``
    samples that are also encoded in ``reference`` steps, by the same frozen probes; see
    `densityguide.density.correction` for the regression.

    ``log_density(flow, x, correction=...)`` then takes ``steps + 1`` evaluations, subtracts the
    predicted error, and reports the 95 % interval of what is left as ``solver_error``. A sample
    unlike those of the fit gets no correction, and keeps the solve's own bar and COARSE.

    Args:
        steps, order: of the solve to be corrected, on the default grid.
        count: the flow's own samples to learn from, ``batch`` at a time.
        divergence: "auto" is exact up to D = 256; above, `densityguide.orthogonal(2)` will do for
            any later number of probes.
        reference: steps of the solve that is taken for the truth: its own error stays in the fit.
        x: samples [n, ...] to learn from in place of the flow's own, if those that you will ask
            about are of another kind (held-out data, guided samples).

    Raises:
        ValueError: fewer than 16 samples, ``reference`` less than four times ``steps``, D above
            256 without a trace; called under ``jit``.
    """
    require_flow(flow, "fit_correction")
    random_key(key, "fit_correction needs key=: pass jax.random.key(...)")
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((flow, key, x)))
    require(not traced, "fit_correction is called outside jit and vmap: pass its result in")
    number, batch = whole(count, FEWEST, "count"), whole(batch, 1, "batch")
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
    known = known_after(steps, order, flow, x, keys, trace, batch)
    truth = known_after(reference, 4, flow, x, keys, trace, batch)[:, 0]
    fine = np.isfinite(known).all(axis=1) & np.isfinite(truth)
    if not fine.all():
        lost = f"{len(fine) - fine.sum()} of {len(fine)} samples were not finite"
        require(fine.sum() >= FEWEST, f"fit_correction needs samples: {lost}: take more steps")
        warnings.warn(f"fit_correction: {lost} and are left out", stacklevel=3)
    return fitted(steps, order, known[fine], (known[:, 0] - truth)[fine])


def known_after(
    steps: int, order: int, flow: Flow, x: Array, keys: Array, trace: Trace, batch: int
) -> np.ndarray:
    """Features [n, 4] of samples after so many steps, log p first."""
    method, numbers = solving.plan(flow, guided=False, steps=steps, solver=Adams(order))
    return np.asarray(_known(method, trace, batch, flow, x, keys, numbers), np.float64)


@partial(jax.jit, static_argnames=("count", "batch"))
def _own(count: int, batch: int, flow: Flow, key: Array) -> Array:
    keys = jax.random.split(key, count)
    one = lambda key: sample(flow, latent(flow, key), divergence=None).x  # noqa: E731
    return jax.lax.map(one, keys, batch_size=min(batch, count))


@partial(jax.jit, static_argnames=("method", "trace", "batch"))
def _known(
    method: Method,
    trace: Trace,
    batch: int,
    flow: Flow,
    x: Array,
    keys: Array,
    numbers: Numbers,
) -> Array:
    """Features [n, 4] of samples, by probes that stay the same all the way: then solves of
    different steps differ by their errors alone."""

    def one(x: Array, key: Array) -> Array:
        drawn = streams.drawer(trace, method, key, x, cycle=1)(jnp.zeros((), jnp.int32))
        solved, value = solve_back(method, trace, flow, x, lambda index: drawn, numbers)
        return features(value, solved.y.x, solved)

    return jax.lax.map(lambda each: one(*each), (x, keys), batch_size=batch)
