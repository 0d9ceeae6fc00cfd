"""Decoding one latent under guidance and noise: one compiled solve."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import solve as solving
from densityguide.checks import present
from densityguide.density import streams
from densityguide.density.error_bar import ErrorBar, coarse, error_bar, solver_error
from densityguide.flow.flow import Flow
from densityguide.solve import Method, Numbers, Solved, Status
from densityguide.steer import profile as profiles
from densityguide.steer.field import CONTROLS, KINDS, Guided, Probes, State, Traces
from densityguide.steer.guidance import Guidance, valid
from densityguide.steer.noise import Noise
from densityguide.steer.profile import Spent

__all__ = ["Decoded", "decode"]

UNMET_TOLERANCE = 1e-3  # nats below which a limited correction is not worth a status


class Decoded(NamedTuple):
    """``x`` = state / alpha; ``tracked`` log p in nats with its error bar, and ``path``, log p of
    the state at each knot (None without a trace that reports); the rest as of `Sample`."""

    x: Array
    tracked: Array | None
    bar: ErrorBar | None
    path: Array | None
    unmet: Array
    evaluations: Array
    tangents: Array
    status: Array


@partial(jax.jit, static_argnames=("method", "traces"))
def decode(
    method: Method,
    traces: Traces,
    flow: Flow,
    x: Array,
    guidance: Guidance | None,
    noise: Noise | None,
    key: Array | None,
    numbers: Numbers,
    start: Array | None = None,
) -> Decoded:
    """Decode a latent to the data end after all checks; ``start`` is the latent's log p where it is
    not the prior's."""
    x = flow.place(x)
    report_key, steer_key, noise_key, profile_key = _keys(key)
    start = flow.prior.log_prob(x) if start is None else start
    status = _invalid(flow, guidance, noise)
    extra = Spent.none()
    if guidance is not None and guidance.prepare is not None:
        profile, extra, before = profiles.profile(
            method, present(traces.steer), flow, x, numbers, profile_key, start
        )
        status |= before
        guidance = guidance.prepared(profile)
    field = Guided(flow, guidance, noise, traces, solving.ends(numbers))
    replicates = jnp.broadcast_to(start, (traces.replicates,))
    report = streams.drawer(traces.report, method, report_key, x)
    steer = streams.drawer(traces.steer, method, steer_key, x)
    rates: Callable[..., State] = field.rates if noise is None else field.increment
    solved = solving.solve(
        method,
        numbers,
        rates,
        State(x, replicates, start, jnp.zeros_like(start)),
        draw=lambda index: Probes(report(index), steer(index)),
        brownian=None if noise is None else (present(noise_key), x.shape),
        watch=lambda y: y.log_density,
        kinds=KINDS,
        controls=CONTROLS,
        path=flow.path,
        interval=flow.interval,
        relaxation=_relaxation(guidance),
    )
    spent = extra.plus(solved.evaluations, field.tangents)
    unmet = solved.y.unmet
    status |= solved.status
    status |= jnp.where(jnp.abs(unmet) > UNMET_TOLERANCE, int(Status.UNMET), 0)
    tracked, bar, path = _tracked(method, traces, flow, x, solved)
    if tracked is not None:
        status |= coarse(solved)
    return Decoded(
        x=flow.to_data(solved.y.x),
        tracked=tracked,
        bar=bar,
        path=path,
        unmet=unmet,
        evaluations=spent.evaluations,
        tangents=spent.tangents,
        status=status,
    )


def _relaxation(guidance: Guidance | None) -> Array | None:
    if guidance is None or guidance.relaxation is None:
        return None
    return guidance.relaxation(guidance.params)


def _keys(key: Array | None) -> tuple[Array | None, ...]:
    return (None,) * 4 if key is None else tuple(jax.random.split(key, 4))


def _invalid(flow: Flow, guidance: Guidance | None, noise: Noise | None) -> Array:
    """INVALID where a traced number is out of range."""
    fine = jnp.asarray(True)
    if guidance is not None:
        fine &= valid(guidance, flow)
    if noise is not None:
        fine &= jnp.all(noise.values >= 0) & (noise.start < noise.stop)
    return jnp.where(fine, 0, int(Status.INVALID)).astype(jnp.int32)


def _tracked(
    method: Method, traces: Traces, flow: Flow, x: Array, solved: Solved
) -> tuple[Array | None, ErrorBar | None, Array | None]:
    if traces.report is None:
        return None, None, None
    failed, reached = solved.status != 0, solved.y.log_density
    value = jnp.where(failed, jnp.nan, jnp.mean(reached) + flow.log_volume())
    error = None if solved.error is None else solved.error.log_density
    off = solver_error(error)
    bar = error_bar(traces.report, method, x.shape, solved, reached, off, failed)
    path = None if solved.path is None else jnp.mean(solved.path, axis=1)
    return value, bar, path
