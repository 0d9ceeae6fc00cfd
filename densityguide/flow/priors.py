"""Priors: what a flow starts from.

A prior is any pytree with ``sample(key) -> x`` and ``log_prob(x) -> nats`` (a frozen dataclass
under ``jax.tree_util.register_dataclass``, say); its score is taken by autodiff. ``normal`` is
the one that Gaussian paths use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log, pi, prod
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, number, require, shape_of, verb

__all__ = ["Normal", "Prior", "check", "normal", "score"]


@runtime_checkable
class Prior(Protocol):
    """What a flow needs from its prior."""

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


@verb
def normal(shape: tuple[int, ...], scale: ArrayLike = 1.0) -> Normal:
    """The isotropic centred normal prior; ``scale`` is its standard deviation (not variance)."""
    known = concrete(scale)
    require(known is None or bool((known > 0).all()), f"scale must be positive, got {scale}")
    return Normal(number(scale, "scale"), shape_of(shape, "shape"))


def score(prior: Prior, x: Array) -> Array:
    """Gradient of the prior's log-density, shaped like ``x``."""
    return jax.grad(prior.log_prob)(x)


def check(prior: Any, shape: tuple[int, ...]) -> Prior:
    """The prior itself; ValueError unless it is a pytree, samples ``shape`` and has one log-density
    a sample."""
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
    key = jax.eval_shape(jax.random.key, 0)
    x = _output("sample(key)", prior.sample, key)
    require(
        isinstance(x, jax.ShapeDtypeStruct) and jnp.issubdtype(x.dtype, jnp.floating),
        f"prior.sample must return a float array of shape {shape}, got {_shown(x)}",
    )
    require(
        x.shape == shape,
        f"prior.sample must return one sample of the flow's shape {shape}, got shape {x.shape}",
    )
    value = _output("log_prob(x)", prior.log_prob, x)
    require(
        getattr(value, "shape", None) == () and jnp.issubdtype(value.dtype, jnp.floating),
        f"prior.log_prob must return one number, got {_shown(value)}: sum over the dimensions",
    )
    return prior


def _output(name: str, function: Callable[..., Any], argument: Any) -> Any:
    try:
        return jax.eval_shape(function, argument)
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"prior.{name} failed on one sample ({line}): fix it first") from error


def _shown(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"shape {shape} of {value.dtype}"
