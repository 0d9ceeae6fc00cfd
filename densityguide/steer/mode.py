"""The mode of p(x_s | x_t), followed as s runs to the data end (Karczewski et al., ICLR 2025)."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide.checks import present, require, scalar, state, verb
from densityguide.density import streams
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace, apply
from densityguide.flow.flow import Flow, require_flow
from densityguide.flow.local import evaluate
from densityguide.solve import Adjoint, Choices, Grid, Method, Numbers, Status
from densityguide.steer.high_density import check_inside

__all__ = ["Mode", "track_mode"]


class Mode(NamedTuple):
    """The tracked mode ``x`` (state / alpha) and ``residual``: the size of the term that
    vanishes for Gaussian data relative to the rest of the field, averaged along the way.
    ``evaluations`` counts the two forward passes of each step. It leaves out the reverse pass
    through one of them, and the tangents of the other (at most 50) that solve for A^-1."""

    x: Array
    residual: Array
    evaluations: Array
    status: Array


class _State(NamedTuple):
    x: Array
    residual: Array


@verb
def track_mode(
    flow: Flow,
    x: Array,
    *,
    start: ArrayLike,
    divergence: Trace | Auto = "auto",
    key: Array | None = None,
    correction: bool = True,
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    max_steps: int | None = None,
    adjoint: Adjoint = "reverse",
) -> Mode:
    """The mode of p(x_s | x_t) as s runs from t = ``start`` to the data end::

        dx/ds = drift x + sigma^2 s + sigma^2 / 2 A^-1 grad(laplacian log p_s)
        A = H - k I,   1/k = (alpha_s / alpha_t)^2 sigma_t^2 - sigma_s^2

    The last term is zero for Gaussian data; ``residual`` (its size relative to the rest) is a
    necessary, not sufficient, test of Gaussianity. ``correction=False`` leaves it out of the
    field and still reports it: the high-density ODE. A^-1 is applied by conjugate gradients.

    Args:
        x: state x_t at log-SNR ``start`` (not divided by alpha).
        steps, grid, solver, rtol, atol, max_steps, adjoint: of the solve, see
            `densityguide.solve.plan`.

    Raises:
        ValueError: no Gaussian path, start outside the interval, no trace above D = 256.
    """
    require_flow(flow, "track_mode")
    x = state(x, flow.shape, "x")
    require(flow.path is not None, "track_mode needs a Gaussian path")
    scalar(start, "start")
    inside = check_inside(start, flow, "start", closed=True)
    trace = streams.required(flow, divergence, key, "track_mode")
    part = flow.between(scalar(start, "start"), flow.interval[1])
    choices = Choices(steps, grid, solver, rtol, atol, None, max_steps, adjoint)
    method, numbers = solving.plan(part, feedback=True, **choices._asdict())
    mode = _track_mode(method, trace, correction, part, x, key, numbers)
    return mode._replace(status=mode.status | jnp.where(inside, 0, int(Status.INVALID)))


@partial(jax.jit, static_argnames=("method", "trace", "correction"))
def _track_mode(
    method: Method,
    trace: Trace,
    correction: bool,
    flow: Flow,
    x: Array,
    key: Array | None,
    numbers: Numbers,
) -> Mode:
    path, t0 = present(flow.path), flow.interval[0]

    def laplacian(x: Array, t: Array, probes: Array | None) -> Array:
        local = evaluate(flow, x, t, tangents=True)
        return jnp.mean(apply(lambda v: local.tangent(v)[1], trace, x, probes))

    def rates(t: Array, y: _State, probes: Array | None) -> _State:
        local = evaluate(flow, y.x, t, tangents=True)
        variance = path.sigma(t) ** 2
        ratio = jnp.exp(2.0 * (path.log_alpha(t) - path.log_alpha(t0)))
        width = jnp.maximum(ratio * path.sigma(t0) ** 2 - variance, 0.0)  # 1 / k
        slope = jax.grad(laplacian)(y.x, t, probes)
        # A^-1 = -width (I - width H)^-1, positive definite inside where the mode is one.
        solution, _ = jax.scipy.sparse.linalg.cg(
            lambda v: v - width * local.tangent(v)[1], slope, tol=1e-8, maxiter=50
        )
        extra = -0.5 * variance * width * solution
        plain = path.drift(t) * y.x + variance * present(local.score)
        size = jnp.linalg.norm(extra) / jnp.maximum(jnp.linalg.norm(plain), 1e-12)
        return _State(plain + extra if correction else plain, size)

    span = numbers.knots[-1] - numbers.knots[0]
    solved = solving.solve(
        method,
        numbers,
        rates,
        _State(flow.place(x), jnp.zeros((), x.dtype)),
        kinds=_State._make(("state", "nats")),
        path=path,
        draw=streams.drawer(trace, method, key, x),
    )
    failed = solved.status != 0
    return Mode(
        x=flow.to_data(solved.y.x),
        residual=jnp.where(failed, jnp.nan, solved.y.residual / span),
        evaluations=2 * solved.evaluations,
        status=solved.status,
    )
