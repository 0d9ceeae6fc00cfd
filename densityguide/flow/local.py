"""One evaluation of a flow at a point, and its linearisation there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax import Array

from densityguide.flow.flow import Flow

__all__ = ["Linear", "Local", "evaluate", "linearise"]


class Local(NamedTuple):
    """One evaluation of a flow: velocity, score (or None), and ``tangent(v) -> (J_u v, J_s v)``
    through the linearisation at the same point (an error to call without ``tangents=True``)."""

    velocity: Array
    score: Array | None
    tangent: Callable[[Array], tuple[Array, Any]]


@dataclass(frozen=True)
class Linear:
    """The derivative of ``fn`` at ``x``: ``linear(tangent)`` reuses one linearisation,
    ``again(x, tangent)`` evaluates ``fn`` anew."""

    fn: Callable[[Array], Any]
    x: Array
    push: Callable[[Array], Any]

    def __call__(self, tangent: Array) -> Any:
        return self.push(tangent)

    def again(self, x: Array, tangent: Array) -> Any:
        return jax.jvp(self.fn, (x,), (tangent,))[1]


def linearise(fn: Callable[[Array], Any], x: Array) -> tuple[Any, Linear]:
    """``fn(x)`` and its derivative there, from one forward pass."""
    value, push = jax.linearize(fn, x)
    return value, Linear(fn, x, push)


def evaluate(flow: Flow, x: Array, t: Array, *, tangents: bool = False) -> Local:
    """One forward pass at ``(x, t)``; with ``tangents`` also its linearisation."""

    def outputs(x: Array) -> tuple[Array, Array | None]:
        return flow.outputs(x, t)

    if not tangents:
        velocity, score = outputs(x)
        return Local(velocity, score, _not_asked_for)
    (velocity, score), linear = linearise(outputs, x)
    return Local(velocity, score, linear)


def _not_asked_for(tangent: Array) -> tuple[Array, Any]:
    raise AssertionError("tangents need evaluate(..., tangents=True)")
