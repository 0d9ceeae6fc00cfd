"""Classifier-free guidance: a flow with a condition in, a flow out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, require, scalar, verb
from densityguide.flow.conditions import Conditioned, Mixed, alike, check_labels
from densityguide.flow.flow import Flow, require_flow

__all__ = ["classifier_free"]


@dataclass(frozen=True)
class _Field:
    field: Callable[..., tuple[Array, Array | None]]

    def __call__(self, params: Mixed, x: Array, t: Array) -> tuple[Array, Array | None]:
        weights, condition = params.base
        both = jax.tree.map(lambda a, b: jnp.stack([a, b]), condition, params.negative)

        # Both conditions in one batched forward pass.
        def under(condition: Any) -> tuple[Array, Array | None]:
            return self.field(Conditioned(weights, condition), x, t)

        low, high = params.interval
        scale = jnp.where((t >= low) & (t <= high), params.scale, 1.0).astype(x.dtype)
        return jax.tree.map(
            lambda pair: pair[1] + scale * (pair[0] - pair[1]), jax.vmap(under)(both)
        )


@verb
def classifier_free(
    flow: Flow,
    scale: ArrayLike,
    *,
    negative: Any,
    interval: tuple[ArrayLike, ArrayLike] | None = None,
) -> Flow:
    """The flow whose velocity and score are ``u_neg + scale (u_cond - u_neg)``
    (Ho and Salimans, 2022), as a flow to sample, measure and guide like any other.

    **Which density.** Log p is that of the mixed flow itself: the density of the samples that it
    produces, not of the conditional model, and not the tilted product ``p_cond^w p_neg^(1 - w)``,
    whose score this is only at one time. The mixed score is therefore not the gradient of that
    log p: density guidance still moves it, but where it lands has to be measured, as `sample` does
    for its ``log_density``, and `land` corrects it.

    Args:
        flow: built with ``condition=``.
        scale: 1 is the conditional flow, 0 the negative one; traced.
        negative: condition to move away from, of the same structure: the empty class or text, or
            a negative prompt.
        interval: clock range in which to guide (Kynkaanniemi et al., 2024), whole by default;
            traced.

    Raises:
        ValueError: a flow without a condition, a negative of another structure or shape.
    """
    require_flow(flow, "classifier_free")
    require(
        isinstance(flow.params, Conditioned),
        "classifier_free needs a flow built with condition=: pass it to densityguide.diffusion",
    )
    negative = alike(flow.params.condition, negative, "negative")
    check_labels(flow.classes, negative, "negative")
    ends = (-jnp.inf, jnp.inf) if interval is None else interval
    require(
        isinstance(ends, (tuple, list)) and len(ends) == 2,
        f"interval must be a pair (low, high) of the clock, got {interval!r}",
    )
    low, high = (scalar(end, "interval") for end in ends)
    known = concrete((low, high))
    require(
        known is None or bool(known[0] < known[1]), f"interval must rise, got {interval}: swap it"
    )
    mixed = Mixed(flow.params, negative, scalar(scale, "scale"), (low, high))
    # What was measured or known of the conditional flow does not hold for this one.
    return dataclasses.replace(
        flow,
        params=mixed,
        field=_Field(flow.field),
        calibration=None,
        calibrations=None,
        density=None,
    )
