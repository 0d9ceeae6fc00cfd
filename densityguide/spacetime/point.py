"""Points of spacetime: a place ``y`` on the data's scale, and a log-SNR.

A point names the denoising distribution ``p(x0 | x_lambda = alpha y)``. Its natural parameters are
``eta = (nu y, -nu / 2)`` with ``nu = e^lambda``, so ``(y, lambda)`` says all there is, and the
variance-preserving, the variance-exploding and the linear path are three labels of one manifold.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, floating, require, scalar, state
from densityguide.flow import spaces
from densityguide.flow.conditions import Mixed
from densityguide.flow.flow import Flow, require_flow

__all__ = ["Point", "check_flow", "check_pair", "check_point", "inside", "point"]


class Point(NamedTuple):
    """``y`` = x / alpha [*shape] on the data's scale and ``log_snr`` (), or a curve of n + 1 of
    them: [n + 1, *shape] and [n + 1]."""

    y: Array
    log_snr: Array


def check_flow(flow: Flow, verb: str) -> None:
    """ValueError unless the flow has denoising distributions: a Gaussian path, and a score that
    is that of one density."""
    require_flow(flow, verb)
    require(
        flow.path is not None,
        f"{verb} needs a Gaussian path, whose points have denoising distributions: build the flow "
        "with densityguide.diffusion",
    )
    spaces.require_none(flow.space, verb)
    require(
        flow.units is None,
        f"{verb} is in the network's own units: take flow.replace(standardise=None), and points of "
        "(x - mean) / std",
    )
    require(
        not isinstance(flow.params, Mixed),
        f"{verb} needs the score of one density, and no posterior has a classifier-free mixture: "
        "use the flow before classifier_free",
    )


def _in_range(flow: Flow, log_snr: Array, verb: str) -> None:
    known, low, high = (concrete(value) for value in (log_snr, *flow.interval))
    if known is None or low is None or high is None:
        return
    slack = 1e-5 * (1.0 + abs(high - low))
    require(
        bool(((known >= low - slack) & (known <= high + slack)).all()),
        f"{verb}: log_snr must lie in the flow's range {float(low):g} to {float(high):g}, got "
        f"{known.min():g} to {known.max():g}",
    )


def point(flow: Flow, x: Array, log_snr: ArrayLike) -> Point:
    """The point of ``x`` (on the data's scale, what `sample` returns) at a noise level.

    The denoising distribution there is that of the noised state ``alpha x``. Low noise is far from
    everything: each unit of log-SNR adds sqrt(D / 2) to every distance, so a distance is only
    comparable at the same ``log_snr``; 2 to 4 suits networks.

    Raises:
        ValueError: a flow without a path or with a classifier-free mixture, another shape, numbers
            that are not finite, ``log_snr`` outside the flow's range.
    """
    check_flow(flow, "spacetime.point")
    level = scalar(log_snr, "log_snr")
    _in_range(flow, level, "spacetime.point")
    y = state(x, flow.shape, "x")
    known = concrete(y)
    require(
        known is None or bool(np.isfinite(known).all()),
        "x must be finite, got nan or inf: look at how it was made",
    )
    return Point(y, level.astype(y.dtype))


def check_point(flow: Flow, value: Point, verb: str, *, curve: bool = False) -> Point:
    """The same point (or curve) as arrays of one float type; ValueError if it does not fit."""
    require(
        isinstance(value, Point),
        f"{verb} takes points, got {type(value).__name__}: make one with spacetime.point",
    )
    y = floating(value.y, "y", "make it with spacetime.point")
    level = jnp.asarray(value.log_snr, y.dtype)
    leading = 1 if curve else 0
    wanted = f"[n + 1, {', '.join(map(str, flow.shape))}]" if curve else f"{flow.shape}"
    require(
        y.ndim == len(flow.shape) + leading
        and y.shape[leading:] == flow.shape
        and level.shape == y.shape[:leading]
        and (not curve or y.shape[0] >= 2),
        f"{verb} takes y of shape {wanted} and one log_snr for each, got {y.shape} and "
        f"{level.shape}" + ("" if curve else ": use jax.vmap for many"),
    )
    _in_range(flow, level, verb)
    return Point(y, level)


def check_pair(flow: Flow, a: Point, b: Point, verb: str) -> tuple[Point, Point]:
    """Two different points; ValueError if they are known to be one."""
    check_flow(flow, verb)
    a, b = check_point(flow, a, verb), check_point(flow, b, verb)
    known = [concrete(part) for part in (*a, *b)]
    same = all(
        left is not None and right is not None and np.array_equal(left, right)
        for left, right in zip(known[:2], known[2:], strict=True)
    )
    require(not same, f"{verb} takes two different points, got one twice: their distance is 0")
    return a, b


def inside(flow: Flow, points: Point) -> Array:
    """Whether all of them are finite and inside the flow's range: what cannot be checked before
    tracing becomes a status."""
    low, high = flow.interval
    slack = 1e-4 * (1.0 + jnp.abs(high - low))
    level = points.log_snr
    fine = (level >= low - slack) & (level <= high + slack)
    return jnp.all(fine) & jnp.all(jnp.isfinite(points.y))
