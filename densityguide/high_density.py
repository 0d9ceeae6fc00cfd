"""High-density sampling and mode tracking (Karczewski et al., ICLR 2025)."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide import tracking
from densityguide.divergence import Trace, apply
from densityguide.errors import concrete, count, present, require, scalar, state
from densityguide.flows import Flow, evaluate, require_flow
from densityguide.guidance import Guidance, Moment
from densityguide.sampling import Sample, sample
from densityguide.solve import Method, Numbers, Status
from densityguide.tracking import Auto

__all__ = ["Mode", "high_density", "track_mode"]


def _natural(_: Any, moment: Moment) -> Array:
    return 0.5 * present(moment.flow.path).sigma(moment.t) ** 2 * moment.score_power


def high_density(
    flow: Flow,
    latent: Array,
    *,
    switch: ArrayLike,
    divergence: Trace | Auto | None = "auto",
    key: Array | None = None,
    steps: tuple[int, int] | int | None = None,
    **options: Any,
) -> Sample:
    """Decode a latent into a region of high density (Algorithm 1).

    The probability flow runs up to log-SNR ``switch`` and then ``dx/dl = drift x + sigma^2 s`` to
    the end, which doubles the score: excess rate ``c = sigma^2 |s|^2 / 2``, so that
    ``d log p/dl = -drift D - sigma^2 laplacian / 2 + sigma^2 |s|^2 / 2``. For Gaussian data the
    result tends to the mode of p(x_0 | x_switch). Early switches draw cartoons, late ones only
    remove noise.

    Args:
        switch: log-SNR, inside the flow's interval.
        steps: of the two parts, or their sum, shared evenly (default 64).
        **options: of the solve, see ``densityguide.solve.plan``.

    Raises:
        ValueError: no Gaussian path, or a switch outside the interval (a traced one becomes a
            status).
    """
    require_flow(flow, "high_density")
    x = state(latent, flow.shape, "latent")
    require(flow.path is not None, "high_density needs a Gaussian path")
    require("polish" not in options, "high_density has no polish=: its log p is the tracked one")
    start, stop = flow.interval
    at, inside = scalar(switch, "switch"), _check_inside(switch, flow, "switch")
    early, late = _share(steps, options)
    # Two solves, so that no step of a solver straddles the switch.
    before = flow.replace(interval=(start, at))
    after = flow.replace(interval=(at, stop))
    keys = [None, None] if key is None else list(jax.random.split(key))
    plain = sample(before, x, divergence=divergence, key=keys[0], **early, **options)
    doubled = Guidance((), jnp.asarray(4.0), _natural, ("path",), name="high density")
    middle = plain.x * present(flow.path).alpha(at).astype(x.dtype)
    out = sample(
        after, middle, guidance=doubled, divergence=divergence, key=keys[1], **late, **options
    )
    log_density = error = degrees = path = None
    if out.log_density is not None:
        # The second part took the prior's log p for its start: put the tracked one there.
        began = flow.prior.log_prob(middle)
        reached = present(plain.log_density) - tracking.log_alpha_offset(before)
        log_density = out.log_density - began + reached
        error = jnp.hypot(present(plain.standard_error), present(out.standard_error))
        degrees = _satterthwaite(plain, out)
        if out.path is not None:
            path = jnp.concatenate([present(plain.path), out.path[1:] - began + reached])
    return out._replace(
        log_density=log_density,
        standard_error=error,
        degrees_of_freedom=degrees,
        path=path,
        evaluations=plain.evaluations + out.evaluations,
        tangents=plain.tangents + out.tangents,
        status=plain.status | out.status | jnp.where(inside, 0, int(Status.INVALID)),
    )


def _check_inside(value: ArrayLike, flow: Flow, name: str, *, closed: bool = False) -> Array:
    """Whether a log-SNR lies in the range, ``closed`` at the noise end; raises where known."""
    known, first, last = (concrete(number) for number in (value, *flow.interval))
    if known is not None and first is not None and last is not None:
        require(
            bool(first < known < last or (closed and known == first)),
            f"{name} must lie inside the log-SNR range ({first:g}, {last:g}), got {known:g}",
        )
    at, (start, stop) = jnp.asarray(value), flow.interval
    return (start < at) & (at < stop) | (closed & (at == start))


def _share(steps: Any, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``steps=`` of the two parts; nothing for adaptive solves."""
    if options.keys() & {"rtol", "atol", "log_density_atol"}:
        require(steps is None, "steps= and rtol=/atol= contradict each other: pass one of them")
        return {}, {}
    if steps is None or not isinstance(steps, (tuple, list)):
        total = solving.DEFAULT_STEPS if steps is None else count(steps, 2, "steps")
        steps = (total // 2, total - total // 2)
    require(len(steps) == 2, f"steps must be a number or a pair, got {steps!r}")
    early, late = (count(n, 1, "steps") for n in steps)
    return {"steps": early}, {"steps": late}


def _satterthwaite(first: Sample, second: Sample) -> Array:
    """Degrees of freedom of the sum of two independent estimates."""
    both = (first, second)
    parts = jnp.stack([present(out.standard_error) for out in both]) ** 2
    degrees = jnp.stack([present(out.degrees_of_freedom) for out in both])
    below = jnp.sum(parts**2 / degrees)
    return jnp.where(below > 0, jnp.sum(parts) ** 2 / jnp.where(below > 0, below, 1.0), jnp.inf)


class Mode(NamedTuple):
    """The tracked mode ``x`` (state / alpha) and ``residual``: the size of the term that
    vanishes for Gaussian data relative to the rest of the field, averaged along the way."""

    x: Array
    residual: Array
    evaluations: Array
    status: Array


class _State(NamedTuple):
    x: Array
    residual: Array


def track_mode(
    flow: Flow,
    x: Array,
    *,
    start: ArrayLike,
    divergence: Trace | Auto = "auto",
    key: Array | None = None,
    correction: bool = True,
    **options: Any,
) -> Mode:
    """The mode of p(x_s | x_t) as s runs from t = ``start`` to the data end::

        dx/ds = drift x + sigma^2 s + sigma^2 / 2 A^-1 grad(laplacian log p_s)
        A = H - k I,   1/k = (alpha_s / alpha_t)^2 sigma_t^2 - sigma_s^2

    The last term is zero for Gaussian data; ``residual`` (its size relative to the rest) is a
    necessary, not sufficient, test of Gaussianity. ``correction=False`` leaves it out of the
    field and still reports it: the high-density ODE. A^-1 is applied by conjugate gradients.

    Args:
        x: state x_t at log-SNR ``start`` (not divided by alpha).

    Raises:
        ValueError: no Gaussian path, start outside the interval, no trace above D = 256.
    """
    require_flow(flow, "track_mode")
    x = state(x, flow.shape, "x")
    require(flow.path is not None, "track_mode needs a Gaussian path")
    inside = _check_inside(start, flow, "start", closed=True)
    trace = tracking.choose(flow, divergence, key, "track_mode")
    part = flow.replace(interval=(scalar(start, "start"), flow.interval[1]))
    method, numbers = solving.plan(part, feedback=True, **options)
    mode = _track_mode(method, trace, correction, part, x, key, numbers)
    return mode._replace(status=mode.status | jnp.where(inside, 0, int(Status.INVALID)))


@partial(jax.jit, static_argnames=("method", "trace", "correction"))
def _track_mode(
    method: Method,
    trace: Trace,
    correction: bool,
    flow: Flow,
    x: Array,
    key: Array | None,
    numbers: Numbers,
) -> Mode:
    path, t0 = present(flow.path), flow.interval[0]

    def laplacian(x: Array, t: Array, probes: Array | None) -> Array:
        local = evaluate(flow, x, t, tangents=True)
        return jnp.mean(apply(lambda v: local.tangent(v)[1], trace, x, probes))

    def rates(t: Array, y: _State, probes: tracking.Probes) -> _State:
        local = evaluate(flow, y.x, t, tangents=True)
        variance = path.sigma(t) ** 2
        ratio = jnp.exp(2.0 * (path.log_alpha(t) - path.log_alpha(t0)))
        width = jnp.maximum(ratio * path.sigma(t0) ** 2 - variance, 0.0)  # 1 / k
        slope = jax.grad(laplacian)(y.x, t, probes.report)
        # A^-1 = -width (I - width H)^-1, positive definite inside where the mode is one.
        solution, _ = jax.scipy.sparse.linalg.cg(
            lambda v: v - width * local.tangent(v)[1], slope, tol=1e-8, maxiter=50
        )
        extra = -0.5 * variance * width * solution
        plain = path.drift(t) * y.x + variance * present(local.score)
        size = jnp.linalg.norm(extra) / jnp.maximum(jnp.linalg.norm(plain), 1e-12)
        return _State(plain + extra if correction else plain, size)

    span = numbers.knots[-1] - numbers.knots[0]
    solved = solving.solve(
        method,
        numbers,
        rates,
        _State(x, jnp.zeros((), x.dtype)),
        kinds=_State._make(("state", "nats")),
        path=path,
        draw=tracking.drawer(trace, method, key, x, steer=False),
    )
    failed = (solved.status & int(Status.NON_FINITE)) != 0
    return Mode(
        x=(solved.y.x / flow.end_scale()).astype(x.dtype),
        residual=jnp.where(failed, jnp.nan, solved.y.residual / span),
        evaluations=solved.evaluations,
        status=solved.status,
    )
