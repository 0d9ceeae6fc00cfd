"""The two ends of a flow's clock, checked."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, require, scalar
from densityguide.flow.paths import Path

__all__ = ["check_range", "interval_of", "log_snr_of", "same"]

USUAL = "the usual range is -10 to 10, a time t of flow matching is 2 log(t / (1 - t))"


def interval_of(ends: Any, name: str) -> tuple[Array, Array]:
    """A pair of different numbers ``(prior end, data end)``; traced ends are taken as they are."""
    require(
        isinstance(ends, (tuple, list)) and len(ends) == 2,
        f"{name} must be a pair (prior end, data end), got {ends!r}",
    )
    found = scalar(ends[0], name), scalar(ends[1], name)
    start, stop = (concrete(end) for end in found)
    if start is not None and stop is not None:
        require(bool(start != stop), f"{name} must have two different ends, got {ends}")
    return found


def log_snr_of(ends: Any, name: str, path: Path) -> tuple[Array, Array]:
    """A range of log-SNR that rises from noise to data and lies on the path.

    Raises:
        ValueError: a range that falls, goes beyond the path's end, or is a time.
    """
    found = interval_of(ends, name)
    start, stop = (concrete(end) for end in found)
    if stop is not None:
        # A range copied from a message is rounded, and may end just beyond.
        require(
            bool(stop <= path.greatest + 1e-3),
            f"{name} must end at or below {path.greatest:.4g} on the path {path.name}, got "
            f"{stop:g}: its noise never falls below that level",
        )
    if start is not None and stop is not None:
        require(
            bool(start < stop), f"{name} must rise from noise to data, got {ends}: swap the ends"
        )
    return found


def check_range(ends: tuple[Array, Array], name: str) -> None:
    """ValueError for a range that is a time; one warning where the prior cannot fit.

    At log-SNR 0 signal and noise are equally large, and N(0, sigma^2 I) is not the density there.
    """
    start, stop = (concrete(end) for end in ends)
    if start is None or stop is None or start < 0.0:
        return
    require(
        not (stop <= 1.0 or stop >= 100.0),
        f"{name} must be log(alpha^2 / sigma^2) from noise to data, ({start:g}, {stop:g}) looks "
        f"like a time: {USUAL}",
    )
    warnings.warn(
        f"{name} starts at {start:g}, where the signal is as large as the noise: {USUAL}",
        stacklevel=4,
    )


def same(one: ArrayLike, other: ArrayLike) -> bool:
    """Whether two numbers or arrays are known to be the same."""
    if one is other:
        return True
    first, second = concrete(one), concrete(other)
    return first is not None and second is not None and bool(np.array_equal(first, second))
