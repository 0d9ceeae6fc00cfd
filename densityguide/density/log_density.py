"""Log-density of given samples: encode along the probability flow and track the volume."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide.checks import state, verb
from densityguide.density import correction as corrections
from densityguide.density import streams
from densityguide.density.correction import Correction
from densityguide.density.error_bar import ErrorBar, coarse, error_bar, solver_error
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace, apply
from densityguide.flow.flow import Flow, require_flow
from densityguide.flow.local import evaluate
from densityguide.solve import Adjoint, Choices, Grid, Method, Numbers, Solved

__all__ = ["LogDensity", "encode", "encoded", "log_density", "solve_back"]


class LogDensity(NamedTuple):
    """Log-density of one sample under the flow's own density.

    ``value`` in nats at noise level ``noise_level`` = sigma / alpha; ``standard_error`` of its
    trace estimate (0 when exact) with its ``degrees_of_freedom`` (inf when exact);
    ``solver_error``, what the steps of the solve cost by its own estimate, or by what a correction
    learned; ``total_error``, the half-width of a 95 % interval of both. ``latent`` is the encoded
    x_T.
    """

    value: Array
    standard_error: Array
    degrees_of_freedom: Array
    solver_error: Array
    total_error: Array
    latent: Array
    evaluations: Array
    tangents: Array
    status: Array
    noise_level: Array

    @property
    def bar(self) -> ErrorBar:
        """The error bar alone."""
        return ErrorBar(
            self.standard_error, self.degrees_of_freedom, self.solver_error, self.total_error
        )


class _State(NamedTuple):
    x: Array
    log_density: Array


@verb
def log_density(
    flow: Flow,
    x: Array,
    *,
    divergence: Trace | Auto = "auto",
    key: Array | None = None,
    tolerance: ArrayLike | None = None,
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    log_density_atol: ArrayLike | None = None,
    max_steps: int | None = None,
    adjoint: Adjoint = "reverse",
    correction: Correction | None = None,
) -> LogDensity:
    """Log p of one sample, from the instantaneous change of variables (Chen et al., 2018)::

        log p(x) = log p_T(x_T) - integral from T to the data end of div u dt

    along the probability-flow ODE through ``x``, solved from data to prior. ``x`` is on the scale
    of data (what `sample` returns): the solve starts at ``alpha x``, and ``D log alpha`` makes the
    result the density of ``x`` itself.

    Args:
        x: one sample of the flow's shape, transformed as the model expects.
        divergence: "auto" is exact up to D = 256; above, say what to pay for.
        key: needed by estimated traces.
        tolerance: the widest ``total_error`` in nats that will do, `densityguide.nats` of so many
            bits/dim: 8, 16, 32, ... steps are taken until it fits, or the status is INACCURATE.
            Not under ``jit`` or ``vmap``, where `densityguide.steps_for` finds the number before.
        steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint: of the solve, see
            `densityguide.solve.plan`.
        correction: of `densityguide.fit_correction` for this flow: the few steps that it was fitted
            to, and log p less their predicted error. ``solver_error`` is then the half-width of the
            95 % interval of what is left. Derivatives are those of the few steps.

    Raises:
        ValueError: D above 256 without a trace, an estimator without a key, another shape, or
            an integer array; a ``tolerance`` where something is traced; a ``correction`` beside
            options of the solve.
    """
    require_flow(flow, "log_density")
    x = state(x, flow.shape, "x")
    trace = streams.required(flow, divergence, key, "log_density")
    choices = Choices(steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint)
    if correction is not None:
        choices = corrections.choices_of(correction, flow, choices, tolerance)
        return encode(flow, x, trace, key, choices, correction)
    if tolerance is None:
        return encode(flow, x, trace, key, choices)
    return solving.within(
        tolerance,
        choices,
        (flow, x, key),
        lambda choices: encode(flow, x, trace, key, choices),
        lambda out: out.total_error,
    )


def encode(
    flow: Flow,
    x: Array,
    trace: Trace,
    key: Array | None,
    choices: Choices,
    correction: Correction | None = None,
) -> LogDensity:
    """`log_density` after its checks."""
    method, numbers = solving.plan(flow, guided=False, **choices._asdict())
    return encoded(method, trace, flow, x, key, numbers, correction)


@partial(jax.jit, static_argnames=("method", "trace"))
def encoded(
    method: Method,
    trace: Trace,
    flow: Flow,
    x: Array,
    key: Array | None,
    numbers: Numbers,
    correction: Correction | None = None,
) -> LogDensity:
    """`log_density` by a planned solve."""
    drawn = streams.drawer(trace, method, key, x)
    solved, value = solve_back(method, trace, flow, x, drawn, numbers)
    failed = solved.status != 0
    off = solver_error(None if solved.error is None else solved.error.log_density)
    status = coarse(solved)
    if correction is not None:
        found = corrections.features(value, solved.y.x, solved)
        value, off, status = corrections.corrected(correction, flow, found, off, status)
    bar = error_bar(trace, method, x.shape, solved, solved.y.log_density, off, failed)
    return LogDensity(
        value=jnp.where(failed, jnp.nan, value),
        **bar._asdict(),
        latent=solved.y.x,
        evaluations=solved.evaluations,
        tangents=solved.evaluations * trace.tangents(flow.size),
        status=solved.status | status,
        noise_level=flow.noise_level(),
    )


def solve_back(
    method: Method,
    trace: Trace,
    flow: Flow,
    x: Array,
    drawn: Callable[[Array], Array | None],
    numbers: Numbers,
) -> tuple[Solved, Array]:
    """The solve from data to prior by probes ``index -> drawn``, and the log p that it gives."""

    def rates(t: Array, y: _State, probes: Array | None) -> _State:
        local = evaluate(flow, y.x, t, tangents=True)
        return _State(local.velocity, -apply(local.tangent, trace, y.x, probes)[0])

    solved = solving.solve(
        method,
        solving.backwards(numbers),
        rates,
        _State(flow.to_state(x), jnp.zeros((trace.probes,), x.dtype)),
        draw=drawn,
        watch=lambda y: y.log_density,
        kinds=_State._make(("state", "nats")),
        # An exact trace has a say in the steps of an adaptive solve; frozen probes choose none.
        controls=_State._make((True, trace.is_exact)),
        path=flow.path,
        interval=flow.interval,
    )
    change = -jnp.mean(solved.y.log_density)
    return solved, flow.prior.log_prob(solved.y.x) + change + flow.log_volume()
