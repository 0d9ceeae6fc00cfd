"""Energy and length of a curve, with what shows how far to trust them."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import count
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow
from densityguide.solve import Status
from densityguide.spacetime import evaluate, kinks, reference
from densityguide.spacetime.chords import log_density_change, polygon, trace_weights
from densityguide.spacetime.evaluate import Along
from densityguide.spacetime.family import matmuls
from densityguide.spacetime.point import Point, check_flow, check_point, inside

__all__ = ["Energy", "curve_energy", "measure"]

SIGNIFICANT = 4.0  # standard errors below 0 at which a chord is called negative
ROUNDING = 1e-3  # of the mean chord, below which a sign says nothing


class Energy(NamedTuple):
    """A polygon of n chords in spacetime.

    ``bound`` = sqrt(2 energy) is an upper bound of the distance of its ends for every n (for the
    flow's exact denoising distributions), with the ``standard_error`` and ``degrees_of_freedom``
    of its trace estimates (0 and inf when exact). ``energy`` = n / 2 sum of ``chords`` [n], which
    are Jeffreys divergences; ``length`` = sum of their roots, biased by probes where ``bound`` is
    not; ``speed`` = 2 energy / length^2, 1 at constant speed.

    ``log_density_change`` [n + 1] is that of log p(y) in nats from the first point;
    ``log_density`` the same from the flow's own log p there, and ``closure`` the change from end
    to end less that of the flow's own log p, with ``closure_error``: all three None unless a
    closed form or ``closure_steps`` gave them. ``negative`` chords: no posterior has one.
    ``lowest`` log-SNR; ``evaluations``, ``tangents``, ``status`` (NEGATIVE where chords are
    negative beyond the noise of probes).
    """

    bound: Array
    standard_error: Array
    degrees_of_freedom: Array
    energy: Array
    length: Array
    speed: Array
    chords: Array
    negative: Array
    log_density_change: Array
    log_density: Array | None
    closure: Array | None
    closure_error: Array | None
    lowest: Array
    evaluations: Array
    tangents: Array
    status: Array


def curve_energy(
    flow: Flow,
    curve: Point,
    *,
    divergence: Trace | Auto = "auto",
    ends: Trace | None = None,
    closure_steps: int | None = None,
    key: Array | None = None,
) -> Energy:
    """Energy of a curve of denoising distributions from chords: no ODE is solved for it.

    ``E_n = (n / 2) sum_i J_i``, ``J_i = d eta_i . d mu_i`` [ST, Prop. 5.1]. Each chord bounds its
    own distance, ``d_i <= sqrt(J_i)``, so ``d <= sum sqrt(J_i) <= sqrt(2 E_n)`` for any points.

    Args:
        curve: points ``y`` [n + 1, *shape] and ``log_snr`` [n + 1], e.g. ``geodesic(...).curve``.
        divergence: trace inside the curve; "auto" is exact up to D = 256.
        ends: trace at the two ends, whose noise does not average: by default exact where the
            other is, else as many probes at each as on all points inside.
        closure_steps: steps of two ODE solves for log p of the ends; None takes none.
        key: needed by estimated traces.

    Raises:
        ValueError: a flow without a path or with a classifier-free mixture, a curve of another
            shape or out of the flow's range, no trace above D = 256, an estimator without a key.
    """
    verb = "spacetime.curve_energy"
    check_flow(flow, verb)
    points = check_point(flow, curve, verb, curve=True)
    trace, at_ends = evaluate.choose(flow, divergence, ends, key, points.y.shape[0] - 1, verb)
    if closure_steps is not None:
        closure_steps = count(closure_steps, 1, "closure_steps")
    return _curve_energy(trace, at_ends, closure_steps, flow, points, key)


@partial(jax.jit, static_argnames=("trace", "at_ends", "steps"))
def _curve_energy(
    trace: Trace, at_ends: Trace, steps: int | None, flow: Flow, points: Point, key: Array | None
) -> Energy:
    kinks.warn(flow)
    keys = [None] * 3 if key is None else list(jax.random.split(key, 3))
    first, last = (jax.tree.map(lambda a, i=i: a[i], points) for i in (0, -1))
    inner = jax.tree.map(lambda a: a[1:-1], points)
    with matmuls():
        found = evaluate.along(
            evaluate.end_moments(flow, first, last, at_ends, keys[0]),
            evaluate.inner_moments(flow, inner, trace, keys[1]),
        )
        return measure(flow, points, found, trace, at_ends, steps, keys[2])


def measure(
    flow: Flow,
    points: Point,
    found: Along,
    trace: Trace,
    at_ends: Trace,
    steps: int | None,
    key: Array | None,
) -> Energy:
    """`Energy` of a curve whose moments are there."""
    segments = points.y.shape[0] - 1
    chords = polygon(points, found.mean, found.noise)
    energy = 0.5 * segments * jnp.sum(chords.jeffreys)
    length = jnp.sum(jnp.sqrt(jnp.maximum(chords.jeffreys, 0.0)))
    to_energy, to_log_density = trace_weights(points.log_snr)
    bar = evaluate.error_bar(to_energy, found, trace, at_ends, flow.shape)
    bound = jnp.sqrt(2.0 * energy)
    change = log_density_change(points, found.mean, found.noise)
    spread = evaluate.error_bar(to_log_density, found, trace, at_ends, flow.shape).standard_error
    closed = _closure(flow, points, change, spread, trace, steps, key)
    status = jnp.where(inside(flow, points), 0, int(Status.INVALID)).astype(jnp.int32)
    status |= jnp.where(jnp.isfinite(energy), 0, int(Status.NON_FINITE))
    least = _least_chord(points, found, trace, at_ends, chords.jeffreys)
    status |= jnp.where(jnp.any(least < 0), int(Status.NEGATIVE), 0)
    pushed = (segments - 1) * trace.tangents(flow.size) + 2 * at_ends.tangents(flow.size)
    return Energy(
        bound=bound,
        standard_error=bar.standard_error / bound,
        degrees_of_freedom=bar.degrees_of_freedom,
        energy=energy,
        length=length,
        speed=2.0 * energy / length**2,
        chords=chords.jeffreys,
        negative=jnp.sum(chords.jeffreys < 0),
        log_density_change=change,
        log_density=closed["log_density"],
        closure=closed["closure"],
        closure_error=closed["closure_error"],
        lowest=jnp.min(points.log_snr),
        evaluations=segments + 1 + closed["evaluations"],
        tangents=pushed + closed["tangents"],
        status=status | closed["status"],
    )


def _closure(
    flow: Flow,
    points: Point,
    change: Array,
    spread: Array,
    trace: Trace,
    steps: int | None,
    key: Array | None,
) -> dict[str, Any]:
    """The flow's own log p at both ends, against the change along the curve."""
    none = jnp.zeros((), jnp.int32)
    if flow.density is None and steps is None:
        absent = dict.fromkeys(("log_density", "closure", "closure_error"))
        return absent | {"evaluations": none, "tangents": none, "status": none}
    keys = (None, None) if key is None else tuple(jax.random.split(key))
    first, last = (
        reference.log_density_at(
            flow, jax.tree.map(lambda a, i=i: a[i], points), trace, k, steps or 1
        )
        for i, k in zip((0, -1), keys, strict=True)
    )
    errors = spread**2 + first.standard_error**2 + last.standard_error**2
    return {
        "log_density": first.value + change,
        "closure": change[-1] - (last.value - first.value),
        "closure_error": jnp.sqrt(errors),
        "evaluations": first.evaluations + last.evaluations,
        "tangents": first.tangents + last.tangents,
        "status": first.status | last.status,
    }


def _least_chord(
    points: Point, found: Along, trace: Trace, at_ends: Trace, jeffreys: Array
) -> Array:
    """Every chord plus what probes and rounding may have taken from it: below 0 it is negative."""
    level = points.log_snr
    variance = jnp.zeros_like(level)  # of tr Cov(eps) at each point
    if not trace.is_exact and found.inner.shape[0]:
        # One value for all: each point alone has too few replicates to tell.
        pooled = jnp.mean(jnp.var(found.inner, axis=1, ddof=1)) / trace.probes
        variance = variance.at[1:-1].set(pooled)
    if not at_ends.is_exact:
        at = jnp.var(found.ends, axis=1, ddof=1) / at_ends.probes
        variance = variance.at[jnp.asarray([0, -1])].set(at)
    each = variance * jnp.exp(-2.0 * level)
    noise = 0.5 * jnp.abs(jnp.diff(jnp.exp(level))) * jnp.sqrt(each[1:] + each[:-1])
    return jeffreys + SIGNIFICANT * noise + ROUNDING * jnp.mean(jnp.abs(jeffreys))
