"""Landing: find the sample of a family whose own log p is the one asked for.

A guidance aims with the score, and a learned score is not the gradient of the flow's own log p, so
what it tracks and what encoding finds differ. Landing does not rely on the score: each candidate is
decoded and encoded again, and the family's parameter moves until the encoded log p is the target.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide.checks import concrete, count, require, scalar, state, verb
from densityguide.density import streams
from densityguide.density.bits import nats
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow import spaces
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import Adjoint, Choices, Grid
from densityguide.steer import along as families
from densityguide.steer import rules
from densityguide.steer import sample as sampling
from densityguide.steer.field import Traces
from densityguide.steer.guidance import check
from densityguide.steer.landing import Keys, Landing, Solves, landed
from densityguide.steer.needs import calculus_of, check_noise, purpose_of
from densityguide.steer.noise import Noise

__all__ = ["draw", "land", "match_log_density", "solves_of", "tolerance_of"]


@verb
def land(
    flow: Flow,
    latent: Array,
    target: ArrayLike,
    *,
    along: Any = None,
    noise: Noise | None = None,
    tolerance: ArrayLike | None = None,
    iterations: int = 12,
    divergence: Trace | Auto = "auto",
    steering: Trace | Auto = "auto",
    key: Array | None = None,
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    log_density_atol: ArrayLike | None = None,
    max_steps: int | None = None,
    adjoint: Adjoint = "reverse",
) -> Landing:
    """The sample of a one-parameter family with ``log p(x(a)) = target``, log p being the flow's
    own (change of variables; no score enters it).

    Each iteration decodes a candidate and encodes it, with the same latent, noise and probes, so
    that the gap is a function of ``a`` alone. The search takes secant steps in a bracket (see
    `densityguide.steer.search`). Along `along.scale` and `along.direction` the flow stays plain and
    log p comes with the decoding: one solve an iteration. Differentiable with respect to weights,
    latent and target by the implicit function theorem, ``da = (d target - dF) / F'(a)``: on fixed
    grids in both modes; with tolerances in forward mode alone, and ``adjoint="forward"``. Where
    there is no root, the parameter has no derivative and is held.

    Args:
        target: nats of the reported sample x / alpha.
        along: a constructor of guidance (``target``, ``budget``, ``quantile``, ``calibrated``,
            ``pinned``) or a family of `densityguide.along`; by default ``target``, and
            ``along.scale()`` for a flow without a score.
        noise: of the decoding; the key fixes its path.
        tolerance: nats; by default 1e-7 in float64 and 2e-4 bits/dim in float32, or eight times
            the rounding of the target where that is more.
        iterations: at most, scanned places not counted.
        divergence: the trace of the encoding; "auto" is exact up to D = 256.
        steering: of a guidance that needs a trace; as of `sample`.
        key: needed by estimated traces and by noise.
        steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint: of each solve, see
            `densityguide.solve.plan`.

    Raises:
        ValueError: what `sample` would raise, a target that is not finite, a tolerance that is not
            positive, no trace above D = 256.
    """
    require_flow(flow, "land")
    x = state(latent, flow.shape, "latent")
    known = concrete(target)
    require(
        known is None or bool(np.isfinite(known).all()), f"target must be finite nats, got {target}"
    )
    goal, near = scalar(target, "target").astype(x.dtype), tolerance_of(flow, x, tolerance)
    if tolerance is None:  # nearer than rounding nothing comes
        rounding = 8.0 * jnp.finfo(x.dtype).eps * jnp.abs(goal)
        near = jnp.where(jnp.isfinite(goal), jnp.maximum(near, rounding), near)
    if along is None:
        along = rules.target if flow.has_score else families.scale()
    family = families.of(along)
    if jax.tree.leaves(family.params):
        state(family.params, flow.shape, "direction")
    choices = Choices(steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint)
    solves = solves_of(flow, goal, family, noise, divergence, steering, key, choices)
    keys = Keys(*((None,) * 3 if key is None else tuple(jax.random.split(key, 3))))
    limit = count(iterations, 1, "iterations")
    return landed(solves, limit, family, flow, x, goal, noise, keys, near)


def draw(flow: Flow, key: Array, target: ArrayLike, **options: Any) -> Landing:
    """A latent of the prior, landed by `land` with these options; its latent is that of
    `sample.draw` under the same key."""
    key_latent, key_solve = jax.random.split(key)
    return land(flow, sampling.latent(flow, key_latent), target, key=key_solve, **options)


@verb
def match_log_density(
    flow: Flow,
    latent: Array,
    target: ArrayLike,
    *,
    scales: tuple[ArrayLike, ArrayLike] = (0.5, 2.0),
    scan: int = 17,
    tolerance: ArrayLike | None = None,
    iterations: int = 12,
    divergence: Trace | Auto = "auto",
    key: Array | None = None,
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    log_density_atol: ArrayLike | None = None,
    max_steps: int | None = None,
    adjoint: Adjoint = "reverse",
) -> Landing:
    """`land` by prior guidance: ``land(..., along=along.scale(*scales, scan=scan))``, for any flow,
    no score needed. The scale is the result's ``parameter``.

    Raises:
        ValueError: what `land` and `along.scale` would raise.
    """
    require(len(scales) == 2, f"scales must be a pair (low, high), got {scales}")
    return land(
        flow,
        latent,
        target,
        along=families.scale(*scales, scan=scan),
        tolerance=tolerance,
        iterations=iterations,
        divergence=divergence,
        key=key,
        steps=steps,
        grid=grid,
        solver=solver,
        rtol=rtol,
        atol=atol,
        log_density_atol=log_density_atol,
        max_steps=max_steps,
        adjoint=adjoint,
    )


def tolerance_of(flow: Flow, x: Array, tolerance: ArrayLike | None) -> Array:
    """How near a landing has to come, in nats: as given, or by default."""
    if tolerance is None:
        exact = x.dtype == jnp.float64
        return jnp.asarray(1e-7 if exact else nats(flow, 2e-4), x.dtype)
    known = concrete(tolerance)
    require(known is None or bool(known > 0), f"tolerance must be positive nats, got {tolerance}")
    return scalar(tolerance, "tolerance").astype(x.dtype)


def solves_of(
    flow: Flow,
    goal: Array,
    family: families.Along,
    noise: Noise | None,
    divergence: Trace | Auto,
    steering: Trace | Auto,
    key: Array | None,
    choices: Choices,
) -> Solves:
    """Both solves of an iteration, planned, and everything checked that can be."""
    report = streams.required(flow, divergence, key, "landing")
    if family.guide is None:
        spaces.require_linear(flow.space, "moving a latent needs straight lines")
    guidance = None
    if family.guide is not None:
        guidance = family.guide(family.chart(family.start(flow, goal)))
    if guidance is not None:
        check(guidance, flow)
    if noise is not None:
        check_noise(flow, noise, key)
    steer = streams.steering(flow, steering, key, purpose_of(guidance, noise))
    plain = guidance is None and noise is None
    feedback = guidance is not None and guidance.needs.trace
    decoding = solving.plan(
        flow,
        noise_form=calculus_of(noise),
        feedback=feedback,
        guided=guidance is not None,
        **choices._asdict(),
    )
    ode = choices if noise is None else choices._replace(solver=None)
    encoding = solving.plan(flow, guided=False, **ode._asdict())
    return Solves(Traces(report if plain else None, steer), report, *decoding, *encoding)
