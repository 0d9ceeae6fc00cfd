"""Sampling with log-density under control: ``latent`` and ``sample``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import guidance as guiding
from densityguide import natural, tracking
from densityguide import polish as polishing
from densityguide import solve as solving
from densityguide.divergence import Trace
from densityguide.errors import count, present, random_key, require, state
from densityguide.flows import Flow, require_flow
from densityguide.guidance import Guidance
from densityguide.guided import KINDS, Guided, State
from densityguide.natural import Spent
from densityguide.noise import Noise
from densityguide.solve import Method, Numbers, Status
from densityguide.tracking import Auto

__all__ = ["Sample", "decode", "draw", "latent", "sample"]

UNMET_TOLERANCE = 1e-3  # nats below which a limited correction is not worth a status


class Sample(NamedTuple):
    """A sample and its evidence.

    ``x`` is the state divided by alpha at the data end; ``log_density`` its log p in nats at
    noise level ``noise_level`` = sigma / alpha (0 for a flow without a path), with the
    ``standard_error`` of its trace estimate and the degrees of freedom of that (Student's t);
    all None if no trace was taken. ``unmet`` is the
    integral of (requested - applied) excess in nats; ``evaluations`` and ``tangents`` are the
    network's forward passes and the tangents pushed through them; ``status`` holds
    ``densityguide.Status`` bits. ``path`` is log p of the state at each knot of a fixed grid
    [n + 1] (None if not tracked, or adaptive). With ``polish=``: ``consistency``, log p found by
    encoding the guided sample minus the tracked one (what the score's error cost), and ``moved``,
    root mean square displacement by the closing correction; then ``log_density`` is the encoded
    one.
    """

    x: Array
    log_density: Array | None
    standard_error: Array | None
    degrees_of_freedom: Array | None
    unmet: Array
    evaluations: Array
    tangents: Array
    status: Array
    noise_level: Array
    path: Array | None
    consistency: Array | None = None
    moved: Array | None = None


def latent(flow: Flow, key: Array) -> Array:
    """One latent x_T from the flow's prior."""
    require_flow(flow, "latent")
    random_key(key, "latent needs a key: pass jax.random.key(...)")
    return flow.prior.sample(key)


def draw(flow: Flow, key: Array, **options: Any) -> Sample:
    """A latent of the prior, decoded by `sample` with these options: one key serves both."""
    key_latent, key_solve = jax.random.split(key)
    return sample(flow, latent(flow, key_latent), key=key_solve, **options)


def sample(
    flow: Flow,
    latent: Array,
    *,
    guidance: Guidance | None = None,
    noise: Noise | None = None,
    divergence: Trace | Auto | None = "auto",
    key: Array | None = None,
    polish: int | None = None,
    **options: Any,
) -> Sample:
    """Decode one latent, with log p under the guidance's control.

    Solves ``dx/dt = u + c s / |s|^2`` (Karczewski et al., ICML 2025), and with ``noise`` the
    projected SDE of ``densityguide.noise``, while tracking log p of the base flow:
    ``d log p/dt = -div u + c``.

    Args:
        latent: one x_T of the flow's shape, from `latent`; use ``jax.vmap`` for many.
        guidance: e.g. ``quantile(0.7)`` or ``target(3100.0)``; None is the plain flow.
        noise: e.g. ``noise.band(-3, 9, 0.3)``.
        divergence: trace for tracking and steering; "auto" is exact up to D = 256, else none.
        key: needed by estimated traces and by noise.
        polish: None, or the number of closing corrections: the sample is encoded again by
            `log_density` and moved along its score until that log p is the target's (or the
            tracked one), never further from it; 0 only measures. Each costs one solve.
        **options: of the solve, see ``densityguide.solve.plan``: ``steps=``, ``grid=``,
            ``solver=``, or ``rtol=``, ``atol=``. On a fixed grid the default solver is
            ``Adams()``, one evaluation a step, and ``Adams(2)`` in up to 256 dimensions or for
            guidance that takes a trace.

    Raises:
        ValueError: guidance on a flow without the score, path, calibration or trace it needs;
            a missing key; a latent of another shape; options that contradict each other.
    """
    require_flow(flow, "sample")
    x = state(latent, flow.shape, "latent")
    if guidance is not None:
        guiding.check(guidance, flow)
    form = None if noise is None else _check_noise(flow, noise, key)
    purpose = _purpose(guidance, noise)
    trace = tracking.choose(flow, divergence, key, purpose)
    calculus = None if form is None else "stratonovich" if form == "stratonovich" else "ito"
    method, numbers = solving.plan(
        flow,
        noise_form=calculus,
        feedback=guidance is not None and "trace" in guidance.needs,
        **options,
    )
    if polish is None:
        return decode(method, trace, flow, x, guidance, noise, key, numbers)
    polish = count(polish, 0, "polish")
    require(trace is not None, "polish needs a trace: pass divergence=exact() or orthogonal(2)")
    require(
        polish == 0 or flow.has_score,
        "polish moves along the score and this flow has none: pass 0 to measure only",
    )
    # The sample itself must not depend on whether it is polished.
    key_polish = None if key is None else jax.random.fold_in(key, 1)
    out = decode(method, trace, flow, x, guidance, noise, key, numbers)
    aimed = guidance is not None and guidance.name == "target"
    goal = present(guidance).params[0] if aimed else present(out.log_density)
    ode = {"solver": method.solver if form is None else None}
    closed = polishing.polish(
        flow,
        out.x,
        goal,
        iterations=polish,
        divergence=present(trace),
        key=key_polish,
        **options | ode,
    )
    return out._replace(
        x=closed.x,
        log_density=closed.log_density,
        standard_error=closed.standard_error,
        degrees_of_freedom=closed.degrees_of_freedom,
        evaluations=out.evaluations + closed.evaluations,
        tangents=out.tangents + closed.tangents,
        consistency=closed.before - present(out.log_density),
        moved=closed.moved,
        status=out.status | closed.status,
    )


def _check_noise(flow: Flow, noise: Noise, key: Array | None) -> str:
    require(isinstance(noise, Noise), f"noise must be noise.constant or noise.band, got {noise!r}")
    require(flow.has_score, "noise needs a score to stay orthogonal to: pass score= to cnf")
    random_key(key, "noise needs key=: pass jax.random.key(...)")
    return noise.form


def _purpose(guidance: Guidance | None, noise: Noise | None) -> str | None:
    if guidance is not None and "trace" in guidance.needs:
        return f"{guidance.name} guidance"
    if noise is not None and noise.form in ("ito", "ito_published"):
        return f"the {noise.form} form of noise"
    return None


@partial(jax.jit, static_argnames=("method", "trace"))
def decode(
    method: Method,
    trace: Trace | None,
    flow: Flow,
    x: Array,
    guidance: Guidance | None,
    noise: Noise | None,
    key: Array | None,
    numbers: Numbers,
) -> Sample:
    """`sample` after its checks, compiled once for each ``method``, ``trace`` and structure."""
    keys = (None, None, None) if key is None else jax.random.split(key, 3)
    start = flow.prior.log_prob(x)
    offset = tracking.log_alpha_offset(flow)
    status = jnp.zeros((), jnp.int32)
    extra = Spent.none()
    if guidance is not None:
        fine = guiding.valid(guidance, flow)
        status = jnp.where(fine, 0, int(Status.INVALID)).astype(jnp.int32)
        if guidance.prepare is not None:
            profile, extra = natural.profile(
                method, present(trace), flow, x, numbers, keys[2], start, offset
            )
            params = guidance.prepare(guidance.params, profile)
            guidance = _replace(guidance, params)
    if noise is not None:
        status |= jnp.where(jnp.all(noise.values >= 0), 0, int(Status.INVALID))
    steered = _purpose(guidance, noise) is not None
    field = Guided(flow, guidance, noise, trace, solving.ends(numbers))
    replicates = 0 if trace is None else trace.probes
    y0 = State(x, jnp.broadcast_to(start, (replicates,)), start, jnp.zeros_like(start))
    rates: Callable[..., State] = field.rates if noise is None else field.increment
    solved = solving.solve(
        method,
        numbers,
        rates,
        y0,
        draw=tracking.drawer(trace, method, keys[0], x, steer=steered),
        brownian=None if noise is None else (present(keys[1]), x.shape),
        watch=lambda y: y.log_density,
        kinds=KINDS,
        path=flow.path,
    )
    spent = extra.plus(solved.evaluations, field.tangents(steered))
    status = status | solved.status
    unmet = solved.y.unmet
    status |= jnp.where(jnp.abs(unmet) > UNMET_TOLERANCE, int(Status.UNMET), 0)
    failed = solved.status != 0
    log_density = error = degrees = path = None
    if trace is not None:
        log_density = jnp.where(failed, jnp.nan, jnp.mean(solved.y.log_density) + offset)
        error, degrees = tracking.pooled_error(
            trace, method, x.shape, solved.moves, solved.y.log_density
        )
        error = jnp.where(failed, jnp.nan, error)
        path = None if solved.path is None else jnp.mean(solved.path, axis=1)
    scale = flow.end_scale()
    return Sample(
        x=(solved.y.x / scale).astype(x.dtype),
        log_density=log_density,
        standard_error=error,
        degrees_of_freedom=degrees,
        unmet=unmet,
        evaluations=spent.evaluations,
        tangents=spent.tangents,
        status=status,
        noise_level=tracking.noise_level(flow),
        path=path,
    )


def _replace(guidance: Guidance, params: Any) -> Guidance:
    return Guidance(params, guidance.cap, guidance.rate, guidance.needs, None, guidance.name)
