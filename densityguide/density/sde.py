"""Log-density along stochastic differential equations, and what it says about the score."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import solve as solving
from densityguide.checks import present, random_key, require, shape_of, state, verb
from densityguide.density import streams
from densityguide.density.derive_score import check_joint
from densityguide.density.error_bar import error_bar
from densityguide.density.log_density import encode
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace, apply
from densityguide.flow import spaces
from densityguide.flow.flow import Flow, require_flow
from densityguide.flow.local import evaluate
from densityguide.solve import Choices, Grid, Method, Numbers, failed

__all__ = ["SdeSample", "sample_sde", "track_sde"]


class SdeSample(NamedTuple):
    """``x`` = state / alpha at the data end.

    ``log_density`` is the flow's own log p of x (nats, at noise level sigma / alpha), found by
    encoding it, with the error bar of `log_density`: ``standard_error`` of the trace with its
    ``degrees_of_freedom``, ``solver_error`` and ``total_error``; all None where nothing was
    measured. ``tracked`` is log p as integrated along the path: biased by O(step), and by the
    score's error, neither of which it knows; ``tracked_error`` is the standard error of its trace
    alone, and nan where it was taken without one.
    """

    x: Array
    log_density: Array | None
    standard_error: Array | None
    degrees_of_freedom: Array | None
    solver_error: Array | None
    total_error: Array | None
    tracked: Array
    tracked_error: Array
    evaluations: Array
    tangents: Array
    status: Array
    noise_level: Array


class _State(NamedTuple):
    x: Array
    log_density: Array  # [K]


@verb
def sample_sde(
    flow: Flow,
    latent: Array,
    key: Array,
    *,
    tracking: Trace | None = None,
    divergence: Trace | Auto | None = "auto",
    measure: bool = True,
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
) -> SdeSample:
    """One sample of the reverse SDE with its log p.

    ``dx = (drift x + sigma^2 s) dl + sigma dW``, and along it (Karczewski et al., ICLR 2025,
    Theorem 1), with the same noise and no divergence::

        d log p = (-drift D + sigma^2 |s|^2 / 2) dl + sigma s . dW        (Ito)

    Discretised, a path's error is O(sqrt(step)), its mean's O(step). With ``tracking=`` the
    Stratonovich form is solved by Heun's method, whose extra term ``-sigma^2 laplacian / 2``
    removes the leading error path by path: O(step), for the price of a trace. Where the score is
    not exact, what is tracked is too high by ``sigma^2 E|e|^2 / 2`` integrated, on average over its
    own samples; see `elbo` for the bound from below. ``log_density`` has none of these errors: it
    is measured by encoding x.

    Args:
        tracking: trace along the SDE, which chooses the Stratonovich form; None needs none.
        divergence: trace of the encoding; "auto" is exact up to D = 256 and none above.
        measure: False leaves the encoding out.
        steps, grid, solver: of the SDE, see `densityguide.solve.plan`; the encoding takes the same
            grid, and the default solver of `log_density`.

    Raises:
        ValueError: a flow without a Gaussian path, no key, or a solver of the other calculus.
    """
    require_flow(flow, "sample_sde")
    x = state(latent, flow.shape, "latent")
    require(flow.path is not None, "the reverse SDE needs a Gaussian path: use track_sde")
    check_joint(flow, "sample_sde")
    random_key(key, "sample_sde needs a key: pass jax.random.key(...)")
    trace = streams.reporting(flow, tracking, key, "tracking")
    report = streams.reporting(flow, divergence, key) if measure else None
    calculus = "ito" if trace is None else "stratonovich"
    choices = Choices(steps, grid, solver)
    method, numbers = solving.plan(flow, noise_form=calculus, **choices._asdict())
    key_solve, key_measure = jax.random.split(key)
    out = _sample_sde(method, trace, flow, x, key_solve, numbers)
    return _measured(flow, out, report, key_measure, choices)


@partial(jax.jit, static_argnames=("method", "trace"))
def _sample_sde(
    method: Method, trace: Trace | None, flow: Flow, x: Array, key: Array, numbers: Numbers
) -> SdeSample:
    path = present(flow.path)

    def increment(t: Array, y: _State, probes: Array | None, dt: Array, dw: Array) -> _State:
        local = evaluate(flow, y.x, t, tangents=trace is not None)
        score = present(local.score)
        drift, variance = path.drift(t), path.sigma(t) ** 2
        noise = path.sigma(t) * flow.along(y.x, dw)
        rise = 0.5 * variance * jnp.sum(score**2) * dt + jnp.sum(score * noise)
        if trace is None:
            rate = -drift * flow.dimensions * dt
        else:
            rate = -apply(local.tangent, trace, y.x, probes)[0] * dt
        return _State((drift * y.x + variance * score) * dt + noise, rate + rise)

    key_probe, key_noise = jax.random.split(key)
    draw = streams.drawer(trace, method, key_probe, x)
    return _tracked(method, trace, flow, x, numbers, increment, draw, (key_noise, x.shape))


@verb
def track_sde(
    flow: Flow,
    latent: Array,
    key: Array,
    *,
    drift: Callable[..., Array],
    diffusion: Callable[..., Array],
    params: Any = None,
    noise_shape: tuple[int, ...] | None = None,
    divergence: Trace | Auto = "auto",
    measure: bool = True,
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
) -> SdeSample:
    """Log p of the base flow along any ``dx = v dt + G dW`` (Ito) started at a latent::

        d log p = (-div u + s . (v - u) + tr(G G^T H) / 2) dt + s^T G dW

    (Ito's formula with the flow's own continuity equation; Skreta et al., ICLR 2025.)

    Args:
        drift: ``(params, x, t) -> v``.
        diffusion: ``(params, x, t, w) -> G w``, linear in ``w`` of shape ``noise_shape``
            (default: the flow's), so that G is never built.
        divergence: trace for both second-order terms, and of the encoding.
        measure: False leaves the encoding out.
        steps, grid, solver: of the SDE, see `densityguide.solve.plan`.

    Raises:
        ValueError: no score, no key, no trace above D = 256, a Stratonovich solver.
    """
    require_flow(flow, "track_sde")
    x = state(latent, flow.shape, "latent")
    require(flow.has_score, "track_sde needs a score: pass score= to densityguide.cnf")
    spaces.require_none(flow.space, "track_sde")
    random_key(key, "track_sde needs a key: pass jax.random.key(...)")
    trace = streams.required(flow, divergence, key, "track_sde")
    choices = Choices(steps, grid, solver)
    method, numbers = solving.plan(flow, noise_form="ito", **choices._asdict())
    shape = flow.shape if noise_shape is None else shape_of(noise_shape, "noise_shape")
    functions, (key_solve, key_measure) = (drift, diffusion), jax.random.split(key)
    out = _track_sde(method, trace, functions, shape, flow, x, params, key_solve, numbers)
    return _measured(flow, out, trace if measure else None, key_measure, choices)


def _measured(
    flow: Flow, out: SdeSample, trace: Trace | None, key: Array, choices: Choices
) -> SdeSample:
    """With log p of the finished x under the flow's own density."""
    if trace is None:
        return out
    found = encode(flow, out.x, trace, key, choices._replace(solver=None))
    lost = failed(out.status)  # then x is the last finite state, and its log p of no use
    value, bar = jax.tree.map(lambda a: jnp.where(lost, jnp.nan, a), (found.value, found.bar))
    return out._replace(
        log_density=value,
        **bar._asdict(),
        evaluations=out.evaluations + found.evaluations,
        tangents=out.tangents + found.tangents,
        status=out.status | found.status,
    )


@partial(jax.jit, static_argnames=("method", "trace", "functions", "shape"))
def _track_sde(
    method: Method,
    trace: Trace,
    functions: tuple[Callable[..., Array], Callable[..., Array]],
    shape: tuple[int, ...],
    flow: Flow,
    x: Array,
    params: Any,
    key: Array,
    numbers: Numbers,
) -> SdeSample:
    drift, diffusion = functions
    # G may map from another space, so its probes are drawn there, apart from those of div u.
    key_noise, key_probe, key_bend = jax.random.split(key, 3)
    cycle, like = trace.cycle(x.shape, method.indices), jnp.zeros(shape, x.dtype)
    bend_draw = streams.drawer(trace, method, key_bend, like, cycle)
    probe_draw = streams.drawer(trace, method, key_probe, x)

    def increment(t: Array, y: _State, drawn: Any, dt: Array, dw: Array) -> _State:
        probes, bend_probes = drawn
        local = evaluate(flow, y.x, t, tangents=True)
        v = drift(params, y.x, t)

        def push(w: Array) -> Array:
            return diffusion(params, y.x, t, w)

        pull = jax.linear_transpose(push, dw)
        bend = apply(lambda w: pull(local.tangent(push(w))[1])[0], trace, dw, bend_probes)
        divergence = apply(local.tangent, trace, y.x, probes)[0]
        noise, score = push(dw), present(local.score)
        rate = -divergence + jnp.sum(score * (v - local.velocity)) + 0.5 * jnp.sign(dt) * bend
        return _State(v * dt + noise, rate * dt + jnp.sum(score * noise))

    def draw(index: Array) -> Any:
        return probe_draw(index), bend_draw(index)

    brownian = (key_noise, shape)
    return _tracked(method, trace, flow, x, numbers, increment, draw, brownian, bends=prod(shape))


def _tracked(
    method: Method,
    trace: Trace | None,
    flow: Flow,
    x: Array,
    numbers: Numbers,
    increment: Callable[..., _State],
    draw: Callable[[Array], Any],
    brownian: tuple[Array, tuple[int, ...]],
    *,
    bends: int = 0,
) -> SdeSample:
    replicates = 1 if trace is None else trace.probes
    start = jnp.broadcast_to(flow.prior.log_prob(x), (replicates,))
    solved = solving.solve(
        method,
        numbers,
        increment,
        _State(flow.place(x), start),
        kinds=_State._make(("state", "nats")),
        path=flow.path,
        draw=draw,
        brownian=brownian,
        watch=lambda y: y.log_density,
    )
    lost = failed(solved.status)
    tracked = jnp.mean(solved.y.log_density) + flow.log_volume()
    spread, each = jnp.full_like(tracked, jnp.nan), 0
    if trace is not None:
        zero = jnp.zeros_like(tracked)
        bar = error_bar(trace, method, x.shape, solved, solved.y.log_density, zero, lost)
        spread = bar.standard_error
        each = trace.tangents(flow.size) + (trace.tangents(bends) if bends else 0)
    return SdeSample(
        x=flow.to_data(solved.y.x),
        log_density=None,
        standard_error=None,
        degrees_of_freedom=None,
        solver_error=None,
        total_error=None,
        tracked=jnp.where(lost, jnp.nan, tracked),
        tracked_error=spread,
        evaluations=solved.evaluations,
        tangents=solved.evaluations * each,
        status=solved.status,
        noise_level=flow.noise_level(),
    )
