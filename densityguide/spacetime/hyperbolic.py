"""Where the distance has a closed form: isotropic Gaussian denoising distributions.

``N(m, t^2 I)`` with ``ds^2 = (|dm|^2 + 2 D dt^2) / t^2`` is hyperbolic space of curvature
``-1 / (2 D)``. Every flow looks like it at low noise (``m = y``, ``t = e^(-lambda / 2)``), and for
data N(c, v I) it is exact, with ``t^-2 = nu + 1 / v`` and ``m = t^2 (nu y + c / v)``.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, require, scalar
from densityguide.spacetime.point import Point

__all__ = ["arc", "distance", "gaussian_distance", "separation"]


def separation(gap: Array, t_a: Array, t_b: Array, size: int) -> Array:
    """``arcosh(1 + (|gap|^2 / 2 D + (t_a - t_b)^2) / (2 t_a t_b))``, gap = m_a - m_b."""
    excess = (jnp.sum(gap**2) / (2 * size) + (t_a - t_b) ** 2) / (2.0 * t_a * t_b)
    # arcosh(1 + e) without the rounding of 1 + e.
    return jnp.log1p(excess + jnp.sqrt(excess * (excess + 2.0)))


def distance(m_a: Array, t_a: Array, m_b: Array, t_b: Array) -> Array:
    """Distance ``sqrt(2 D)`` times `separation` of N(m_a, t_a^2 I) and N(m_b, t_b^2 I)."""
    return (2.0 * m_a.size) ** 0.5 * separation(m_a - m_b, t_a, t_b, m_a.size)


def gaussian_distance(a: Point, b: Point, mean: ArrayLike, variance: ArrayLike) -> Array:
    """The distance of two points if data are N(mean, variance I), in closed form.

    Only ``t < sqrt(variance)`` exists: a geodesic that would rise above touches the noise end,
    and there this is a lower bound.

    Raises:
        ValueError: arrays for points, or a variance that is not positive.
    """
    for p in (a, b):
        require(
            isinstance(p, Point),
            f"gaussian_distance takes points, got {type(p).__name__}: make one with "
            "spacetime.point",
        )
    v = scalar(variance, "variance")
    known = concrete(v)
    require(known is None or bool(known > 0), f"variance must be positive, got {variance}")

    def at(p: Point) -> tuple[Array, Array]:
        nu = jnp.exp(p.log_snr)
        t = jnp.sqrt(1.0 / (nu + 1.0 / v))
        return t**2 * (nu * p.y + mean / v), t

    (m_a, t_a), (m_b, t_b) = at(a), at(b)
    return distance(m_a, t_a, m_b, t_b)


def arc(a: Point, b: Point, segments: int) -> tuple[Array, Array]:
    """The geodesic of hyperbolic space between two points at constant speed, as shares of the way
    from ``a.y`` to ``b.y`` and log-SNRs, [segments + 1] each: no evaluation of a flow.

    On the hyperboloid a geodesic is ``(sinh((1 - s) r) X_a + sinh(s r) X_b) / sinh r``, in which
    1 / t and m / t are linear, so both follow from two weights.
    """
    t_a, t_b = jnp.exp(-0.5 * a.log_snr), jnp.exp(-0.5 * b.log_snr)
    r = separation(a.y - b.y, t_a, t_b, a.y.size)
    s = jnp.linspace(0.0, 1.0, segments + 1, dtype=a.y.dtype)
    r = jnp.maximum(r, 1e-3)  # below that straight lines are the same to rounding

    def weight(s: Array) -> Array:
        # sinh(s r) / sinh(r) without overflow.
        return jnp.exp((s - 1.0) * r) * jnp.expm1(-2.0 * s * r) / jnp.expm1(-2.0 * r)

    from_a, from_b = weight(1.0 - s) / t_a, weight(s) / t_b
    total = from_a + from_b
    level = 2.0 * jnp.log(total)
    share = from_b / total
    # The ends as given, not as rounded.
    ends = jnp.stack([a.log_snr, b.log_snr])
    return share.at[jnp.asarray([0, -1])].set(jnp.asarray([0.0, 1.0], share.dtype)), level.at[
        jnp.asarray([0, -1])
    ].set(ends)
