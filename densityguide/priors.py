"""Priors: what a flow starts from.

A prior is anything with ``sample(key) -> x`` and ``log_prob(x) -> nats``; its score is taken by
autodiff. ``normal`` is the one that Gaussian paths use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, pi, prod
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide.errors import number, require

__all__ = ["Normal", "Prior", "normal", "score"]


@runtime_checkable
class Prior(Protocol):
    """What a flow needs of its prior."""

    def sample(self, key: Array) -> Array: ...

    def log_prob(self, x: Array) -> Array: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Normal:
    """N(0, scale^2 I) over arrays of one shape."""

    scale: Array
    shape: tuple[int, ...] = field(metadata={"static": True})

    def sample(self, key: Array) -> Array:
        return self.scale * jax.random.normal(key, self.shape, jnp.result_type(float))

    def log_prob(self, x: Array) -> Array:
        # Scaling x first: in float32 the square of a large x would lose digits.
        z = x / self.scale
        size = prod(self.shape)
        return -0.5 * jnp.sum(z**2) - size * (jnp.log(self.scale) + 0.5 * log(2.0 * pi))


def normal(shape: tuple[int, ...], scale: ArrayLike = 1.0) -> Normal:
    """The isotropic centred normal prior; ``scale`` is its standard deviation (not variance)."""
    return Normal(number(scale, "scale"), tuple(shape))


def score(prior: Prior, x: Array) -> Array:
    """Gradient of the prior's log-density, shaped like ``x``."""
    return jax.grad(prior.log_prob)(x)


def check(prior: Prior) -> None:
    """Raise unless the object can sample and give its log-density."""
    require(
        isinstance(prior, Prior),
        f"prior must have sample(key) and log_prob(x), got {type(prior).__name__}: "
        "use densityguide.priors.normal(shape) or wrap yours",
    )
