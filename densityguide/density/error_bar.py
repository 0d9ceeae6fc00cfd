"""How far to trust a log p: the spread of its replicate streams, and the error of its solve."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import stdtrit

from densityguide.density.trace import Trace
from densityguide.solve import Method, Solved, Status

__all__ = ["ErrorBar", "coarse", "combined", "error_bar", "of_replicates"]
__all__ += ["solver_error"]

# Student's 97.5 % quantile is smooth in 1 / degrees of freedom: 1.96 at 0, 12.7 at 1.
SHARES = np.linspace(0.0, 1.0, 257)
QUANTILES = np.array([stdtrit(1.0 / max(share, 1e-9), 0.975) for share in SHARES])


class ErrorBar(NamedTuple):
    """The error of one log p, all in nats.

    ``standard_error`` of the mean over replicate streams of probes, with its
    ``degrees_of_freedom`` (0 and inf if the trace is exact); ``solver_error``, the solve's own
    estimate of what its steps cost; and ``total_error``, the half-width of a 95 % interval,
    ``sqrt((t standard_error)^2 + solver_error^2)`` with Student's t.
    """

    standard_error: Array
    degrees_of_freedom: Array
    solver_error: Array
    total_error: Array


def _total(standard_error: Array, degrees: Array, solver_error: Array) -> Array:
    share = jnp.clip(1.0 / degrees, 0.0, 1.0)
    quantile = jnp.interp(share, jnp.asarray(SHARES), jnp.asarray(QUANTILES))
    return jnp.hypot(quantile.astype(standard_error.dtype) * standard_error, solver_error)


def error_bar(
    trace: Trace,
    method: Method,
    shape: tuple[int, ...],
    solved: Solved,
    final: Array,
    solver_error: Array,
    failed: Array,
) -> ErrorBar:
    """Error bar of the mean over K replicates of a tracked quantity with final values [K]; nan
    where the solve ``failed``."""
    error, degrees = _spread(trace, method, shape, solved.moves, final)
    total = _total(error, degrees, solver_error)
    error, solver_error, total = (
        jnp.where(failed, jnp.nan, a) for a in (error, solver_error, total)
    )
    return ErrorBar(error, degrees, solver_error, total)


def solver_error(error: Any) -> Array:
    """Magnitude of the solve's own estimate of its error in a mean over replicates [K]; 0 for an
    SDE, whose solve has no estimate."""
    return jnp.zeros(()) if error is None else jnp.abs(jnp.mean(error))


def coarse(solved: Solved) -> Array:
    """COARSE where the steps are too wide for that estimate to mean much."""
    if solved.coarse is None:
        return jnp.zeros((), jnp.int32)
    return jnp.where(solved.coarse, int(Status.COARSE), 0).astype(jnp.int32)


def of_replicates(values: Array, solver_error: Array) -> ErrorBar:
    """The error bar of the mean over independent replicates [K]."""
    error = jnp.std(values, ddof=1) / len(values) ** 0.5
    degrees = jnp.full((), len(values) - 1, values.dtype)
    return ErrorBar(error, degrees, solver_error, _total(error, degrees, solver_error))


def combined(first: ErrorBar, second: ErrorBar) -> ErrorBar:
    """The error bar of the sum of two estimates with independent probes (degrees of freedom after
    Satterthwaite); errors of solves may have one sign, so they add up."""
    parts = jnp.stack([first.standard_error, second.standard_error]) ** 2
    each = jnp.stack([first.degrees_of_freedom, second.degrees_of_freedom])
    below = jnp.sum(parts**2 / each)
    degrees = jnp.where(below > 0, jnp.sum(parts) ** 2 / jnp.where(below > 0, below, 1.0), jnp.inf)
    error, solver_error = jnp.sqrt(jnp.sum(parts)), first.solver_error + second.solver_error
    return ErrorBar(error, degrees, solver_error, _total(error, degrees, solver_error))


def _spread(
    trace: Trace, method: Method, shape: tuple[int, ...], moves: Any, final: Array
) -> tuple[Array, Array]:
    """Standard error and degrees of freedom.

    On a fixed grid probes are independent from cycle to cycle, so the variance is added up over
    cycles from ``moves`` [n, K], what each evaluation or step added. A Runge-Kutta step counts to
    the nearest cycle, which overstates the variance slightly; if a cycle is no longer than a step,
    the sum is divided by ``method.pooled``. Few cycles may hold most of it: degrees of freedom
    after Satterthwaite (Biometrics, 1946), ``nu = (sum v)^2 / sum(v^2 / (K - 1))``, with half of
    the squares' own bias removed, which keeps t-intervals at their level where cycles are few. An
    adaptive solve keeps its probes, so there only the K end values are left.
    """
    if trace.is_exact:
        return jnp.zeros((), final.dtype), jnp.full((), jnp.inf, final.dtype)
    each = trace.probes - 1
    if moves is None:
        error = jnp.std(final, ddof=1) / trace.probes**0.5
        return error, jnp.full((), each, final.dtype)
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
    return jnp.sqrt(total / pooled / trace.probes), degrees
