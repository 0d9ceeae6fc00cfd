"""Exact log-density by prior guidance: scale the latent until log p is what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import lineax
import numpy as np
import optimistix
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide import tracking
from densityguide.divergence import Trace
from densityguide.errors import concrete, count, present, require, scalar, state
from densityguide.flows import Flow, require_flow
from densityguide.sampling import Sample, decode
from densityguide.solve import Method, Numbers, Status
from densityguide.tracking import Auto

__all__ = ["Match", "match_log_density"]


class Match(NamedTuple):
    """``x`` decoded from ``scale * latent`` and its ``log_density`` under the flow's own density;
    ``lowest`` and ``highest`` log p seen on the scanned scales; ``roots``, how many of its
    intervals contain a solution. ``status`` has NO_ROOT (then the nearest scanned scale is
    returned) or MANY_ROOTS (then the solution nearest to scale 1)."""

    x: Array
    log_density: Array
    standard_error: Array
    scale: Array
    lowest: Array
    highest: Array
    roots: Array
    evaluations: Array
    tangents: Array
    status: Array


def match_log_density(
    flow: Flow,
    latent: Array,
    target: ArrayLike,
    *,
    scales: tuple[float, float] = (0.5, 2.0),
    scan: int = 17,
    tolerance: float | None = None,
    divergence: Trace | Auto = "auto",
    key: Array | None = None,
    **options: Any,
) -> Match:
    """Solve ``log p_0(x_0(a x_T)) = target`` for the scale ``a``, for any flow, no score needed.

    The log p is that of the plain flow (change of variables), so the result is exact up to the
    solver: ``scan`` scales, geometric in ``scales``, look for brackets; the one nearest to 1 is
    halved by bisection and finished by Newton's method, whose derivative is the alignment along
    the latent. Probes are frozen throughout. F need not be monotone: roots may be absent or
    several, and both are reported, never assumed away.

    Args:
        target: nats of the reported sample x / alpha.
        scales: range of factors to search, lowest first.
        tolerance: nats; default 1e-7 in float64, 1e-3 in float32.

    Raises:
        ValueError: a target that is not finite, scales that do not rise from above 0, no trace
            above D = 256.
    """
    require_flow(flow, "match_log_density")
    x = state(latent, flow.shape, "latent")
    known = concrete(target)
    require(
        known is None or bool(np.isfinite(known).all()), f"target must be finite nats, got {target}"
    )
    goal, ends = scalar(target, "target"), tuple(scalar(end, "scales") for end in scales)
    low, high = (concrete(end) for end in scales)
    require(
        low is None or high is None or bool(0 < low < high),
        f"scales must be 0 < low < high, got {scales}",
    )
    scan = count(scan, 3, "scan")
    trace = tracking.choose(flow, divergence, key, "match_log_density")
    if tolerance is None:
        tolerance = 1e-7 if x.dtype == jnp.float64 else 1e-3
    # Newton pushes a tangent through the solve.
    method, numbers = solving.plan(flow, **{"adjoint": "forward", **options})
    known = concrete(tolerance)
    require(known is None or bool(known > 0), f"tolerance must be positive, got {tolerance}")
    near = scalar(tolerance, "tolerance")
    return _match(method, trace, scan, flow, x, key, numbers, goal, ends, near)


class _Quotient(lineax.AbstractLinearSolver[Any]):  # type: ignore[misc]  # it has no types
    """One linear equation in one unknown. Lineax's own solvers probe with a constant of theirs,
    which does not vary over devices as the operator does, and so raise inside ``pmap``."""

    def init(self, operator: Any, options: dict[str, Any]) -> Any:
        return operator

    def compute(self, state: Any, vector: Any, options: dict[str, Any]) -> Any:
        return vector / state.mv(0.0 * vector + 1.0), successful, {}

    def transpose(self, state: Any, options: dict[str, Any]) -> Any:
        return state.T, options

    def conj(self, state: Any, options: dict[str, Any]) -> Any:
        return state, options

    def assume_full_rank(self) -> bool:
        return True


successful: Any = lineax.RESULTS.successful
# Their declared fields say less than they take: a norm has a default, a tolerance may be traced.
bisection: Callable[..., Any] = optimistix.Bisection
newtons_method: Callable[..., Any] = optimistix.Newton


@partial(jax.jit, static_argnames=("method", "trace", "scan"))
def _match(
    method: Method,
    trace: Trace,
    scan: int,
    flow: Flow,
    x: Array,
    key: Array | None,
    numbers: Numbers,
    target: Array,
    ends: tuple[Array, Array],
    tolerance: Array,
) -> Match:
    def decoded(factor: Array) -> Sample:
        latent = factor.astype(x.dtype) * x
        return decode(method, trace, flow, latent, None, None, key, numbers)

    grid = jnp.geomspace(*ends, scan)
    scanned = jax.lax.map(decoded, grid)
    reached = present(scanned.log_density)
    gaps = reached - target
    crossing = gaps[:-1] * gaps[1:] <= 0
    middle = jnp.abs(jnp.log(grid[:-1] * grid[1:]))
    bracket = jnp.argmin(jnp.where(crossing, middle, jnp.inf))
    low, high = grid[bracket], grid[bracket + 1]

    # Bisection wants a function that rises through its root.
    rising = jnp.sign(gaps[bracket + 1] - gaps[bracket])

    def gap(factor: Array, _: Any) -> Array:
        return rising * (present(decoded(factor).log_density) - target)

    halved: Any = optimistix.root_find(
        gap,
        bisection(rtol=1e-2, atol=1e-2, flip=False),
        0.5 * (low + high),
        options={"lower": low, "upper": high},
        max_steps=4,
        throw=False,
    )
    newton: Any = optimistix.root_find(
        gap,
        newtons_method(rtol=1e-9, atol=tolerance, linear_solver=_Quotient()),
        halved.value,
        options={"lower": low, "upper": high},
        adjoint=optimistix.ImplicitAdjoint(_Quotient()),
        max_steps=12,
        throw=False,
    )
    roots = jnp.sum(crossing)
    nearest = grid[jnp.nanargmin(jnp.where(jnp.isnan(gaps), jnp.inf, jnp.abs(gaps)))]
    factor = jnp.where(roots > 0, newton.value, nearest)
    out = decoded(factor)
    value = present(out.log_density)
    status = out.status
    missed = (roots == 0) | ~(jnp.abs(value - target) <= jnp.maximum(tolerance, 1e-6) * 10)
    status |= jnp.where(missed, int(Status.NO_ROOT), 0)
    status |= jnp.where(roots > 1, int(Status.MANY_ROOTS), 0)
    valid = jnp.isfinite(target) & (ends[0] > 0) & (ends[0] < ends[1])
    status |= jnp.where(valid, 0, int(Status.INVALID))
    solves = scan + 1 + halved.stats["num_steps"] + newton.stats["num_steps"]
    return Match(
        x=out.x,
        log_density=value,
        standard_error=present(out.standard_error),
        scale=factor,
        lowest=jnp.nanmin(reached),
        highest=jnp.nanmax(reached),
        roots=roots,
        evaluations=solves * out.evaluations,
        tangents=solves * out.tangents,
        status=status,
    )
