"""Many samples by one compiled program: called once a block, so that neither memory on the device
nor compilation grows with their number."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from densityguide.app import cache

__all__ = ["BLOCK", "Compiled", "Tick", "block_of", "blocks_of", "compile_block", "run"]
__all__ += ["sample_keys"]

BLOCK = 8  # samples per call: enough for two cores, small enough for a smooth progress bar

Tick = Callable[[], None]


class Compiled(NamedTuple):
    """The program of one block; ``seconds`` that tracing and compiling took, and whether the
    compilation cache was ``"warm"``, ``"cold"`` or ``"off"``."""

    program: Callable[..., Any]
    block: int
    seconds: dict[str, float]
    cache: str


def block_of(count: int) -> int:
    """Samples per call."""
    return min(count, BLOCK)


def blocks_of(count: int) -> int:
    """Calls for ``count`` samples."""
    return ceil(count / block_of(count))


def sample_keys(seed: int, start: int, stop: int) -> jax.Array:
    """Keys of the samples start .. stop - 1: each depends on the seed and its own index only."""
    indices = jnp.arange(start, stop, dtype=jnp.uint32)
    return jax.vmap(lambda index: jax.random.fold_in(jax.random.key(seed), index))(indices)


def compile_block(
    one: Callable[..., Any], shared: tuple[Any, ...], each: tuple[Any, ...]
) -> Compiled:
    """Trace and compile ``one(*shared, *each)`` over the leading axis of ``each``.

    Both are arguments of the program: weights and numbers may change without compiling anew. Only
    shapes and dtypes of ``each`` are read.
    """
    stored = cache.current()
    before = cache.entries(stored)
    axes = (None,) * len(shared) + (0,) * len(each)
    start = time.perf_counter()
    lowered = jax.jit(jax.vmap(one, in_axes=axes)).lower(*shared, *each)
    traced = time.perf_counter()
    program = lowered.compile()
    seconds = {"trace": traced - start, "compile": time.perf_counter() - traced}
    state = "off" if stored is None else "warm" if cache.entries(stored) == before else "cold"
    return Compiled(program, len(jax.tree.leaves(each)[0]), seconds, state)


def run(
    compiled: Compiled,
    shared: tuple[Any, ...],
    read: Callable[[int, int], tuple[Any, ...]],
    count: int,
    tick: Tick,
) -> Any:
    """All results as NumPy arrays with a leading axis of ``count``.

    ``read(start, stop)`` gives the arguments of a block, past ``count`` too: the last block may be
    longer than asked for, because one compiled shape serves all. ``tick()`` after every block.
    """
    parts = []
    for start in range(0, count, compiled.block):
        out = compiled.program(*shared, *read(start, start + compiled.block))
        parts.append(jax.tree.map(np.asarray, out))
        tick()
    return jax.tree.map(lambda *some: np.concatenate(some)[:count], *parts)
