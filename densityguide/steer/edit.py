"""A picture of one's own under the dial: encoded, and decoded elsewhere on it."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide.checks import require, state, verb
from densityguide.density import streams
from densityguide.density.error_bar import combined
from densityguide.density.log_density import encode
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import Adjoint, Choices, Grid
from densityguide.steer.decode import Decoded, decode
from densityguide.steer.field import Traces
from densityguide.steer.guidance import Guidance
from densityguide.steer.needs import calculus_of, check_guidance, check_noise, purpose_of
from densityguide.steer.noise import Noise
from densityguide.steer.sample import Sample, measured
from densityguide.steer.turn import Turn, parts, turn

__all__ = ["Edit", "edit"]


class Edit(NamedTuple):
    """A given sample, changed; every log p is in nats, at noise level ``noise_level``.

    ``x`` is on the scale of the one that was given. ``log_density`` is the flow's own log p of it,
    measured by encoding it in full, with ``standard_error``, ``degrees_of_freedom``,
    ``solver_error`` and ``total_error`` as of `Sample`; ``before`` that of the given sample, with
    its own half-width ``before_error``; ``tracked`` what guidance believes, with ``tracked_error``.
    All of them are None without a trace (the default above 256 dimensions).

    ``moved`` is the root mean square distance from the given sample; ``round_trip`` that of the
    same way without guidance and noise, which is what the solver alone changes. With
    ``measure=False`` there is neither ``log_density`` nor ``round_trip``. ``unmet``,
    ``evaluations``, ``tangents`` and ``status`` are as of `Sample`, all solves together.
    """

    x: Array
    log_density: Array | None
    standard_error: Array | None
    degrees_of_freedom: Array | None
    solver_error: Array | None
    total_error: Array | None
    before: Array | None
    before_error: Array | None
    tracked: Array | None
    tracked_error: Array | None
    moved: Array
    round_trip: Array | None
    unmet: Array
    evaluations: Array
    tangents: Array
    status: Array
    noise_level: Array


@verb
def edit(
    flow: Flow,
    x: Array,
    *,
    guidance: Guidance | None,
    depth: ArrayLike | None = None,
    noise: Noise | None = None,
    divergence: Trace | Auto | None = "auto",
    steering: Trace | Auto = "auto",
    measure: bool = True,
    key: Array | None = None,
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    log_density_atol: ArrayLike | None = None,
    max_steps: int | None = None,
    adjoint: Adjoint = "reverse",
) -> Edit:
    """Encode ``x`` along the probability flow to log-SNR ``depth``, and decode from there under the
    guidance (encoding and decoding by the ODE: Song et al., ICLR 2021; the guided field: Karczewski
    et al., ICML 2025).

    The plain flow leads back to ``x``, so that whatever differs was the guidance's doing, or the
    noise's. A depth near the data changes detail alone: guidance acts on the rest of the clock
    only. A quantile's excess, ``sqrt(2 D) / 2 Phi^-1(q)`` nats per log-SNR, then adds up over fewer
    of them, while budgets and targets in nats stay what they are. As far as log p at the depth is
    needed, it is found by encoding on to the noise end.

    Args:
        x: one sample, on the scale of data (what `sample` returns).
        guidance: e.g. ``quantile(0.3)`` or ``target(3100.0)``; None for the round trip or noise.
        depth: log-SNR at which to turn round, or the own time of a flow without a path; the default
            is the noise end. Within 1/1000 of the interval from its noise end it is that end, and
            from its data end 1/1000 away from it.
        noise: of the decoding, e.g. ``noise.band(-3, 9, 0.3)``.
        divergence: the trace that log p is reported by; "auto" is exact up to D = 256, else none.
            The result does not depend on it.
        steering: of a guidance that needs a trace, or of Ito noise; as of `sample`. Where there is
            one, log p at the depth is found by it, as part of the aim and of ``before``.
        measure: False leaves out what is only there to be known: ``log_density`` and
            ``round_trip``.
        key: needed by estimated traces and by noise.
        steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint: of each solve, see
            `densityguide.solve.plan`. ``steps`` are those of every part; a ``grid`` in parts is a
            function, of `densityguide.grids`.

    Raises:
        ValueError: what `sample` would raise; a depth outside the flow's interval (a traced one
            becomes ``Status.INVALID``, and ends at the nearest end).
    """
    require_flow(flow, "edit")
    x = state(x, flow.shape, "x")
    if flow.space is not None:
        x = flow.to_data(flow.to_state(x))  # what padding holds is no distance
    require(
        depth is None or grid is None or callable(grid),
        "a grid of knots fits one interval and depth= makes several: pass a function of "
        "densityguide.grids, or steps=",
    )
    choices = Choices(steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint)
    cut = parts(flow, depth)
    if guidance is not None:
        check_guidance(guidance, cut.upper)
    if noise is not None:
        check_noise(flow, noise, key)
    traces = Traces(
        streams.reporting(flow, divergence, key),
        streams.steering(flow, steering, key, purpose_of(guidance, noise)),
    )
    keys = (None,) * 4 if key is None else tuple(jax.random.split(key, 4))
    ode = choices if noise is None else choices._replace(solver=None)
    origin = turn(flow, cut, x, traces, keys[:2], ode)
    decoded = _decoded(cut.upper, origin, traces, guidance, noise, keys[2], choices)
    back, found = None, None
    if measure:
        back = _back(cut.upper, origin, decoded, guidance, noise, ode)
        if traces.report is not None:
            found = encode(flow, decoded.x, traces.report, keys[3], ode)
    sample = measured(flow, decoded, found, guidance)
    return _edit(x, origin, sample, decoded if back is None else back, back, measure)


def _decoded(
    upper: Flow,
    origin: Turn,
    traces: Traces,
    guidance: Guidance | None,
    noise: Noise | None,
    key: Array | None,
    choices: Choices,
) -> Decoded:
    """On from the depth, log p going on from log p there."""
    method, numbers = solving.plan(
        upper,
        noise_form=calculus_of(noise),
        feedback=guidance is not None and guidance.needs.trace,
        guided=guidance is not None,
        **choices._asdict(),
    )
    # What failed is a status by itself; a target must not make x nan as well.
    start = None if origin.start is None else jnp.nan_to_num(origin.start)
    out = decode(method, traces, upper, origin.state, guidance, noise, key, numbers, start)
    if out.bar is not None and origin.start_bar is not None:
        out = out._replace(bar=combined(out.bar, origin.start_bar))
    return out


def _back(
    upper: Flow,
    origin: Turn,
    decoded: Decoded,
    guidance: Guidance | None,
    noise: Noise | None,
    ode: Choices,
) -> Decoded | None:
    """The plain flow from the depth, by the steps and the solver of the guided one; None where that
    was plain itself."""
    if guidance is None and noise is None:
        return None
    method, numbers = solving.plan(
        upper,
        feedback=guidance is not None and guidance.needs.trace,
        guided=guidance is not None,
        **ode._asdict(),
    )
    return decode(method, Traces(None, None), upper, origin.state, None, None, None, numbers)


def _edit(
    x: Array,
    origin: Turn,
    sample: Sample,
    plain: Decoded,
    back: Decoded | None,
    measure: bool,
) -> Edit:
    spent = [(sample.evaluations, sample.tangents, sample.status)]
    spent.append((*origin.spent, origin.status))
    if back is not None:
        spent.append((back.evaluations, back.tangents, back.status))
    evaluations, tangents, status = zip(*spent, strict=True)
    bar = origin.before_bar
    return Edit(
        x=sample.x,
        log_density=sample.log_density,
        standard_error=sample.standard_error,
        degrees_of_freedom=sample.degrees_of_freedom,
        solver_error=sample.solver_error,
        total_error=sample.total_error,
        before=origin.before,
        before_error=None if bar is None else bar.total_error,
        tracked=sample.tracked,
        tracked_error=sample.tracked_error,
        moved=_distance(sample.x, x),
        round_trip=_distance(plain.x, x) if measure else None,
        unmet=sample.unmet,
        evaluations=sum(evaluations),
        tangents=sum(tangents),
        status=reduce(or_, status),
        noise_level=sample.noise_level,
    )


def _distance(one: Array, other: Array) -> Array:
    return jnp.sqrt(jnp.mean((one - other) ** 2))
