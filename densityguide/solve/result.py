"""What a solve gives: a final state, and how it ended."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["Solved", "Status", "all_finite"]


class Status(enum.IntFlag):
    """How a verb ended; several may hold at once. Decode with ``Status(int(out.status))``."""

    OK = 0
    NON_FINITE = 1  # a step gave inf or nan: x is the last finite state, log p is nan
    MAX_STEPS = 2  # an adaptive solve ran out of steps, or its step size collapsed: log p is nan
    UNMET = 4  # a guidance asked for more than the cap allowed; see `unmet`
    INVALID = 8  # a traced number was out of range (q outside (0, 1), a grid that turns back)
    NO_ROOT = 16  # the requested log-density is not reached on the scanned range
    MANY_ROOTS = 32  # several latents reach it; the nearest to the given one was taken


class Solved(NamedTuple):
    """Final state, status bits, field evaluations, and for fixed grids with ``watch`` (else None)
    ``watch(y)`` at every knot and ``moves``: what each step, or with `Adams` each evaluation,
    added to it [n or n + 1] (leaves in nats only)."""

    y: Any
    status: Array
    evaluations: Array
    path: Any
    moves: Any


def all_finite(y: Any) -> Array:
    """Whether every number of every leaf is."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(y)]))
