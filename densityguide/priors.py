"""Priors: what a flow starts from.

A prior is any pytree with ``sample(key) -> x`` and ``log_prob(x) -> nats`` (a frozen dataclass
under ``jax.tree_util.register_dataclass``, say); its score is taken by autodiff. ``normal`` is
the one that Gaussian paths use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, pi, prod
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.errors import concrete, number, require, shape_of

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
    known = concrete(scale)
    require(known is None or bool((known > 0).all()), f"scale must be positive, got {scale}")
    return Normal(number(scale, "scale"), shape_of(shape, "shape"))


def score(prior: Prior, x: Array) -> Array:
    """Gradient of the prior's log-density, shaped like ``x``."""
    return jax.grad(prior.log_prob)(x)


def check(prior: Prior) -> None:
    """Raise unless the object can sample, give its log-density and enter a compiled program."""
    require(
        isinstance(prior, Prior),
        f"prior must have sample(key) and log_prob(x), got {type(prior).__name__}: "
        "use densityguide.priors.normal(shape) or wrap yours",
    )
    require(
        all(hasattr(leaf, "dtype") or np.isscalar(leaf) for leaf in jax.tree.leaves(prior)),
        f"prior must be a pytree, {type(prior).__name__} is not registered as one: decorate it "
        "with jax.tree_util.register_dataclass (or register_static, if it holds no arrays)",
    )
