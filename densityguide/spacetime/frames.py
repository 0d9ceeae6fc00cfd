"""What lies along a curve: the picture that each point stands for, and its log p."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import count, present
from densityguide.density import streams
from densityguide.density.log_density import log_density
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow
from densityguide.spacetime.family import denoised, matmuls
from densityguide.spacetime.point import Point, check_flow, check_point
from densityguide.steer.sample import sample

__all__ = ["Frames", "frames"]


class Frames(NamedTuple):
    """The n + 1 points of a curve: ``x`` decoded by the probability flow, its
    ``log_density`` in nats at the data end with ``standard_error`` (None without a trace), and the
    posterior ``mean`` E[x0 | x]; ``evaluations`` and ``status`` [n + 1]."""

    x: Array
    log_density: Array | None
    standard_error: Array | None
    mean: Array
    evaluations: Array
    status: Array


def frames(
    flow: Flow,
    curve: Point,
    *,
    steps: int = 32,
    divergence: Trace | Auto | None = "auto",
    key: Array | None = None,
) -> Frames:
    """Decode every point of a curve from its own noise level to data, and measure log p there.

    The probability flow is deterministic, so a smooth curve gives a smooth film. ``log_density``
    is that of `densityguide.log_density` of the decoded x, comparable from frame to frame, which
    log p along the curve is not: its points are densities at different noise levels.

    Args:
        curve: points ``y`` [n + 1, *shape] and ``log_snr`` [n + 1].
        steps: of the solve down to data; the way to the prior and back takes as many.
        divergence: trace for log p; "auto" is exact up to D = 256, and none above; None is none.
        key: needed by estimated traces.

    Raises:
        ValueError: a flow without a path or with a classifier-free mixture, a curve of another
            shape or out of range, steps < 1, an estimator without a key.
    """
    verb = "spacetime.frames"
    check_flow(flow, verb)
    points = check_point(flow, curve, verb, curve=True)
    trace = streams.reporting(flow, divergence, key)
    return _frames(trace, count(steps, 1, "steps"), flow, points, key)


@partial(jax.jit, static_argnames=("trace", "steps"))
def _frames(
    trace: Trace | None, steps: int, flow: Flow, points: Point, key: Array | None
) -> Frames:
    number = points.y.shape[0]
    keys = None if key is None else jax.random.split(key, number)
    path, stop = present(flow.path), flow.interval[1]

    def one(args: tuple[Point, Array | None]) -> Frames:
        at, key = args
        # A point at the data end is decoded already: the shortest of solves leaves it there.
        level = jnp.minimum(at.log_snr, stop - 1e-3).astype(stop.dtype)
        part = flow.between(level, stop)
        out = sample(part, path.alpha(level) * at.y, divergence=None, steps=steps)
        value = error = None
        evaluations, status = out.evaluations, out.status
        if trace is not None:
            found = log_density(flow, out.x, divergence=trace, key=key, steps=steps)
            value, error = found.value, found.standard_error
            evaluations, status = evaluations + found.evaluations, status | found.status
        with matmuls():
            mean = denoised(flow, at)
        return Frames(out.x, value, error, mean, evaluations, status)

    return jax.lax.map(one, (points, keys))
