"""Networks as users have them, called on one sample with channels last."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import concrete, number, require, verb
from densityguide.flow import layouts
from densityguide.flow.clocks import edm_noise
from densityguide.flow.conditions import Conditioned, alike
from densityguide.flow.modules import framework_of, unpack
from densityguide.flow.paths import Path
from densityguide.flow.predictions import DATA, Kind

__all__ = ["Network", "ShapeError", "check_edm", "check_field", "connect", "edm"]
__all__ += ["preconditioned"]


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
    integer_times: bool = False
    learned_variance: bool = False
    name: str = "network"

    def __call__(self, params: Any, x: Array, t: Array) -> Array:
        if not self.integer_times:
            return self._at(params, x, t)
        # Of a table of times, both neighbours, and between them the straight line. At a whole time,
        # rounding aside, the upper one is that time: at the last no row beyond it is looked up.
        whole = jnp.round(t)
        near = jnp.abs(t - whole) <= 4.0 * jnp.finfo(t.dtype).eps * jnp.maximum(whole, 1.0)
        below = jnp.maximum(jnp.where(near, whole, jnp.ceil(t)) - 1.0, 0.0)
        low, high = (self._at(params, x, (below + n).astype(jnp.int32)) for n in (0, 1))
        share = (t - below).astype(low.dtype)
        return (1.0 - share) * low + share * high

    def _at(self, params: Any, x: Array, t: Array) -> Array:
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
        if self.batched and hasattr(out, "shape"):
            out = out[0]
        if self.channels_first and hasattr(out, "shape"):
            out = jnp.moveaxis(out, 0, -1)
        if self.learned_variance:
            out = self._first_half(out, shape)
        # Adding x to the output would hide another shape by broadcasting.
        given = getattr(out, "shape", type(out).__name__)
        if given != shape:
            raise ShapeError(
                f"the {self.name} must return the shape of its input {shape}, got {given}: "
                + self._advice(out, shape)
            )
        return out

    def _first_half(self, out: Any, shape: tuple[int, ...]) -> Array:
        """The prediction: the variance of a step of DDPM comes after it, and no ODE has a use for
        it."""
        given = getattr(out, "shape", type(out).__name__)
        if given != (*shape[:-1], 2 * shape[-1]):
            raise ShapeError(
                f"the {self.name} must return twice the channels of its input {shape} with "
                f"learned_variance=True, got {given}: leave learned_variance out"
            )
        return out[..., : shape[-1]]

    def _advice(self, out: Any, shape: tuple[int, ...]) -> str:
        inner = "lambda params, x, t" if self.with_params else "lambda x, t"
        if isinstance(out, (tuple, list)):
            return (
                "return the prediction alone, e.g. the mean of (mean, log variance): "
                f"{inner}: network(...)[0]"
            )
        if not hasattr(out, "shape"):
            return f"return the prediction alone, e.g. {inner}: network(...)['sample']"
        if self.name == "network" and out.shape == (*shape[:-1], 2 * shape[-1]):
            return (
                "twice the channels, as of a network that learned a variance: pass "
                "learned_variance=True to take their first half"
            )
        return "it should take one sample, or see batched="


def connect(
    network: Any,
    params: Any,
    *,
    condition: Any = None,
    shape: tuple[int, ...],
    batched: bool | None = None,
    channels_first: bool | None = None,
    integer_times: bool | None = None,
    learned_variance: bool | None = False,
    name: str = "apply",
) -> tuple[Network, Any]:
    """The network and the params of its flow (`Conditioned` if there is a condition). What is not
    said of the layout is False, or for a module of PyTorch what a trial call says."""
    preconditioned = isinstance(network, _Edm)
    inner = network.network if preconditioned else network
    function, params = unpack(inner, params, name)
    with_params = params is not None
    if preconditioned:
        function = dataclasses.replace(network, network=function, with_params=with_params)
    conditioned = condition is not None
    if conditioned:
        params = Conditioned(params, alike(condition, condition, "condition"))
    made = Network(function, with_params, conditioned)
    known = layouts.Layout(batched, channels_first, integer_times, learned_variance)
    framework = framework_of(inner)
    guessing = framework is not None and framework.guessed
    return layouts.settle(made, params, shape, known, guessing), params


def check_field(field: Callable[..., Any], params: Any, shape: tuple[int, ...], what: str) -> None:
    """ValueError unless the field runs on one sample and returns arrays of its shape."""
    x = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    t = jax.ShapeDtypeStruct((), jnp.result_type(float))
    try:
        jax.eval_shape(field, params, x, t)
    except ShapeError as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "ndexer must have integer" in line:
            raise ValueError(
                f"{what} looks its time up in a table, by whole numbers: pass integer_times=True, "
                "and it is called at both neighbours of the time"
            ) from error
        raise ValueError(
            f"{what} failed on ONE sample of shape {shape} and a scalar time ({line}): "
            "check shape= and params=; batched= and channels_first= say what else a network takes"
        ) from error


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


@verb
def edm(network: Any, sigma_data: float = 0.5) -> Any:
    """EDM's preconditioning around a raw network F (Karras et al., NeurIPS 2022, Table 1)::

        D(x; sigma) = c_skip x + c_out F(c_in x, c_noise),    c_noise = log(sigma) / 4,
        c_skip = sd^2 / (sigma^2 + sd^2),   c_out = sigma sd / sqrt(sigma^2 + sd^2),
        c_in = 1 / sqrt(sigma^2 + sd^2),    sd = sigma_data.

    Pass the result to ``diffusion`` with ``path=paths.variance_exploding()``,
    ``prediction="data"`` and ``clock=clocks.edm_noise``; pass a network that applies these itself
    as it is. ValueError unless sigma_data is a positive number.
    """
    known = number(sigma_data, "sigma_data")
    fine = known.ndim == 0 and bool((known > 0) & jnp.isfinite(known))
    require(fine, f"sigma_data must be a positive number, got {sigma_data}")
    return _Edm(network, float(sigma_data))


def check_edm(network: Any, path: Path, kind: Kind, clock: Callable[[Array], Array]) -> None:
    """ValueError where `edm` was put around a network of another path, prediction or clock."""
    if isinstance(network, _Edm):
        require(
            path.keeps_signal and kind == DATA,
            "edm(...) predicts data on the variance exploding path, got "
            f"prediction={kind.name!r} on {path.name}: pass "
            'path=densityguide.paths.variance_exploding() and prediction="data"',
        )
        levels = jnp.asarray([-3.0, 5.0])
        times = concrete(jnp.stack([clock(level) for level in levels]))
        require(
            times is None or bool(np.allclose(times, edm_noise(levels), rtol=1e-4)),
            "edm(...) takes its noise from the time, log(sigma) / 4, and clock= gives another: "
            "pass clock=densityguide.clocks.edm_noise",
        )
