"""Sampling with log-density under control: ``latent`` and ``sample``."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide.checks import random_key, require, state, verb
from densityguide.density import correction as corrections
from densityguide.density import streams
from densityguide.density.bits import nats
from densityguide.density.correction import Correction
from densityguide.density.error_bar import ErrorBar
from densityguide.density.log_density import LogDensity, encode
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import Adjoint, Choices, Grid, Status, failed
from densityguide.steer.decode import Decoded, decode
from densityguide.steer.field import Traces
from densityguide.steer.guidance import Guidance, beyond
from densityguide.steer.needs import calculus_of, check_guidance, check_noise, purpose_of
from densityguide.steer.noise import Noise

__all__ = ["Sample", "draw", "latent", "measured", "sample"]

AGREEMENT = 0.01  # bits/dim within which tracked and encoded log p are taken to agree


class Sample(NamedTuple):
    """A sample and its evidence; every log p is in nats, at noise level ``noise_level`` = sigma /
    alpha (0 for a flow without a path).

    ``x`` is the state divided by alpha at the data end. ``log_density`` is the flow's own log p of
    x: for the plain flow that of the solve, and measured by encoding x for whatever was steered or
    noised. ``standard_error`` is that of its trace estimate with its ``degrees_of_freedom``
    (Student's t), ``solver_error`` the solve's own estimate of what its steps cost, ``total_error``
    the half-width of a 95 % interval of both. ``tracked`` is what guidance believes: log p with the
    score taken for the gradient of log p, integrated along the way; ``tracked_error`` is its own
    half-width (with noise, of the probes alone). The two differ where the score is not exact;
    ``Status.DISAGREES`` says so.

    Without a trace (the default above 256 dimensions) all of these are None; with ``measure=False``
    only what was tracked is there, and with ``tracking=None`` only what was measured. ``unmet`` is
    the integral of (requested - applied) excess, what the cap kept from being applied on the way; a
    target's feedback may have made up for it later. ``evaluations`` and ``tangents`` are the
    network's forward passes and the tangents pushed through them; ``status`` holds
    `densityguide.Status` bits. ``path`` is tracked log p of the state at each knot of a fixed grid
    [n + 1] (None if not tracked, or adaptive).
    """

    x: Array
    log_density: Array | None
    standard_error: Array | None
    degrees_of_freedom: Array | None
    solver_error: Array | None
    total_error: Array | None
    tracked: Array | None
    tracked_error: Array | None
    unmet: Array
    evaluations: Array
    tangents: Array
    status: Array
    noise_level: Array
    path: Array | None


@verb
def latent(flow: Flow, key: Array) -> Array:
    """One latent x_T from the flow's prior."""
    require_flow(flow, "latent")
    random_key(key, "latent needs a key: pass jax.random.key(...)")
    return flow.prior.sample(key)


@verb
def sample(
    flow: Flow,
    latent: Array,
    *,
    guidance: Guidance | None = None,
    noise: Noise | None = None,
    divergence: Trace | Auto | None = "auto",
    tracking: Trace | Auto | None = "auto",
    steering: Trace | Auto = "auto",
    measure: bool = True,
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
) -> Sample:
    """Decode one latent, with log p under the guidance's control.

    Solves ``dx/dt = u + c s / |s|^2`` (Karczewski et al., ICML 2025), and with ``noise`` the
    projected SDE of `densityguide.noise`, while tracking log p of the base flow:
    ``d log p/dt = -div u + c``. What was steered or noised is then encoded, and ``log_density`` is
    the flow's own: no score enters it.

    Args:
        latent: one x_T of the flow's shape, from `latent`; use ``jax.vmap`` for many.
        guidance: e.g. ``quantile(0.7)`` or ``target(3100.0)``; None is the plain flow.
        noise: e.g. ``noise.band(-3, 9, 0.3)``.
        divergence: the trace that reports log p; "auto" is exact up to D = 256, else none.
            The sample does not depend on it.
        tracking: the trace of what is tracked while steering; "auto" is that of ``divergence``.
            None tracks nothing, which is cheaper, and DISAGREES is then not looked for. The plain
            flow has nothing to track beside its log p.
        steering: the trace of a guidance that needs one, or of Ito noise; "auto" is exact up to
            D = 256, and ``orthogonal(2)`` above. Others take none.
        measure: False leaves the encoding out: then only ``tracked`` is there.
        key: needed by estimated traces and by noise.
        tolerance: the widest ``total_error`` in nats that will do: 8, 16, 32, ... steps are taken
            until it fits, as in `densityguide.log_density`. Not with noise, whose path it changes.
        steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint: of the solve, see
            `densityguide.solve.plan`; the encoding takes the same grid or tolerances. On a fixed
            grid the default solver is `Adams`, one evaluation a step: of order 4, of order 3 for
            guidance that takes a trace, and of order 2 where up to 256 dimensions are guided.
        correction: of `densityguide.fit_correction`: ``log_density`` is measured by encoding x in
            the few steps that it corrects. Samples of the plain flow then track nothing on the way,
            which is cheaper; guided ones are of another kind, so fit it to some of them (``x=``).

    Raises:
        ValueError: guidance on a flow without the score, path, calibration or trace it needs;
            a missing key; a latent of another shape; options that contradict each other.
    """
    choices = Choices(steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint)
    asked = plan(flow, latent, guidance, noise, divergence, tracking, steering, key)
    require(
        measure or tracking is not None,
        "measure=False and tracking=None leave no log p: keep one, or pass divergence=None",
    )
    if correction is not None:
        require(
            measure and asked.divergence is not None and tolerance is None,
            "correction= is of measured log p: pass divergence=, no tolerance= or measure=False",
        )
    if tolerance is None:
        return _sampled(asked, flow, guidance, noise, measure, choices, correction)
    require(
        measure and asked.divergence is not None and noise is None,
        "tolerance= is of measured log p, without noise: pass divergence=, and no measure=False",
    )
    return solving.within(
        tolerance,
        choices,
        (flow, latent, guidance, key),
        lambda choices: _sampled(asked, flow, guidance, noise, measure, choices),
        lambda out: out.total_error,
    )


def _sampled(
    asked: _Asked,
    flow: Flow,
    guidance: Guidance | None,
    noise: Noise | None,
    measure: bool,
    choices: Choices,
    correction: Correction | None = None,
) -> Sample:
    report, plain = asked.divergence if measure else None, guidance is None and noise is None
    # An SDE's grid serves the encoding, its solver does not.
    ode = choices if noise is None else choices._replace(solver=None)
    if correction is not None:
        ode = corrections.choices_of(correction, flow, Choices(), None)
        if plain:  # nothing is tracked that will be measured
            asked = asked._replace(traces=asked.traces._replace(report=None))
    decoded = asked.run(flow, guidance, noise, choices)
    if plain and correction is None:
        return of_flow(flow, decoded)
    found = None
    if report is not None:
        found = encode(flow, decoded.x, report, asked.key_measure, ode, correction)
    return measured(flow, decoded, found, guidance)


def draw(flow: Flow, key: Array, **options: Any) -> Sample:
    """A latent of the prior, decoded by `sample` with these options: one key serves both."""
    key_latent, key_solve = jax.random.split(key)
    return sample(flow, latent(flow, key_latent), key=key_solve, **options)


class _Asked(NamedTuple):
    """A request that has passed its checks."""

    x: Array
    divergence: Trace | None
    traces: Traces
    key_solve: Array | None
    key_measure: Array | None

    def run(
        self, flow: Flow, guidance: Guidance | None, noise: Noise | None, choices: Choices
    ) -> Decoded:
        feedback = guidance is not None and guidance.needs.trace
        method, numbers = solving.plan(
            flow,
            noise_form=calculus_of(noise),
            feedback=feedback,
            guided=guidance is not None,
            **choices._asdict(),
        )
        return decode(method, self.traces, flow, self.x, guidance, noise, self.key_solve, numbers)


def plan(
    flow: Flow,
    latent: Array,
    guidance: Guidance | None,
    noise: Noise | None,
    divergence: Trace | Auto | None,
    tracking: Trace | Auto | None,
    steering: Trace | Auto,
    key: Array | None,
) -> _Asked:
    """The request of `sample`, checked."""
    require_flow(flow, "sample")
    x = state(latent, flow.shape, "latent")
    if guidance is not None:
        check_guidance(guidance, flow)
    if noise is not None:
        check_noise(flow, noise, key)
    report = streams.reporting(flow, divergence, key)
    tracked = report
    if tracking != "auto":
        tracked = streams.reporting(flow, tracking, key, "tracking")
    if guidance is None and noise is None:
        tracked = report
    steer = streams.steering(flow, steering, key, purpose_of(guidance, noise))
    keys = (None, None) if key is None else jax.random.split(key)
    return _Asked(x, report, Traces(tracked, steer), *keys)


def of_flow(flow: Flow, decoded: Decoded) -> Sample:
    """A sample of the plain flow, whose tracked log p is its own."""
    return _sample(flow, decoded, decoded.tracked, decoded.bar)


def measured(
    flow: Flow, decoded: Decoded, found: LogDensity | None, guidance: Guidance | None = None
) -> Sample:
    """A steered sample, with the log p found by encoding it."""
    outside = beyond(guidance, flow)
    if outside is not None:
        more = jnp.where(outside, int(Status.BEYOND), 0)
        decoded = decoded._replace(status=decoded.status | more)
    if found is None:
        return _sample(flow, decoded, None, None)
    lost = failed(decoded.status)  # then x is the last finite state, and its log p of no use
    value, bar = jax.tree.map(lambda a: jnp.where(lost, jnp.nan, a), (found.value, found.bar))
    out = _sample(flow, decoded, value, bar)
    status = decoded.status | found.status
    if decoded.tracked is not None and decoded.bar is not None:
        allowed = jnp.hypot(found.total_error, decoded.bar.total_error)
        allowed += nats(flow, AGREEMENT)
        differs = jnp.abs(found.value - decoded.tracked) > allowed
        status |= jnp.where(differs, int(Status.DISAGREES), 0)
    return out._replace(
        evaluations=decoded.evaluations + found.evaluations,
        tangents=decoded.tangents + found.tangents,
        status=status,
    )


def _sample(
    flow: Flow, decoded: Decoded, log_density: Array | None, bar: ErrorBar | None
) -> Sample:
    return Sample(
        x=decoded.x,
        log_density=log_density,
        standard_error=None if bar is None else bar.standard_error,
        degrees_of_freedom=None if bar is None else bar.degrees_of_freedom,
        solver_error=None if bar is None else bar.solver_error,
        total_error=None if bar is None else bar.total_error,
        tracked=decoded.tracked,
        tracked_error=None if decoded.bar is None else decoded.bar.total_error,
        unmet=decoded.unmet,
        evaluations=decoded.evaluations,
        tangents=decoded.tangents,
        status=decoded.status,
        noise_level=flow.noise_level(),
        path=decoded.path,
    )
