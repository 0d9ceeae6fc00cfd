"""Networks with kinks: seen in the program, and warned of."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp

from densityguide.flow.flow import Flow

__all__ = ["kinked", "warn"]

KINKS = frozenset({"relu", "relu6", "leaky_relu", "hard_tanh", "hard_sigmoid", "hard_silu"})


def warn(flow: Flow) -> None:
    """Warn if the network calls ``jax.nn.relu`` or a relative of it. This runs while tracing, so
    once a program; a maximum written by hand is not recognised."""
    found = kinked(flow)
    if found:
        warnings.warn(
            f"the network uses {', '.join(sorted(found))}: energies hold one derivative of it and "
            "geodesics two, which miss its kinks: use silu or gelu",
            stacklevel=2,
        )


def kinked(flow: Flow) -> set[str]:
    """Names of the functions with kinks that the flow's field calls."""
    x = jax.ShapeDtypeStruct(flow.shape, jnp.result_type(float))
    t = jax.ShapeDtypeStruct((), jnp.result_type(float))
    return _named(jax.make_jaxpr(flow.field)(flow.params, x, t).jaxpr) & KINKS


def _named(jaxpr: Any) -> set[str]:
    found: set[str] = set()
    for equation in jaxpr.eqns:
        name = equation.params.get("name")
        found |= {name} if isinstance(name, str) else set()
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", None)
            found |= set() if inner is None else _named(getattr(inner, "jaxpr", inner))
    return found
