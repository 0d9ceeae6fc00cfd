"""A fixed grid by a solver of diffrax: a `lax.scan` over its public ``step``.

No host callback, so programs can be cached and exported; the index of a step keys its probes and
its noise; each step is checked for finiteness.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jax import Array, lax

from densityguide.solve.coordinates import Coordinates
from densityguide.solve.defects import Defects, schedule
from densityguide.solve.method import Method
from densityguide.solve.result import Ended, all_finite

__all__ = ["integrate"]


class _Stochastic(diffrax.AbstractTerm[Any, Any]):
    """Drift and noise as one term, so that one network evaluation serves both."""

    increment: Callable[..., Any] = dataclasses.field(metadata={"static": True})
    brownian: Array

    def vf(self, t: Any, y: Any, args: Any) -> Any:
        raise NotImplementedError("stochastic terms are evaluated through vf_prod")

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0, self.brownian

    def prod(self, vf: Any, control: Any) -> Any:
        raise NotImplementedError("stochastic terms are evaluated through vf_prod")

    def vf_prod(self, t: Any, y: Any, args: Any, control: Any) -> Any:
        return self.increment(t, y, args, *control)


def integrate(
    method: Method,
    knots: Array,
    field: Callable[..., Any],
    y0: Any,
    *,
    coordinates: Coordinates,
    draw: Callable[[Array], Any],
    watch: Callable[[Any], Any],
    brownian: tuple[Array, tuple[int, ...]] | None,
) -> Ended:
    """From the first knot to the last; arguments as of `densityguide.solve.stepping.solve`."""
    field = coordinates.field(field) if brownian is None else coordinates.increment(field)
    solver, steps = method.solver, knots.shape[0] - 1
    stage_times = jnp.asarray(method.stage_times, knots.dtype)

    def drawn(t: Array, place: tuple[Array, Array, Array]) -> Any:
        step, t0, t1 = place
        stage = jnp.argmin(jnp.abs(stage_times - (t - t0) / (t1 - t0)))
        return draw(step * method.places + stage.astype(step.dtype))

    def rates(t: Any, y: Any, place: tuple[Array, Array, Array]) -> Any:
        return field(t, y, drawn(t, place))

    def increments(
        t: Array, y: Any, place: tuple[Array, Array, Array], dt: Array, dw: Array
    ) -> Any:
        return field(t, y, drawn(t, place), dt, dw)

    def term(step: Array, width: Array) -> Any:
        if brownian is None:
            return diffrax.ODETerm(rates)
        key, shape = brownian
        normal = jax.random.normal(jax.random.fold_in(key, step), shape, knots.dtype)
        return _Stochastic(increments, normal * jnp.sqrt(jnp.abs(width)))

    table = schedule(_order(solver), knots, coordinates)
    tracked = brownian is None

    def body(carry: Any, xs: Any) -> tuple[Any, Any]:
        y, state, fine, reached, defects, last = carry
        (step, t0, t1), row = xs
        place = (step, t0, t1)
        new, _, dense, state, _ = solver.step(term(step, t1 - t0), t0, t1, y, place, state, False)
        if tracked:
            rates, last = _first_and_last(dense, y, new, t1 - t0)
            defects = defects.at(coordinates, t0, y, rates, row)
        fine = fine & all_finite(new)
        new = jax.tree.map(lambda a, b: jnp.where(fine, a, b), new, y)
        reached = jnp.where(fine, t1, reached)
        return (new, state, fine, reached, defects, last), watch(coordinates.leave(new, reached))

    zero = jnp.zeros((), jnp.int32)
    first = term(zero, knots[1] - knots[0])
    start = coordinates.enter(y0, knots[0])
    state = solver.init(first, knots[0], knots[1], start, (zero, knots[0], knots[1]))
    places = (jnp.arange(steps, dtype=jnp.int32), knots[:-1], knots[1:])
    rows = jax.tree.map(lambda a: a[:-1], table)
    blank = Defects.start(start, coordinates.kinds, knots[0], table.nats.shape[1])
    defects, last = (blank, jax.tree.map(jnp.zeros_like, start)) if tracked else (None, None)
    carry = (start, state, all_finite(y0), knots[0], defects, last)
    (y, _, fine, reached, defects, last), path = lax.scan(body, carry, (places, rows))
    path = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), watch(y0), path)
    moves = jax.tree.map(lambda a: jnp.diff(a, axis=0), path)
    ended = coordinates.leave(y, reached)
    if defects is None:
        return Ended(ended, fine, path, moves, None, None, None)
    if not method.reuses:
        last = defects.ahead(coordinates, knots, y)
    defects = defects.at(coordinates, knots[-1], y, last, jax.tree.map(lambda a: a[-1], table))
    error, coarse, sums = defects.bar.read(coordinates, reached, y, fine)
    return Ended(ended, fine, path, moves, error, coarse | (steps < 4), sums)


def _first_and_last(dense: Any, y: Any, new: Any, width: Array) -> tuple[Any, Any]:
    """Rates at a step's first and last evaluation."""
    if "k" not in dense:
        rate = jax.tree.map(lambda a, b: (b - a) / width, y, new)
        return rate, rate
    first = jax.tree.map(lambda k: k[0] / width, dense["k"])
    return first, jax.tree.map(lambda k: k[-1] / width, dense["k"])


def _order(solver: Any) -> int:
    return (solver.order(None) or 1) if isinstance(solver, diffrax.AbstractERK) else 1
