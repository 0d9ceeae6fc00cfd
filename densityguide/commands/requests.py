"""What to compute, as typed: checked, and completed by what fits the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from densityguide import solve
from densityguide.commands.source import Source
from densityguide.divergence import Trace, exact, orthogonal
from densityguide.flows import Flow

__all__ = ["Request", "Settings", "check", "check_range", "parse_q", "settings", "trace_name"]

# Network evaluations per sample that the default number of steps spends.
EVALUATIONS, SMALL_EVALUATIONS, WORLD_EVALUATIONS = 64, 128, 384
PROBES = 2  # two replicates: the fewest with an error bar


@dataclass(frozen=True)
class Request:
    """Options that the commands share; None is the default that fits the model."""

    model: str
    count: int | None = None
    seed: int = 0
    steps: int | None = None
    solver: str | None = None
    condition: str | None = None
    probes: int | None = None


@dataclass(frozen=True)
class Settings:
    """The same with everything decided."""

    count: int
    seed: int
    steps: int
    solver: Any
    trace: Trace
    condition: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Of the solve."""
        return {"steps": self.steps, "solver": self.solver}

    def record(self) -> dict[str, Any]:
        """The settings for a report."""
        names = {"solver": solve.solver_name(self.solver), "trace": trace_name(self.trace)}
        return vars(self) | names


def trace_name(trace: Trace) -> str:
    """For people and reports."""
    return "exact" if trace.is_exact else f"orthogonal, {trace.probes} probes"


def check_range(name: str, value: int | None, low: int, high: int) -> None:
    """ValueError unless the option is absent or in its range."""
    if value is not None and not low <= value <= high:
        raise ValueError(f"{name} must lie in {low} .. {high}, got {value}")


def check(request: Request) -> None:
    """Refuse, by a ValueError of one line, whatever can be refused without loading a model."""
    if request.solver is not None:
        solve.solver_named(request.solver)
    check_range("--count", request.count, 1, 1_000_000)
    check_range("--steps", request.steps, 1, 100_000)
    check_range("--seed", request.seed, 0, 2**32 - 1)
    check_range("--probes", request.probes, 0, 10_000)
    if request.probes == 1:
        raise ValueError("--probes must be 2 or more (one has no error bar), or 0 for exact; got 1")


def settings(request: Request, loaded: Source, *, count: int) -> Settings:
    """Everything decided; ``count`` is the default of the command."""
    solver = solve.default_solver(loaded.flow)
    if request.solver is not None:
        solver = solve.solver_named(request.solver)
    budget = WORLD_EVALUATIONS
    if not loaded.is_world:
        budget = SMALL_EVALUATIONS if loaded.flow.is_small else EVALUATIONS
    return Settings(
        count=count if request.count is None else request.count,
        seed=request.seed,
        steps=_default_steps(solver, budget) if request.steps is None else request.steps,
        solver=solver,
        trace=_trace(loaded.flow, request.probes),
        condition=request.condition,
    )


def _default_steps(solver: Any, evaluations: int) -> int:
    """As many steps as the evaluations allow, one of them kept for the start."""
    return max(1, (evaluations - 1) // solve.Method(solver, False, 0).stages)


def _trace(flow: Flow, probes: int | None) -> Trace:
    """Exact where that is cheap, else two replicate streams of probes."""
    if probes is None:
        probes = 0 if flow.is_small else PROBES
    return orthogonal(probes) if probes else exact()


def parse_q(texts: tuple[str, ...]) -> tuple[float, ...]:
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
