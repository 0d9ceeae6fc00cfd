"""Calibration: what natural samples of a flow do, level by level."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import solve as solving
from densityguide.checks import concrete, present, random_key, require, verb
from densityguide.checks import count as whole
from densityguide.density import streams
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace, apply
from densityguide.flow.flow import Calibration, Flow, require_flow
from densityguide.flow.local import evaluate
from densityguide.solve import Grid, Method, Numbers
from densityguide.steer import profile as profiles

__all__ = ["calibrate", "fluctuation"]


@verb
def calibrate(
    flow: Flow,
    key: Array,
    *,
    count: int = 64,
    batch: int = 16,
    divergence: Trace | Auto = "auto",
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
) -> Flow:
    """The flow with mean log p and the spread of h at each knot of a solve attached.

    ``h = sigma^2 (laplacian + |s|^2) / sqrt(2 D)`` has mean 0 and variance at most 1 over natural
    samples; ``quantile`` takes it as N(0, 1), ``calibrated`` uses the measured spread, and
    ``target`` needs the mean log p for the shape of its schedule. Estimated traces enter the
    variance as products of independent probes, so that probe noise does not inflate it.

    Args:
        count: natural samples, ``batch`` at a time.
        steps, grid, solver: of each solve, see `densityguide.solve.plan`; its knots are those of
            the calibration.

    Raises:
        ValueError: no score, D above 256 without a trace, or fewer than 2 finite samples (others
            are left out, with a warning).
    """
    require_flow(flow, "calibrate")
    require(flow.has_score, "calibrate needs a score: pass score= to densityguide.cnf")
    random_key(key, "calibrate needs key=: pass jax.random.key(...)")
    number, batch = whole(count, 8, "count"), whole(batch, 1, "batch")
    trace = streams.required(flow, divergence, key, "calibrate")
    method, numbers = solving.plan(flow, steps=steps, grid=grid, solver=solver)
    calibration, fine = _calibrate(method, trace, number, batch, flow, key, numbers)
    known = concrete(fine)
    if known is not None and known < number:
        lost = f"{number - int(known)} of {number} plain samples were not finite"
        require(int(known) >= 2, f"calibrate needs samples: {lost}, see densityguide.verify")
        warnings.warn(f"calibrate: {lost} and are left out", stacklevel=3)
    return flow.replace(calibration=calibration)


def fluctuation(flow: Flow, trace: Trace, x: Array, t: Array, key: Array) -> Array:
    """Independent estimates [K] of ``h = sigma^2 (laplacian + |s|^2) / sqrt(2 D)`` at one state
    (without a path: with sigma = 1); one value if the trace is exact."""
    local = evaluate(flow, x, t, tangents=True)
    probes = None
    if trace.draw is not None:
        probes = trace.draw(key, jnp.zeros((), jnp.int32), 1, trace.probes, x.shape, x.dtype)
    laplacian = apply(lambda tangent: local.tangent(tangent)[1], trace, x, probes)
    variance = 1.0 if flow.path is None else flow.path.sigma(t) ** 2
    power = jnp.sum(present(local.score) ** 2)
    return variance * (laplacian + power) / (2.0 * flow.dimensions) ** 0.5


@partial(jax.jit, static_argnames=("method", "trace", "count", "batch"))
def _calibrate(
    method: Method,
    trace: Trace,
    count: int,
    batch: int,
    flow: Flow,
    key: Array,
    numbers: Numbers,
) -> tuple[Calibration, Array]:
    """The calibration, and how many samples it rests on."""
    times = numbers.knots

    def one(key: Array) -> tuple[Array, Array, Array]:
        key_latent, key_trace, key_h = jax.random.split(key, 3)
        x = flow.prior.sample(key_latent)
        states, log_density, status = profiles.trajectory(
            method, trace, flow, x, key_trace, numbers
        )
        keys = jax.random.split(key_h, times.shape[0])
        h = jax.vmap(lambda *at: fluctuation(flow, trace, *at))(states, times, keys)
        pairs = h[:, :1] * h[:, -1:]  # independent probes; the same value twice if exact
        return log_density, pairs[:, 0], status == 0

    keys = jax.random.split(key, count)
    log_density, square, fine = jax.lax.map(one, keys, batch_size=min(batch, count))

    def mean(values: Array) -> Array:
        return jnp.mean(values, axis=0, where=fine[:, None])

    # E h = 0 for a true score, so the second moment is the variance; a network's bias enters it.
    spread = jnp.sqrt(jnp.maximum(mean(square), 0.0))
    rising = times[-1] > times[0]
    values = (times, mean(log_density), spread)
    return Calibration(*(jnp.where(rising, a, a[::-1]) for a in values)), jnp.sum(fine)
