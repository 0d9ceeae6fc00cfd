"""What a curve may be asked for besides being short: a log p along it, a region to keep out of.

Both cost no evaluation: the moments that an energy takes give the change of log p along the curve,
and with it every Kullback-Leibler divergence in absolute nats. They are penalties, so what is asked
for is met as far as the weight and the iterations go, and the rest is reported as ``unmet``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, number, require, scalar
from densityguide.spacetime.divergence import relative_entropy
from densityguide.spacetime.point import Point

__all__ = ["Constraint", "Landmark", "avoid", "check", "hold", "near", "schedule"]


class Landmark(NamedTuple):
    """Another point with its moments, and log p(y) there less that at the curve's start."""

    at: Point
    mean: Array
    noise: Array
    change: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Constraint:
    """``gap(params, landmark, points, change) -> [n + 1]`` nats by which each point of a curve
    misses; ``weight`` of the penalty ``weight / 2 mean(gap^2)``; ``at``: where a landmark is
    wanted, or None."""

    params: Any
    weight: Array
    at: Point | None
    gap: Callable[..., Array] = dataclasses.field(metadata={"static": True})


def _weight(value: ArrayLike) -> Array:
    weight = scalar(value, "weight")
    known = concrete(weight)
    require(
        known is None or bool(known > 0 and np.isfinite(known)),
        f"weight must be positive, got {value}",
    )
    return weight


def _line(params: Any, landmark: Any, points: Point, change: Array) -> Array:
    share = jnp.linspace(0.0, 1.0, change.shape[0], dtype=change.dtype)
    return change - share * change[-1]


def hold(weight: ArrayLike = 1.0) -> Constraint:
    """log p(y) along the curve on the straight line between its values at the ends: constant
    where those are equal. It is the density of y at each point's own noise level."""
    return Constraint(None, _weight(weight), None, _line)


def _profile(nats: Array, landmark: Any, points: Point, change: Array) -> Array:
    require(
        nats.shape == change.shape,
        f"schedule takes one value for each of {change.shape[0]} points, got shape {nats.shape}",
    )
    return (change - nats.astype(change.dtype)).at[jnp.asarray([0, -1])].set(0.0)


def schedule(nats: ArrayLike, weight: ArrayLike = 1.0) -> Constraint:
    """log p(y) less that of the first point at every point of the curve, ``nats`` [segments + 1];
    the ends are fixed, so their values are ignored."""
    profile = number(nats, "nats")
    require(profile.ndim == 1, f"nats must be [segments + 1], got shape {profile.shape}")
    return Constraint(profile, _weight(weight), None, _profile)


def _apart(landmark: Landmark, points: Point, change: Array) -> Array:
    def one(point: Point, change: Array) -> Array:
        return relative_entropy(
            landmark.at, landmark.mean, landmark.noise, point, change - landmark.change
        )

    return jax.vmap(one)(points, change)


def _outside(nats: Array, landmark: Landmark, points: Point, change: Array) -> Array:
    return jnp.maximum(nats - _apart(landmark, points, change), 0.0)


def _within(nats: Array, landmark: Landmark, points: Point, change: Array) -> Array:
    return jnp.maximum(_apart(landmark, points, change) - nats, 0.0)


def avoid(at: Point, nats: ArrayLike, weight: ArrayLike = 1.0) -> Constraint:
    """Keep ``KL(at || point of the curve)`` at ``nats`` or more: in absolute nats, where [ST,
    Eq. 23] has them up to an unknown constant."""
    return Constraint(scalar(nats, "nats"), _weight(weight), at, _outside)


def near(at: Point, nats: ArrayLike, weight: ArrayLike = 1.0) -> Constraint:
    """Keep ``KL(at || point of the curve)`` at ``nats`` or less."""
    return Constraint(scalar(nats, "nats"), _weight(weight), at, _within)


def check(value: Any) -> None:
    """ValueError unless it is a `Constraint` or None."""
    require(
        value is None or isinstance(value, Constraint),
        "constraint must come from densityguide.spacetime (hold, schedule, avoid, near), got "
        f"{value!r}",
    )
