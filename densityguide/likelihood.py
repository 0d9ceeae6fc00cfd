"""Log-density of given samples: encode along the probability flow and track the volume."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import solve as solving
from densityguide import tracking
from densityguide.divergence import Trace
from densityguide.errors import concrete, count, random_key, require, state
from densityguide.flows import Flow, evaluate, require_flow
from densityguide.solve import Method, Numbers, Status
from densityguide.tracking import Auto, Probes

__all__ = ["BitsPerDim", "LogDensity", "bits_per_dim", "log_density"]


class LogDensity(NamedTuple):
    """Log-density of one sample under the flow's own density.

    ``value`` in nats at noise level ``noise_level`` = sigma / alpha, with the ``standard_error``
    of its trace estimate (0 when exact) and that error's ``degrees_of_freedom`` (inf when exact):
    a 95% interval is ``scipy.stats.t.interval(0.95, degrees_of_freedom, value, standard_error)``.
    ``latent`` is the encoded x_T.
    """

    value: Array
    standard_error: Array
    degrees_of_freedom: Array
    latent: Array
    evaluations: Array
    tangents: Array
    status: Array
    noise_level: Array


class _State(NamedTuple):
    x: Array
    log_density: Array


def log_density(
    flow: Flow,
    x: Array,
    *,
    divergence: Trace | Auto = "auto",
    key: Array | None = None,
    **options: Any,
) -> LogDensity:
    """Log p of one sample, from the instantaneous change of variables (Chen et al., 2018)::

        log p(x) = log p_T(x_T) - integral from T to the data end of div u dt

    along the probability-flow ODE through ``x``, solved from data to prior. ``x`` is on the scale
    of data (what `sample` returns): the solve starts at ``alpha x``, and ``D log alpha`` makes the
    result the density of ``x`` itself.

    Args:
        x: one sample of the flow's shape, transformed as the model expects.
        divergence: "auto" is exact up to D = 256; above, say what to pay for.
        key: needed by estimated traces.
        **options: of the solve, see ``densityguide.solve.plan``.

    Raises:
        ValueError: D above 256 without a trace, an estimator without a key, another shape, or
            an integer array.
    """
    require_flow(flow, "log_density")
    x = state(x, flow.shape, "x")
    require(
        divergence is not None,
        "log_density needs a trace: pass divergence=exact() or orthogonal(2)",
    )
    trace = tracking.choose(flow, divergence, key, "log_density")
    method, numbers = solving.plan(flow, **options)
    return _log_density(method, trace, flow, x, key, solving.backwards(numbers))


@partial(jax.jit, static_argnames=("method", "trace"))
def _log_density(
    method: Method, trace: Trace, flow: Flow, x: Array, key: Array | None, numbers: Numbers
) -> LogDensity:
    def rates(t: Array, y: _State, probes: Probes) -> _State:
        local = evaluate(flow, y.x, t, tangents=True)
        report, _ = tracking.traces(local.tangent, trace, y.x, probes)
        return _State(local.velocity, -report[0])

    start = (x * flow.end_scale()).astype(x.dtype)
    solved = solving.solve(
        method,
        numbers,
        rates,
        _State(start, jnp.zeros((trace.probes,), x.dtype)),
        draw=tracking.drawer(trace, method, key, x, steer=False),
        watch=lambda y: y.log_density,
        kinds=_State._make(("state", "nats")),
        path=flow.path,
    )
    failed = solved.status != 0
    change = -jnp.mean(solved.y.log_density)
    value = flow.prior.log_prob(solved.y.x) + change + tracking.log_alpha_offset(flow)
    error, degrees = tracking.pooled_error(
        trace, method, x.shape, solved.moves, solved.y.log_density
    )
    return LogDensity(
        value=jnp.where(failed, jnp.nan, value),
        standard_error=jnp.where(failed, jnp.nan, error),
        degrees_of_freedom=degrees,
        latent=solved.y.x,
        evaluations=solved.evaluations,
        tangents=solved.evaluations * trace.tangents(flow.size),
        status=solved.status,
        noise_level=tracking.noise_level(flow),
    )


class BitsPerDim(NamedTuple):
    """Bits per dimension of each image [n], its standard error [n] over dequantisation draws and
    trace probes together, status [n], the noise level of the density, and what it took: evaluations
    and tangents [n] of all draws."""

    value: Array
    standard_error: Array
    status: Array
    noise_level: Array
    evaluations: Array
    tangents: Array


def bits_per_dim(
    flow: Flow,
    images: Array,
    key: Array,
    *,
    draws: int = 4,
    divergence: Trace | Auto = "auto",
    **options: Any,
) -> BitsPerDim:
    """Bits per dimension of integer images [n, *shape] through the flow's declared transform.

    Uniform dequantisation gives the lower bound ``log P(image) >= E_u log p(T(image + u)) +
    log |T'|`` (Theis et al., ICLR 2016), averaged over ``draws`` of u; bits/dim is
    ``-log_2 P / D`` of that bound. Nothing else enters: no unexplained constant.

    Raises:
        ValueError: no transform declared, images that are not integers or of another shape,
            fewer than 2 draws (one has no error bar).
    """
    require_flow(flow, "bits_per_dim")
    require(
        flow.transform is not None,
        "bits_per_dim needs the data transform: pass transform= when building the flow",
    )
    images = jnp.asarray(images)
    require(
        jnp.issubdtype(images.dtype, jnp.integer),
        f"bits_per_dim takes integer images, got {images.dtype}: pass the original uint8 array",
    )
    require(
        images.ndim == len(flow.shape) + 1 and images.shape[1:] == flow.shape,
        f"images must be [n, {', '.join(map(str, flow.shape))}], got {images.shape}",
    )
    draws = count(draws, 2, "draws")
    random_key(key, "bits_per_dim needs key=: dequantisation is random")
    tracking.choose(flow, divergence, key, "bits_per_dim")
    transform = flow.transform
    require(
        hasattr(transform, "log_jacobian"),
        "the flow's transform must be callable as (x, key) and have log_jacobian(D): use "
        "densityguide.data.transforms.Dequantise",
    )
    levels = getattr(transform, "levels", None)
    if levels is not None:
        known = concrete(images)
        require(
            known is None or not known.size or bool((known >= 0).all() and known.max() < levels),
            f"images must hold integers from 0 to {levels - 1}, the model's levels, got "
            + ("" if known is None or not known.size else f"{known.min()} to {known.max()}"),
        )

    def once(image: Array, key: Array) -> tuple[Array, ...]:
        key_image, key_trace = jax.random.split(key)
        x = transform(image, key_image)
        out = log_density(flow, x, divergence=divergence, key=key_trace, **options)
        nats = out.value + transform.log_jacobian(flow.size)
        bits = -nats / (flow.size * jnp.log(2.0))
        return bits, out.status, out.evaluations, out.tangents

    def one(args: tuple[Array, Array]) -> tuple[Array, ...]:
        image, key = args
        value, status, *costs = jax.vmap(once, in_axes=(None, 0))(
            image, jax.random.split(key, draws)
        )
        error = jnp.std(value, ddof=1) / draws**0.5
        status = jnp.bitwise_or.reduce(status)
        if levels is not None:
            pixels = image.astype(jnp.int32)  # 256 does not fit in uint8
            fine = jnp.all((pixels >= 0) & (pixels < levels))
            status |= jnp.where(fine, 0, int(Status.INVALID))
        return jnp.mean(value), error, status, *(jnp.sum(cost) for cost in costs)

    keys = jax.random.split(key, images.shape[0])
    value, error, status, *costs = jax.lax.map(one, (images, keys))
    return BitsPerDim(value, error, status, tracking.noise_level(flow), *costs)
