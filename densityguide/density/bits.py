"""Bits per dimension of integer images."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, count, random_key, require, state, verb
from densityguide.density import streams
from densityguide.density.error_bar import of_replicates
from densityguide.density.log_density import encode
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import Adjoint, Choices, Grid, Status

__all__ = ["BitsPerDim", "bits_per_dim", "nats"]


class BitsPerDim(NamedTuple):
    """Bits per dimension of each image [n]; ``standard_error`` [n] over dequantisation draws and
    trace probes together, ``solver_error`` [n] the mean of the solves' own estimates,
    ``total_error`` [n] the half-width of a 95 % interval of both; status [n], the noise level of
    the density, and the cost: evaluations and tangents [n] of all draws."""

    value: Array
    standard_error: Array
    degrees_of_freedom: Array
    solver_error: Array
    total_error: Array
    status: Array
    noise_level: Array
    evaluations: Array
    tangents: Array


def nats(flow: Flow, bits_per_dim: ArrayLike) -> Array:
    """A difference of log p in nats, from one in bits per dimension: ``bits D ln 2``."""
    require_flow(flow, "nats")
    return jnp.asarray(bits_per_dim) * flow.dimensions * jnp.log(2.0)


@verb
def bits_per_dim(
    flow: Flow,
    images: Array,
    key: Array,
    *,
    draws: int = 4,
    divergence: Trace | Auto = "auto",
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    log_density_atol: ArrayLike | None = None,
    max_steps: int | None = None,
    adjoint: Adjoint = "reverse",
) -> BitsPerDim:
    """Bits per dimension of integer images [n, *shape] through the flow's declared transform.

    Uniform dequantisation gives the lower bound ``log P(image) >= E_u log p(T(image + u)) +
    log |T'|`` (Theis et al., ICLR 2016), averaged over ``draws`` of u; bits/dim is
    ``-log_2 P / D`` of that bound. No other constant enters.

    Args:
        steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint: of each solve, see
            `densityguide.solve.plan`.

    Raises:
        ValueError: no transform declared, images that are not integers or of another shape,
            fewer than 2 draws (one has no error bar).
    """
    require_flow(flow, "bits_per_dim")
    images, levels = _checked(flow, images)
    transform = flow.transform
    draws = count(draws, 2, "draws")
    random_key(key, "bits_per_dim needs key=: dequantisation is random")
    trace = streams.required(flow, divergence, key, "bits_per_dim")
    choices = Choices(steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint)

    def once(image: Array, key: Array) -> tuple[Array, ...]:
        key_image, key_trace = jax.random.split(key)
        x = transform(image, key_image)
        x = state(x, flow.shape, "the transformed image")
        out = encode(flow, x, trace, key_trace, choices)
        bit = nats(flow, 1.0)
        log_image = out.value + transform.log_jacobian(flow.dimensions)
        return -log_image / bit, out.solver_error / bit, out.status, out.evaluations, out.tangents

    def one(args: tuple[Array, Array]) -> tuple[Any, ...]:
        image, key = args
        value, solver_error, status, *costs = jax.vmap(once, in_axes=(None, 0))(
            image, jax.random.split(key, draws)
        )
        bar = of_replicates(value, jnp.mean(solver_error))
        status = jnp.bitwise_or.reduce(status)
        if levels is not None:
            pixels = image.astype(jnp.int32)  # 256 does not fit in uint8
            fine = jnp.all((pixels >= 0) & (pixels < levels))
            status |= jnp.where(fine, 0, int(Status.INVALID))
        return jnp.mean(value), bar, status, *(jnp.sum(cost) for cost in costs)

    keys = jax.random.split(key, images.shape[0])
    value, bar, status, *costs = jax.lax.map(one, (images, keys))
    evaluations, tangents = costs
    return BitsPerDim(
        value,
        **bar._asdict(),
        status=status,
        noise_level=flow.noise_level(),
        evaluations=evaluations,
        tangents=tangents,
    )


def _checked(flow: Flow, images: Array) -> tuple[Array, int | None]:
    """The images as an array, and the levels of the flow's transform."""
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
    return images, levels
