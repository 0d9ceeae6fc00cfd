"""Exponential Adams methods: one network evaluation a step, whatever the order.

On a Gaussian path in variance-preserving coordinates the velocity is ``-alpha^2 / 2 x + N``, where
``N = alpha / 2 * denoised`` varies slowly. The linear part is solved exactly,

    x(t1) = sigma(t1) / sigma(t0) x(t0) + integral from t0 to t1 of sigma(t1) / sigma(s) N(s) ds,

and N is replaced by the polynomial through its latest ``order`` values: those known at t0 predict
x(t1), the network is evaluated there once, and the polynomial through that value as well corrects
it (predict, evaluate, correct; on exponential multistep methods see Hochbruck and Ostermann, Acta
Numerica 2010).
What is measured in nats is integrated by the same polynomials without the exponential factor, as
is the state of a flow without a path. Steps may vary. The first ones use as many values as there
are, so the order is reached where a solve has little to do: at the prior's end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from densityguide.coordinates import Coordinates

__all__ = ["Adams", "integrate"]

NODES = 8  # of the Gauss quadrature: exact to rounding for any sensible step


@dataclass(frozen=True)
class Adams:
    """An exponential Adams predictor-corrector for ``solver=``; ``order`` 1 to 6 (ValueError
    otherwise). Fixed grids only, of steps that vary smoothly: order 2 elsewhere. On a flow without
    a path the first steps limit every order to 3."""

    order: int = 4

    def __post_init__(self) -> None:
        whole = isinstance(self.order, int) and not isinstance(self.order, bool)
        if not whole or self.order not in range(1, 7):
            raise ValueError(f"order must be 1 to 6, got {self.order!r}")


def _weights(
    knots: Array, order: int, log_scale: Callable[[Array], Array] | None
) -> tuple[Array, Array]:
    """Weights [n, order] of the latest values in each step, newest first: (predictor, whose
    newest is at the step's start; corrector, whose newest is at its end)."""
    nodes, shares = np.polynomial.legendre.leggauss(NODES)
    start, width = knots[:-1, None], jnp.diff(knots)[:, None]
    times = start + width * (0.5 * jnp.asarray(nodes, knots.dtype) + 0.5)
    kernel = 0.5 * width * jnp.asarray(shares, knots.dtype)
    if log_scale is not None:
        kernel = kernel * jnp.exp(log_scale(knots[1:, None]) - log_scale(times))

    def through(newest: int) -> Array:
        places = jnp.arange(knots.shape[0] - 1)[:, None] + newest - jnp.arange(order)
        known = places >= 0
        at = knots[jnp.maximum(places, 0)]
        # [step, of, other]: both known, or a gap of 0 would hide in the reverse pass.
        other = known[:, :, None] & known[:, None, :] & ~jnp.eye(order, dtype=bool)
        gap = jnp.where(other, at[:, :, None] - at[:, None, :], 1.0)
        factors = (times[:, None, None, :] - at[:, None, :, None]) / gap[..., None]
        basis = jnp.prod(jnp.where(other[..., None], factors, 1.0), axis=2)
        return jnp.where(known, jnp.sum(basis * kernel[:, None, :], axis=2), 0.0)

    return through(0), through(1)


def _totals(corrector: Array) -> Array:
    """Weight [n + 1] of each evaluation in the whole integral."""
    steps, order = corrector.shape
    places = jnp.arange(steps)[:, None] + 1 - jnp.arange(order)
    return jnp.zeros(steps + 1, corrector.dtype).at[jnp.maximum(places, 0)].add(corrector)


def integrate(
    order: int,
    knots: Array,
    field: Callable[[Array, Any, Any], Any],
    y0: Any,
    *,
    coordinates: Coordinates,
    draw: Callable[[Array], Any],
    watch: Callable[[Any], Any],
    finite: Callable[[Any], Array],
) -> tuple[Any, Array, Any, Any]:
    """From the first knot to the last; arguments as of ``densityguide.solve.solve``.

    Returns ``(y, whether all steps were finite, watch(y) at the knots [n + 1], watch of what each
    evaluation added to the leaves in nats [n + 1])``; y is the last finite state.
    """
    field, kinds = coordinates.field(field), coordinates.kinds
    log_scale = coordinates.log_linear
    plain = _weights(knots, order, None)
    weights = {
        "nats": plain,
        "state": plain if log_scale is None else _weights(knots, order, log_scale),
    }
    growth = jnp.ones_like(knots[1:])
    if log_scale is not None:
        growth = jnp.exp(jnp.diff(log_scale(knots)))
    # The evaluation at the first knot is a step that moves nothing: one loop, compiled once.
    weights = jax.tree.map(lambda w: jnp.concatenate([jnp.zeros_like(w[:1]), w]), weights)
    growth = jnp.concatenate([jnp.ones_like(knots[:1]), growth])

    def advance(y: Any, history: Any, weights: dict[str, Array], growth: Array) -> Any:
        def one(a: Array, past: Array, kind: str) -> Array:
            kept = a * growth if kind == "state" else a
            return kept + jnp.tensordot(weights[kind].astype(past.dtype), past, axes=1)

        return jax.tree.map(one, y, history, kinds)

    def body(carry: Any, xs: Any) -> tuple[Any, Any]:
        y, history, fine, reached = carry
        index, t, growth, weights = xs
        predictor = {kind: pair[0] for kind, pair in weights.items()}
        corrector = {kind: pair[1] for kind, pair in weights.items()}
        guess = advance(y, history, predictor, growth)
        rates = field(t, guess, draw(index))
        slope = coordinates.linear(t)
        values = jax.tree.map(
            lambda r, a, kind: r - slope * a if kind == "state" else r, rates, guess, kinds
        )
        history = jax.tree.map(lambda h, v: jnp.concatenate([v[None], h[:-1]]), history, values)
        new = advance(y, history, corrector, growth)
        fine = fine & finite(new)
        y = jax.tree.map(lambda a, b: jnp.where(fine, a, b), new, y)
        reached = jnp.where(fine, t, reached)
        return (y, history, fine, reached), (watch(coordinates.leave(y, reached)), watch(rates))

    start = coordinates.enter(y0, knots[0])
    history = jax.tree.map(lambda a: jnp.zeros((order, *a.shape), a.dtype), start)
    xs = (jnp.arange(knots.shape[0], dtype=jnp.int32), knots, growth, weights)
    carry = (start, history, finite(y0), knots[0])
    (y, _, fine, reached), (path, rates) = lax.scan(body, carry, xs)
    totals = _totals(plain[1])
    moves = jax.tree.map(lambda r: r * totals.reshape(-1, *(1,) * (r.ndim - 1)), rates)
    return coordinates.leave(y, reached), fine, path, moves
