"""Traces of a Jacobian from one linearisation: exact, or estimated with an error bar.

``divergence(fn, x, trace)`` evaluates ``fn`` once, linearises it there, and pushes tangents
through the linear map; no D x D array is ever built.

* exact: D one-hot tangents, in chunks.
* Hutchinson (1990): ``E[v^T J v] = tr J`` for ``v`` with identity covariance. Rademacher ``v``
  has the least variance among independent entries, ``2 (|J|_F^2 - sum_i J_ii^2)`` for
  symmetric J.
* orthogonal: the probes of successive evaluations are randomly signed Walsh functions, so that
  the largest off-diagonal terms cancel; see ``densityguide.density.probes``.

A ``Trace`` is data compared by value: building one twice does not compile twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.dtypes import float0

from densityguide.checks import count, floating, present, require
from densityguide.density.probes import Draw, coded, cycle_length, gaussian, rademacher
from densityguide.flow.local import Linear, linearise

__all__ = ["Trace", "apply", "divergence", "exact", "hutchinson", "orthogonal"]

LONGEST = 128  # tangents of a chunk: more are no faster, and D of them would be a D x D array
BUDGET, ACCELERATOR_BUDGET = 1 << 24, 1 << 30  # bytes that the tangents of one chunk may take


@dataclass(frozen=True)
class Trace:
    """How to take a trace: replicate ``probes`` by ``draw`` (see `densityguide.density.probes`), or
    ``draw=None`` for the exact trace in chunks."""

    draw: Draw | None
    probes: int
    chunk: int | None = None

    @property
    def is_exact(self) -> bool:
        return self.draw is None

    def tangents(self, size: int) -> int:
        """Tangents pushed per evaluation for ``size`` dimensions."""
        return size if self.is_exact else self.probes

    def cycle(self, shape: tuple[int, ...], evaluations: int) -> int:
        """Evaluations whose probes depend on each other, in a solve of ``evaluations``."""
        return cycle_length(shape, evaluations) if self.draw is coded else 1


def exact(chunk: int | None = None) -> Trace:
    """The exact trace from D tangents, ``chunk`` at a time (default: at most 128, as many as fit
    in 16 MiB on a CPU or 1 GiB on an accelerator)."""
    return Trace(None, 1, None if chunk is None else count(chunk, 1, "chunk"))


def hutchinson(
    probes: int = 2, distribution: Literal["rademacher", "gaussian"] = "rademacher"
) -> Trace:
    """Independent random probes, fresh at every evaluation of a fixed grid.

    Each probe is a replicate of the whole solve, and their spread is the error bar; one probe
    has none, so ``probes`` must be at least 2.
    """
    known = {"rademacher": rademacher, "gaussian": gaussian}
    require(
        distribution in known,
        f"distribution must be 'rademacher' or 'gaussian', got {distribution!r}",
    )
    return Trace(known[distribution], _replicates(probes))


def orthogonal(probes: int = 2) -> Trace:
    """Replicate streams of orthogonal probes, cycled over the evaluations of a fixed grid.

    Each probe is Rademacher on its own, and together those of a cycle cancel the errors of
    neighbouring pixels and channels (images [H, W, C]; elsewhere of neighbours along the array):
    see ``densityguide.density.probes``. Signs are fresh in every cycle and stream.
    """
    return Trace(coded, _replicates(probes))


def _replicates(probes: int) -> int:
    require(
        isinstance(probes, int) and probes >= 2,
        f"probes must be an integer of at least 2, got {probes!r}: one probe has no error bar",
    )
    return probes


def apply(linear: Callable[[Array], Any], trace: Trace, like: Array, probes: Array | None) -> Any:
    """Traces of every output of ``linear`` (a pytree of arrays shaped like its input), each as
    replicate estimates [probes], or as the exact value [1]."""
    if trace.is_exact:
        return jax.tree.map(lambda value: value[None], _exact(linear, like, trace.chunk))
    drawn = present(probes)
    return _contract(drawn, jax.vmap(linear)(drawn))


def _contract(tangents: Array, images: Any) -> Any:
    rows = tangents.reshape(tangents.shape[0], -1)
    return jax.tree.map(lambda im: jnp.sum(rows * im.reshape(rows.shape), axis=1), images)


def _exact(linear: Callable[[Array], Any], like: Array, chunk: int | None) -> Any:
    size = like.size
    chunk = min(chunk or _chunk_for(linear, like), size)
    columns = jnp.arange(size)

    def block(start: Array) -> Any:
        push = linear
        if chunk < size and isinstance(linear, Linear):
            # The compiler would hoist whatever does not depend on the loop and keep all of the
            # network's activations alive; one more forward pass a chunk costs less than that.
            x, start = lax.optimization_barrier((linear.x, start))
            push = partial(linear.again, x)
        # One-hot rows past the end are zero and add nothing.
        basis = ((start + jnp.arange(chunk))[:, None] == columns).astype(like.dtype)
        images = jax.vmap(push)(basis.reshape(chunk, *like.shape))
        return jax.tree.map(jnp.sum, _contract(basis, images))

    if chunk == size:
        return block(jnp.zeros((), columns.dtype))
    return jax.tree.map(jnp.sum, lax.map(block, jnp.arange(0, size, chunk)))


def _chunk_for(linear: Callable[[Array], Any], like: Array) -> int:
    """A chunk whose tangents fit in the budget, counting four arrays of the largest size."""
    budget = BUDGET if jax.default_backend() == "cpu" else ACCELERATOR_BUDGET
    largest = _largest(jax.make_jaxpr(linear)(like).jaxpr)
    return min(LONGEST, max(1, budget // (4 * max(largest, like.nbytes))))


def _largest(jaxpr: Any) -> int:
    """Bytes of the largest array computed, in nested programs too."""
    largest = 0
    for equation in jaxpr.eqns:
        shapes = [v.aval for v in equation.outvars if hasattr(v.aval, "shape")]
        sizes = [prod(s.shape) * jnp.dtype(s.dtype).itemsize for s in shapes if s.dtype != float0]
        inner = [getattr(value, "jaxpr", None) for value in equation.params.values()]
        largest = max([largest, *sizes, *(_largest(part) for part in inner if part is not None)])
    return largest


def divergence(
    fn: Callable[[Array], Array], x: Array, trace: Trace | None = None, key: Array | None = None
) -> tuple[Array, Array, Array]:
    """Value, divergence and standard error of ``fn`` at ``x`` in one pass.

    Args:
        fn: maps an array to an array of the same shape (any shape).
        trace: ``exact()`` by default, or an estimator.
        key: needed by estimators.

    Returns:
        ``(fn(x), tr(d fn/d x), standard error)``; the error is 0 for the exact trace.

    Raises:
        ValueError: an estimator without a key, integers, an output of another shape.
    """
    trace = exact() if trace is None else trace
    x = floating(x, "x", "convert it first")
    require(
        trace.is_exact or key is not None,
        "an estimated divergence needs key=: pass jax.random.key(...), or use exact()",
    )
    value, linear = linearise(fn, x)
    require(
        jnp.shape(value) == x.shape,
        f"a divergence needs outputs of the shape of the input {x.shape}, got {jnp.shape(value)}",
    )
    probes = None
    if trace.draw is not None:
        first = jnp.zeros((), jnp.int32)
        probes = trace.draw(present(key), first, 1, trace.probes, x.shape, x.dtype)
    estimates = apply(linear, trace, x, probes)
    spread = jnp.zeros((), x.dtype)
    if not trace.is_exact:
        spread = jnp.std(estimates, ddof=1) / trace.probes**0.5
    return value, jnp.mean(estimates), spread
