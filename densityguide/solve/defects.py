"""Defects of single-step methods: each step against a quadrature through the steps' first rates."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from densityguide.solve.coordinates import Coordinates
from densityguide.solve.error import Bar, macro_weights
from densityguide.solve.quadrature import weights_of

__all__ = ["Defects", "Schedule", "schedule"]

LONGEST = 7  # values of a quadrature


class Schedule(NamedTuple):
    """For each knot: weights [n + 1, values] of leaves in nats and of states, the linear part's
    factor since the knot compared with, and whether a comparison ends there, from the first."""

    nats: Array
    state: Array
    growth: Array
    ends: Array
    whole: Array


def schedule(order: int, knots: Array, coordinates: Coordinates) -> Schedule:
    """The schedule for a method of ``order``: quadratures through ``order + 2`` values, `LONGEST`
    at most, newest first."""
    values, n = min(order + 2, LONGEST), knots.shape[0] - 1

    def rows(log_scale: Any) -> Array:
        through = weights_of(knots, values, log_scale)[1]
        none = jnp.zeros_like(through[:, :-1])
        delta = macro_weights(knots, values - 1, none, through, log_scale)
        return jnp.pad(delta, ((1, 0), (0, 0)))

    first = min(values - 1, n)
    index = jnp.arange(n + 1)
    growth = jnp.ones_like(knots)
    scale = coordinates.log_linear
    if scale is not None:
        before = jnp.where(index == first, 0, jnp.maximum(index - 1, 0))
        growth = jnp.exp(scale(knots) - scale(knots[before]))
    plain = rows(None)
    return Schedule(
        plain, plain if scale is None else rows(scale), growth, index >= first, index == first
    )


class Defects(NamedTuple):
    """State at the first knot and at the one before, latest rates without their linear part,
    newest first, and the error so far."""

    origin: Any
    before: Any
    history: Any
    bar: Bar

    @classmethod
    def start(cls, y: Any, kinds: Any, t: Array, values: int) -> Defects:
        y = lax.stop_gradient(y)
        history = jax.tree.map(lambda a: jnp.zeros((values, *a.shape), a.dtype), y)
        return cls(y, y, history, Bar.start(y, kinds, t))

    def at(self, coordinates: Coordinates, t: Array, y: Any, rates: Any, row: Schedule) -> Defects:
        """The defects after a knot, from the state and the rates there."""
        t, y, rates, row = lax.stop_gradient((t, y, rates, row))
        kinds, slope = coordinates.kinds, coordinates.linear(t)
        values = jax.tree.map(lambda r, a, k: r - slope * a if k == "state" else r, rates, y, kinds)
        history = jax.tree.map(
            lambda h, v: jnp.concatenate([v[None], h[:-1]]), self.history, values
        )

        def defect(a: Array, origin: Array, before: Array, past: Array, kind: str) -> Array:
            base = jnp.where(row.whole, origin, before)
            kept = base * row.growth if kind == "state" else base
            weights = row.state if kind == "state" else row.nats
            moved = jnp.tensordot(weights.astype(past.dtype), past, axes=1)
            return jnp.where(row.ends, a - kept + moved, 0.0)

        off = jax.tree.map(defect, y, self.origin, self.before, history, kinds)
        zero = jnp.zeros((), t.dtype)
        lag = jax.tree.map(jnp.zeros_like, y)
        bar = self.bar.step(coordinates, t, y, rates, off, lag=lag, weight=zero, growth=row.growth)
        return Defects(self.origin, y, history, bar)

    def ahead(self, coordinates: Coordinates, knots: Array, y: Any) -> Any:
        """Rates at the last knot, continued from those at the latest three: only a method whose
        last evaluation serves the next step knows them."""
        count = min(3, knots.shape[0] - 1)
        at, t = knots[-2 : -2 - count : -1], knots[-1]
        weights = []
        for i in range(count):
            other = [j for j in range(count) if j != i]
            terms = [(t - at[j]) / (at[i] - at[j]) for j in other]
            weights.append(jnp.prod(jnp.stack(terms)) if terms else jnp.ones_like(t))
        share = jnp.stack(weights)
        slope = coordinates.linear(t)

        def one(past: Array, a: Array, kind: str) -> Array:
            value = jnp.tensordot(share.astype(past.dtype), past[:count], axes=1)
            return value + slope * a if kind == "state" else value

        return jax.tree.map(one, self.history, y, coordinates.kinds)
