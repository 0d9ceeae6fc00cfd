"""Short curves between denoising distributions, and with them bounds of their distance."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from densityguide.checks import count
from densityguide.density import streams
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow
from densityguide.solve import Status
from densityguide.spacetime import basis, constraints, evaluate, hyperbolic, kinks
from densityguide.spacetime.basis import Span
from densityguide.spacetime.chords import log_density_change, polygon
from densityguide.spacetime.constraints import Constraint, Landmark
from densityguide.spacetime.descent import minimise
from densityguide.spacetime.energy import Energy, measure
from densityguide.spacetime.evaluate import Along
from densityguide.spacetime.family import Moments, matmuls
from densityguide.spacetime.point import Point, check_pair, check_point

__all__ = ["Geodesic", "arc", "geodesic"]

MISSED = 0.1  # nats by which a constraint may be missed without a status


class Geodesic(NamedTuple):
    """``curve``: the points [n + 1] of the shortest polygon found. ``bound`` is an upper bound of
    the distance (for the flow's exact denoising distributions); all other fields as of `Energy`,
    measured by probes that did not steer.

    ``start_energy`` of the hyperbolic arc by the probes that steered (infinite if they see a
    negative chord there: then the arc is returned); ``gradients`` taken and ``moved``, how many of
    their steps were; ``unmet``, the largest miss of the constraint in nats
    (0 without one)."""

    curve: Point
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
    start_energy: Array
    gradients: Array
    moved: Array
    unmet: Array
    evaluations: Array
    tangents: Array
    status: Array


def arc(flow: Flow, a: Point, b: Point, *, segments: int = 16) -> Point:
    """The geodesic of hyperbolic space [n + 1 points], from which `geodesic` starts: right where
    denoising distributions are N(y, tau^2 I), as at low noise. No evaluation.

    Raises:
        ValueError: points that are equal, of another shape or out of range, segments < 1.
    """
    verb = "spacetime.arc"
    a, b = check_pair(flow, a, b, verb)
    segments = count(segments, 1, "segments")
    shares, levels = hyperbolic.arc(a, b, segments)
    y = a.y + shares.reshape((-1,) + (1,) * a.y.ndim) * (b.y - a.y)
    y = y.at[-1].set(b.y)  # as given, not as rounded
    return Point(y, jnp.clip(levels, *(end.astype(levels.dtype) for end in flow.interval)))


def geodesic(
    flow: Flow,
    a: Point,
    b: Point,
    *,
    segments: int = 16,
    span: Span = "plane",
    iterations: int = 12,
    constraint: Constraint | None = None,
    divergence: Trace | Auto = "auto",
    ends: Trace | None = None,
    steer: Trace | None = None,
    closure_steps: int | None = None,
    key: Array | None = None,
) -> Geodesic:
    """A short curve between two points and with it an upper bound of their distance.

    Minimises the energy of `spacetime.curve_energy` by L-BFGS on a sine basis, from the
    hyperbolic arc. On a learned network the energy has no lower bound (its chords are no
    posterior's): no step is taken to a negative chord, and the default span leaves two unknowns a
    point.

    Args:
        segments: chords of the polygon; the bound falls towards the curve's length as 1 / n^2.
        span: "plane" keeps y on the line through the ends, "free" does not.
        iterations: steps of the descent; each costs segments - 1 evaluations and their gradient.
        constraint: ``spacetime.hold()``, ``schedule``, ``avoid`` or ``near``.
        divergence, ends, closure_steps, key: as of `spacetime.curve_energy`. With an estimated
            trace one stream steers (the same probes at all points) and another reports, so that the
            bound is not flattered.
        steer: trace of the descent where it is to be another than ``divergence``: a few probes
            steer nearly as well as an exact trace, at a fraction of its cost.

    Raises:
        ValueError: a flow without a path or with a classifier-free mixture, one point given twice,
            points of another shape or out of range, segments < 1, another span, no trace above
            D = 256, an estimator without a key.
    """
    verb = "geodesic"
    a, b = check_pair(flow, a, b, verb)
    segments, iterations = count(segments, 1, "segments"), count(iterations, 0, "iterations")
    basis.check_span(span)
    constraints.check(constraint)
    if constraint is not None and constraint.at is not None:
        check_point(flow, constraint.at, "a constraint")
    trace, at_ends = evaluate.choose(flow, divergence, ends, key, segments, verb)
    if closure_steps is not None:
        closure_steps = count(closure_steps, 1, "closure_steps")
    if steer is not None:
        streams.required(flow, steer, key, verb)
    steps = iterations if segments > 1 else 0
    plan = _Plan(segments, span, steps, trace, at_ends, steer or trace, closure_steps)
    return _geodesic(plan, flow, a, b, constraint, key)


class _Plan(NamedTuple):
    """All that is static."""

    segments: int
    span: Span
    iterations: int
    trace: Trace
    at_ends: Trace
    steer: Trace
    closure_steps: int | None


class _Problem(NamedTuple):
    """What a curve of inner points is worth."""

    plan: _Plan
    flow: Flow
    a: Point
    b: Point
    constraint: Constraint | None
    landmark: Landmark | None

    def whole(self, inner: Point) -> Point:
        """With its ends [n + 1]."""

        def join(first: Array, middle: Array, last: Array) -> Array:
            return jnp.concatenate([first[None], middle, last[None]])

        return jax.tree.map(join, self.a, inner, self.b)

    def ends(self, key: Array | None) -> Moments:
        """Moments of the two ends."""
        return evaluate.end_moments(self.flow, self.a, self.b, self.plan.at_ends, key)

    def found(self, inner: Point, ends: Moments, trace: Trace, key: Array | None) -> Along:
        """Moments of the whole curve."""
        return evaluate.along(ends, evaluate.inner_moments(self.flow, inner, trace, key))

    def missed(self, points: Point, found: Along) -> Array:
        """Nats by which each point misses the constraint [n + 1]."""
        if self.constraint is None:
            return jnp.zeros_like(points.log_snr)
        change = log_density_change(points, found.mean, found.noise)
        return self.constraint.gap(self.constraint.params, self.landmark, points, change)

    def objective(self, inner: Point, ends: Moments, key: Array | None) -> Array:
        """Energy and penalty, by the probes that steer."""
        points = self.whole(inner)
        moments = evaluate.common_moments(self.flow, inner, self.plan.steer, key)
        found = evaluate.along(ends, moments)
        chords = polygon(points, found.mean, found.noise).jeffreys
        energy = 0.5 * self.plan.segments * jnp.sum(chords)
        # No divergence of two posteriors is negative: there the network's are none, so keep out.
        energy = jnp.where(jnp.min(chords) > 0, energy, jnp.inf)
        if self.constraint is None:
            return energy
        penalty = 0.5 * self.constraint.weight * jnp.mean(self.missed(points, found) ** 2)
        return energy + penalty.astype(energy.dtype)


class _Keys(NamedTuple):
    ends: Any = None
    steer: Any = None
    report: Any = None
    closure: Any = None
    landmark: Any = None


@partial(jax.jit, static_argnames=("plan",))
def _geodesic(
    plan: _Plan, flow: Flow, a: Point, b: Point, constraint: Constraint | None, key: Array | None
) -> Geodesic:
    kinks.warn(flow)
    keys = _Keys() if key is None else _Keys(*jax.random.split(key, len(_Keys._fields)))
    with matmuls():
        landmark = None if constraint is None else _landmark(plan, flow, a, constraint, keys)
        problem = _Problem(plan, flow, a, b, constraint, landmark)
        at_ends = problem.ends(keys.ends)
        bend = basis.bend(a, b, plan.segments, plan.span, flow.interval)
        z, unravel = ravel_pytree(basis.start(a, b, plan.segments, plan.span))
        start_energy, moved = jnp.full((), jnp.nan, z.dtype), jnp.zeros((), jnp.int32)
        if plan.iterations:
            # What steers must not report.
            ends = jax.tree.map(lambda *two: jnp.stack(two), a, b)
            steering = evaluate.common_moments(flow, ends, plan.steer, keys.steer)

            def objective(z: Array) -> Array:
                return problem.objective(bend(unravel(z)), steering, keys.steer)

            descent = minimise(jax.value_and_grad(objective), z, plan.iterations)
            z, start_energy, moved = descent.z, descent.start, descent.moved
        inner = bend(unravel(z))
        points = problem.whole(inner)
        found = problem.found(inner, at_ends, plan.trace, keys.report)
        energy = measure(
            flow, points, found, plan.trace, plan.at_ends, plan.closure_steps, keys.closure
        )
        unmet = jnp.max(jnp.abs(problem.missed(points, found)))
    return _result(plan, flow, constraint, points, energy, start_energy, moved, unmet)


def _landmark(
    plan: _Plan, flow: Flow, a: Point, constraint: Constraint, keys: _Keys
) -> Landmark | None:
    """A constraint's other point, its log p found along the arc that leads there."""
    if constraint.at is None:
        return None
    at = jax.tree.map(lambda x, like: x.astype(like.dtype), constraint.at, a)
    straight = plan._replace(span="plane")
    problem = _Problem(straight, flow, a, at, None, None)
    key_ends, key = (None, None) if keys.landmark is None else jax.random.split(keys.landmark)
    bend = basis.bend(a, at, plan.segments, "plane", flow.interval)
    inner = bend(basis.start(a, at, plan.segments, "plane"))
    points = problem.whole(inner)
    found = problem.found(inner, problem.ends(key_ends), plan.trace, key)
    change = log_density_change(points, found.mean, found.noise)
    return Landmark(at, found.mean[-1], found.noise[-1], change[-1])


def _result(
    plan: _Plan,
    flow: Flow,
    constraint: Constraint | None,
    points: Point,
    energy: Energy,
    start_energy: Array,
    moved: Array,
    unmet: Array,
) -> Geodesic:
    gradients = plan.iterations + 1 if plan.iterations else 0
    inner, size = plan.segments - 1, flow.size
    evaluations = energy.evaluations + gradients * inner
    tangents = energy.tangents + gradients * inner * plan.steer.tangents(size)
    if plan.iterations:
        evaluations, tangents = evaluations + 2, tangents + 2 * plan.steer.tangents(size)
    if constraint is not None and constraint.at is not None:
        evaluations += inner + 2
        tangents += inner * plan.trace.tangents(size) + 2 * plan.at_ends.tangents(size)
    status = energy.status | jnp.where(unmet > MISSED, int(Status.UNMET), 0)
    status |= jnp.where(_gap(points) > 0, 0, int(Status.INVALID))
    told = energy._asdict() | {
        "evaluations": evaluations,
        "tangents": jnp.asarray(tangents, jnp.int32),
        "status": status.astype(jnp.int32),
    }
    return Geodesic(
        curve=points,
        start_energy=start_energy,
        gradients=jnp.asarray(gradients, jnp.int32),
        moved=moved,
        unmet=unmet,
        **told,
    )


def _gap(points: Point) -> Array:
    """How far apart the two ends of a curve are, as numbers: 0 only if they are one point."""
    gap = jnp.max(jnp.abs(points.y[-1] - points.y[0]))
    return gap + jnp.abs(points.log_snr[-1] - points.log_snr[0])
