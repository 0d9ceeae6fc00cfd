"""How log p of natural samples runs along the plain flow, and what a solve spends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide import solve as solving
from densityguide.density import streams
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow
from densityguide.solve import Method, Numbers
from densityguide.steer.field import KINDS, Guided, Probes, State, Traces
from densityguide.steer.guidance import Profile
from densityguide.steer.knots import Knots

__all__ = ["Spent", "profile", "trajectory"]


class Spent(NamedTuple):
    """Forward passes and tangents used so far."""

    evaluations: Array
    tangents: Array

    @classmethod
    def none(cls) -> Spent:
        return cls(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def plus(self, evaluations: Array, tangents_each: int) -> Spent:
        return Spent(self.evaluations + evaluations, self.tangents + evaluations * tangents_each)


def profile(
    method: Method,
    trace: Trace,
    flow: Flow,
    x: Array,
    numbers: Numbers,
    key: Array | None,
    start: Array,
) -> tuple[Profile, Spent, Array]:
    """How natural log p runs: from the calibration, or from one plain solve of this latent; the
    solve's status comes last."""
    ends = solving.ends(numbers)
    if flow.calibration is not None:
        # Looked up between this solve's own ends, which may be others than the calibration's.
        measured = Knots(flow.calibration.times, flow.calibration.log_density)
        times = jnp.linspace(*ends, measured.times.shape[0])
        log_density = jax.vmap(measured.__call__)(times)
        spent, status = Spent.none(), jnp.zeros((), jnp.int32)
    else:
        # A coarse solve will do: the line's shape needs no accuracy, its end is exact anyway.
        steps = max(8, numbers.knots.shape[0] // 4)
        times = jnp.linspace(*ends, steps + 1)
        if not method.adaptive:
            index = np.linspace(0, numbers.knots.shape[0] - 1, steps + 1).round().astype(int)
            times = numbers.knots[np.unique(index)]
        method = Method(solving.default_solver(flow), False, times.shape[0] - 1)
        coarse = numbers._replace(knots=times)
        solved = _plain(method, trace, flow, x, key, coarse, lambda y: jnp.mean(y.log_density))
        log_density, status = solved.path, solved.status
        spent = Spent.none().plus(solved.evaluations, trace.tangents(flow.size))
    share = _share(flow, times, log_density)
    return Profile(times, log_density, share, start, flow.log_volume()), spent, status


def _plain(
    method: Method,
    trace: Trace,
    flow: Flow,
    x: Array,
    key: Array | None,
    numbers: Numbers,
    watch: Callable[[State], Any],
) -> solving.Solved:
    """The plain flow from ``x`` on a fixed grid, recording ``watch(state)`` at its knots."""
    start = flow.prior.log_prob(x)
    report = streams.drawer(trace, method, key, x)
    field = Guided(flow, None, None, Traces(trace, None), solving.ends(numbers))
    return solving.solve(
        method,
        numbers,
        field.rates,
        State(x, jnp.broadcast_to(start, (trace.probes,)), start, jnp.zeros_like(start)),
        draw=lambda index: Probes(report(index), None),
        watch=watch,
        kinds=KINDS,
        path=flow.path,
    )


def trajectory(
    method: Method, trace: Trace, flow: Flow, x: Array, key: Array | None, numbers: Numbers
) -> tuple[Array, Array, Array]:
    """States [n + 1, *shape] and log p of the state [n + 1] of the plain flow at its knots, and
    the status of the solve."""

    def record(y: State) -> tuple[Array, Array]:
        return y.x, jnp.mean(y.log_density)

    solved = _plain(method, trace, flow, x, key, numbers, record)
    return *solved.path, solved.status


def _share(flow: Flow, times: Array, log_density: Array) -> Array:
    """When to spend an excess: in proportion to the score's own part of the flow.

    Naturally ``d log p/dt = -drift D + sigma^2 / 2 |s|^2`` on average, so the second part, what a
    score scaled by a constant would multiply, is the natural rate plus ``drift D``. Where it has
    died out (low noise, smooth data) a correction could do nothing. Without a path, an excess is
    spent evenly.
    """
    if flow.path is None:
        return (times - times[0]) / (times[-1] - times[0])
    alpha = flow.dimensions * flow.path.log_alpha(times)
    power = jnp.maximum(jnp.diff(log_density + alpha), 1e-6)
    spent = jnp.concatenate([jnp.zeros((1,), power.dtype), jnp.cumsum(power)])
    return spent / spent[-1]
