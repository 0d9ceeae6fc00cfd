"""Numbers of steps for a tolerance: doubled until the bar fits. Grids are static: outside `jit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from densityguide.checks import require
from densityguide.solve.choices import Choices
from densityguide.solve.result import Status

__all__ = ["climb", "ladder", "within"]

T = TypeVar("T")
LAST = 1024  # steps


def ladder(first: int = 8, last: int = LAST) -> Iterator[int]:
    """8, 16, 32, ... up to ``last``."""
    while first <= last:
        yield first
        first *= 2


def climb(
    solve_at: Callable[[int], tuple[Any, float]], tolerance: float, *, last: int = LAST
) -> tuple[Any, int, bool]:
    """``(value, steps, met)``: the first rung whose error is within ``tolerance``, or the last.

    ``solve_at(steps)`` gives ``(value, error)``; an error that is not a number does not fit.
    ValueError where the tolerance is not positive or no rung is left.
    """
    require(tolerance > 0, f"tolerance must be positive, got {tolerance}")
    require(last >= 8, f"the ladder starts at 8 steps, got last={last}")
    for steps in ladder(last=last):
        value, error = solve_at(steps)
        if error <= tolerance:
            return value, steps, True
    return value, steps, False


def within(
    tolerance: ArrayLike,
    choices: Choices,
    given: Any,
    solve: Callable[[Choices], T],
    error: Callable[[T], Any],
) -> T:
    """``solve(choices)`` at the first rung where every ``error`` is within ``tolerance`` nats, and
    none is COARSE.

    ``T`` is a NamedTuple with a ``status``, which is INACCURATE if no rung was enough; ``given``
    is all that the solve takes.

    Raises:
        ValueError: numbers that are traced, since a number of steps is static; a grid, a number of
            steps or tolerances of an adaptive solve beside this one.
    """
    require(
        choices.steps is None and choices.grid is None and not choices.adaptive,
        "tolerance= chooses the number of steps: drop steps=, grid=, rtol= and atol=",
    )
    require(
        not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((given, tolerance))),
        "tolerance= chooses the number of steps, which jit, vmap and grad must know beforehand: "
        "find it once by densityguide.steps_for(flow, key, tolerance) and pass steps=, or pass "
        "rtol= and log_density_atol= for steps that adapt",
    )

    def at(steps: int) -> tuple[T, float]:
        out: Any = solve(choices._replace(steps=steps))
        if np.any(np.asarray(out.status) & int(Status.COARSE)):
            return out, np.inf  # a bar that means little fits nothing
        return out, float(np.max(np.asarray(error(out))))

    out, _, met = climb(at, float(np.asarray(tolerance)))
    if met:
        return out
    status = jnp.asarray(out.status) | int(Status.INACCURATE)
    return out._replace(status=status)
