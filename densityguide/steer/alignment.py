"""Score alignment: does scaling the latent move log-density one way?

With ``x_0 = Phi(x_T)`` the flow map, the derivative of ``log p_0(x_0)`` as the latent moves along
``v`` is ``grad log p_0(x_0)^T (d x_0 / d x_T) v``. Karczewski et al. (ICML 2025, Eq. 11) take
``v = grad log p_T(x_T)``: if the result is positive everywhere, log p_0 moves monotonically with
the norm of the latent.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide.checks import require, state, verb
from densityguide.density import streams
from densityguide.density.error_bar import error_bar
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace, apply
from densityguide.flow import priors
from densityguide.flow.flow import Flow, require_flow
from densityguide.flow.local import evaluate
from densityguide.solve import Adjoint, Choices, Grid, Method, Numbers

__all__ = ["ScoreAlignment", "score_alignment"]


class ScoreAlignment(NamedTuple):
    """``value`` = d log p_0(x_0) / d direction, nats per unit of the direction; ``cosine`` between
    the pushed direction and the score at x_0 (nan without a score); ``standard_error`` of the
    value from its trace estimate (0 with the score, or exact) with its degrees of freedom;
    ``x`` = x_0 / alpha."""

    value: Array
    cosine: Array
    standard_error: Array
    degrees_of_freedom: Array
    x: Array
    pushed: Array
    evaluations: Array
    tangents: Array
    status: Array


class _State(NamedTuple):
    x: Array
    v: Array
    omega: Array  # [K] replicates; [0] with the score


@verb
def score_alignment(
    flow: Flow,
    latent: Array,
    *,
    direction: Array | None = None,
    use_score: bool = True,
    divergence: Trace | Auto = "auto",
    key: Array | None = None,
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    max_steps: int | None = None,
    adjoint: Adjoint = "reverse",
) -> ScoreAlignment:
    """Directional derivative of the decoded log p along a direction in latent space.

    With the score (Eq. 12): ``dv/dt = J_u v``, value ``s_0 . v_0``, one tangent a step. Without
    (Eq. 13): ``d omega/dt = -div_x(J_u(x) v)`` with v held fixed inside the divergence and
    ``omega_T = s_T . v_T``, for any flow; its score is that of the flow's own prior.

    Args:
        direction: any array of the flow's shape (a mask, a frequency band, the latent itself);
            None is the prior's score, the paper's score alignment. Along the latent itself the
            value is d log p_0 / da at scale a = 1.
        use_score: choose the form; the form without needs a trace, ``divergence`` and ``key``.
        steps, grid, solver, rtol, atol, max_steps, adjoint: of the solve, see
            `densityguide.solve.plan`.

    Raises:
        ValueError: ``use_score`` on a flow without a score, shapes that differ, a trace missing.
    """
    require_flow(flow, "score_alignment")
    x = state(latent, flow.shape, "latent")
    require(
        flow.has_score or not use_score,
        "this flow has no score: pass use_score=False (needs a trace), or score= to cnf",
    )
    if direction is None:
        require(
            not priors.is_flat(flow.prior),
            "a uniform prior has score 0, and no direction of its own: pass direction=",
        )
        v = priors.score(flow.prior, x)
    else:
        v = state(direction, flow.shape, "direction").astype(x.dtype)
    x, v = flow.place(x), flow.along(x, v)
    trace = None
    if not use_score:
        trace = streams.required(flow, divergence, key, "score alignment without the score")
    choices = Choices(steps, grid, solver, rtol, atol, None, max_steps, adjoint)
    method, numbers = solving.plan(flow, guided=False, **choices._asdict())
    return _alignment(method, trace, flow, x, v, key, numbers)


@partial(jax.jit, static_argnames=("method", "trace"))
def _alignment(
    method: Method,
    trace: Trace | None,
    flow: Flow,
    x: Array,
    v: Array,
    key: Array | None,
    numbers: Numbers,
) -> ScoreAlignment:
    def rates(t: Array, y: _State, probes: Array | None) -> _State:
        if trace is None:
            local = evaluate(flow, y.x, t, tangents=True)
            return _State(local.velocity, local.tangent(y.v)[0], y.omega)

        def velocity_and_push(x: Array) -> tuple[Array, Array]:
            return jax.jvp(lambda x: flow.outputs(x, t)[0], (x,), (y.v,))

        (velocity, push), linear = jax.linearize(velocity_and_push, y.x)
        report = apply(lambda tangent: linear(tangent)[1], trace, y.x, probes)
        return _State(velocity, push, -report)

    replicates = 0 if trace is None else trace.probes
    omega = jnp.broadcast_to(jnp.sum(priors.score(flow.prior, x) * v), (replicates,))
    solved = solving.solve(
        method,
        numbers,
        rates,
        _State(x, v, omega),
        kinds=_State._make(("state", "state", "nats")),
        path=flow.path,
        draw=streams.drawer(trace, method, key, x),
        watch=lambda y: y.omega,
    )
    end, pushed, failed = solved.y.x, solved.y.v, solved.status != 0
    cosine = jnp.full((), jnp.nan, x.dtype)
    error, degrees = jnp.zeros((), x.dtype), jnp.full((), jnp.inf, x.dtype)
    value = cosine
    if flow.has_score:
        score = flow.outputs(end, solving.ends(numbers)[1])[1]
        value = jnp.sum(score * pushed)
        cosine = value / (jnp.linalg.norm(score) * jnp.linalg.norm(pushed))
    if trace is not None:
        value = jnp.mean(solved.y.omega)
        zero = jnp.zeros((), x.dtype)
        bar = error_bar(trace, method, x.shape, solved, solved.y.omega, zero, failed)
        error, degrees = bar.standard_error, bar.degrees_of_freedom
    value, cosine, error = (jnp.where(failed, jnp.nan, a) for a in (value, cosine, error))
    sample, moved = jax.jvp(flow.to_data, (end,), (pushed,))
    each = 1 if trace is None else 1 + 2 * trace.tangents(flow.size)
    evaluations = solved.evaluations + int(flow.has_score)  # one more for the score at the end
    return ScoreAlignment(
        value=value,
        cosine=cosine,
        standard_error=error,
        degrees_of_freedom=degrees,
        x=sample,
        pushed=moved,
        evaluations=evaluations,
        tangents=solved.evaluations * each,
        status=solved.status,
    )
