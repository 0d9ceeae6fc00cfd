"""The Fisher-Rao metric at one point."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import require
from densityguide.density.trace import exact
from densityguide.flow.flow import Flow
from densityguide.spacetime.family import matmuls, moments, natural
from densityguide.spacetime.point import Point, check_flow, check_point

__all__ = ["metric"]


def metric(flow: Flow, at: Point) -> Array:
    """``g = J_eta^T J_mu`` [D + 1, D + 1] in the chart (y, log-SNR), for small flows.

    In it ``ds^2 = d eta . d mu = Var(d eta . T)`` [ST, Eq. 32], the same for every path::

        g_yy = nu Cov(eps | x),    g_yl = sqrt(nu) Cov(eps, |eps|^2) / 2,    g_ll = Var(|eps|^2) / 4

    It is symmetric and positive definite for exact denoising distributions. For a network it need
    be neither, and how far it is from both says how far the network is from a posterior.

    Raises:
        ValueError: a flow without a path or with a classifier-free mixture, a point that does not
            fit, D above 256 (it takes D traces).
    """
    verb = "spacetime.metric"
    check_flow(flow, verb)
    at = check_point(flow, at, verb)
    require(flow.is_small, f"{verb} takes D traces and is for D up to 256, got D = {flow.size}")
    return _metric(flow, at)


@partial(jax.jit)
def _metric(flow: Flow, at: Point) -> Array:
    def chart(z: Array) -> Point:
        return Point(z[:-1].reshape(flow.shape), z[-1])

    def eta(z: Array) -> Array:
        y, last = natural(chart(z))
        return jnp.append(y.ravel(), last)

    # T centred on the mean, which no divergence notices: |m|^2 drops out to first order.
    centre = moments(flow, at, exact(), None).mean

    def mu(z: Array) -> Array:
        found = moments(flow, chart(z), exact(), None)
        offset = found.mean - centre
        trace = found.noise[0] * jnp.exp(-z[-1])
        return jnp.append(offset.ravel(), jnp.sum(offset**2) + trace)

    def centred(z: Array) -> Array:
        nu = jnp.exp(z[-1])
        return eta(z) - jnp.append(nu * centre.ravel(), 0.0)

    z = jnp.append(at.y.ravel(), at.log_snr)
    with matmuls():
        return jax.jacfwd(centred)(z).T @ jax.jacfwd(mu)(z)
