"""Spaces: where samples live, if not in all of R^D.

A space is a pytree that says three things of arrays of a flow's shape: ``point(x)``, the nearest
point of the space; ``tangent(x, v)``, the part of a vector that stays in it; and
``weights(shape)``, how much of a dimension each entry counts, which add up to the dimension d of
the space. A flow on a space is ``x -> tangent(x, u(point(x), t))``, so its network sees points of
the space only, and the trace of that map's Jacobian, exact or by probes in all of R^D, is the
divergence on the space:

* a linear space with projector P: ``tr(P J P)``, and for probes v with identity covariance
  ``E v^T P J P v`` is the same;
* the unit sphere: the map is constant along radii and has no radial part, and on the sphere such a
  field's divergence in R^n is the one of the surface;
* the torus: the same map, of the angles brought to one period.

So log p is the density in nats with respect to the volume of the space itself (Lebesgue measure of
the linear space, surface, angles), in d dimensions and not D.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import pi
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, number, require, verb

__all__ = ["Linear", "Space", "Sphere", "Torus", "centred", "check", "commutes", "dimensions"]
__all__ += ["log_volume", "masked", "require_linear", "require_none", "sphere", "torus"]


@runtime_checkable
class Space(Protocol):
    """What a flow asks of a space."""

    def point(self, x: Array) -> Array: ...

    def tangent(self, x: Array, v: Array) -> Array: ...

    def weights(self, shape: tuple[int, ...]) -> Array: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Linear:
    """Entries that are there (``mask``, None for all), with mean 0 along ``axes`` (None: any
    mean)."""

    mask: Array | None
    axes: tuple[int, ...] | None = field(default=None, metadata={"static": True})

    def point(self, x: Array) -> Array:
        # where, not a product: padding may hold anything, nan too.
        x = x if self.mask is None else jnp.where(self.mask, x, 0.0)
        if self.axes is None:
            return x
        mean = jnp.sum(x, self.axes, keepdims=True) / self._counts(x.shape)
        return x - mean if self.mask is None else jnp.where(self.mask, x - mean, 0.0)

    def tangent(self, x: Array, v: Array) -> Array:
        return self.point(v)

    def weights(self, shape: tuple[int, ...]) -> Array:
        """The diagonal of the projector."""
        there = self._there(shape)
        return there if self.axes is None else there * (1.0 - 1.0 / self._counts(shape))

    def _there(self, shape: tuple[int, ...]) -> Array:
        mask = True if self.mask is None else self.mask
        return jnp.broadcast_to(jnp.asarray(mask, jnp.result_type(float)), shape)

    def _counts(self, shape: tuple[int, ...]) -> Array:
        return jnp.maximum(jnp.sum(self._there(shape), self.axes, keepdims=True), 1.0)


@jax.tree_util.register_static
@dataclass(frozen=True)
class Sphere:
    """Unit vectors along the last axis."""

    def point(self, x: Array) -> Array:
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

    def tangent(self, x: Array, v: Array) -> Array:
        at = self.point(x)
        return v - jnp.sum(at * v, axis=-1, keepdims=True) * at

    def weights(self, shape: tuple[int, ...]) -> Array:
        return jnp.full(shape, 1.0 - 1.0 / shape[-1])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Torus:
    """Angles, from minus half a period on."""

    period: Array

    def point(self, x: Array) -> Array:
        return x - self.period * jnp.floor(x / self.period + 0.5)

    def tangent(self, x: Array, v: Array) -> Array:
        return v

    def weights(self, shape: tuple[int, ...]) -> Array:
        return jnp.ones(shape)


def _mask(mask: Any) -> Array:
    array = jnp.asarray(mask)
    require(
        array.dtype == bool,
        f"mask must be boolean, True where an entry is there, got {array.dtype}: pass mask > 0",
    )
    known = concrete(array)
    require(known is None or bool(known.any()), "mask must leave an entry, got none")
    return array


@verb
def masked(mask: ArrayLike) -> Linear:
    """The entries where ``mask`` is true; the others are padding: they count no dimension, the
    network gets zeros there, and what it returns there is not read.

    ``mask`` is traced and broadcasts to the flow's shape, so one program serves all lengths:
    ``flow.replace(space=masked(other))``, or ``jax.vmap`` over masks. ValueError for a mask that is
    not boolean or leaves nothing.
    """
    return Linear(_mask(mask))


@verb
def centred(axis: int | tuple[int, ...] = 0, *, mask: ArrayLike | None = None) -> Linear:
    """Zero centre of mass: mean 0 along ``axis``, over the entries where ``mask`` is true.

    N particles [N, d] have ``(N - 1) d`` dimensions then (Hoogeboom et al., ICML 2022; Koehler,
    Klein and Noe, ICML 2020), n particles among N slots ``(n - 1) d``. ValueError as of `masked`.
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    return Linear(None if mask is None else _mask(mask), axes)


@verb
def sphere() -> Sphere:
    """Unit vectors along the last axis: one of shape [n], or many. Log p is per area. For flows of
    `densityguide.cnf` alone: a Gaussian path leaves the sphere."""
    return Sphere()


@verb
def torus(period: ArrayLike = 2.0 * pi) -> Torus:
    """Angles modulo ``period``. The network sees, and samples are, angles from minus half a period
    to half of one; its velocity has to join up there, as a function of their sines and cosines
    does. For flows of `densityguide.cnf` alone. ValueError unless the period is positive."""
    known = concrete(period)
    require(known is None or bool((known > 0).all()), f"period must be positive, got {period}")
    return Torus(number(period, "period"))


def check(space: Any, shape: tuple[int, ...], *, on_path: bool) -> Any:
    """The space itself; ValueError unless it is None or fits arrays of ``shape`` and the flow."""
    if space is None:
        return None
    require(
        isinstance(space, Space) and not isinstance(space, type),
        f"space must come from densityguide.spaces (masked, centred, sphere, torus), got {space!r}",
    )
    require(
        isinstance(space, Linear) or not on_path,
        "a Gaussian path adds noise in all directions, which leaves a "
        f"{type(space).__name__.lower()}: give its velocity to densityguide.cnf",
    )
    try:
        found = jax.eval_shape(lambda: (space.point(jnp.zeros(shape)), space.weights(shape)))
        fits = all(each.shape == shape for each in found)
    except (ValueError, TypeError, IndexError):
        fits = False
    require(fits, f"space must fit samples of shape {shape}: its mask, axis or period does not")
    # One number on a line has no directions, and a single particle no place.
    known = concrete(jnp.sum(space.weights(shape)))
    require(known is None or bool(known > 0.5), f"space leaves no dimension of shape {shape}")
    return space


def require_none(space: Space | None, verb: str) -> None:
    """ValueError for a flow that does not live in all of R^D."""
    require(
        space is None,
        f"{verb} is about flows in all of R^D, got one on a {type(space).__name__.lower()} space: "
        "build it without space=",
    )


def require_linear(space: Space | None, what: str) -> None:
    """ValueError for a curved or periodic space, where ``what`` has no meaning."""
    name = type(space).__name__.lower()
    require(space is None or isinstance(space, Linear), f"{what}, which a {name} has not")


def dimensions(space: Space, shape: tuple[int, ...]) -> Array:
    """The dimension d of the space, a whole number as a float."""
    return jnp.round(jnp.sum(space.weights(shape)))


def log_volume(space: Space | None, scale: Array, shape: tuple[int, ...]) -> Array:
    """How a scaling of the entries scales the volume of the space, in nats: ``sum w log scale``."""
    logs = jnp.broadcast_to(jnp.log(scale), shape)
    return jnp.sum(logs if space is None else space.weights(shape) * logs)


def commutes(space: Any, scale: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether scaling the entries keeps to the space."""
    if space is None or (isinstance(space, Linear) and space.axes is None):
        return True
    full = np.broadcast_to(scale, shape)
    return isinstance(space, Linear) and bool(np.all(np.ptp(full, axis=space.axes) == 0.0))
