"""Exponential Adams methods: one network evaluation a step, whatever the order.

On a Gaussian path in variance-preserving coordinates the velocity is ``-alpha^2 / 2 x + N``, where
``N = alpha / 2 * denoised`` varies slowly. The linear part is solved exactly,

    x(t1) = sigma(t1) / sigma(t0) x(t0) + integral from t0 to t1 of sigma(t1) / sigma(s) N(s) ds,

and N is replaced by the polynomial through its latest ``order`` values: those known at t0 predict
x(t1), the network is evaluated there once, and the polynomial through that value as well corrects
it (predict, evaluate, correct; on exponential multistep methods see Hochbruck and Ostermann, Acta
Numerica 2010).
What is measured in nats is integrated by the same polynomials without the exponential factor, as
is the state of a flow without a path. A rate that feeds its own value back, ``dl/dt = g (L - l) +
rest``, is predicted implicitly: all but ``-g l`` is extrapolated, and the corrector's own equation
is solved for l. Such a method stays stable far beyond the ``g step`` of 0.3 at which predictors of
order 4 fail, and l is still integrated by the rates that moved x.
Steps may vary. The first ones use as many values as there are, so the order is reached where a
solve has little to do: at the prior's end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from densityguide.solve.coordinates import Coordinates
from densityguide.solve.error import Bar, macro_weights
from densityguide.solve.quadrature import extrapolation, weights_of
from densityguide.solve.result import Ended

__all__ = ["Adams", "integrate"]


@dataclass(frozen=True)
class Adams:
    """An exponential Adams predictor-corrector for ``solver=``; ``order`` 1 to 6 (ValueError
    otherwise). Fixed grids only, of steps that vary smoothly: order 2 elsewhere. On a flow without
    a path equal steps limit every order to 3, since the first ones know few values; the default
    grid there, `densityguide.grids.eased`, keeps order 4."""

    order: int = 4

    def __post_init__(self) -> None:
        whole = isinstance(self.order, int) and not isinstance(self.order, bool)
        if not whole or self.order not in range(1, 7):
            raise ValueError(f"order must be 1 to 6, got {self.order!r}")


def _totals(corrector: Array) -> Array:
    """Weight [n + 1] of each evaluation in the whole integral."""
    steps, order = corrector.shape
    places = jnp.arange(steps)[:, None] + 1 - jnp.arange(order)
    return jnp.zeros(steps + 1, corrector.dtype).at[jnp.maximum(places, 0)].add(corrector)


def _dot(weights: Array, past: Array) -> Array:
    return jnp.tensordot(weights.astype(past.dtype), past, axes=weights.ndim)


class _Weights(NamedTuple):
    """For each evaluation, of one kind of leaf: weights [n + 1, order + 1] of predictor, corrector
    and defect, and the factors by which the first two multiply the leaf itself."""

    predictor: Array
    corrector: Array
    defect: Array
    before: Array
    after: Array


def _weights(order: int, knots: Array, log_scale: Callable[[Array], Array] | None) -> _Weights:
    """The evaluation at the first knot is a step that moves nothing: one loop, compiled once."""
    predictor, corrector = weights_of(knots, order, log_scale)
    through = weights_of(knots, order + 1, log_scale)[1]
    defect = macro_weights(knots, order, corrector, through, log_scale)
    factor = jnp.ones_like(knots)
    if log_scale is not None:
        factor = factor.at[1:].set(jnp.exp(jnp.diff(log_scale(knots))))
    wide = ((1, 0), (0, 1))
    return _Weights(
        jnp.pad(predictor, wide),
        jnp.pad(corrector, wide),
        jnp.pad(defect, ((1, 0), (0, 0))),
        factor,
        factor,
    )


def _fed_back(order: int, knots: Array, plain: _Weights, pull: Array) -> _Weights:
    """Weights [n + 1, order + 1, 2] of a leaf's rates ``pull l + rest`` and of their ``rest``."""
    own = plain.corrector[:, 0]
    factor = 1.0 / (1.0 - own * pull)
    rest = jnp.pad(extrapolation(knots, order), ((1, 0), (0, 1)))
    older = jnp.pad(plain.corrector[:, 1:], ((0, 0), (0, 1)))
    predictor = jnp.stack([older, own[:, None] * rest], axis=-1) * factor[:, None, None]

    def of_rates(weights: Array) -> Array:
        return jnp.stack([weights, jnp.zeros_like(weights)], axis=-1)

    corrector, defect = of_rates(plain.corrector), of_rates(plain.defect)
    return _Weights(predictor, corrector, defect, factor, plain.after)


def _no_history(length: int, a: Array, kind: str) -> Array:
    return jnp.zeros((length, *(2,) * (kind == "feedback"), *a.shape), a.dtype)


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
    relaxation: Array | None = None,
) -> Ended:
    """From the first knot to the last; arguments as of ``densityguide.solve.solve``."""
    field, kinds = coordinates.field(field), coordinates.kinds
    weights = {
        "nats": _weights(order, knots, None),
        "state": _weights(order, knots, coordinates.log_linear),
    }
    pull = jnp.zeros_like(knots[0])
    if relaxation is not None:
        pull = -relaxation * jnp.sign(knots[-1] - knots[0])
        weights["feedback"] = _fed_back(order, knots, weights["nats"], pull)
    totals = _totals(weights["nats"].corrector[1:, :order])

    def advance(y: Any, history: Any, which: dict[str, tuple[Array, Array]]) -> Any:
        def one(a: Array, past: Array, kind: str) -> Array:
            shares, factor = which[kind]
            return a * factor.astype(a.dtype) + _dot(shares, past)

        return jax.tree.map(one, y, history, kinds)

    def kept(t: Array, rate: Array, a: Array, kind: str) -> Array:
        """What the polynomials go through."""
        if kind == "nats":
            return rate
        if kind == "feedback":
            return jnp.stack([rate, rate - pull * a])
        return rate - coordinates.linear(t) * a

    def body(carry: Any, xs: Any) -> tuple[Any, Any]:
        y, history, fine, reached, bar = carry
        index, t, weights, total = xs
        guess = advance(y, history, {k: (w.predictor, w.before) for k, w in weights.items()})
        rates = field(t, guess, draw(index))
        values = jax.tree.map(partial(kept, t), rates, guess, kinds)
        history = jax.tree.map(lambda h, v: jnp.concatenate([v[None], h[:-1]]), history, values)
        new = advance(y, history, {k: (w.corrector, w.after) for k, w in weights.items()})
        bar = bar.step(
            coordinates,
            t,
            new,
            rates,
            jax.tree.map(lambda h, k: _dot(weights[k].defect, h), history, kinds),
            lag=jax.tree.map(jnp.subtract, guess, new),
            weight=total,
            growth=weights["state"].after,
        )
        fine = fine & finite(new)
        y = jax.tree.map(lambda a, b: jnp.where(fine, a, b), new, y)
        reached = jnp.where(fine, t, reached)
        seen = watch(coordinates.leave(y, reached)), watch(rates)
        return (y, history, fine, reached, bar), seen

    start = coordinates.enter(y0, knots[0])
    history = jax.tree.map(partial(_no_history, order + 1), start, kinds)
    xs = (jnp.arange(knots.shape[0], dtype=jnp.int32), knots, weights, totals)
    carry = (start, history, finite(y0), knots[0], Bar.start(start, kinds, knots[0]))
    (y, _, fine, reached, bar), (path, rates) = lax.scan(body, carry, xs)
    moves = jax.tree.map(lambda r: r * totals.reshape(-1, *(1,) * (r.ndim - 1)), rates)
    error, coarse, sums = bar.read(coordinates, reached, y, fine)
    coarse = coarse | (knots.shape[0] - 1 <= order)
    return Ended(coordinates.leave(y, reached), fine, path, moves, error, coarse, sums)
