"""Networks as users have them, called as the house calls them: one sample, channels last."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.errors import number, require
from densityguide.frameworks import unpack
from densityguide.paths import Path

__all__ = ["Conditioned", "Network", "ShapeError", "alike", "check_edm", "connect", "edm"]
__all__ += ["preconditioned"]


class Conditioned(NamedTuple):
    """Weights, and what the network is told beside x and t: a class, a text embedding, any
    pytree of ONE sample."""

    weights: Any
    condition: Any


class ShapeError(ValueError):
    """An output of another shape than the input, told apart from a network's own errors."""


@dataclass(frozen=True)
class Network:
    """``(params, x, t) -> output`` for one sample with channels last; compared by value."""

    function: Callable[..., Array]
    with_params: bool
    conditioned: bool = False
    batched: bool = False
    channels_first: bool = False
    name: str = "network"

    def __call__(self, params: Any, x: Array, t: Array) -> Array:
        shape = x.shape
        after: tuple[Any, ...] = ()
        if self.conditioned:
            params, condition = params
            after = (condition,)
        if self.channels_first:
            x = jnp.moveaxis(x, -1, 0)
        args = (x, jnp.asarray(t), *after)
        if self.batched:
            args = jax.tree.map(lambda a: jnp.asarray(a)[None], args)
        out = self.function(params, *args) if self.with_params else self.function(*args)
        if self.batched:
            out = out[0]
        out = jnp.moveaxis(out, 0, -1) if self.channels_first else out
        # Where x is added to it, broadcasting would hide another shape.
        given = getattr(out, "shape", type(out).__name__)
        if given != shape:
            raise ShapeError(
                f"the {self.name} must return the shape of its input {shape}, got {given}: "
                "it should take one sample, or see batched="
            )
        return out


def connect(
    network: Any,
    params: Any,
    *,
    condition: Any = None,
    batched: bool = False,
    channels_first: bool = False,
    name: str = "apply",
) -> tuple[Network, Any]:
    """The network and the params of its flow (`Conditioned` if there is a condition)."""
    preconditioned = isinstance(network, _Edm)
    inner = network.network if preconditioned else network
    function, params = unpack(inner, params, name)
    with_params = params is not None
    if preconditioned:
        function = dataclasses.replace(network, network=function, with_params=with_params)
    conditioned = condition is not None
    if conditioned:
        params = Conditioned(params, alike(condition, condition, "condition"))
    return Network(function, with_params, conditioned, batched, channels_first), params


def alike(condition: Any, other: Any, name: str) -> Any:
    """``other`` as arrays in the structure of ``condition`` (the one entry of a dict may be given
    bare); ValueError if it does not fit."""
    if isinstance(condition, dict) and len(condition) == 1 and not isinstance(other, dict):
        other = dict.fromkeys(condition, other)

    def convert(a: Any, b: Any) -> Array:
        a, b = jnp.asarray(a), jnp.asarray(b)
        whole = jnp.issubdtype(a.dtype, jnp.integer)
        if whole and not jnp.issubdtype(b.dtype, jnp.integer):
            raise TypeError
        # With its dtype named no number is weakly typed, which would compile anew.
        return jax.lax.convert_element_type(b, a.dtype)

    try:
        other = jax.tree.map(convert, condition, other)
        fits = jax.tree.map(jnp.shape, condition) == jax.tree.map(jnp.shape, other)
    except (ValueError, TypeError):
        fits = False
    shapes = jax.tree.map(jnp.shape, condition)
    kinds = jax.tree.map(lambda a: str(jnp.asarray(a).dtype), condition)
    require(fits, f"{name} must look like the flow's condition, {kinds} of shape {shapes}")
    return other


def preconditioned(
    inner: Callable[[Array], Array], x: Array, sigma: Array, sigma_data: float
) -> Array:
    """``c_skip x + c_out inner(c_in x)`` at noise level ``sigma``; see `edm`."""
    total = jnp.sqrt(sigma**2 + sigma_data**2)
    return (sigma_data / total) ** 2 * x + sigma * sigma_data / total * inner(x / total)


@dataclass(frozen=True)
class _Edm:
    network: Any
    sigma_data: float
    with_params: bool = True

    def __call__(self, *args: Any) -> Array:
        params, (x, t, *after) = (args[:1], args[1:]) if self.with_params else ((), args)
        sigma = jnp.exp(4.0 * t)  # t = c_noise = log(sigma) / 4
        sigma = sigma.reshape(sigma.shape + (1,) * (x.ndim - sigma.ndim))
        inner = lambda x: self.network(*params, x, t, *after)  # noqa: E731
        return preconditioned(inner, x, sigma, self.sigma_data)


def edm(network: Any, sigma_data: float = 0.5) -> Any:
    """EDM's preconditioning around a raw network F (Karras et al., NeurIPS 2022, Table 1)::

        D(x; sigma) = c_skip x + c_out F(c_in x, c_noise),    c_noise = log(sigma) / 4,
        c_skip = sd^2 / (sigma^2 + sd^2),   c_out = sigma sd / sqrt(sigma^2 + sd^2),
        c_in = 1 / sqrt(sigma^2 + sd^2),    sd = sigma_data.

    Pass the result to ``diffusion`` with ``path=paths.variance_exploding()``,
    ``prediction="data"`` and ``clock=clocks.edm_noise``; a network that has these inside goes
    there as it is. ValueError unless sigma_data is a positive number.
    """
    known = number(sigma_data, "sigma_data")
    fine = known.ndim == 0 and bool((known > 0) & jnp.isfinite(known))
    require(fine, f"sigma_data must be a positive number, got {sigma_data}")
    return _Edm(network, float(sigma_data))


def check_edm(network: Any, path: Path, prediction: str) -> None:
    """ValueError where `edm` was put around a network of another path or prediction."""
    if isinstance(network, _Edm):
        require(
            path.name == "variance_exploding" and prediction == "data",
            "edm(...) predicts data on the variance exploding path, got "
            f"prediction={prediction!r} on {path.name}: pass "
            'path=densityguide.paths.variance_exploding() and prediction="data"',
        )
