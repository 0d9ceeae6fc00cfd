"""What to sample, as typed: checked, and completed by what fits the model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from densityguide import solve
from densityguide.commands import draw
from densityguide.commands.draw import Settings
from densityguide.commands.source import Source

__all__ = ["Request", "check", "settings"]

COUNT, WORLD_COUNT = 8, 128
# Network evaluations per sample that the default number of steps spends.
EVALUATIONS, SMALL_EVALUATIONS, WORLD_EVALUATIONS = 64, 128, 384


class Request(NamedTuple):
    """Options of ``sample`` and ``cost``; None is the default that fits the model."""

    model: str
    q: tuple[str, ...]
    count: int | None
    seed: int
    steps: int | None
    solver: str | None
    condition: str | None = None


def check(request: Request) -> None:
    """Refuse, by a ValueError of one line, whatever can be refused without loading a model."""
    _parse_q(request.q)
    if request.solver is not None:
        solve.solver_named(request.solver)
    for name, value, low, high in (
        ("--count", request.count, 1, 100_000),
        ("--steps", request.steps, 1, 100_000),
        ("--seed", request.seed, 0, 2**32 - 1),
    ):
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} must lie in {low} .. {high}, got {value}")


def settings(request: Request, loaded: Source) -> Settings:
    """The same with everything decided."""
    solver = solve.default_solver(loaded.flow)
    if request.solver is not None:
        solver = solve.solver_named(request.solver)
    fallback, budget = WORLD_COUNT, WORLD_EVALUATIONS
    if loaded.is_image:
        fallback, budget = COUNT, SMALL_EVALUATIONS if loaded.flow.is_small else EVALUATIONS
    count = fallback if request.count is None else request.count
    steps = draw.default_steps(solver, budget) if request.steps is None else request.steps
    return Settings(_parse_q(request.q), count, request.seed, steps, solver)


def _parse_q(texts: tuple[str, ...]) -> tuple[float, ...]:
    """``("0.3,0.5", "0.7")`` -> ``(0.3, 0.5, 0.7)``; ValueError outside (0, 1)."""
    values = []
    for text in ",".join(texts).split(","):
        try:
            value = float(text)
        except ValueError:
            raise ValueError(
                f"--q must be numbers between 0 and 1, got {text!r}: write e.g. --q 0.3,0.5,0.7"
            ) from None
        if not 0.0 < np.float32(value) < 1.0:
            raise ValueError(
                f"--q must lie strictly between 0 and 1, got {text}: 0.5 is the plain model, "
                "larger is smoother"
            )
        values.append(value)
    return tuple(values)
