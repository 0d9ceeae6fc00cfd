"""Which trace to take along a solve, and the stream of probes that estimates it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from jax import Array

from densityguide.checks import present, random_key, require
from densityguide.density.trace import Trace, exact, orthogonal
from densityguide.flow.flow import SMALL, Flow
from densityguide.solve import Method

__all__ = ["Auto", "drawer", "reporting", "required", "steering"]

Auto = Literal["auto"]


def reporting(
    flow: Flow, trace: Trace | Auto | None, key: Any, name: str = "divergence"
) -> Trace | None:
    """The trace that reports log p: "auto" is exact up to D = 256 and none above."""
    if trace == "auto":
        trace = exact() if flow.is_small else None
    return _checked(trace, key, name)


def required(flow: Flow, divergence: Trace | Auto | None, key: Any, purpose: str) -> Trace:
    """The same where ``purpose`` cannot do without a trace: ValueError for none."""
    trace = reporting(flow, divergence, key)
    # "auto" gives none above SMALL dimensions; None was the caller's choice.
    why = "" if flow.is_small else f" and D = {flow.size} is above {SMALL}"
    require(
        trace is not None,
        f"{purpose} needs a trace{why}: pass divergence=densityguide.orthogonal(2) (estimated, "
        "with key=) or densityguide.exact()",
    )
    return present(trace)


def steering(flow: Flow, steering: Trace | Auto, key: Any, purpose: str | None) -> Trace | None:
    """The trace that a guidance or noise needs in order to steer; None where ``purpose`` is None,
    since nothing needs one. "auto" is exact up to D = 256 and two orthogonal streams above. It does
    not depend on the trace that reports, so that measuring never moves a sample."""
    require(steering is not None, "steering must be exact(), hutchinson(n) or orthogonal(n)")
    if steering != "auto":
        _checked(steering, key, "steering")
    if purpose is None:
        return None
    if steering == "auto":
        steering = exact() if flow.is_small else orthogonal(2)
        require(
            steering.is_exact or key is not None,
            f"{purpose} steers by an estimated trace (D = {flow.size} is above {SMALL}) and needs "
            "key=: pass jax.random.key(...), or steering=densityguide.exact()",
        )
    return _checked(steering, key, "steering")


def _checked(trace: Any, key: Any, name: str) -> Trace | None:
    require(
        trace is None or isinstance(trace, Trace),
        f"{name} must be exact(), hutchinson(n) or orthogonal(n), got {trace!r}",
    )
    if trace is not None and not trace.is_exact:
        random_key(key, "an estimated trace needs key=: pass jax.random.key(...)")
    return trace


def drawer(
    trace: Trace | None, method: Method, key: Array | None, like: Array, cycle: int | None = None
) -> Callable[[Array], Array | None]:
    """``index -> probes [K, *shape]`` of one stream (None where no probes are needed), in cycles
    that suit ``like``, or of ``cycle`` evaluations."""
    if trace is None or trace.draw is None:
        return lambda index: None
    probe, key = trace.draw, present(key)
    cycle = cycle or trace.cycle(like.shape, method.indices)
    return lambda index: probe(key, index, cycle, trace.probes, like.shape, like.dtype)
