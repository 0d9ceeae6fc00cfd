"""Units of the user's own: data that are neither centred nor scaled, for a network that wants both.

A network trained on ``z = (x - mean) / std`` makes a flow of z. In units of x the same samples are
``mean + std z``, and their density is ``log p(x) = log p(z) - sum log std`` nats. The solve, the
guidance and the steps stay those of z; x, log p and every log p that is asked for are of x.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import concrete, number, require
from densityguide.flow import spaces

__all__ = ["Units", "check", "network", "told"]


class Units(NamedTuple):
    """``x = mean + std z``: numbers, or arrays that broadcast to one sample."""

    mean: Array
    std: Array


def check(standardise: Any, shape: tuple[int, ...], space: Any = None) -> Units | None:
    """The units of a pair ``(mean, std)``; ValueError unless they fit samples of ``shape``, std is
    positive, and scaling by it keeps to the space."""
    if standardise is None:
        return None
    require(
        isinstance(standardise, (tuple, list)) and len(standardise) == 2,
        f"standardise must be a pair (mean, std) of the data, got {standardise!r}",
    )
    mean, std = (number(each, "standardise") for each in standardise)
    try:
        fits = np.broadcast_shapes(mean.shape, std.shape, shape) == shape
    except ValueError:
        fits = False
    require(
        fits,
        f"standardise must broadcast to one sample of shape {shape}, got mean {mean.shape} and std "
        f"{std.shape}: keep axes of size 1",
    )
    known = concrete(std)
    require(
        known is None or bool(((known > 0) & np.isfinite(known)).all()),
        f"standardise needs std > 0 everywhere, got {known}: leave constant entries out by "
        "space=densityguide.spaces.masked",
    )
    require(
        known is None or spaces.commutes(space, known, shape),
        f"standardise scales entries apart that a {type(space).__name__.lower()} space ties "
        "together: pass one std for them all",
    )
    return Units(mean, std)


def network(units: Units | None, x: Array) -> Array:
    """A sample in the user's units in the network's."""
    return x if units is None else ((x - units.mean) / units.std).astype(x.dtype)


def told(units: Units | None, space: Any, z: Array) -> Array:
    """A sample of the network's in the user's units; padding stays 0."""
    if units is None:
        return z
    x = (units.mean + units.std * z).astype(z.dtype)
    mask = getattr(space, "mask", None)
    return x if mask is None else jnp.where(mask, x, 0.0)
