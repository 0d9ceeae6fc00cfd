"""The only door to diffrax: one vector field, one initial state, one compiled solve.

Fixed grids run as a `lax.scan` over the solver's public `step`: no host callback, so programs
can be cached and exported; indices key probes and noise; each step is checked for finiteness.
Adaptive solves run as `diffeqsolve` over the static interval [0, 1], rescaled inside the field.
Failures are values (`Status`), never exceptions inside a batch.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from densityguide import grids, multistep
from densityguide.coordinates import Coordinates
from densityguide.errors import concrete, count, number, require, scalar
from densityguide.flows import Flow
from densityguide.multistep import Adams
from densityguide.paths import Path

__all__ = ["Method", "Numbers", "Solved", "Status", "default_solver", "ends", "plan", "solve"]
__all__ += ["solver_name", "solver_named"]

DEFAULT_STEPS, SMALL_STEPS = 64, 192  # the latter for `Adams` in up to 256 dimensions


class Status(enum.IntFlag):
    """How a verb ended; several may hold at once. Decode with ``Status(int(out.status))``."""

    OK = 0
    NON_FINITE = 1  # a step gave inf or nan: x is the last finite state, log p is nan
    MAX_STEPS = 2  # an adaptive solve ran out of steps, or its step size collapsed: log p is nan
    UNMET = 4  # a guidance asked for more than the cap allowed; see `unmet`
    INVALID = 8  # a traced number was out of range (q outside (0, 1), a grid that turns back)
    NO_ROOT = 16  # the requested log-density is not reached on the scanned range
    MANY_ROOTS = 32  # several latents reach it; the nearest to the given one was taken


@dataclass(frozen=True)
class Method:
    """The static half of a solve: what is compiled."""

    solver: Any
    adaptive: bool
    max_steps: int
    adjoint: str = "reverse"

    @property
    def stages(self) -> int:
        """Field evaluations per step."""
        if isinstance(self.solver, (diffrax.Euler, Adams)):
            return 1
        tableau = self.solver.tableau
        return tableau.num_stages - int(tableau.fsal)

    @property
    def stage_times(self) -> tuple[float, ...]:
        """Distinct times of a step's evaluations, as shares of the step."""
        tableau = getattr(self.solver, "tableau", None)
        later = () if tableau is None else tableau.c
        return tuple(sorted({0.0, *(float(c) for c in later)}))

    @property
    def places(self) -> int:
        """Indices of evaluations that a step takes up: as many as its distinct times, and one
        less where the last evaluation serves the next step as its first."""
        tableau = getattr(self.solver, "tableau", None)
        return len(self.stage_times) - int(tableau is not None and tableau.fsal)

    @property
    def indices(self) -> int:
        """Indices of evaluations of a whole solve on a fixed grid."""
        return self.places * self.max_steps + int(isinstance(self.solver, Adams))

    @property
    def pooled(self) -> float:
        """Variance of independent noise in the evaluations, as added up from the increments of
        single steps, relative to that of their sum. Below 1 only where the evaluation carried
        over to the next step (first same as last) shares its time, and so its probes, with
        another that counts."""
        tableau = getattr(self.solver, "tableau", None)
        if tableau is None or not tableau.fsal:
            return 1.0
        times = [0.0, *(float(c) for c in tableau.c)]
        weight = dict.fromkeys(times, 0.0)
        for time, b in zip(times, tableau.b_sol, strict=True):
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


class Solved(NamedTuple):
    """Final state, status bits, field evaluations, and for fixed grids with ``watch`` (else None)
    ``watch(y)`` at every knot and ``moves``: what each step, or with `Adams` each evaluation,
    added to it [n or n + 1] (leaves in nats only)."""

    y: Any
    status: Array
    evaluations: Array
    path: Any
    moves: Any


def default_solver(
    flow: Flow, noise_form: str | None = None, *, adaptive: bool = False, feedback: bool = False
) -> Any:
    """What ``solver=None`` means; chosen by measurement, see ``benchmarks``.

    `Adams` on a fixed grid: of order 4, and of order 2 where its higher orders would need small
    steps, which is under feedback and in up to 256 dimensions, where guidance may bend the flow
    a lot. Bogacki-Shampine 3(2) if adaptive. Heun for Stratonovich and Euler for Ito SDEs.
    """
    if noise_form is None:
        if adaptive:
            return diffrax.Bosh3(scan_kind="bounded")
        return Adams(2) if feedback or flow.is_small else Adams()
    if noise_form == "stratonovich":
        return diffrax.Heun(scan_kind="bounded")
    return diffrax.Euler()


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
) -> tuple[Method, Numbers]:
    """Check the options of a solve and split them into what is compiled and what is traced.

    Args:
        steps: number of steps of a fixed grid: 64 by default, and 192 of `Adams` in up to 256
            dimensions, where evaluations cost little.
        grid: function ``(start, stop, steps) -> knots`` from `densityguide.grids`, or an array
            of knots from the prior's end to the data's.
        solver: `Adams`, an explicit Runge-Kutta method of diffrax, or `diffrax.Euler()`; the
            default is `default_solver`'s.
        rtol, atol: tolerances for x; either makes the solve adaptive.
        log_density_atol: absolute tolerance of log p in nats (adaptive; default: atol); ``rtol``
            applies to its change.
        max_steps: bound on adaptive steps (default 1024).
        adjoint: "reverse" or "forward": which mode of autodiff an adaptive solve supports
            (fixed grids support both).
        noise_form: None for an ODE, else ``"stratonovich"`` or ``"ito"``.
        feedback: whether the field reacts to what is tracked.

    Raises:
        ValueError: options that contradict each other, a grid that does not run from one end of
            the flow to the other, or a solver that does not fit.
    """
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
    if solver is None:
        solver = default_solver(flow, noise_form, adaptive=adaptive, feedback=feedback)
    _check_solver(solver, noise_form, adaptive)
    if getattr(solver, "scan_kind", "") is None:
        # Of diffrax's loops only "bounded" supports both reverse mode and jvp.
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
        return Method(solver, True, limit, adjoint), Numbers(knots, rtol, atol, log_atol)
    small = flow.is_small and isinstance(solver, Adams)
    knots = _knots(flow, steps, grid, SMALL_STEPS if small else DEFAULT_STEPS)
    zero = jnp.zeros((), knots.dtype)
    return Method(solver, False, knots.shape[0] - 1), Numbers(knots, zero, zero, zero)


def _tolerance(value: ArrayLike, name: str) -> Array:
    known = concrete(value)
    require(known is None or bool((known > 0).all()), f"{name} must be positive, got {value}")
    return scalar(value, name)


def _knots(flow: Flow, steps: int | None, grid: Any, default: int) -> Array:
    start, stop = flow.interval
    steps = None if steps is None else count(steps, 1, "steps")
    if grid is None:
        return grids.uniform(start, stop, steps or default)
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
        # Not a number is a status of the solve.
        fits = abs(knots[0] - start) + abs(knots[-1] - stop) <= 1e-5 * (1 + abs(stop - start))
        knots = jnp.where(fits, knots, jnp.nan)
    return knots


def _check_solver(solver: Any, noise_form: str | None, adaptive: bool) -> None:
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


_ADJOINTS = {"reverse": diffrax.RecursiveCheckpointAdjoint, "forward": diffrax.ForwardMode}


def ends(numbers: Numbers) -> tuple[Array, Array]:
    """Where a planned solve starts and stops."""
    return numbers.knots[0], numbers.knots[-1]


def backwards(numbers: Numbers) -> Numbers:
    """The same solve from data to prior."""
    return numbers._replace(knots=numbers.knots[::-1])


class _Stochastic(diffrax.AbstractTerm[Any, Any]):
    """Drift and noise as one term, so that one network evaluation serves both."""

    increment: Callable[..., Any] = dataclasses.field(metadata={"static": True})
    brownian: Array

    def vf(self, t: Any, y: Any, args: Any) -> Any:
        raise NotImplementedError("stochastic terms are evaluated through vf_prod")

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0, self.brownian

    def prod(self, vf: Any, control: Any) -> Any:
        raise NotImplementedError("stochastic terms are evaluated through vf_prod")

    def vf_prod(self, t: Any, y: Any, args: Any, control: Any) -> Any:
        return self.increment(t, y, args, *control)


def solve(
    method: Method,
    numbers: Numbers,
    field: Callable[[Array, Any, Any], Any],
    y0: Any,
    *,
    kinds: Any,
    path: Path | None = None,
    draw: Callable[[Array], Any] = lambda step: None,
    brownian: tuple[Array, tuple[int, ...]] | None = None,
    watch: Callable[[Any], Any] | None = None,
) -> Solved:
    """Solve from the first knot to the last.

    Args:
        field: ``(t, y, drawn) -> dy/dt``; with ``brownian`` instead
            ``(t, y, drawn, dt, dw) -> dy``, the increment over a step.
        kinds: like ``y0``, "state" for leaves that scale with x and "nats" for those measured in
            nats, which have an absolute tolerance of their own.
        path: the flow's, for the coordinates of the solve; see ``densityguide.coordinates``.
        draw: ``index -> drawn`` (probes); every evaluation of a fixed grid has an index of its
            own, and so fresh probes: three stages that shared one would average nothing away.
            Index 0 throughout an adaptive solve, whose field must be deterministic.
        brownian: ``(key, shape)`` of the noise; step n uses ``fold_in(key, n)``.
        watch: ``y -> pytree`` recorded at every knot of a fixed grid.
    """
    # bf16 and TF32 products are not good enough for log p of thousands of nats; a user's own
    # jax_default_matmul_precision wins.
    precision = jax.config.jax_default_matmul_precision or "float32"  # type: ignore[attr-defined]
    with jax.default_matmul_precision(precision):
        coordinates = Coordinates(path, kinds)
        if method.adaptive:
            return _adaptive(method, numbers, field, y0, draw, coordinates)
        if isinstance(method.solver, Adams):
            return _multistep(method, numbers.knots, field, y0, draw, watch, coordinates)
        return _fixed(method, numbers.knots, field, y0, draw, brownian, watch, coordinates)


def _multistep(
    method: Method,
    knots: Array,
    field: Callable[..., Any],
    y0: Any,
    draw: Callable[[Array], Any],
    watch: Callable[[Any], Any] | None,
    coordinates: Coordinates,
) -> Solved:
    y, fine, path, moves = multistep.integrate(
        method.solver.order,
        knots,
        field,
        y0,
        coordinates=coordinates,
        draw=draw,
        watch=(lambda y: None) if watch is None else watch,
        finite=_finite,
    )
    evaluations = jnp.asarray(knots.shape[0], jnp.int32)
    return Solved(y, _fixed_status(knots, fine), evaluations, path, moves)


def _fixed_status(knots: Array, fine: Array) -> Array:
    moves = (knots[1:] - knots[:-1]) * (knots[-1] - knots[0])
    status = jnp.where(fine, 0, int(Status.NON_FINITE))
    status |= jnp.where(jnp.all(moves > 0), 0, int(Status.INVALID))
    return status.astype(jnp.int32)


def _fixed(
    method: Method,
    knots: Array,
    field: Callable[..., Any],
    y0: Any,
    draw: Callable[[Array], Any],
    brownian: tuple[Array, tuple[int, ...]] | None,
    watch: Callable[[Any], Any] | None,
    coordinates: Coordinates,
) -> Solved:
    field = coordinates.field(field) if brownian is None else coordinates.increment(field)
    solver, steps = method.solver, knots.shape[0] - 1
    stage_times = jnp.asarray(method.stage_times, knots.dtype)

    def drawn(t: Array, place: tuple[Array, Array, Array]) -> Any:
        step, t0, t1 = place
        stage = jnp.argmin(jnp.abs(stage_times - (t - t0) / (t1 - t0)))
        return draw(step * method.places + stage.astype(step.dtype))

    def rates(t: Any, y: Any, place: tuple[Array, Array, Array]) -> Any:
        return field(t, y, drawn(t, place))

    def increments(
        t: Array, y: Any, place: tuple[Array, Array, Array], dt: Array, dw: Array
    ) -> Any:
        return field(t, y, drawn(t, place), dt, dw)

    def term(step: Array, width: Array) -> Any:
        if brownian is None:
            return diffrax.ODETerm(rates)
        key, shape = brownian
        normal = jax.random.normal(jax.random.fold_in(key, step), shape, knots.dtype)
        return _Stochastic(increments, normal * jnp.sqrt(jnp.abs(width)))

    def body(carry: Any, xs: tuple[Array, Array, Array]) -> tuple[Any, Any]:
        y, state, fine, reached = carry
        step, t0, t1 = xs
        new, _, _, state, _ = solver.step(term(step, t1 - t0), t0, t1, y, xs, state, False)
        fine = fine & _finite(new)
        new = jax.tree.map(lambda a, b: jnp.where(fine, a, b), new, y)
        reached = jnp.where(fine, t1, reached)
        seen = None if watch is None else watch(coordinates.leave(new, reached))
        return (new, state, fine, reached), seen

    zero = jnp.zeros((), jnp.int32)
    first = term(zero, knots[1] - knots[0])
    start = coordinates.enter(y0, knots[0])
    state = solver.init(first, knots[0], knots[1], start, (zero, knots[0], knots[1]))
    xs = (jnp.arange(steps, dtype=jnp.int32), knots[:-1], knots[1:])
    (y, _, fine, reached), path = lax.scan(body, (start, state, _finite(y0), knots[0]), xs)
    y = coordinates.leave(y, reached)
    moves = None
    if watch is not None:
        path = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), watch(y0), path)
        moves = jax.tree.map(lambda a: jnp.diff(a, axis=0), path)
    first_extra = int(getattr(solver, "tableau", None) is not None and solver.tableau.fsal)
    evaluations = jnp.asarray(steps * method.stages + first_extra, jnp.int32)
    return Solved(y, _fixed_status(knots, fine), evaluations, path, moves)


def _adaptive(
    method: Method,
    numbers: Numbers,
    field: Callable[..., Any],
    y0: Any,
    draw: Callable[[Array], Any],
    coordinates: Coordinates,
) -> Solved:
    field = coordinates.field(field)
    start, stop = ends(numbers)
    span = stop - start
    begin = coordinates.enter(y0, start)
    # Leaves in nats are solved as changes in units of their own tolerance, since diffrax has
    # one absolute tolerance for all.
    kinds = coordinates.kinds
    unit = numbers.atol / numbers.log_density_atol

    def scaled(y: Any) -> Any:
        return jax.tree.map(lambda a, o, k: (a - o) * unit if k == "nats" else a, y, begin, kinds)

    def restored(y: Any) -> Any:
        return jax.tree.map(lambda a, o, k: a / unit + o if k == "nats" else a, y, begin, kinds)

    def rescaled(tau: Any, y: Any, drawn: Any) -> Any:
        dy = field(start + span * tau, restored(y), drawn)
        return jax.tree.map(lambda d, k: d * span * (unit if k == "nats" else 1.0), dy, kinds)

    def norm(errors: Any) -> Array:
        # One norm over x and log p together would let log p exceed its tolerance sqrt(D)-fold.
        each = [jnp.sqrt(jnp.mean(e**2)) for e in jax.tree.leaves(errors) if e.size]
        return jnp.max(jnp.stack(each))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(rescaled),
        method.solver,
        t0=0.0,
        t1=1.0,
        dt0=0.01,
        y0=scaled(begin),
        args=draw(jnp.zeros((), jnp.int32)),
        stepsize_controller=diffrax.PIDController(
            rtol=numbers.rtol, atol=numbers.atol, norm=norm, dtmin=1e-7, force_dtmin=False
        ),
        max_steps=method.max_steps,
        throw=False,
        adjoint=_ADJOINTS[method.adjoint](),
    )
    # Of an unfinished solve the time reached is not kept: its x is on the scale of the end.
    y = coordinates.leave(restored(jax.tree.map(lambda a: a[-1], solution.ys)), stop)
    done = solution.result == diffrax.RESULTS.successful
    finite = _finite(y)
    y = jax.tree.map(lambda a, o: jnp.where(finite, a, o), y, y0)
    status = jnp.where(finite, 0, int(Status.NON_FINITE)) | jnp.where(
        done, 0, int(Status.MAX_STEPS)
    )
    steps = solution.stats["num_steps"]
    evaluations = steps * method.stages + int(method.solver.tableau.fsal)
    return Solved(y, status.astype(jnp.int32), jnp.asarray(evaluations, jnp.int32), None, None)


def _finite(y: Any) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(y)]))


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
    """The name that `solver_named` knows it by."""
    name = type(solver).__name__.lower()
    return f"{name}{solver.order}" if isinstance(solver, Adams) else name
