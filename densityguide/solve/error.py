"""The discretisation error of a solve, estimated from what the solve has evaluated anyway.

In one step a solver moves x by ``dx`` and log p by ``dl`` where the exact flow would have moved
them by ``dx - d`` and ``dl - q``. Both defects follow from a quadrature of higher order through
the same evaluations. What they mean for log p is known without any transport: along the exact flow
``log p(x)`` changes by -div u dt, so that the tracked value minus log p of the x that is reached is

    sum of q - s . d,      s = grad log p at that step.

`Adams` evaluates at its prediction, p away from the state that it then keeps. Such a rate is off by
``J p`` and its divergence by ``grad div u . p``; since ``ds/dt = -J^T s - grad div u``, they add

    sum of w (ds/dt + l s) . p,      w the evaluation's weight in the whole solve,

where l is the rate of the linear part, which is solved exactly. The score is read off the velocity
of a Gaussian path, ``s = 2 u / sigma^2 - x`` in variance-preserving coordinates, and no network is
evaluated. All of this is to first order. On the pinned mixture in 12 dimensions the median of
estimate over error is 0.9 to 1.15 from 16 steps on at order 2, 1.9 to 2.8 at 32 steps of order 4
and 0.6 to 1.15 from 64 on. [derived for this project]

The *bar* is wider, so that sums that cancel by chance do not hide an error: see `Bar.read`.
Without a path the score is unknown, and that of a Gaussian through x stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from densityguide.solve.coordinates import Coordinates
from densityguide.solve.quadrature import quadrature

__all__ = ["COARSE_JUMP", "Bar", "macro_weights"]

SUMS, SPREAD, SHARE = 1.5, 0.5, 1.0  # see `Bar.read`; fitted on the pinned mixture in 12 dimensions
NEAREST = 0.02  # to the data's end, where the score of straight paths is 0 / 0
COARSE_JUMP = 0.1  # of a unit of x / c: a first-order estimate means little beyond


def _state(tree: Any, kinds: Any) -> Array:
    """The x among the leaves: the first that is a state."""
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(kinds), strict=True)
    return next(leaf for leaf, kind in pairs if kind == "state")


def score(coordinates: Coordinates, t: Array, velocity: Array, x: Array) -> Array:
    """Grad log p in the coordinates of the solve; without a path a stand-in, see `_stand_in`."""
    if coordinates.path is None:
        return _stand_in(coordinates.interval, t, velocity, x)
    return 2.0 * velocity / jnp.maximum(jax.nn.sigmoid(-t), 1e-30) - x


def _stand_in(interval: tuple[Array, Array] | None, t: Array, velocity: Array, x: Array) -> Array:
    """The longer of two scores: that of a Gaussian through x, and what the velocity would mean had
    flow matching trained it on straight paths from N(0, I): ``(r u - x) / (1 - r)``, r the share
    of the ``interval`` travelled."""
    gaussian = -x * (x.size / jnp.maximum(jnp.sum(x**2), jnp.finfo(x.dtype).tiny))
    if interval is None:
        return gaussian
    start, stop = interval
    share = jnp.clip((t - start) / (stop - start), 0.0, 1.0)
    matched = (share * velocity * (stop - start) - x) / jnp.maximum(1.0 - share, NEAREST)
    longer = jnp.sum(matched**2) > jnp.sum(gaussian**2)
    return jnp.where(longer, matched, gaussian)


class Bar(NamedTuple):
    """What is added up on the way (all in the coordinates of the solve).

    ``defect``: signed sum like y, of states with the share of the predictions; ``spread``: the
    squares, entry by entry; ``drift``, ``lag``: sums over steps of ``s . d`` and of
    the prediction's share; ``square``: their squares; ``jump``: the farthest prediction, RMS of x;
    ``rounding``: squares of what the number format leaves in log p.
    """

    defect: Any
    spread: Any
    drift: Array
    lag: Array
    square: Array
    jump: Array
    rounding: Array
    score: Array
    time: Array

    @classmethod
    def start(cls, y: Any, kinds: Any, t: Array) -> Bar:
        x = lax.stop_gradient(_state(y, kinds))
        zeros = jax.tree.map(jnp.zeros_like, y)
        zero = jnp.zeros((), x.dtype)
        return cls(zeros, zeros, zero, zero, zero, zero, zero, jnp.zeros_like(x), t)

    def step(
        self,
        coordinates: Coordinates,
        t: Array,
        y: Any,
        rates: Any,
        defect: Any,
        *,
        lag: Any,
        weight: Array,
        growth: Array,
    ) -> Bar:
        """After one step to ``y`` at ``t``: ``rates`` as evaluated there, the step's ``defect``,
        ``lag`` = the place of that evaluation minus y, of ``weight`` in the solve, and the factor
        ``growth`` of the linear part."""
        kinds = coordinates.kinds
        t, y, rates, defect, lag, weight, growth = lax.stop_gradient(
            (t, y, rates, defect, lag, weight, growth)
        )
        x, d, p = (_state(tree, kinds) for tree in (y, defect, lag))
        s = score(coordinates, t, _state(rates, kinds), x + p)
        first = jnp.all(self.score == 0.0)
        slope = (s - self.score) / jnp.where(t == self.time, 1.0, t - self.time)
        linear = coordinates.linear(t)
        drift = jnp.sum(s * d)
        turned = jnp.where(first, 0.0, weight * jnp.sum((slope + linear * s) * p))
        # A state of unit variance would move a displaced x by -linear times its displacement.
        shift = -linear * weight if coordinates.path is not None else jnp.abs(weight)
        moved = jax.tree.map(
            lambda e, k, m: e + shift * m if k == "state" else e, defect, kinds, lag
        )
        # What the data's directions keep, the linear part alone would let shrink.
        keep = jnp.maximum(growth, 1.0)
        eps = jnp.finfo(x.dtype).eps
        return Bar(
            defect=jax.tree.map(lambda a, e: a + e, self.defect, moved),
            spread=jax.tree.map(lambda a, e: a * keep**2 + e**2, self.spread, moved),
            drift=self.drift + drift,
            lag=self.lag + turned,
            square=self.square + drift**2 + turned**2,
            jump=jnp.maximum(self.jump, jnp.sqrt(jnp.mean(p**2))),
            rounding=self.rounding + eps**2 * jnp.sum((s * x) ** 2),
            score=s,
            time=t,
        )

    def read(
        self, coordinates: Coordinates, t: Array, y: Any, fine: Array
    ) -> tuple[Any, Array, Array]:
        """``(error, coarse, sums)``: the bar like y, whether it is to be trusted, and the two sums
        over steps ``drift`` and ``lag``, signed.

        Nats, entry by entry: the signed quadrature defects times 1.5, and with the sign of their
        mean over the leaf, so that the magnitude of the mean over replicates is what bounds,
        1.5 times the magnitudes of both other sums, 0.5 times their root sum of squares, and
        rounding. State: magnitude plus root sum of squares, in units of x. Nan where the solve
        failed.
        """
        kinds = coordinates.kinds
        shared = SUMS * (jnp.abs(self.drift) + jnp.abs(self.lag))
        shared = shared + SPREAD * jnp.sqrt(self.square) + 2.0 * jnp.sqrt(self.rounding)

        def one(kind: str, total: Array, square: Array, value: Array) -> Array:
            eps = jnp.finfo(value.dtype).eps
            if kind == "state":
                error = SHARE * (jnp.abs(total) + jnp.sqrt(square)) + eps * jnp.abs(value)
            else:
                lowered = jnp.sum(total) < 0
                sign = jnp.where(lowered, -1.0, 1.0)
                error = SUMS * total + sign * (shared + 4.0 * eps * jnp.abs(value))
            return jnp.where(fine, error, jnp.nan).astype(value.dtype)

        y = lax.stop_gradient(y)
        error = jax.tree.map(one, kinds, self.defect, self.spread, y)
        sums = jnp.stack([self.drift, self.lag])
        return lax.stop_gradient(coordinates.leave(error, t)), self.jump > COARSE_JUMP, sums


def macro_weights(
    knots: Array,
    order: int,
    used: Array,
    through: Array,
    log_scale: Callable[[Array], Array] | None,
) -> Array:
    """Defect weights [n, order + 1] of Adams' corrector: its own weights minus those ``through``
    one value more, newest value first.

    The first steps know too few values for the latter. Their defects are taken together, once
    there are enough: row ``order - 1`` compares the way from the first knot with the polynomial
    through all values so far, and the rows before it are 0.
    """
    n = knots.shape[0] - 1
    used = jnp.pad(used, ((0, 0), (0, 1)))
    delta = used - through
    m = min(order, n)
    if m < 2:
        return delta
    row = jnp.zeros((order + 1,), knots.dtype)
    places = m - np.arange(m + 1)  # newest first
    for i in range(m):
        grown = jnp.ones((), knots.dtype)
        if log_scale is not None:
            grown = jnp.exp(log_scale(knots[m]) - log_scale(knots[i + 1]))
        exact = quadrature(knots[i], knots[i + 1], knots[places], log_scale)
        late = m - (i + 1)  # how much older than the newest this step's newest value is
        row = row.at[: m + 1].add(-grown * exact)
        row = row.at[late : order + 1].add(grown * used[i, : order + 1 - late])
    return jnp.concatenate([jnp.zeros_like(delta[: m - 1]), row[None], delta[m:]])
