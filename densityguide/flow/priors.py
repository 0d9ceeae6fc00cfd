"""Priors: what a flow starts from.

A prior is any pytree with ``sample(key) -> x`` and ``log_prob(x) -> nats`` (a frozen dataclass
under ``jax.tree_util.register_dataclass``, say); its score is taken by autodiff. ``normal`` is
the one that Gaussian paths use. On a space (`densityguide.spaces`) a prior is a density there, in
the d dimensions of the space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import require
from densityguide.flow.densities import (
    Mixture,
    Normal,
    Sphere,
    Student,
    Torus,
    Uniform,
    mixture,
    normal,
    sphere,
    student,
    torus,
    uniform,
)
from densityguide.flow.spaces import Space

__all__ = ["Mixture", "Normal", "Prior", "Sphere", "Student", "Torus", "Uniform", "check"]
__all__ += ["is_flat", "mixture", "normal", "on", "score", "sphere", "student", "torus", "uniform"]

_OURS = (Mixture, Normal, Sphere, Student, Torus, Uniform)
_FLAT = (Sphere, Torus, Uniform)


@runtime_checkable
class Prior(Protocol):
    """What a flow needs from its prior."""

    def sample(self, key: Array) -> Array: ...

    def log_prob(self, x: Array) -> Array: ...


def on(prior: Any, space: Space | None) -> Any:
    """The prior as a density on ``space``; one's own is taken for that already.

    The normal and Student's t are projected to any linear space; the uniform and the mixture, whose
    entries are independent, to one that only masks; the sphere and the torus have theirs.

    Raises:
        ValueError: a prior of this module without a closed form on the space.
    """
    if not isinstance(prior, _OURS):
        return prior
    moved = prior.on(space)
    where = "R^D (no space=)" if space is None else f"the {type(space).__name__.lower()} space"
    require(
        moved is not None,
        f"the {type(prior).__name__.lower()} prior has no closed form on {where}: normal and "
        "student fit linear spaces, uniform and mixture masks, sphere and torus their own",
    )
    return moved


def is_flat(prior: Any) -> bool:
    """Whether the prior is one of this module whose density is constant: its score is 0."""
    return isinstance(prior, _FLAT)


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
