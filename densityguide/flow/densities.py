"""Densities in closed form that a flow may start from; `densityguide.priors` has them all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gamma, log, pi, prod
from typing import Any, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from densityguide.checks import concrete, number, require, shape_of, verb
from densityguide.flow import spaces
from densityguide.flow.spaces import Space

__all__ = ["Mixture", "Normal", "Sphere", "Student", "Torus", "Uniform", "mixture", "normal"]
__all__ += ["sphere", "student", "torus", "uniform"]

T = TypeVar("T")


def point_on(space: Space | None, x: Array) -> Array:
    return x if space is None else space.point(x)


def dimensions_on(space: Space | None, shape: tuple[int, ...]) -> Any:
    return prod(shape) if space is None else spaces.dimensions(space, shape)


def weights_on(space: Space | None, shape: tuple[int, ...]) -> Array:
    return jnp.ones(shape) if space is None else space.weights(shape)


def moved(prior: T, space: Space | None) -> T:
    same = getattr(prior, "space", None) is space
    return prior if same else dataclasses.replace(prior, space=space)  # type: ignore[type-var]


def positive(value: Any, name: str) -> Array:
    known = concrete(value)
    require(known is None or bool((known > 0).all()), f"{name} must be positive, got {value}")
    return number(value, name)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Normal:
    """N(0, scale^2 I) over arrays of one shape, or its projection to a linear space."""

    scale: Array
    shape: tuple[int, ...] = field(metadata={"static": True})
    space: Any = None

    def sample(self, key: Array) -> Array:
        z = jax.random.normal(key, self.shape, jnp.result_type(float))
        return point_on(self.space, self.scale * z)

    def log_prob(self, x: Array) -> Array:
        # Scaling x first: in float32 the square of a large x would lose digits.
        z = point_on(self.space, x) / self.scale
        size = dimensions_on(self.space, self.shape)
        return -0.5 * jnp.sum(z**2) - size * (jnp.log(self.scale) + 0.5 * log(2.0 * pi))

    def on(self, space: Space | None) -> Self | None:
        linear = space is None or isinstance(space, spaces.Linear)
        return moved(self, space) if linear else None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Student:
    """The isotropic multivariate t in all entries together, or its projection to a linear
    space."""

    degrees: Array
    scale: Array
    shape: tuple[int, ...] = field(metadata={"static": True})
    space: Any = None

    def sample(self, key: Array) -> Array:
        key_normal, key_radius = jax.random.split(key)
        z = jax.random.normal(key_normal, self.shape, jnp.result_type(float))
        half = 0.5 * self.degrees
        ratio = jax.random.gamma(key_radius, half, dtype=z.dtype) / half
        return point_on(self.space, self.scale * z / jnp.sqrt(ratio))

    def log_prob(self, x: Array) -> Array:
        z = point_on(self.space, x) / self.scale
        nu, size = self.degrees, dimensions_on(self.space, self.shape)
        tail = -0.5 * (nu + size) * jnp.log1p(jnp.sum(z**2) / nu)
        constant = gammaln(0.5 * (nu + size)) - gammaln(0.5 * nu)
        return tail + constant - size * (jnp.log(self.scale) + 0.5 * jnp.log(nu * pi))

    def on(self, space: Space | None) -> Self | None:
        linear = space is None or isinstance(space, spaces.Linear)
        return moved(self, space) if linear else None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Uniform:
    """Uniform on the box ``low <= x <= high``."""

    low: Array
    high: Array
    shape: tuple[int, ...] = field(metadata={"static": True})
    space: Any = None

    def sample(self, key: Array) -> Array:
        u = jax.random.uniform(key, self.shape, jnp.result_type(float))
        return point_on(self.space, self.low + (self.high - self.low) * u)

    def log_prob(self, x: Array) -> Array:
        x, there = point_on(self.space, x), weights_on(self.space, self.shape)
        inside = jnp.all((there == 0) | ((x >= self.low) & (x <= self.high)))
        nats = -jnp.sum(there * jnp.log(self.high - self.low))
        return jnp.where(inside, nats, -jnp.inf).astype(x.dtype)

    def on(self, space: Space | None) -> Self | None:
        # Its entries are independent: some of them may be left out, and no sum of them told.
        masks = isinstance(space, spaces.Linear) and space.axes is None
        return moved(self, space) if masks or space is None else None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixture:
    """Gaussians with independent entries: ``weights`` [K] of sum 1, ``means`` and ``scales``
    [K, *shape]."""

    weights: Array
    means: Array
    scales: Array
    space: Any = None

    def sample(self, key: Array) -> Array:
        key_component, key_normal = jax.random.split(key)
        k = jax.random.categorical(key_component, jnp.log(self.weights))
        z = jax.random.normal(key_normal, self.means.shape[1:], self.means.dtype)
        return point_on(self.space, self.means[k] + self.scales[k] * z)

    def log_prob(self, x: Array) -> Array:
        z = (point_on(self.space, x) - self.means) / self.scales
        there = weights_on(self.space, self.means.shape[1:])
        each = there * (0.5 * z**2 + jnp.log(self.scales) + 0.5 * log(2.0 * pi))
        parts = jnp.log(self.weights) - jnp.sum(each.reshape(each.shape[0], -1), axis=1)
        return jax.nn.logsumexp(parts)

    def on(self, space: Space | None) -> Self | None:
        # Its entries are independent: some of them may be left out, and no sum of them told.
        masks = isinstance(space, spaces.Linear) and space.axes is None
        return moved(self, space) if masks or space is None else None


@jax.tree_util.register_static
@dataclass(frozen=True)
class Sphere:
    """Uniform among unit vectors along the last axis."""

    shape: tuple[int, ...]

    def sample(self, key: Array) -> Array:
        return spaces.sphere().point(jax.random.normal(key, self.shape, jnp.result_type(float)))

    def log_prob(self, x: Array) -> Array:
        half = 0.5 * self.shape[-1]
        area = 2.0 * pi**half / gamma(half)
        # The derivative of a constant, rather than no derivative.
        return 0.0 * jnp.sum(x) - prod(self.shape[:-1]) * log(area)

    def on(self, space: Space | None) -> Self | None:
        return self if isinstance(space, spaces.Sphere) else None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Torus:
    """Uniform over angles modulo a period."""

    period: Array
    shape: tuple[int, ...] = field(metadata={"static": True})

    def sample(self, key: Array) -> Array:
        return self.period * (jax.random.uniform(key, self.shape, jnp.result_type(float)) - 0.5)

    def log_prob(self, x: Array) -> Array:
        logs = jnp.broadcast_to(jnp.log(self.period), self.shape)
        return (0.0 * jnp.sum(x) - jnp.sum(logs)).astype(x.dtype)

    def on(self, space: Space | None) -> Self | None:
        return self if isinstance(space, spaces.Torus) else None


@verb
def normal(shape: tuple[int, ...], scale: ArrayLike = 1.0) -> Normal:
    """The isotropic centred normal prior; ``scale`` is its standard deviation (not variance)."""
    return Normal(positive(scale, "scale"), shape_of(shape, "shape"))


@verb
def student(shape: tuple[int, ...], degrees: ArrayLike, scale: ArrayLike = 1.0) -> Student:
    """The multivariate Student t with heavy tails: with d entries, ``r = |x| / scale``::

        log p = log G((n + d) / 2) - log G(n / 2) - d / 2 log(n pi) - d log scale
                - (n + d) / 2 log(1 + r^2 / n),    n = degrees

    Its entries share one radius, so a sample is large or small as a whole (t-EDM: Pandey et al.,
    2024). ValueError unless degrees and scale are positive.
    """
    found = positive(degrees, "degrees"), positive(scale, "scale")
    return Student(*found, shape_of(shape, "shape"))


@verb
def uniform(shape: tuple[int, ...], low: ArrayLike = -1.0, high: ArrayLike = 1.0) -> Uniform:
    """Uniform on a box; ``low`` and ``high`` are numbers or broadcast to ``shape``. Log p is minus
    infinity outside, which an encoded sample may well be: the flow gives it no density. ValueError
    unless ``low < high``."""
    shape = shape_of(shape, "shape")
    first, last = concrete(low), concrete(high)
    require(
        first is None or last is None or bool(np.all(first < last)),
        f"a box needs low < high, got {low} and {high}",
    )
    return Uniform(number(low, "low"), number(high, "high"), shape)


@verb
def mixture(
    weights: ArrayLike | Sequence[Any],
    means: ArrayLike | Sequence[Any],
    scales: ArrayLike | Sequence[Any] = 1.0,
) -> Mixture:
    """A mixture of Gaussians with independent entries: ``weights`` [K], ``means`` [K, *shape],
    ``scales`` (standard deviations) [K, *shape] or broadcast to it. ValueError for shapes that do
    not fit, or weights and scales that are not positive."""
    found = number(weights, "weights"), number(means, "means"), number(scales, "scales")
    given = tuple(each.shape for each in found)
    require(
        len(given[0]) == 1 and given[1][:1] == given[0] and _fits(given[2], given[1]),
        "a mixture needs weights [K], means [K, *shape] and scales that broadcast to them, got "
        f"{', '.join(map(str, given))}",
    )
    positive(weights, "weights")
    positive(scales, "scales")
    shares, centres, scales = found
    return Mixture(shares / jnp.sum(shares), centres, jnp.broadcast_to(scales, given[1]))


def _fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, whole) == whole
    except ValueError:
        return False


@verb
def torus(shape: tuple[int, ...], period: ArrayLike = 2.0 * pi) -> Torus:
    """Uniform over angles modulo ``period``: the prior of a flow with
    ``space=densityguide.spaces.torus(period)``. ValueError unless the period is positive."""
    return Torus(positive(period, "period"), shape_of(shape, "shape"))


@verb
def sphere(shape: tuple[int, ...]) -> Sphere:
    """Uniform among unit vectors along the last axis, per area: the prior of a flow with
    ``space=densityguide.spaces.sphere()``. ValueError for a last axis below 2."""
    shape = shape_of(shape, "shape")
    require(
        len(shape) > 0 and shape[-1] > 1,
        f"a sphere needs a last axis of at least 2, got shape {shape}",
    )
    return Sphere(shape)
