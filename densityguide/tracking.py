"""Tracking log p along a solve: which trace, which probes, and how far to trust the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.divergence import Trace, apply, exact
from densityguide.errors import present, random_key, require
from densityguide.flows import SMALL, Flow
from densityguide.solve import Method

__all__ = [
    "Auto",
    "ErrorBar",
    "Probes",
    "choose",
    "drawer",
    "log_alpha_offset",
    "noise_level",
    "pooled_error",
    "traces",
]

Auto = Literal["auto"]


class Probes(NamedTuple):
    """Probes of one evaluation: replicates that report log p, and independent ones that steer."""

    report: Array | None
    steer: Array | None


def choose(
    flow: Flow, divergence: Trace | Auto | None, key: Any, purpose: str | None
) -> Trace | None:
    """The trace to take: "auto" is exact up to D = 256 and none above.

    ``purpose`` says what needs a trace, or is None if nothing does.
    """
    if divergence == "auto":
        divergence = exact() if flow.is_small else None
    require(
        divergence is None or isinstance(divergence, Trace),
        f"divergence must be exact(), hutchinson(n) or orthogonal(n), got {divergence!r}",
    )
    # "auto" gives none above SMALL dimensions; None was the caller's choice.
    why = f" and D = {flow.size} is above {SMALL}" if not flow.is_small else ""
    require(
        divergence is not None or purpose is None,
        f"{purpose} needs a trace{why}: pass divergence=densityguide.orthogonal(2) (estimated, "
        "with key=) or densityguide.exact()",
    )
    if divergence is not None and not divergence.is_exact:
        random_key(key, "an estimated trace needs key=: pass jax.random.key(...)")
    return divergence


def drawer(
    trace: Trace | None,
    method: Method,
    key: Array | None,
    like: Array,
    *,
    steer: bool,
    cycle: int | None = None,
) -> Callable[[Array], Probes]:
    """``index -> Probes``, in cycles that suit ``like`` (or of ``cycle`` evaluations). Steering
    probes are independent of the reporting ones: a target steered by its own would hide its
    error."""
    if trace is None or trace.draw is None:
        return lambda index: Probes(None, None)
    probe = trace.draw
    report_key, steer_key = jax.random.split(present(key))
    cycle = cycle or trace.cycle(like.shape, method.indices)

    def draw(index: Array) -> Probes:
        def some(key: Array) -> Array:
            return probe(key, index, cycle, trace.probes, like.shape, like.dtype)

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


class ErrorBar(NamedTuple):
    """Standard error of a mean over replicates and its degrees of freedom (inf if exact): the
    interval is Student's, ``value +- t_quantile(degrees_of_freedom) * standard_error``."""

    standard_error: Array
    degrees_of_freedom: Array


def pooled_error(
    trace: Trace, method: Method, shape: tuple[int, ...], moves: Array | None, final: Array
) -> ErrorBar:
    """Error bar of the mean over K replicates of a tracked quantity, final values [K].

    On a fixed grid probes are independent from cycle to cycle, so the variance is added up over
    cycles from ``moves`` [n, K], what each evaluation or step added (of Runge-Kutta steps to the
    nearest, which overstates it slightly, or ``method.pooled`` of it if a cycle is shorter). Few
    cycles may hold most of it: degrees of freedom after Satterthwaite (Biometrics, 1946),
    ``nu = (sum v)^2 / sum(v^2 / (K - 1))``, with half of the squares' own bias removed, which
    keeps t-intervals at their level where cycles are few. An adaptive solve keeps its probes, so
    there only the K end values are left.
    """
    if trace.is_exact:
        return ErrorBar(jnp.zeros((), final.dtype), jnp.full((), jnp.inf, final.dtype))
    each = trace.probes - 1
    if moves is None:
        error = jnp.std(final, ddof=1) / trace.probes**0.5
        return ErrorBar(error, jnp.full((), each, final.dtype))
    cycle = trace.cycle(shape, method.indices)
    places = np.floor((np.arange(len(moves)) + 0.5) * method.places / cycle)
    labels = np.unique(places, return_inverse=True)[1]
    sums = jax.ops.segment_sum(moves, labels, int(labels[-1]) + 1)
    variances = jnp.var(sums, axis=1, ddof=1)
    total = jnp.sum(variances)
    # E v^2 = (1 + 2 / each) (E v)^2, and E (sum v)^2 holds the same excess once. Removing all of
    # that bias would make the degrees right on average, and the intervals too narrow.
    squares = jnp.maximum(jnp.sum(variances**2), jnp.finfo(final.dtype).tiny)
    degrees = jnp.maximum((each + 1) * total**2 / squares - 1.0, each)
    pooled = method.pooled if cycle <= method.places else 1.0
    return ErrorBar(jnp.sqrt(total / pooled / trace.probes), degrees)


def log_alpha_offset(flow: Flow) -> Array:
    """``D log(alpha)`` at the data end: density of x / alpha = density of x * alpha^D."""
    return flow.size * jnp.log(flow.end_scale())


def noise_level(flow: Flow) -> Array:
    """sigma / alpha at the data end, at which a reported log p is a density; 0 without a path."""
    if flow.path is None:
        return jnp.zeros((), jnp.result_type(float))
    return jnp.exp(-0.5 * flow.interval[1])
