"""Prior guidance: scale the latent."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaincc
from jax.typing import ArrayLike

from densityguide.checks import concrete, number, require, state, verb
from densityguide.flow import priors
from densityguide.flow.flow import Flow, require_flow

__all__ = ["chi_quantile", "rescale"]


@verb
def rescale(
    flow: Flow, latent: Array, q: ArrayLike | None = None, *, factor: ArrayLike | None = None
) -> Array:
    """Prior guidance (Karczewski et al., ICML 2025, section 3): scale a latent.

    With ``q`` the norm becomes ``sigma_T r``, ``r`` the chi_D quantile of ``1 - q``: larger q,
    smaller norm, larger log p_T, and larger log p_0 where score alignment holds. ``factor``
    multiplies the latent instead.

    Raises:
        ValueError: both or neither given, q outside (0, 1), or a prior that is not the
            isotropic normal (only ``factor`` makes sense there).
    """
    require_flow(flow, "rescale")
    x = state(latent, flow.shape, "latent")
    require((q is None) != (factor is None), "rescale takes q or factor=, exactly one of them")
    if factor is not None:
        return x * number(factor, "factor").astype(x.dtype)
    known = concrete(q)
    require(
        known is None or bool(((known > 0) & (known < 1)).all()), f"q must lie in (0, 1), got {q}"
    )
    require(
        isinstance(flow.prior, priors.Normal),
        "rescale by q needs the isotropic normal prior: pass factor= instead",
    )
    radius = chi_quantile(1.0 - number(q, "q"), flow.size)
    return (x * (flow.prior.scale * radius / jnp.linalg.norm(x))).astype(x.dtype)


def chi_quantile(p: Array, size: int) -> Array:
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

    value, _ = jax.lax.scan(newton, start, None, length=8 if size < 1000 else 2)
    return jnp.sqrt(value)
