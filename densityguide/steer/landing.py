"""The search behind `land`, compiled once for each kind of family and solve."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import present
from densityguide.density.error_bar import ErrorBar
from densityguide.density.log_density import LogDensity, encoded
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow
from densityguide.solve import Method, Numbers, Status, failed
from densityguide.steer.along import Along
from densityguide.steer.decode import Decoded, decode
from densityguide.steer.field import Traces
from densityguide.steer.noise import Noise
from densityguide.steer.search import Found, Point, search, where

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


class _Final(NamedTuple):
    value: Array
    bar: ErrorBar
    evaluations: Array
    tangents: Array
    status: Array


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


def _encoded(static: _Static, problem: _Problem, x: Array, key: Array | None) -> LogDensity:
    return encoded(static.encoding, static.report, problem.flow, x, key, problem.encoding)


def _gap(static: _Static, problem: _Problem, z: Array) -> tuple[Array, tuple[Array, Array]]:
    """(log p minus the target, (evaluations, tangents)) of one candidate."""
    out = _decoded(static, problem, z)
    spent = (out.evaluations, out.tangents)
    if out.tracked is not None:
        return out.tracked - problem.goal, spent
    found = _encoded(static, problem, out.x, problem.keys.search)
    # Encoding the last finite state of a failed decoding says nothing of the candidate.
    value = jnp.where(failed(out.status), jnp.nan, found.value)
    return value - problem.goal, (spent[0] + found.evaluations, spent[1] + found.tangents)


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
    z, found, roots = _root(static, limit, problem, tolerance)
    flow, out = problem.flow, _decoded(static, problem, z)
    final = _final(static, problem, out)
    first = _decoded(static, problem, problem.family.start(flow, problem.goal))
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
        moved=jnp.sqrt(jnp.mean((out.x - first.x) ** 2)),
        lowest=problem.goal + found.lowest,
        highest=problem.goal + found.highest,
        roots=roots,
        iterations=found.number,
        unmet=out.unmet,
        evaluations=found.spent[0] + out.evaluations + first.evaluations + final.evaluations,
        tangents=found.spent[1] + out.tangents + first.tangents + final.tangents,
        status=status,
        noise_level=flow.noise_level(),
    )


def _final(static: _Static, problem: _Problem, out: Decoded) -> _Final:
    """Log p as reported: encoded with fresh probes, except where it came with the decoding and
    took no probes."""
    if out.tracked is not None and out.bar is not None and static.report.is_exact:
        none = jnp.zeros((), jnp.int32)
        return _Final(out.tracked, out.bar, none, none, none)
    found = _encoded(static, problem, out.x, problem.keys.report)
    value = jnp.where(failed(out.status), jnp.nan, found.value)
    return _Final(value, found.bar, found.evaluations, found.tangents, found.status)


def _root(
    static: _Static, limit: int, problem: _Problem, tolerance: Array
) -> tuple[Array, Found, Array]:
    """(z, the search, number of roots); z alone can be differentiated.

    The implicit function theorem: with F(z, problem) = 0, ``dz = -dF / (dF/dz)``.
    """

    @jax.custom_jvp
    def solve(problem: _Problem, tolerance: Array) -> tuple[Array, Found, Array]:
        found, roots = _search(static, limit, problem, tolerance)
        return found.z, found, roots

    @solve.defjvp
    def push(primals: Any, tangents: Any) -> Any:
        problem, tolerance = primals
        z, found, roots = solve(problem, tolerance)

        def gap(problem: _Problem, z: Array) -> Array:
            return _gap(static, problem, z)[0]

        _, slope = jax.jvp(partial(gap, problem), (z,), (jnp.ones_like(z),))
        _, shift = jax.jvp(lambda p: gap(p, z), (problem,), (tangents[0],))
        still = jax.tree.map(_no_tangent, (found, roots))
        return (z, found, roots), (-shift / slope, *still)

    return solve(problem, tolerance)


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
    gaps, spent = jax.lax.map(function, grid)
    above = gaps > 0
    crossing = (above[:-1] != above[1:]) & jnp.isfinite(gaps[:-1]) & jnp.isfinite(gaps[1:])
    middle = jnp.abs(grid[:-1] + grid[1:])
    place = jnp.argmin(jnp.where(crossing, middle, jnp.inf))
    first, last = Point(grid[place], gaps[place]), Point(grid[place + 1], gaps[place + 1])
    chord = (last.gap - first.gap) / (last.z - first.z)
    roots = jnp.sum(crossing).astype(jnp.int32)
    nearest = grid[jnp.argmin(jnp.where(jnp.isnan(gaps), jnp.inf, jnp.abs(gaps)))]
    inside = first.z - first.gap / chord
    start = jnp.where(roots > 0, inside, nearest)
    between = jnp.where(roots > 0, first.z, nearest), jnp.where(roots > 0, last.z, nearest)
    falls = first.gap > last.gap
    bracket = where(falls, last, first), where(falls, first, last)
    found = search(function, start, chord, between, tolerance, limit, bracket)
    total = jax.tree.map(lambda a, b: a + jnp.sum(b), found.spent, spent)
    lowest = jnp.fmin(jnp.nanmin(gaps), found.lowest)
    highest = jnp.fmax(jnp.nanmax(gaps), found.highest)
    return found._replace(spent=total, lowest=lowest, highest=highest), roots
