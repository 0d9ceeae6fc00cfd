"""What to compute, as typed: checked, and completed by what fits the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from densityguide import solve
from densityguide.app.source import Source, Text
from densityguide.density.bits import nats
from densityguide.density.trace import Trace, exact, orthogonal
from densityguide.flow.flow import Flow
from densityguide.steer.guidance import Guidance
from densityguide.verify.steps_for import least_steps

__all__ = ["BITS", "Request", "Settings", "amount", "check", "check_range", "check_tolerance"]
__all__ += ["settings", "steps_within", "trace_name", "trace_of"]

BITS = "bpd"  # as typed after a number of bits/dim
PROBES = 2  # two replicates: the fewest with an error bar
OWN, MOST = 8, 256  # samples that choose the steps for a tolerance, and the most of these


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
    tolerance: str | None = None
    prompt: str | None = None
    negative: str | None = None
    scale: float | None = None

    @property
    def text(self) -> Text:
        """What a text-to-image model shall draw."""
        return Text(self.prompt, self.negative or "", self.scale)


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
    tolerance: float | None = None  # nats
    text: Text | None = None

    def record(self) -> dict[str, Any]:
        """The settings for a report."""
        names = {"solver": solve.solver_name(self.solver), "trace": trace_name(self.trace)}
        apart = ("options", "text")
        kept = {name: value for name, value in vars(self).items() if name not in apart}
        if self.text is not None:
            kept |= self.text._asdict()
        if self.tolerance is None:
            del kept["tolerance"]
        return kept | names


def trace_name(trace: Trace) -> str:
    """The trace in words, for people and reports."""
    return "exact" if trace.is_exact else f"orthogonal, {trace.probes} probes"


def check_range(name: str, value: int | None, low: int, high: int) -> None:
    """ValueError unless the option is absent or in its range."""
    if value is not None and not low <= value <= high:
        raise ValueError(f"{name} must lie in {low} .. {high}, got {value}")


def amount(
    option: str, text: str, examples: tuple[str, str] = ("70", f"2.5{BITS}")
) -> tuple[float, bool]:
    """("2.5bpd") -> (2.5, True); ("70") or ("70nats") -> (70.0, False). ``examples`` are those of
    the message."""
    bits = text.strip().endswith(BITS)
    try:
        value = float(text.strip().removesuffix(BITS).removesuffix("nats"))
    except ValueError:
        value = math.nan
    if not abs(value) < np.finfo(np.float32).max:
        raise ValueError(
            f"{option} takes numbers of nats, or of bits/dim with {BITS} after them, got "
            f"{text!r}: write e.g. {option} {examples[0]} or {option} {examples[1]}"
        )
    return value, bits


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
    if request.tolerance is not None:
        if request.steps is not None:
            raise ValueError("--tolerance chooses the number of steps: drop --steps")
        check_tolerance("--tolerance", request.tolerance)


def settings(
    request: Request, loaded: Source, *, count: int, guidance: Guidance | None = None
) -> Settings:
    """Everything decided; ``count`` is the default of the command. A flow that ``guidance`` bends
    takes other steps, and where it feeds log p back another solver."""
    named = None if request.solver is None else solve.solver_named(request.solver)
    trace, steps, tolerance = trace_of(loaded.flow, request.probes), request.steps, None
    if request.tolerance is not None:
        steps, tolerance = steps_within(
            "--tolerance", request.tolerance, loaded.flow, trace, named, request.seed
        )
    options: dict[str, Any] = {"steps": steps, "solver": named}
    guided, feedback = guidance is not None, guidance is not None and guidance.needs.trace
    method, _ = solve.plan(loaded.flow, guided=guided, feedback=feedback, **options)
    return Settings(
        count=count if request.count is None else request.count,
        seed=request.seed,
        steps=method.max_steps,
        solver=method.solver,
        trace=trace,
        options=options,
        condition=request.condition,
        tolerance=tolerance,
        text=None if request.prompt is None else request.text,
    )


def check_tolerance(option: str, text: str) -> tuple[float, bool]:
    """As `amount`; ValueError unless it is positive too."""
    value, bits = amount(option, text, ("0.5", f"0.01{BITS}"))
    if value <= 0:
        raise ValueError(f"{option} must be positive, got {text}")
    return value, bits


def steps_within(
    option: str, text: str, flow: Flow, trace: Trace, solver: Any, seed: int
) -> tuple[int, float]:
    """As many steps as bring log p of the model's own samples within the tolerance, and that in
    nats; ValueError where none do, and for bits/dim of a model of data without levels."""
    value, bits = check_tolerance(option, text)
    if bits and flow.transform is None:
        raise ValueError(
            f"{option} {text} is in bits/dim, which only models of integer data have: give nats"
        )
    tolerance = float(nats(flow, value)) if bits else value
    keys = jax.random.split(jax.random.key(seed), OWN)
    steps, met = least_steps(flow, keys, tolerance, trace, solver, MOST)
    if not met:
        more = "a wider one" if trace.is_exact else "more probes or a wider one"
        raise ValueError(
            f"{option} {text} is not met by {MOST} steps and trace {trace_name(trace)}: take {more}"
        )
    return steps, tolerance


def trace_of(flow: Flow, probes: int | None = None) -> Trace:
    """Exact where that is cheap, else two replicate streams of probes."""
    if probes is None:
        probes = 0 if flow.is_small else PROBES
    return orthogonal(probes) if probes else exact()
