"""Deformations of a curve with fixed ends, in coordinates in which energies are round.

A curve is a start plus a sum of sines. In coefficients divided by the root of the discrete
Laplacian the energy of a straight line has the same curvature along every sine, and with ``y``
scaled by tau = e^(-lambda / 2) and log-SNR by sqrt(2 / D) that is about 1: gradient steps of
length 1 are right from the first on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import require
from densityguide.spacetime import hyperbolic
from densityguide.spacetime.point import Point

__all__ = ["Span", "bend", "check_span", "sines", "start"]

Span = Literal["plane", "free"]


def check_span(span: Any) -> None:
    """ValueError unless it is one of `Span`."""
    require(
        span in get_args(Span),
        f"span must be 'plane' (y stays on the line through the ends) or 'free', got {span!r}",
    )


def sines(segments: int) -> np.ndarray:
    """[n - 1, n - 1]: column k is sine k at the inner points, over the root of n times its
    eigenvalue ``4 sin^2(pi k / 2 n)`` of the discrete Laplacian."""
    k = np.arange(1, segments)
    waves = np.sqrt(2.0 / segments) * np.sin(np.pi * np.outer(k, k) / segments)
    return waves / (2.0 * segments**0.5 * np.sin(0.5 * np.pi * k / segments))


def start(a: Point, b: Point, segments: int, span: Span) -> Any:
    """No deformation: coefficients of the shares of the way (or of y) and of log-SNR."""
    inner = segments - 1
    across = (inner,) if span == "plane" else (inner, *a.y.shape)
    return jnp.zeros(across, a.y.dtype), jnp.zeros((inner,), a.y.dtype)


def bend(
    a: Point, b: Point, segments: int, span: Span, ends: tuple[Array, Array]
) -> Callable[[Any], Point]:
    """``coefficients -> inner points`` [n - 1] of a curve that starts as the hyperbolic arc.

    ``plane``: y on the line through ``a.y`` and ``b.y``. ``ends``: the range in which log-SNR is
    kept; below it lies the noise end, where this chart stops.
    """
    shares, levels = (values[1:-1] for values in hyperbolic.arc(a, b, segments))
    waves = jnp.asarray(sines(segments), a.y.dtype)
    tau = jnp.exp(-0.5 * levels)
    gap = b.y - a.y
    norm = jnp.linalg.norm(gap)
    wide = (-1,) + (1,) * a.y.ndim
    # Where the ends share their y, the curve has only log-SNR to change.
    unit = jnp.where(norm > 0, tau / jnp.where(norm > 0, norm, 1.0), 0.0)

    def curve(coefficients: Any) -> Point:
        across, up = coefficients
        level = levels + (2.0 / a.y.size) ** 0.5 * (waves @ up)
        level = jnp.clip(level, ends[0].astype(level.dtype), ends[1].astype(level.dtype))
        if span == "plane":
            share = shares + unit * (waves @ across)
            return Point(a.y + share.reshape(wide) * gap, level)
        y = a.y + shares.reshape(wide) * gap
        return Point(y + tau.reshape(wide) * jnp.tensordot(waves, across, 1), level)

    return curve
