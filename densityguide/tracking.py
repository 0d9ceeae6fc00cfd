"""Tracking log p along a solve: which trace, which probes, and how far to trust the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.divergence import Trace, apply, exact
from densityguide.errors import require
from densityguide.flows import Flow

__all__ = [
    "Auto",
    "Probes",
    "choose",
    "drawer",
    "log_alpha_offset",
    "noise_level",
    "pooled_error",
    "traces",
]

Auto = Literal["auto"]
SMALL = 256  # up to here an exact trace is cheap enough to be the default


class Probes(NamedTuple):
    """Probes of one step: replicates that report log p, and independent ones that steer."""

    report: Array | None
    steer: Array | None


def choose(
    flow: Flow, divergence: Trace | Auto | None, key: Any, purpose: str | None
) -> Trace | None:
    """The trace to take: "auto" is exact up to D = 256 and none above.

    ``purpose`` says what needs a trace, or is None if nothing does.
    """
    if divergence == "auto":
        divergence = exact() if flow.size <= SMALL else None
    require(
        divergence is None or isinstance(divergence, Trace),
        f"divergence must be exact(), hutchinson(n) or orthogonal(n), got {divergence!r}",
    )
    require(
        divergence is not None or purpose is None,
        f"{purpose} needs a trace and D = {flow.size} is above {SMALL}: pass "
        "divergence=densityguide.orthogonal(2) (estimated, with key=) or densityguide.exact()",
    )
    require(
        divergence is None or divergence.is_exact or key is not None,
        "an estimated trace needs key=: pass jax.random.key(...)",
    )
    return divergence


def drawer(
    trace: Trace | None, key: Array | None, like: Array, *, steer: bool
) -> Callable[[Array], Probes]:
    """``step -> Probes``. Steering probes are independent of the reporting ones: a target
    steered by its own probes would hide its error."""
    if trace is None or trace.draw is None:
        return lambda step: Probes(None, None)
    report_key, steer_key = jax.random.split(key)

    def draw(step: Array) -> Probes:
        def some(key: Array) -> Array:
            return trace.draw(key, step, trace.probes, like.shape, like.dtype)

        return Probes(some(report_key), some(steer_key) if steer else None)

    return draw


def traces(
    linear: Callable[[Array], Any], trace: Trace, like: Array, probes: Probes
) -> tuple[Any, Any]:
    """(replicates that report [K], one value that steers), of every output of ``linear``."""
    report = apply(linear, trace, like, probes.report)
    if trace.is_exact:
        return report, jax.tree.map(lambda value: value[0], report)
    if probes.steer is None:
        return report, None
    steer = apply(linear, trace, like, probes.steer)
    return report, jax.tree.map(jnp.mean, steer)


def pooled_error(trace: Trace, carried: float, path: Array | None, final: Array) -> Array:
    """Standard error of the mean over replicates.

    On a fixed grid (``path`` [n + 1, K]) steps have probes of their own, so the variance is
    pooled over the steps' increments: far more degrees of freedom than K - 1. With w =
    ``carried`` the weight of the evaluation that a step carries over from the one before, and
    its probe with it, increments are ``w e_(n-1) + (1 - w) e_n``, so their squares add up to
    ``w^2 + (1 - w)^2`` of the variance of the sum. (Estimating that covariance from the
    increments instead is as unbiased and far noisier.) An adaptive solve keeps its probes, so
    there only the K end values are left. Orthogonal probes cancel across steps, which is not
    counted: their error is overstated where the steps are as many as the dimensions.
    """
    if trace.is_exact:
        return jnp.zeros((), final.dtype)
    replicates = trace.probes
    if path is None:
        return jnp.std(final, ddof=1) / replicates**0.5
    moves = jnp.diff(path, axis=0)
    moves = moves - jnp.mean(moves, axis=1, keepdims=True)
    shared = carried**2 + (1.0 - carried) ** 2
    variance = jnp.sum(moves**2) / shared / (replicates - 1)
    return jnp.sqrt(variance / replicates)


def log_alpha_offset(flow: Flow) -> Array:
    """``D log(alpha)`` at the data end: density of x / alpha = density of x * alpha^D."""
    return flow.size * jnp.log(flow.end_scale())


def noise_level(flow: Flow) -> Array:
    """sigma / alpha at the data end, at which a reported log p is a density; 0 without a path."""
    if flow.path is None:
        return jnp.zeros((), jnp.result_type(float))
    return jnp.exp(-0.5 * flow.interval[1])
