"""Random probes for trace estimates: independent ones, and ones whose errors cancel over a solve.

The error of ``v^T J v`` for signs ``v`` is ``2 sum_{i<j} v_i v_j S_ij``, S the symmetric part of J.
Independent probes leave it to chance. A *coded* stream instead takes ``v_n = r * w_n`` with random
signs r, kept for a cycle of evaluations, and Walsh functions ``w_n(i) = (-1)^popcount(n & c_i)`` of
a class c_i of each entry: over a cycle of 2^k evaluations the errors of all pairs whose classes
differ in their lowest k bits cancel, as far as J stays the same. J changes along a solve, so cycles
must be short, and classes must tell apart first what networks couple most: neighbouring pixels and
the channels of a pixel (hierarchical probing: Stathopoulos, Laeuchli and Orginos, SIAM J. Sci.
Comput. 2013; there for one matrix, here along a trajectory).

A draw is ``(key, index, cycle, probes, shape, dtype) -> [probes, *shape]``: ``index`` counts the
evaluations of a solve, ``cycle`` (static) is how many share their signs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

__all__ = ["Draw", "coded", "cycle_length", "gaussian", "rademacher"]

Draw = Callable[[Array, Array, int, int, tuple[int, ...], jnp.dtype], Array]

CYCLES = 5  # longer cycles only if a solve holds so many: the error bar is pooled over them
CHANNELS = 16  # arrays with more in their last axis are not taken for images


def rademacher(
    key: Array, index: Array, cycle: int, probes: int, shape: tuple[int, ...], dtype: jnp.dtype
) -> Array:
    """Independent signs at every evaluation."""
    return jax.random.rademacher(jax.random.fold_in(key, index), (probes, *shape), dtype)


def gaussian(
    key: Array, index: Array, cycle: int, probes: int, shape: tuple[int, ...], dtype: jnp.dtype
) -> Array:
    """Independent normals at every evaluation."""
    return jax.random.normal(jax.random.fold_in(key, index), (probes, *shape), dtype)


def coded(
    key: Array, index: Array, cycle: int, probes: int, shape: tuple[int, ...], dtype: jnp.dtype
) -> Array:
    """Signs kept for a cycle, times the Walsh function of the evaluation's place in it."""
    signs = rademacher(key, index // cycle, cycle, probes, shape, dtype)
    parity = lax.population_count((index % cycle).astype(jnp.int32) & _classes(shape)) & 1
    return signs * (1 - 2 * parity).astype(dtype)


def cycle_length(shape: tuple[int, ...], evaluations: int) -> int:
    """Evaluations of one cycle of coded probes in a solve of ``evaluations``.

    For images at least the 4x4 neighbourhood and its channels; twice as long while `CYCLES` of
    them fit and classes are left.
    """
    length = 1
    if _is_image(shape):
        length = 16 if shape[2] <= 4 else 64
    whole = 1 << int(_classes(shape).max()).bit_length()
    while 2 * length <= min(whole, evaluations // CYCLES):
        length *= 2
    return length


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[2] <= CHANNELS


def _classes(shape: tuple[int, ...]) -> np.ndarray:
    """Class of each entry. Images [H, W, C]: bits of y and x in turn, the lowest telling apart the
    nearest pixels; a channel moves to the class of a pixel at least 2 away in its own plane, so
    that no bits are spent on channels. Elsewhere: the place along the flattened array."""
    if not _is_image(shape):
        return np.arange(prod(shape), dtype=np.int32).reshape(shape)
    y, x, channel = np.indices(shape, dtype=np.int32)
    bits = max(shape[:2]).bit_length()
    places = ((y >> b & 1) << 2 * b | (x >> b & 1) << 2 * b + 1 for b in range(bits))
    return sum(places, np.zeros_like(y)) ^ (channel << 2)
