"""Log p of single points from the flow itself, which a curve's own log p is held against."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from densityguide.checks import present
from densityguide.density.log_density import log_density
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow
from densityguide.spacetime.point import Point

__all__ = ["Reference", "known", "log_density_at"]


class Reference(NamedTuple):
    """Log p(y) of a point in nats, the density of y at its noise level, with its probes' error
    bar and its cost."""

    value: Array
    standard_error: Array
    degrees_of_freedom: Array
    evaluations: Array
    tangents: Array
    status: Array


def known(flow: Flow, at: Point) -> Reference:
    """The log p of a point of a world, in closed form."""
    alpha = present(flow.path).alpha(at.log_snr)
    value = flow.log_density(alpha * at.y, at.log_snr) + flow.size * jnp.log(alpha)
    zero, none = jnp.zeros((), value.dtype), jnp.zeros((), jnp.int32)
    return Reference(value, zero, zero + jnp.inf, none, none, none)


def log_density_at(flow: Flow, at: Point, trace: Trace, key: Array | None, steps: int) -> Reference:
    """Log p of a point by the closed form where there is one, else by one ODE solve from the
    point's own noise level to the prior."""
    if flow.density is not None:
        return known(flow, at)
    # log_density takes what lies at the data end of a flow: this one's ends at the point.
    ends = (flow.interval[0], at.log_snr.astype(flow.interval[0].dtype))
    out = log_density(flow.between(*ends), at.y, divergence=trace, key=key, steps=steps)
    return Reference(
        out.value,
        out.standard_error,
        out.degrees_of_freedom,
        out.evaluations,
        out.tangents,
        out.status,
    )
