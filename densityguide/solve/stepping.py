"""One vector field, one initial state, one compiled solve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import multistep
from densityguide.coordinates import Coordinates
from densityguide.multistep import Adams
from densityguide.paths import Path
from densityguide.solve import adaptive, single_step
from densityguide.solve.method import Method, Numbers
from densityguide.solve.result import Solved, Status, all_finite

__all__ = ["solve"]


def solve(
    method: Method,
    numbers: Numbers,
    field: Callable[[Array, Any, Any], Any],
    y0: Any,
    *,
    kinds: Any,
    path: Path | None = None,
    draw: Callable[[Array], Any] = lambda index: None,
    brownian: tuple[Array, tuple[int, ...]] | None = None,
    watch: Callable[[Any], Any] = lambda y: None,
) -> Solved:
    """Solve from the first knot to the last.

    Args:
        field: ``(t, y, drawn) -> dy/dt``; with ``brownian`` instead
            ``(t, y, drawn, dt, dw) -> dy``, the increment over a step.
        kinds: like ``y0``, "state" for leaves that scale with x and "nats" for those measured in
            nats, which have an absolute tolerance of their own.
        path: the flow's, for the coordinates of the solve; see ``densityguide.coordinates``.
        draw: ``index -> drawn`` (probes); every evaluation of a fixed grid has an index of its
            own, and so fresh probes: three stages that shared one would average nothing away.
            Index 0 throughout an adaptive solve, whose field must be deterministic.
        brownian: ``(key, shape)`` of the noise; step n uses ``fold_in(key, n)``.
        watch: ``y -> pytree`` recorded at every knot of a fixed grid.
    """
    # bf16 and TF32 products are not good enough for log p of thousands of nats; a user's own
    # jax_default_matmul_precision wins.
    precision = jax.config.jax_default_matmul_precision or "float32"  # type: ignore[attr-defined]
    with jax.default_matmul_precision(precision):
        coordinates = Coordinates(path, kinds)
        if method.adaptive:
            return adaptive.integrate(method, numbers, field, y0, coordinates, draw)
        knots = numbers.knots
        given: dict[str, Any] = {"coordinates": coordinates, "draw": draw, "watch": watch}
        if isinstance(method.solver, Adams):
            order = method.solver.order
            ended = multistep.integrate(order, knots, field, y0, finite=all_finite, **given)
        else:
            ended = single_step.integrate(method, knots, field, y0, brownian=brownian, **given)
    y, fine, seen, moves = ended
    evaluations = jnp.asarray(method.evaluations(knots.shape[0] - 1), jnp.int32)
    return Solved(y, _status(knots, fine), evaluations, seen, moves)


def _status(knots: Array, fine: Array) -> Array:
    forward = (knots[1:] - knots[:-1]) * (knots[-1] - knots[0]) > 0
    status = jnp.where(fine, 0, int(Status.NON_FINITE))
    status |= jnp.where(jnp.all(forward), 0, int(Status.INVALID))
    return status.astype(jnp.int32)
