"""Checks of use: made before tracing, each ending in one clear line.

A message says what was expected, what was given, and what to do. Traced values cannot be
checked here; where they matter a verb reports them in its ``status`` instead.
"""

from __future__ import annotations

import operator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["StorageError", "concrete", "count", "floating", "number", "present", "random_key"]
__all__ += ["require", "scalar", "shape_of", "state"]


T = TypeVar("T")


class StorageError(Exception):
    """The place to write to is full or cannot be written."""


def require(condition: bool, message: str) -> None:
    """Raise ``ValueError(message)`` unless ``condition``."""
    if not condition:
        raise ValueError(message)


def present(value: T | None) -> T:
    """A value that an earlier check has made sure of, as a type checker cannot see."""
    assert value is not None
    return value


def concrete(value: Any) -> np.ndarray | None:
    """The value as NumPy if it is known before tracing, else None."""
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))
    return None if traced else np.asarray(value)


def number(value: Any, name: str) -> Array:
    """A real scalar or array as a JAX array of the default float type.

    Python, NumPy and JAX scalars of every width end as one type, so that none recompiles.
    """
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError):
        array = None
    if array is None or jnp.issubdtype(array.dtype, jnp.complexfloating) or array.dtype == bool:
        raise ValueError(f"{name} must be a real number, got {value!r}: pass a float")
    # An explicit convert keeps weak and strong types from giving two traces.
    return jax.lax.convert_element_type(array, jnp.result_type(float))


def random_key(value: Any, needed: str) -> None:
    """ValueError unless this is one random key, typed or raw; for None the message ``needed``."""
    require(value is not None, needed)
    dtype, rank = getattr(value, "dtype", None), getattr(value, "ndim", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and rank == 0
    given = repr(value) if dtype is None else f"{dtype} of shape {value.shape}"
    require(
        typed or (dtype == jnp.uint32 and rank == 1),
        f"key must be one random key, got {given}: pass jax.random.key(0), use jax.vmap for many",
    )


def scalar(value: Any, name: str) -> Array:
    """One number; sweeping is ``jax.vmap``'s business. If known it must not be nan."""
    array = number(value, name)
    if array.ndim:
        raise ValueError(f"{name} must be one number, got shape {array.shape}: sweep with jax.vmap")
    known = concrete(array)
    if known is not None and np.isnan(known):
        raise ValueError(f"{name} must be a number, got nan")
    return array


def count(value: Any, least: int, name: str) -> int:
    """A static integer of at least ``least``; NumPy's integers will do."""
    try:
        if isinstance(value, bool):
            raise TypeError
        whole = operator.index(value)
    except TypeError:
        whole = least - 1
    if whole < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return whole


def shape_of(value: Any, name: str) -> tuple[int, ...]:
    """A static shape: any sequence of positive integers."""
    try:
        shape = tuple(operator.index(size) for size in value)
    except TypeError:
        shape = (0,)
    if min(shape, default=1) < 1:
        raise ValueError(
            f"{name} must be a tuple of positive integers, got {value!r}: e.g. (2,) or (32, 32, 3)"
        )
    return shape


def floating(value: Any, name: str, what: str) -> Array:
    """An array of floats, at least JAX's default float type; integer arrays are refused."""
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} must be a float array, got {array.dtype}: {what}")
    # One dtype for state, times and log p: a solver's loop cannot change it on the way.
    return array.astype(jnp.promote_types(array.dtype, jnp.result_type(float)))


def state(value: Any, shape: tuple[int, ...], name: str) -> Array:
    """One sample: a float array of the flow's shape."""
    array = floating(value, name, "convert it to the scale of the model first")
    if array.shape != shape:
        hint = "use jax.vmap for a batch" if array.ndim > len(shape) else "pass one sample"
        raise ValueError(f"{name} must have the flow's shape {shape}, got {array.shape}: {hint}")
    return array
