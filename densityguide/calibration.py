"""Calibration: what natural samples of a flow do, level by level."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import natural, tracking
from densityguide import solve as solving
from densityguide.divergence import Trace, apply
from densityguide.errors import present, random_key, require
from densityguide.flows import Calibration, Flow, evaluate, require_flow
from densityguide.solve import Method, Numbers
from densityguide.tracking import Auto

__all__ = ["calibrate", "fluctuation"]


def calibrate(
    flow: Flow,
    key: Array,
    *,
    count: int = 64,
    batch: int = 16,
    divergence: Trace | Auto = "auto",
    **options: Any,
) -> Flow:
    """The flow with mean log p and the spread of h at each knot of a solve attached.

    ``h = sigma^2 (laplacian + |s|^2) / sqrt(2 D)`` has mean 0 and variance at most 1 over natural
    samples; ``quantile`` takes it as N(0, 1), ``calibrated`` uses the measured spread, and
    ``target`` needs the mean log p for the shape of its schedule. Estimated traces enter the
    variance as products of independent probes, so that probe noise does not inflate it.

    Args:
        count: natural samples, ``batch`` at a time.

    Raises:
        ValueError: no score, an adaptive solve, or D above 256 without a trace.
    """
    require_flow(flow, "calibrate")
    require(flow.has_score, "calibrate needs a score: pass score= to densityguide.cnf")
    random_key(key, "calibrate needs key=: pass jax.random.key(...)")
    require(
        isinstance(count, int) and count >= 8,
        f"count must be an integer of at least 8, got {count}",
    )
    trace = tracking.choose(flow, divergence, key, "calibrate")
    method, numbers = solving.plan(flow, **options)
    require(not method.adaptive, "calibrate uses a fixed grid: pass steps= instead of tolerances")
    return flow.replace(calibration=_calibrate(method, trace, count, batch, flow, key, numbers))


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
    return variance * (laplacian + power) / (2.0 * flow.size) ** 0.5


@partial(jax.jit, static_argnames=("method", "trace", "count", "batch"))
def _calibrate(
    method: Method,
    trace: Trace,
    count: int,
    batch: int,
    flow: Flow,
    key: Array,
    numbers: Numbers,
) -> Calibration:
    times = numbers.knots

    def one(key: Array) -> tuple[Array, Array]:
        key_latent, key_trace, key_h = jax.random.split(key, 3)
        x = flow.prior.sample(key_latent)
        states, log_density = natural.trajectory(method, trace, flow, x, key_trace, numbers)
        keys = jax.random.split(key_h, times.shape[0])
        h = jax.vmap(lambda *at: fluctuation(flow, trace, *at))(states, times, keys)
        pairs = h[:, :1] * h[:, -1:]  # independent probes; the same value twice if exact
        return log_density, pairs[:, 0]

    keys = jax.random.split(key, count)
    log_density, square = jax.lax.map(one, keys, batch_size=min(batch, count))
    # E h = 0 for a true score, so the second moment is the variance; a network's bias enters it.
    spread = jnp.sqrt(jnp.maximum(jnp.mean(square, axis=0), 0.0))
    mean = jnp.mean(log_density, axis=0)
    rising = times[-1] > times[0]
    values = (times, mean, spread)
    return Calibration(*(jnp.where(rising, a, a[::-1]) for a in values))
