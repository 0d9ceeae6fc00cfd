"""How many steps a flow needs for log p to a tolerance: found once, outside `jit`."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide.checks import concrete, present, random_key, require, verb
from densityguide.checks import count as whole
from densityguide.density import streams
from densityguide.density.log_density import log_density
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import Status
from densityguide.steer.sample import latent, sample

__all__ = ["errors_at", "least_steps", "steps_for"]


@verb
def steps_for(
    flow: Flow,
    key: Array,
    tolerance: ArrayLike,
    *,
    count: int = 8,
    divergence: Trace | Auto = "auto",
    solver: Any = None,
    last: int = 1024,
) -> int:
    """The fewest of 8, 16, 32, ... steps at which `log_density` of the flow's own samples has a
    ``total_error`` of at most ``tolerance`` nats, for all of ``count`` samples, and is not COARSE.

    The answer is a number for ``steps=``, which ``jit`` and ``vmap`` must know beforehand. Where
    ``last`` steps are not enough, a warning says so; the error is then mostly that of the probes.

    Raises:
        ValueError: D above 256 without a trace; a tolerance that is not positive, or traced.
    """
    require_flow(flow, "steps_for")
    random_key(key, "steps_for needs key=: pass jax.random.key(...)")
    known = concrete(tolerance)
    require(known is not None, "steps_for gives a number of steps: call it outside jit and vmap")
    wanted = float(present(known))
    trace = streams.required(flow, divergence, key, "steps_for")
    keys = jax.random.split(key, whole(count, 1, "count"))
    steps, met = least_steps(flow, keys, wanted, trace, solver, last)
    if not met:
        warnings.warn(
            f"steps_for: {steps} steps leave log p less certain than {wanted:g} nats: take "
            "more probes, or a wider tolerance",
            stacklevel=3,
        )
    return steps


def least_steps(
    flow: Flow, keys: Array, tolerance: float, trace: Trace, solver: Any, last: int
) -> tuple[int, bool]:
    """``(steps, whether they are enough)``: see `steps_for`."""

    def at(steps: int) -> tuple[None, float]:
        total, _ = errors_at(steps, flow, keys, trace, solver)
        return None, float(np.max(total))

    _, steps, met = solving.climb(at, tolerance, last=last)
    return steps, met


@partial(jax.jit, static_argnames=("steps", "trace", "solver"))
def errors_at(
    steps: int, flow: Flow, keys: Array, trace: Trace, solver: Any = None
) -> tuple[Array, Array]:
    """``(total_error, solver_error)`` [n] of log p of the flow's own samples, drawn and encoded
    again; a total that is COARSE is infinite."""

    def one(key: Array) -> tuple[Array, Array]:
        key_latent, key_trace = jax.random.split(key)
        start, options = latent(flow, key_latent), {"steps": steps, "solver": solver}
        x = sample(flow, start, divergence=None, **options).x
        out = log_density(flow, x, divergence=trace, key=key_trace, **options)
        rough = out.status & int(Status.COARSE) != 0
        return jnp.where(rough, jnp.inf, out.total_error), out.solver_error

    return jax.lax.map(one, keys, batch_size=8)
