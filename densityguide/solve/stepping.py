"""One vector field, one initial state, one compiled solve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.flow.paths import Path
from densityguide.solve import adams as multistep
from densityguide.solve import adaptive, single_step
from densityguide.solve.adams import Adams
from densityguide.solve.coordinates import Coordinates
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
    interval: tuple[Array, Array] | None = None,
    draw: Callable[[Array], Any] = lambda index: None,
    brownian: tuple[Array, tuple[int, ...]] | None = None,
    watch: Callable[[Any], Any] = lambda y: None,
    controls: Any = None,
    relaxation: Array | None = None,
) -> Solved:
    """Solve from the first knot to the last.

    Args:
        field: ``(t, y, drawn) -> dy/dt``; with ``brownian`` instead
            ``(t, y, drawn, dt, dw) -> dy``, the increment over a step.
        kinds: like ``y0``, "state" for leaves that scale with x and "nats" for those measured in
            nats, which have an absolute tolerance of their own.
        path, interval: the flow's, for the coordinates of the solve and its error bar; see
            ``densityguide.solve.coordinates``.
        draw: ``index -> drawn`` (probes); every evaluation of a fixed grid has an index of its
            own, and so fresh probes: three stages that shared one would average nothing away.
            Index 0 throughout an adaptive solve, whose field must be deterministic.
        brownian: ``(key, shape)`` of the noise; step n uses ``fold_in(key, n)``.
        watch: ``y -> pytree`` recorded at every knot of a fixed grid.
        controls: like ``y0``, whether a leaf has a say in the steps of an adaptive solve that has
            no tolerance for log p; by default "state" leaves have.
        relaxation: for leaves of kind "feedback" (nats whose own rate pulls them back): that rate
            r per unit of time, not negative, of ``dl/dt = r (L - l) + rest`` in the direction of
            travel. `Adams` takes that part implicitly, since its predictors are stable only up to
            ``r step`` of about 0.3 (order 4); others take the leaf as plain nats.
    """
    # bf16 and TF32 products are not good enough for log p of thousands of nats; a user's own
    # jax_default_matmul_precision wins.
    precision = jax.config.jax_default_matmul_precision or "float32"  # type: ignore[attr-defined]
    with jax.default_matmul_precision(precision):
        if relaxation is None or not isinstance(method.solver, Adams):
            kinds = jax.tree.map(lambda kind: "nats" if kind == "feedback" else kind, kinds)
        coordinates = Coordinates(path, kinds, interval)
        field = guarded(field, kinds)
        if method.adaptive:
            if controls is None:
                controls = jax.tree.map(lambda kind: kind == "state", kinds)
            return adaptive.integrate(method, numbers, field, y0, coordinates, draw, controls)
        knots = numbers.knots
        given: dict[str, Any] = {"coordinates": coordinates, "draw": draw, "watch": watch}
        if isinstance(method.solver, Adams):
            order = method.solver.order
            given |= {"finite": all_finite, "relaxation": relaxation}
            ended = multistep.integrate(order, knots, field, y0, **given)
        else:
            ended = single_step.integrate(method, knots, field, y0, brownian=brownian, **given)
    y, fine, seen, moves, error, coarse, sums = ended
    evaluations = jnp.asarray(method.evaluations(knots.shape[0] - 1), jnp.int32)
    return Solved(y, _status(knots, fine), evaluations, seen, moves, error, coarse, sums)


def guarded(field: Callable[..., Any], kinds: Any) -> Callable[..., Any]:
    """The field, evaluated at 0 and answering nan where the state is not finite or so large that
    its powers overflow: a failed sample then has no infinite derivative, which times its weight of
    zero would be a nan in the gradient of its batch mates."""

    def checked(t: Array, y: Any, *more: Any) -> Any:
        leaves = zip(jax.tree.leaves(y), jax.tree.leaves(kinds), strict=True)
        states = [a for a, kind in leaves if kind == "state"]
        usable = jnp.all(jnp.stack([jnp.all(jnp.abs(a) < _limit(a)) for a in states]))
        rates = field(t, jax.tree.map(lambda a: jnp.where(usable, a, 0.0), y), *more)
        return jax.tree.map(lambda r: jnp.where(usable, r, jnp.nan), rates)

    return checked


def _limit(a: Array) -> float:
    return float(jnp.finfo(a.dtype).max) ** 0.25


def _status(knots: Array, fine: Array) -> Array:
    forward = (knots[1:] - knots[:-1]) * (knots[-1] - knots[0]) > 0
    status = jnp.where(fine, 0, int(Status.NON_FINITE))
    status |= jnp.where(jnp.all(forward), 0, int(Status.INVALID))
    return status.astype(jnp.int32)
