"""The score of a flow's own density, by differentiating through a solve."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import solve as solving
from densityguide.checks import count, require, verb
from densityguide.density.trace import Trace, apply, exact
from densityguide.flow import spaces
from densityguide.flow.conditions import Bound
from densityguide.flow.flow import SMALL, Flow, require_flow
from densityguide.flow.paths import Path
from densityguide.solve.adams import Adams

__all__ = ["check_joint", "derive_score"]

NEAR = 1e-3  # of the clock's span: nearer to the prior, log p is a straight line from it


class _State(NamedTuple):
    x: Array
    change: Array


@dataclass(frozen=True)
class _Field:
    """The velocity of ``field`` with the score of its own density; compared by value."""

    field: Callable[..., tuple[Array, Array | None]]
    path: Path | None
    size: int
    steps: int
    trace: Trace

    def __call__(self, params: Bound, x: Array, t: Array) -> tuple[Array, Array]:
        velocity = self.field(params.weights, x, t)[0]
        return velocity, jax.grad(self.log_density, argnums=1)(params, x, t).astype(x.dtype)

    def log_density(self, params: Bound, x: Array, t: Array) -> Array:
        """``log p_t(x)`` in nats, by a solve from t to the prior's end."""
        start, span = params.start, params.stop - params.start
        share = jnp.clip((t - start) / (NEAR * span), 0.0, 1.0).astype(x.dtype)
        first = jnp.where(share < 1.0, start + NEAR * span, t)  # no step of width zero
        knots = first + (start - first) * jnp.linspace(0.0, 1.0, self.steps + 1, dtype=x.dtype)
        zero = jnp.zeros((), knots.dtype)

        def rates(t: Array, y: _State, drawn: Any) -> _State:
            velocity, tangent = jax.linearize(lambda x: self.field(params.weights, x, t)[0], y.x)
            divergence = apply(lambda v: (tangent(v), None), self.trace, y.x, None)[0]
            return _State(velocity, divergence)

        solved = solving.solve(
            solving.Method(Adams(), False, self.steps),
            solving.Numbers(knots, zero, zero, zero),
            rates,
            _State(x, jnp.zeros((self.trace.probes,), x.dtype)),
            kinds=_State._make(("state", "nats")),
            path=self.path,
        )
        # The solve runs towards the prior, so change = -integral of div u on the way from it.
        reached = params.prior.log_prob(solved.y.x) + jnp.mean(solved.y.change)
        return (1.0 - share) * params.prior.log_prob(x) + share * reached


def _prior(flow: Flow) -> Any:
    return flow.params.prior


@verb
def derive_score(flow: Flow, *, steps: int = 32, chunk: int | None = None) -> Flow:
    """The same flow with the score of its own density::

        s(x, t) = grad log p_t(x),    log p_t(x) = log p_T(x_T) - integral from T to t of div u

    by one pass of reverse mode through a solve from t to the prior's end. A learned score is not
    the gradient of the flow's own log p, which is why guidance lands beside its target; this one
    is, up to the steps of its solve, so that what guidance tracks is what encoding finds. It also
    gives a score to a flow without one.

    It costs: each evaluation of the field takes ``steps`` evaluations with an exact trace (D
    tangents each) and their reverse, about ``3 steps (D + 1)`` forward passes, and memory for all
    of them. For few dimensions, then; in many, `land` reaches the same log p for less.

    The flow keeps its prior and the start of its clock: other weights may be put in its place by
    ``replace(params=...)``, another prior or start not. `sample_sde` and `elbo` refuse it, since
    their equations join the velocity and the score of one network.

    Args:
        steps: of each solve, by `Adams` of order 4.
        chunk: tangents at a time, see `exact`.

    Raises:
        ValueError: more than 256 dimensions, fewer than 2 steps, a flow on a space, a score that
            was derived before.
    """
    require_flow(flow, "derive_score")
    require(
        flow.is_small,
        f"derive_score takes up to {SMALL} dimensions, this flow has {flow.size}: use "
        "densityguide.land, which needs no score",
    )
    spaces.require_none(flow.space, "derive_score")
    require(not isinstance(flow.params, Bound), "this flow's score is its own density's already")
    field = _Field(flow.field, flow.path, flow.size, count(steps, 2, "steps"), exact(chunk))
    bound = Bound(flow.params, flow.prior, *flow.interval)
    return dataclasses.replace(
        flow,
        params=bound,
        field=field,
        has_score=True,
        prior_from=_prior,
        density=None,
        calibration=None,
        calibrations=None,
    )


def check_joint(flow: Flow, verb: str) -> None:
    """ValueError unless velocity and score belong to one network."""
    require(
        not isinstance(flow.params, Bound),
        f"{verb} joins the velocity and the score of one network, and this flow's score was "
        "derived from its velocity: pass the flow that derive_score was given",
    )
