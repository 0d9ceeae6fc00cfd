"""The limit of a correction near modes, where |s| tends to 0."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

__all__ = ["limit"]


def limit(requested: Array, natural: Array, cap: Array) -> Array:
    """Requested rate limited to ``cap * natural``: exact up to half of that, then a tanh with
    two continuous derivatives, so a solver keeps its order."""
    tiny = jnp.finfo(natural.dtype).tiny ** 0.5
    ratio = requested / jnp.maximum(natural, tiny)
    half = jnp.minimum(0.5 * cap, 1e6)  # finite, so that no inf * 0 reaches a gradient
    beyond = jnp.maximum(jnp.abs(ratio) - half, 0.0)
    inside = jnp.clip(ratio, -half, half)
    limited = natural * (inside + jnp.sign(ratio) * half * jnp.tanh(beyond / half))
    # Below half the cap return the request itself: unmet is then exactly zero.
    return jnp.where(beyond > 0, limited, requested)
