"""The search behind `land`, compiled once for each kind of family and solve."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import present
from densityguide.density.error_bar import ErrorBar
from densityguide.density.log_density import encoded
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow
from densityguide.solve import Method, Numbers, Status, failed
from densityguide.steer.along import Along
from densityguide.steer.decode import Decoded, decode
from densityguide.steer.field import Traces
from densityguide.steer.noise import Noise
from densityguide.steer.search import Found, Point, search

__all__ = ["Keys", "Landing", "Solves", "landed"]


class Landing(NamedTuple):
    """The sample that was found, and its evidence.

    ``log_density`` is the flow's own log p of ``x`` in nats, encoded with *fresh* probes (where the
    flow is plain and the trace exact, it comes from the decoding), with ``standard_error``,
    ``degrees_of_freedom``, ``solver_error`` and ``total_error`` as of `log_density`. ``gap`` is
    log p minus the target with the probes of the search, which is what the search made small.
    ``parameter`` is the family's; ``moved``, the root mean square distance of ``x`` from the sample
    at which the search began; ``lowest`` and ``highest`` log p seen; ``roots``, how many of the
    scanned intervals hold a solution (where nothing is scanned, whether one was found);
    ``iterations`` of the search. ``status`` has NO_ROOT where ``|gap|`` stayed above the tolerance:
    then ``x`` is the nearest that was seen; MANY_ROOTS where there were several: then the nearest
    to the given latent was taken.
    """

    x: Array
    log_density: Array
    standard_error: Array
    degrees_of_freedom: Array
    solver_error: Array
    total_error: Array
    gap: Array
    parameter: Array
    moved: Array
    lowest: Array
    highest: Array
    roots: Array
    iterations: Array
    unmet: Array
    evaluations: Array
    tangents: Array
    status: Array
    noise_level: Array


class Keys(NamedTuple):
    """The keys of the decoding, of the encodings while searching (one key for all: common random
    numbers, so that the search sees one function), and of the encoding that is reported."""

    decode: Array | None
    search: Array | None
    report: Array | None


class Solves(NamedTuple):
    """How candidates are decoded and encoded."""

    traces: Traces
    report: Trace
    decoding: Method
    decoding_numbers: Numbers
    encoding: Method
    encoding_numbers: Numbers

    @property
    def plain(self) -> bool:
        """Whether log p comes with the decoding."""
        return self.traces.report is not None


class _Problem(NamedTuple):
    """One landing, all of it traced."""

    family: Along
    flow: Flow
    latent: Array
    goal: Array
    noise: Noise | None
    keys: Keys
    decoding: Numbers
    encoding: Numbers


class _Measured(NamedTuple):
    """Log p of a candidate, and what that cost beside decoding it."""

    value: Array
    bar: ErrorBar
    evaluations: Array
    tangents: Array
    status: Array


class _Candidate(NamedTuple):
    out: Decoded
    found: _Measured


class _Static(NamedTuple):
    traces: Traces
    report: Trace
    decoding: Method
    encoding: Method


def _decoded(static: _Static, problem: _Problem, z: Array) -> Decoded:
    family, flow = problem.family, problem.flow
    parameter = family.chart(z)
    guidance = None if family.guide is None else family.guide(parameter)
    latent = family.move(family.params, problem.latent, parameter)
    key = problem.keys.decode
    return decode(
        static.decoding, static.traces, flow, latent, guidance, problem.noise, key, problem.decoding
    )


def _measured(static: _Static, problem: _Problem, out: Decoded, key: Array | None) -> _Measured:
    """Encoded: the last finite state of a failed decoding says nothing of the candidate."""
    found = encoded(static.encoding, static.report, problem.flow, out.x, key, problem.encoding)
    lost = failed(out.status)
    value, bar = jax.tree.map(lambda a: jnp.where(lost, jnp.nan, a), (found.value, found.bar))
    return _Measured(value, bar, found.evaluations, found.tangents, found.status)


def _candidate(static: _Static, problem: _Problem, z: Array) -> _Candidate:
    out = _decoded(static, problem, z)
    if out.tracked is not None and out.bar is not None:
        none = jnp.zeros((), jnp.int32)
        return _Candidate(out, _Measured(out.tracked, out.bar, none, none, none))
    return _Candidate(out, _measured(static, problem, out, problem.keys.search))


def _gap(static: _Static, problem: _Problem, z: Array) -> tuple[Array, Any, _Candidate]:
    """(log p minus the target, (evaluations, tangents), all of it) of one candidate."""
    seen = _candidate(static, problem, z)
    out, found = seen
    spent = out.evaluations + found.evaluations, out.tangents + found.tangents
    return found.value - problem.goal, spent, seen


def landed(
    solves: Solves,
    limit: int,
    family: Along,
    flow: Flow,
    latent: Array,
    goal: Array,
    noise: Noise | None,
    keys: Keys,
    tolerance: Array,
) -> Landing:
    """`land` after its checks."""
    static = _Static(solves.traces, solves.report, solves.decoding, solves.encoding)
    numbers = solves.decoding_numbers, solves.encoding_numbers
    problem = _Problem(family, flow, latent, goal, noise, keys, *numbers)
    return _landed(static, limit, problem, tolerance)


@partial(jax.jit, static_argnames=("static", "limit"))
def _landed(static: _Static, limit: int, problem: _Problem, tolerance: Array) -> Landing:
    z, best, found, roots = _root(static, limit, problem, tolerance)
    flow, out, final = problem.flow, best.out, best.found
    evaluations, tangents = found.spent
    if not static.report.is_exact:  # fresh probes, which no search has seen
        final = _measured(static, problem, out, problem.keys.report)
        evaluations, tangents = evaluations + final.evaluations, tangents + final.tangents
    first = found.first.out
    if problem.family.scan:
        first = _decoded(static, problem, problem.family.start(flow, problem.goal))
        evaluations, tangents = evaluations + first.evaluations, tangents + first.tangents
    missed = ~(jnp.abs(found.gap) <= tolerance)
    status = out.status | final.status
    status |= jnp.where(missed, int(Status.NO_ROOT), 0)
    status |= jnp.where(roots > 1, int(Status.MANY_ROOTS), 0)
    status |= jnp.where(jnp.isfinite(problem.goal), 0, int(Status.INVALID))
    return Landing(
        x=out.x,
        log_density=final.value,
        **final.bar._asdict(),
        gap=found.gap,
        parameter=problem.family.chart(z),
        moved=jax.lax.stop_gradient(jnp.sqrt(jnp.mean((out.x - first.x) ** 2))),
        lowest=problem.goal + found.lowest,
        highest=problem.goal + found.highest,
        roots=roots,
        iterations=found.number,
        unmet=out.unmet,
        evaluations=evaluations,
        tangents=tangents,
        status=status,
        noise_level=flow.noise_level(),
    )


def _root(
    static: _Static, limit: int, problem: _Problem, tolerance: Array
) -> tuple[Array, _Candidate, Found, Array]:
    """(z, the sample there, the search, number of roots); the first two can be differentiated.

    The implicit function theorem: with F(z, problem) = 0, ``dz = -dF / (dF/dz)``.
    """

    @jax.custom_jvp
    def solve(problem: _Problem, tolerance: Array) -> tuple[Array, _Candidate, Found, Array]:
        found, roots = _search(static, limit, problem, tolerance)
        return found.z, found.seen, found, roots

    @solve.defjvp
    def push(primals: Any, tangents: Any) -> Any:
        problem, tolerance = primals
        z, best, found, roots = solve(problem, tolerance)

        def candidate(problem: _Problem, z: Array) -> tuple[Array, _Candidate]:
            seen = _candidate(static, problem, z)
            return seen.found.value - problem.goal, seen

        along = jax.jvp(partial(candidate, problem), (z,), (jnp.ones_like(z),))[1]
        across = jax.jvp(lambda p: candidate(p, z), (problem,), (tangents[0],))[1]
        # Where the target was missed, nothing says how the place would move with it.
        met = jnp.abs(found.gap) <= tolerance
        dz = jnp.where(met, -across[0], 0.0) / jnp.where(met, along[0], 1.0)
        moved = jax.tree.map(partial(_sum, dz), best, across[1], along[1])
        still = jax.tree.map(_no_tangent, (found, roots))
        return (z, best, found, roots), (dz, moved, *still)

    return solve(problem, tolerance)


def _sum(dz: Array, value: Array, across: Any, along: Any) -> Any:
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    return across + dz * along if floating else _no_tangent(value)


def _no_tangent(value: Array) -> Any:
    zero = jnp.zeros_like(value)
    whole = not jnp.issubdtype(value.dtype, jnp.floating)
    return zero.astype(jax.dtypes.float0) if whole else zero


def _search(
    static: _Static, limit: int, problem: _Problem, tolerance: Array
) -> tuple[Found, Array]:
    family, goal = problem.family, problem.goal
    ends = family.low.astype(goal.dtype), family.high.astype(goal.dtype)
    function = partial(_gap, static, problem)
    if not family.scan:
        begin = present(family.begin)(problem.flow, goal)
        found = search(function, begin.z, begin.slope, ends, tolerance, limit)
        return found, (jnp.abs(found.gap) <= tolerance).astype(jnp.int32)
    grid = jnp.linspace(*ends, family.scan)
    gaps, spent, seen = jax.lax.map(function, grid)
    above = gaps > 0
    crossing = (above[:-1] != above[1:]) & jnp.isfinite(gaps[:-1]) & jnp.isfinite(gaps[1:])
    middle = jnp.abs(grid[:-1] + grid[1:])
    roots = jnp.sum(crossing).astype(jnp.int32)
    place = jnp.argmin(jnp.where(crossing, middle, jnp.inf))
    nearest = jnp.argmin(jnp.where(jnp.isnan(gaps), jnp.inf, jnp.abs(gaps)))
    low, high = (jnp.where(roots > 0, index, nearest) for index in (place, place + 1))
    first, last = ((Point(grid[n], gaps[n]), _row(seen, n)) for n in (low, high))
    chord = (gaps[place + 1] - gaps[place]) / (grid[place + 1] - grid[place])
    start = jnp.where(roots > 0, grid[place] - gaps[place] / chord, grid[nearest])
    falls = first[0].gap > last[0].gap
    bracket = _swapped(falls, first, last), _swapped(falls, last, first)
    between = grid[low], grid[high]
    found = search(function, start, chord, between, tolerance, limit, bracket)
    total = jax.tree.map(lambda a, b: a + jnp.sum(b), found.spent, spent)
    lowest = jnp.fmin(jnp.nanmin(gaps), found.lowest)
    highest = jnp.fmax(jnp.nanmax(gaps), found.highest)
    return found._replace(spent=total, lowest=lowest, highest=highest), roots


def _row(tree: Any, index: Array) -> Any:
    return jax.tree.map(lambda a: a[index], tree)


def _swapped(condition: Array, first: Any, second: Any) -> Any:
    """The second where the condition holds."""
    return jax.tree.map(partial(jnp.where, condition), second, first)
