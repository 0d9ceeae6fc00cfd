"""Prior guidance: scale the latent."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaincc
from jax.typing import ArrayLike

from densityguide.checks import concrete, number, require, state, verb
from densityguide.flow import priors, spaces
from densityguide.flow.flow import Flow, require_flow

__all__ = ["chi_quantile", "rescale", "student_radius"]


@verb
def rescale(
    flow: Flow, latent: Array, q: ArrayLike | None = None, *, factor: ArrayLike | None = None
) -> Array:
    """Prior guidance (Karczewski et al., ICML 2025, section 3): scale a latent.

    With ``q`` the norm becomes ``sigma_T r``, ``r`` the chi_d quantile of ``1 - q`` (of Student's t
    that of its own radius, ``r^2 / d ~ F(d, degrees)``), d the dimensions that count: larger q,
    smaller norm, larger log p_T, and larger log p_0 where score alignment holds. ``factor``
    multiplies the latent instead.

    Raises:
        ValueError: both or neither given, q outside (0, 1), or a prior that is not isotropic, as a
            box or a mixture (only ``factor`` makes sense there), or a sphere or torus.
    """
    require_flow(flow, "rescale")
    spaces.require_linear(flow.space, "prior guidance needs latents of all lengths")
    x = flow.place(state(latent, flow.shape, "latent"))
    require((q is None) != (factor is None), "rescale takes q or factor=, exactly one of them")
    if factor is not None:
        return x * number(factor, "factor").astype(x.dtype)
    known = concrete(q)
    require(
        known is None or bool(((known > 0) & (known < 1)).all()), f"q must lie in (0, 1), got {q}"
    )
    above = number(q, "q")
    if isinstance(flow.prior, priors.Student):
        radius = student_radius(above, flow.dimensions, flow.prior.degrees)
    else:
        require(
            isinstance(flow.prior, priors.Normal),
            "rescale by q needs an isotropic prior, priors.normal or student: pass factor= instead",
        )
        radius = chi_quantile(1.0 - above, flow.dimensions)
    return (x * (flow.prior.scale * radius / jnp.linalg.norm(x))).astype(x.dtype)


def student_radius(above: Array, size: ArrayLike, degrees: Array) -> Array:
    """Radius that an isotropic Student t of unit scale in ``size`` dimensions exceeds with
    probability ``above``: ``v = degrees / (degrees + r^2)`` is Beta(degrees / 2, size / 2)."""
    half = 0.5 * degrees, 0.5 * jnp.asarray(size, above.dtype)

    def bisect(ends: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = ends
        middle = 0.5 * (low + high)
        short = jax.scipy.special.betainc(*half, jax.nn.sigmoid(middle)) < above
        return (jnp.where(short, middle, low), jnp.where(short, high, middle)), None

    edge = jnp.full_like(above, 60.0)  # of logit v
    (low, high), _ = jax.lax.scan(bisect, (-edge, edge), None, length=60)
    return jnp.sqrt(degrees * jnp.exp(-0.5 * (low + high)))


def chi_quantile(p: Array, size: Any) -> Array:
    """Quantile of the norm of a standard normal in ``size`` dimensions."""
    # Wilson and Hilferty (1931) start, then Newton on the regularised gamma function.
    z = jax.scipy.special.ndtri(p)
    shape = 2.0 / (9.0 * size)
    start = size * (1.0 - shape + z * shape**0.5) ** 3
    # The distribution is at most (value / 2)^(size / 2) / gamma(size / 2 + 1): a lower bound.
    least = (jnp.log(p) + jax.scipy.special.gammaln(0.5 * size + 1.0)) * (2.0 / size)
    start = jnp.maximum(start, 2.0 * jnp.exp(least))

    def newton(value: Array, _: None) -> tuple[Array, None]:
        half = 0.5 * value
        log_pdf = (0.5 * size - 1) * jnp.log(half) - half - jax.scipy.special.gammaln(0.5 * size)
        excess = (1.0 - gammaincc(0.5 * size, half)) - p
        step = excess / (0.5 * jnp.exp(log_pdf))
        return value - jnp.clip(step, -0.5 * value, 0.5 * value), None

    value, _ = jax.lax.scan(
        newton, start, None, length=8 if not isinstance(size, int) or size < 1000 else 2
    )
    return jnp.sqrt(value)
