"""The options of a solve, checked and split into what is compiled and what is traced."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide import xla
from densityguide.checks import concrete, count, number, require, scalar
from densityguide.flow.flow import Flow
from densityguide.solve import grids, solvers
from densityguide.solve.adams import Adams
from densityguide.solve.method import Method, Numbers

__all__ = ["DEFAULT_STEPS", "plan"]

DEFAULT_STEPS, SMALL_STEPS = 64, 192  # the latter for `Adams` in up to 256 dimensions
PLAIN_STEPS = 48  # of the plain flow there, by `Adams` of order 4


def plan(
    flow: Flow,
    *,
    steps: int | None = None,
    grid: Callable[[Array, Array, int], Array] | ArrayLike | None = None,
    solver: Any = None,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    log_density_atol: ArrayLike | None = None,
    max_steps: int | None = None,
    adjoint: str = "reverse",
    noise_form: str | None = None,
    feedback: bool = False,
    guided: bool = True,
) -> tuple[Method, Numbers]:
    """Check the options of a solve and split them into what is compiled and what is traced.

    Args:
        steps: number of steps of a fixed grid: 64 by default, and 192 for `Adams` in up to 256
            dimensions, where evaluations cost little.
        grid: function ``(start, stop, steps) -> knots`` from `densityguide.grids`, or an array
            of knots from the prior's end to the data's. By default steps are equal in log-SNR; on
            a flow without a path, `Adams` from order 3 on takes `densityguide.grids.eased`.
        solver: `Adams`, an explicit Runge-Kutta method of diffrax, or `diffrax.Euler()`; the
            default is `default_solver`'s.
        rtol, atol: tolerances for x; either makes the solve adaptive.
        log_density_atol: absolute tolerance of log p in nats; ``rtol`` applies to its change.
            Without it the tolerances of x alone choose the steps.
        max_steps: bound on adaptive steps (default 1024).
        adjoint: "reverse" or "forward": which mode of autodiff an adaptive solve supports
            (fixed grids support both).
        noise_form: None for an ODE, else ``"stratonovich"`` or ``"ito"``.
        feedback: whether the field reacts to what is tracked.
        guided: whether the field may be bent. False takes the plain flow's default in up to 256
            dimensions, `Adams` of order 4 at 48 steps, a quarter of the cost: its error on digits8
            is 0.01 to 0.001 nats at 32 to 64 evaluations (studies.benchmarks.accuracy).

    Raises:
        ValueError: options that contradict each other, a grid that does not run from one end of
            the flow to the other, or a solver that does not fit.
    """
    xla.warn_once()
    adaptive = rtol is not None or atol is not None or log_density_atol is not None
    require(
        not (adaptive and (steps is not None or grid is not None)),
        "steps=/grid= make a fixed grid and rtol=/atol= an adaptive solve: pass one or the other",
    )
    require(
        adaptive or max_steps is None,
        "max_steps= belongs to adaptive solves: pass rtol= as well, or steps= instead",
    )
    require(
        adjoint in ("reverse", "forward"),
        f"adjoint must be 'reverse' or 'forward', got {adjoint!r}",
    )
    require(
        not (adaptive and noise_form is not None),
        "stochastic solves use a fixed grid: pass steps= instead of tolerances",
    )
    plain = solver is None and not (guided or feedback) and noise_form is None
    if solver is None:
        solver = solvers.default_solver(
            flow, noise_form, adaptive=adaptive, feedback=feedback, plain=plain
        )
    solvers.check(solver, noise_form, adaptive)
    if getattr(solver, "scan_kind", "") is None:
        # Only diffrax's "bounded" loop supports both reverse mode and jvp.
        solver = dataclasses.replace(solver, scan_kind="bounded")
    start, stop = flow.interval
    if adaptive:
        rtol = _tolerance(1e-5 if rtol is None else rtol, "rtol")
        atol = rtol if atol is None else _tolerance(atol, "atol")
        log_atol = (
            atol if log_density_atol is None else _tolerance(log_density_atol, "log_density_atol")
        )
        knots = jnp.stack([jnp.asarray(start), jnp.asarray(stop)])
        limit = 1024 if max_steps is None else count(max_steps, 1, "max_steps")
        measures = log_density_atol is not None
        return Method(solver, True, limit, adjoint, measures), Numbers(knots, rtol, atol, log_atol)
    small = flow.is_small and isinstance(solver, Adams)
    default = DEFAULT_STEPS
    if small:
        default = PLAIN_STEPS if plain else SMALL_STEPS
    if grid is None:
        # In log-SNR little happens at the prior's end, where a multistep method begins; elsewhere
        # its first steps must be short.
        starts_low = isinstance(solver, Adams) and solver.order > 2
        grid = grids.eased if flow.path is None and starts_low else grids.uniform
    knots = _knots(flow, steps, grid, default)
    zero = jnp.zeros((), knots.dtype)
    return Method(solver, False, knots.shape[0] - 1), Numbers(knots, zero, zero, zero)


def _tolerance(value: ArrayLike, name: str) -> Array:
    known = concrete(value)
    require(known is None or bool((known > 0).all()), f"{name} must be positive, got {value}")
    return scalar(value, name)


def _knots(flow: Flow, steps: int | None, grid: Any, default: int) -> Array:
    start, stop = flow.interval
    steps = None if steps is None else count(steps, 1, "steps")
    if callable(grid):
        grid = grid(start, stop, steps or default)
    knots = number(grid, "grid")
    require(
        knots.ndim == 1 and knots.shape[0] >= 2,
        f"grid must be an array of at least two knots or a function, got shape {knots.shape}",
    )
    require(
        steps is None or steps == knots.shape[0] - 1,
        f"grid has {knots.shape[0] - 1} steps and steps= says {steps}: drop steps=",
    )
    known, first, last = concrete(grid), concrete(start), concrete(stop)
    if known is not None and first is not None and last is not None:
        moves = (known[1:] - known[:-1]) * (last - first)
        require(bool((moves > 0).all()), "grid must move from the prior's end to the data's end")
        ends_fit = abs(known[0] - first) + abs(known[-1] - last) <= 1e-5 * (1 + abs(last - first))
        require(
            bool(ends_fit),
            f"grid must run from {float(first):g} to {float(last):g}, the flow's interval, "
            f"got {known[0]:g} to {known[-1]:g}",
        )
    if known is None or first is None or last is None:
        # A grid that holds nan is reported by the solve's status, not here.
        fits = abs(knots[0] - start) + abs(knots[-1] - stop) <= 1e-5 * (1 + abs(stop - start))
        knots = jnp.where(fits, knots, jnp.nan)
    return knots
