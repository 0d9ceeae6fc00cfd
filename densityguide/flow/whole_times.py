"""Networks that make whole numbers of their time, found in the program that was traced."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

__all__ = ["rounded"]


def rounded(program: Any) -> bool:
    """Whether whole numbers are made of the last argument of a program (its time), as by
    ``t.long()`` before a table is read."""
    return _rounds(program, [False] * (len(program.invars) - 1) + [True])[0]


def _rounds(program: Any, known: list[bool]) -> tuple[bool, list[bool]]:
    """Whether that happens, and which results depend on the time, given which arguments do."""
    follows = {variable for variable, one in zip(program.invars, known, strict=True) if one}

    def told(variable: Any) -> bool:
        return not hasattr(variable, "val") and variable in follows

    for step in program.eqns:
        given = [told(variable) for variable in step.invars]
        if not any(given):
            continue
        inner = step.params.get("jaxpr", step.params.get("call_jaxpr"))
        inner = getattr(inner, "jaxpr", inner)
        results = [True] * len(step.outvars)
        if inner is not None and len(inner.invars) == len(given):
            found, results = _rounds(inner, given)
            if found:
                return True, results
        kinds = [variable.aval.dtype for variable in (*step.invars, *step.outvars)]
        if step.primitive.name == "convert_element_type" and _whole(*kinds[:2]):
            return True, results
        follows |= {out for out, one in zip(step.outvars, results, strict=True) if one}
    return False, [told(variable) for variable in program.outvars]


def _whole(before: Any, after: Any) -> bool:
    return jnp.issubdtype(before, jnp.floating) and jnp.issubdtype(after, jnp.integer)
