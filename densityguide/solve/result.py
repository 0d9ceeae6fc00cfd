"""What a solve gives: a final state, and how it ended."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["Ended", "Solved", "Status", "all_finite", "failed"]


class Status(enum.IntFlag):
    """How a verb ended; several may hold at once. Decode with ``Status(int(out.status))``."""

    OK = 0
    NON_FINITE = 1  # a step gave inf or nan: x is the last finite state, log p is nan
    MAX_STEPS = 2  # an adaptive solve ran out of steps, or its step size collapsed: log p is nan
    UNMET = 4  # a guidance asked for more than the cap allowed; see `unmet`
    INVALID = 8  # a traced number was out of range (q outside (0, 1), a grid that turns back)
    NO_ROOT = 16  # the requested log-density is not reached on the scanned range
    MANY_ROOTS = 32  # several latents reach it; the nearest to the given one was taken
    DISAGREES = 64  # what guidance tracked is not the log p found by encoding, beyond their bars
    COARSE = 128  # too few steps for the estimate of the solver's error to mean much: take more
    NEGATIVE = 256  # chords of a curve are negative: no posterior has such, see `spacetime`
    INACCURATE = 512  # the error bar is wider than `tolerance=` at the largest number of steps
    BEYOND = 1024  # q is outside the range in which measured log p was seen to rise with it


class Ended(NamedTuple):
    """What a fixed grid gives: the last finite state, whether all steps were finite, and as in
    `Solved` ``path``, ``moves``, ``error``, ``coarse`` and ``sums``."""

    y: Any
    fine: Array
    path: Any
    moves: Any
    error: Any
    coarse: Array | None
    sums: Array | None


class Solved(NamedTuple):
    """Final state, status bits, field evaluations, and for fixed grids with ``watch`` (else None)
    ``watch(y)`` at every knot and ``moves``: what each step, or with `Adams` each evaluation,
    added to it [n or n + 1] (leaves in nats only).

    ``error``: the solve's own estimate of its discretisation error, like y, from no further
    evaluation (see `densityguide.solve.error`; read off the tolerances in an adaptive solve, None
    for SDEs). Leaves in nats are signed: the bar of a mean over replicates is the magnitude of the
    mean of its entries; it bounds what
    was tracked minus log p of the x that is returned, or, from data to prior, log p of the given
    x. Leaves of the state are not negative, entry by entry in units of x. ``coarse``: whether the
    steps are too wide for ``error`` to mean much (None where ``error`` is); it becomes
    `Status.COARSE` in what reports it, and is no part of ``status``. ``sums`` [2]: what
    the errors of x have done to log p, signed, from the steps and from their predictions (fixed
    grids).
    """

    y: Any
    status: Array
    evaluations: Array
    path: Any
    moves: Any
    error: Any = None
    coarse: Array | None = None
    sums: Array | None = None


def failed(status: Array) -> Array:
    """Whether a solve did not reach its end: x is then the last finite state."""
    return (status & int(Status.NON_FINITE | Status.MAX_STEPS)) != 0


def all_finite(y: Any) -> Array:
    """Whether every number of every leaf is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(y)]))
