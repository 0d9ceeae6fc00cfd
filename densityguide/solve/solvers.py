"""Which solver: the default, the names, and what fits which solve."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import diffrax

from densityguide.checks import require
from densityguide.flow.flow import Flow
from densityguide.solve.adams import Adams

__all__ = ["check", "default_solver", "solver_name", "solver_named"]


def default_solver(
    flow: Flow,
    noise_form: str | None = None,
    *,
    adaptive: bool = False,
    feedback: bool = False,
    plain: bool = False,
) -> Any:
    """What ``solver=None`` means; chosen by measurement, see `studies.benchmarks`.

    `Adams` on a fixed grid: of order 4; of order 3 under feedback, which is taken implicitly; and
    of order 2 in up to 256 dimensions, where guidance may bend the flow a lot: not so the ``plain``
    flow. If adaptive, Tsitouras 5(4) for the plain flow and Bogacki-Shampine 3(2) for a bent one.
    Heun for Stratonovich and Euler for Ito SDEs.
    """
    if noise_form is None:
        if adaptive:
            return (diffrax.Tsit5 if plain else diffrax.Bosh3)(scan_kind="bounded")
        if feedback:
            return Adams(3)
        if plain:
            return Adams()
        return Adams(2) if flow.is_small else Adams()
    if noise_form == "stratonovich":
        return diffrax.Heun(scan_kind="bounded")
    return diffrax.Euler()


def check(solver: Any, noise_form: str | None, adaptive: bool) -> None:
    """Refuse (ValueError) what cannot run such a solve or does not converge to its solution."""
    name = type(solver).__name__
    require(
        not isinstance(solver, type),
        f"solver must be an instance, got the class {solver!r}: add parentheses",
    )
    require(
        isinstance(solver, (Adams, diffrax.AbstractERK, diffrax.Euler)),
        "solver must be densityguide.Adams(), an explicit Runge-Kutta method of diffrax or "
        f"diffrax.Euler(), got {name}",
    )
    require(
        not adaptive or isinstance(solver, diffrax.AbstractERK),
        f"{name} has no error estimate for an adaptive solve: use diffrax.Bosh3() or steps=",
    )
    if noise_form == "stratonovich":
        require(
            isinstance(solver, diffrax.AbstractStratonovichSolver),
            f"{name} does not converge to the Stratonovich solution, which this noise needs: "
            "use diffrax.Heun(), or the Ito form of the noise with diffrax.Euler()",
        )
    elif noise_form is not None:
        require(
            isinstance(solver, diffrax.AbstractItoSolver),
            f"{name} does not converge to the Ito solution, which this noise needs: "
            "use diffrax.Euler(), or the Stratonovich form with diffrax.Heun()",
        )


def solver_named(name: str) -> Any:
    """A solver for ``solver=`` by its usual name in lower case, for command lines and files."""
    known: dict[str, Callable[[], Any]] = {
        "adams": Adams,
        **{f"adams{order}": partial(Adams, order) for order in (1, 2, 3, 4, 5, 6)},
        "euler": diffrax.Euler,
        "heun": diffrax.Heun,
        "midpoint": diffrax.Midpoint,
        "ralston": diffrax.Ralston,
        "bosh3": diffrax.Bosh3,
        "tsit5": diffrax.Tsit5,
        "dopri5": diffrax.Dopri5,
        "dopri8": diffrax.Dopri8,
    }
    require(name in known, f"unknown solver {name!r}: choose one of {', '.join(known)}")
    return known[name]()


def solver_name(solver: Any) -> str:
    """The solver's name, as `solver_named` knows it."""
    name = type(solver).__name__.lower()
    return f"{name}{solver.order}" if isinstance(solver, Adams) else name
