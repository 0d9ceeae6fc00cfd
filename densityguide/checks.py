"""Checks of use: made before tracing, each ending in one clear line.

A message says what was expected, what was given, and what to do. Traced values cannot be
checked here; where they matter a verb reports them in its ``status`` instead.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import operator
from collections.abc import Callable, Iterable
from math import prod
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["concrete", "count", "floating", "nearest", "number", "present", "random_key"]
__all__ += ["require", "scalar", "shape_of", "state", "verb", "verb_but"]


T = TypeVar("T")
P = ParamSpec("P")

# Options that people look for in the wrong place, and where they are.
_BELONGS = {
    "cap": "it belongs to the guidance: densityguide.quantile(q, cap=...)",
    "gain": "it belongs to the guidance: densityguide.target(log_p, gain=...)",
    "form": "it belongs to the noise: densityguide.noise.constant(level, form=...)",
    "probes": "it belongs to the trace: divergence=densityguide.hutchinson(probes)",
    "chunk": "it belongs to the trace: divergence=densityguide.exact(chunk=...)",
}


def require(condition: bool, message: str) -> None:
    """Raise ``ValueError(message)`` unless ``condition``."""
    if not condition:
        raise ValueError(message)


def nearest(name: str, known: Iterable[str]) -> str:
    """``"did you mean 'steps'?"``, or the whole list if nothing in it is near."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, 1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names)}"


def verb(function: Callable[P, T]) -> Callable[P, T]:
    """The function itself, with a misspelt option refused in one line.

    Only the names of the keywords are looked at, in Python: nothing is added to what is traced.
    Name, docstring, signature and types stay; the bare function is ``verb(f).__wrapped__``.

    Raises:
        ValueError: from the wrapped function, for a keyword that it does not have, with the nearest
            of those it has, or with the place where the option belongs.
    """
    return _refusing(function, _BELONGS)


def verb_but(**hints: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """As `verb`, with hints of the function's own for names that are not options:
    ``@verb_but(path="build the flow anew")``."""
    return lambda function: _refusing(function, _BELONGS | hints)


def _refusing(function: Callable[P, T], hints: dict[str, str]) -> Callable[P, T]:
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    known = frozenset(p.name for p in named)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    # Options first: they are what a list of the choices should hold.
    options = [p.name for p in named if p.kind is p.KEYWORD_ONLY] or [p.name for p in named]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if name not in known and not takes_all:
                hint = hints.get(name) or nearest(name, options)
                raise ValueError(f"{function.__name__} has no option {name!r}: {hint}")
        return function(*args, **kwargs)

    return checked


def present(value: T | None) -> T:
    """A value that an earlier check has found not to be None, which a type checker cannot see."""
    assert value is not None
    return value


def concrete(value: Any) -> np.ndarray | None:
    """The value as NumPy if it is known before tracing, else None; ValueError for what is known to
    be no number, a text say."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
        return None
    known = np.asarray(value)
    require(known.dtype.kind not in "OSU", f"expected a number, got {value!r:.80}: pass a float")
    return known


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
    if _is_key(value):
        raise ValueError(
            f"{name} must be one sample of shape {shape}, got a random key: make a latent of it "
            "with densityguide.latent(flow, key)"
        )
    array = floating(
        value,
        name,
        "bring it to the scale of the model first, pictures with flow.transform(x, key) or "
        "densityguide.data.Dequantise(256)",
    )
    if array.shape != shape:
        hint = _shape_hint(array.shape, shape)
        raise ValueError(f"{name} must have the flow's shape {shape}, got {array.shape}: {hint}")
    return array


def _is_key(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    return typed or (dtype == jnp.uint32 and getattr(value, "shape", None) == (2,))


def _shape_hint(given: tuple[int, ...], shape: tuple[int, ...]) -> str:
    if len(shape) > 1 and given == (shape[-1], *shape[:-1]):
        return "channels come last, see jnp.moveaxis(x, 0, -1)"
    if len(given) > len(shape):
        return "use jax.vmap for a batch"
    if prod(given) == prod(shape):
        return f"reshape it to {shape}"
    return "pass one sample"
