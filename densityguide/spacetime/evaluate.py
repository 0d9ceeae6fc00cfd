"""Moments along a curve, with one stream of probes inside and another at the ends.

Noise of the trace inside a curve averages over its points. At the two ends it does not; but they
are fixed, so their trace is taken once, exactly or with many probes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import present, require
from densityguide.density import streams
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace, exact, hutchinson
from densityguide.flow.flow import Flow
from densityguide.spacetime.family import Moments, moments
from densityguide.spacetime.point import Point

__all__ = ["Along", "along", "choose", "common_moments", "end_moments", "error_bar"]
__all__ += ["inner_moments"]

LEAST_AT_ENDS = 16  # probes


class Along(NamedTuple):
    """Moments of a curve of n + 1 points: ``mean`` [n + 1, *shape]; replicate estimates of
    tr Cov(eps) ``inner`` [n - 1, K] and at the two ``ends`` [2, L]."""

    mean: Array
    inner: Array
    ends: Array

    @property
    def noise(self) -> Array:
        """Mean tr Cov(eps) at every point [n + 1]."""
        first, last = jnp.mean(self.ends, axis=1)
        return jnp.concatenate([first[None], jnp.mean(self.inner, axis=1), last[None]])


class Spread(NamedTuple):
    """Standard error of a mean over replicates, and its degrees of freedom (inf if exact)."""

    standard_error: Array
    degrees_of_freedom: Array


def choose(
    flow: Flow, divergence: Trace | Auto, ends: Trace | None, key: Any, segments: int, verb: str
) -> tuple[Trace, Trace]:
    """The trace inside a curve and the one at its ends: by default exact where the first is, and
    else as many probes at each end as on all points inside."""
    require(
        divergence is not None,
        f"{verb} needs a trace: pass divergence=densityguide.exact() or densityguide.hutchinson(2)",
    )
    trace = streams.required(flow, divergence, key, verb)
    if ends is None:
        many = max(LEAST_AT_ENDS, trace.probes * (segments - 1))
        ends = exact(trace.chunk) if trace.is_exact else hutchinson(many)
    streams.required(flow, ends, key, verb)
    return trace, ends


def _probes(trace: Trace, key: Array | None, index: Array, cycle: int, like: Array) -> Any:
    if trace.draw is None:
        return None
    return trace.draw(present(key), index, cycle, trace.probes, like.shape, like.dtype)


def _each(
    flow: Flow, points: Point, indices: Array, trace: Trace, key: Array | None, cycle: int
) -> Moments:
    def one(at: Point, index: Array) -> Moments:
        return moments(flow, at, trace, _probes(trace, key, index, cycle, at.y))

    return jax.vmap(one)(points, indices)


def _indices(points: Point) -> Array:
    return jnp.arange(points.y.shape[0], dtype=jnp.int32)


def inner_moments(flow: Flow, inner: Point, trace: Trace, key: Array | None) -> Moments:
    """Moments of the points between the ends [n - 1], each with probes of its own."""
    cycle = trace.cycle(flow.shape, inner.y.shape[0])
    return _each(flow, inner, _indices(inner), trace, key, cycle)


def common_moments(flow: Flow, points: Point, trace: Trace, key: Array | None) -> Moments:
    """Moments of all points [n + 1] with the same probes: to steer by.

    Their errors do not average, and they are smooth along a curve: a descent finds the short curve
    of a slightly different metric, where fresh errors would shake its chords, which are O(1 / n^2).
    """
    return _each(flow, points, jnp.zeros_like(_indices(points)), trace, key, 1)


def end_moments(flow: Flow, a: Point, b: Point, trace: Trace, key: Array | None) -> Moments:
    """Moments of the two ends [2]."""
    both = jax.tree.map(lambda *two: jnp.stack(two), a, b)
    return _each(flow, both, _indices(both), trace, key, 1)


def along(ends: Moments, inner: Moments) -> Along:
    """The moments of the ends and those inside, in the order of the curve."""
    mean = jnp.concatenate([ends.mean[:1], inner.mean, ends.mean[1:]])
    return Along(mean, inner.noise, ends.noise)


def error_bar(
    weights: Array, found: Along, trace: Trace, at_ends: Trace, shape: tuple[int, ...]
) -> Spread:
    """Error bar of ``sum_i weights_i tr Cov(eps)_i`` [n + 1], in which every energy and every
    log p of a curve is linear.

    Variances of what is independent are added up: cycles of inner points, and the ends. Degrees of
    freedom after Satterthwaite, as in `densityguide.density.error_bar`.
    """
    dtype = weights.dtype
    variances, degrees = [jnp.zeros((0,), dtype)], [np.zeros(0)]
    if not trace.is_exact and found.inner.shape[0]:
        count = found.inner.shape[0]
        labels = np.arange(count) // trace.cycle(shape, count)
        moves = weights[1:-1, None] * found.inner
        sums = jax.ops.segment_sum(moves, labels, int(labels[-1]) + 1)
        variances.append(jnp.var(sums, axis=1, ddof=1) / trace.probes)
        degrees.append(np.full(sums.shape[0], trace.probes - 1.0))
    if not at_ends.is_exact:
        moves = weights[jnp.asarray([0, -1]), None] * found.ends
        variances.append(jnp.var(moves, axis=1, ddof=1) / at_ends.probes)
        degrees.append(np.full(2, at_ends.probes - 1.0))
    each = np.concatenate(degrees)
    if not each.size:
        return Spread(jnp.zeros((), dtype), jnp.full((), jnp.inf, dtype))
    parts = jnp.concatenate(variances)
    total = jnp.sum(parts)
    squares = jnp.maximum(jnp.sum(parts**2 / (each + 1.0)), jnp.finfo(dtype).tiny)
    found_degrees = jnp.maximum(total**2 / squares - 1.0, float(each.min()))
    return Spread(jnp.sqrt(total), found_degrees)
