"""What to compute, as typed: checked, and completed by what fits the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from densityguide import solve
from densityguide.app.source import Source
from densityguide.density.trace import Trace, exact, orthogonal
from densityguide.flow.flow import Flow
from densityguide.steer.guidance import Guidance

__all__ = ["Request", "Settings", "check", "check_range", "settings", "trace_name"]

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
    """A request with everything decided; ``options`` holds those of the solve that were asked for.
    The others are the verb's own defaults, which ``steps`` and ``solver`` name."""

    count: int
    seed: int
    steps: int
    solver: Any
    trace: Trace
    options: dict[str, Any]
    condition: str | None = None

    def record(self) -> dict[str, Any]:
        """The settings for a report."""
        names = {"solver": solve.solver_name(self.solver), "trace": trace_name(self.trace)}
        return {name: value for name, value in vars(self).items() if name != "options"} | names


def trace_name(trace: Trace) -> str:
    """The trace in words, for people and reports."""
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


def settings(
    request: Request, loaded: Source, *, count: int, guidance: Guidance | None = None
) -> Settings:
    """Everything decided; ``count`` is the default of the command. A flow that ``guidance`` bends
    takes other steps, and where it feeds log p back another solver."""
    named = None if request.solver is None else solve.solver_named(request.solver)
    options: dict[str, Any] = {"steps": request.steps, "solver": named}
    guided, feedback = guidance is not None, guidance is not None and guidance.needs.trace
    method, _ = solve.plan(loaded.flow, guided=guided, feedback=feedback, **options)
    return Settings(
        count=count if request.count is None else request.count,
        seed=request.seed,
        steps=method.max_steps,
        solver=method.solver,
        trace=_trace(loaded.flow, request.probes),
        options=options,
        condition=request.condition,
    )


def _trace(flow: Flow, probes: int | None) -> Trace:
    """Exact where that is cheap, else two replicate streams of probes."""
    if probes is None:
        probes = 0 if flow.is_small else PROBES
    return orthogonal(probes) if probes else exact()
