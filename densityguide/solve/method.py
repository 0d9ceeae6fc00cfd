"""A solve in two halves: the method, which is compiled, and its numbers, which are traced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from jax import Array

from densityguide.solve.adams import Adams

__all__ = ["Method", "Numbers", "backwards", "ends"]


@dataclass(frozen=True)
class Method:
    """The static half of a solve: what is compiled."""

    solver: Any
    adaptive: bool
    max_steps: int
    adjoint: str = "reverse"
    measures: bool = False  # whether what is measured in nats has a say in an adaptive step

    @property
    def _tableau(self) -> Any:
        """The Butcher tableau; None for `Adams` and Euler."""
        return getattr(self.solver, "tableau", None)

    @property
    def reuses(self) -> bool:
        """Whether a step's last evaluation serves the next step as its first."""
        return self._tableau is not None and bool(self._tableau.fsal)

    @property
    def stages(self) -> int:
        """Field evaluations per step."""
        return 1 if self._tableau is None else self._tableau.num_stages - int(self.reuses)

    def evaluations(self, steps: Any) -> Any:
        """Field evaluations in ``steps`` steps, with one before the first where there is one."""
        return steps * self.stages + int(self.reuses or isinstance(self.solver, Adams))

    @property
    def stage_times(self) -> tuple[float, ...]:
        """Distinct times of a step's evaluations, as shares of the step."""
        later = () if self._tableau is None else self._tableau.c
        return tuple(sorted({0.0, *(float(c) for c in later)}))

    @property
    def places(self) -> int:
        """Number of indices of evaluations that a step takes up: that of its distinct times, and
        one less where the last evaluation serves the next step as its first."""
        return len(self.stage_times) - int(self.reuses)

    @property
    def indices(self) -> int:
        """Number of indices of evaluations in a whole solve on a fixed grid."""
        return self.places * self.max_steps + int(isinstance(self.solver, Adams))

    @property
    def pooled(self) -> float:
        """Variance of independent noise in the evaluations, as added up from the increments of
        single steps, relative to that of their sum. Below 1 only where the evaluation carried
        over to the next step (first same as last) shares its time, and so its probes, with
        another that counts."""
        if not self.reuses:
            return 1.0
        times = [0.0, *(float(c) for c in self._tableau.c)]
        weight = dict.fromkeys(times, 0.0)
        for time, b in zip(times, self._tableau.b_sol, strict=True):
            weight[time] += float(b)
        carried = weight.pop(0.0)
        apart = sum(w**2 for w in weight.values())
        return (apart + carried**2) / (apart + carried**2 + 2.0 * carried * weight[1.0])


class Numbers(NamedTuple):
    """The traced half: knots [n + 1] (or the two ends), and tolerances of an adaptive solve."""

    knots: Array
    rtol: Array
    atol: Array
    log_density_atol: Array


def ends(numbers: Numbers) -> tuple[Array, Array]:
    """Where a planned solve starts and stops."""
    return numbers.knots[0], numbers.knots[-1]


def backwards(numbers: Numbers) -> Numbers:
    """The same solve from data to prior."""
    return numbers._replace(knots=numbers.knots[::-1])
