"""Looking for the place where a costly function of one number is zero.

Secant steps, kept inside a bracket once there is one and halved where they stall; the best place so
far is kept, so more evaluations never lead further away. Everything is a value: under `jax.vmap`
each search ends by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["Found", "Point", "search", "where"]


class Point(NamedTuple):
    """A place and what is missing there."""

    z: Array
    gap: Array


class Found(NamedTuple):
    """The best place ``z`` with its ``gap`` and what was ``seen`` there, as at the ``first`` place;
    the ``number`` of evaluations it took, and the sum of their costs as the function states
    them."""

    z: Array
    gap: Array
    seen: Any
    first: Any
    number: Array
    spent: tuple[Array, Array]
    lowest: Array  # gaps
    highest: Array


class _Search(NamedTuple):
    proposal: Array
    best: Point
    before: Point
    below: Point  # the nearest place with a negative gap; nan if there is none
    above: Point
    slope: Array
    done: Array
    found: Found


# z -> (gap, costs, whatever else there is to see)
Function = Callable[[Array], tuple[Array, tuple[Array, Array], Any]]


def search(
    function: Function,
    start: Array,
    slope: Array,
    ends: tuple[Array, Array],
    tolerance: Array,
    limit: int,
    bracket: tuple[tuple[Point, Any], tuple[Point, Any]] | None = None,
) -> Found:
    """The zero of ``function``, which rises by about ``slope`` a unit of z.

    At most ``limit`` evaluations; it ends earlier where ``|gap| <= tolerance``, or where an end of
    the range still leaves a gap that points beyond it. ``bracket`` are two places that were looked
    at before, and what was seen there.
    """
    nowhere = Point(jnp.full_like(start, jnp.nan), jnp.full_like(start, jnp.nan))
    known = () if bracket is None else bracket
    below, above = (nowhere, nowhere) if bracket is None else (point for point, _ in bracket)
    empty = jnp.zeros((), jnp.int32)
    worst = Point(start, jnp.full_like(start, jnp.inf))
    shapes = jax.eval_shape(function, start)[2]
    blank = seen = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    for point, there in known:  # the better of its ends is known already
        nearer = jnp.abs(point.gap) < jnp.abs(worst.gap)
        worst = where(nearer, point, worst)
        seen = _choose(nearer, there, seen)
    far = jnp.full_like(start, jnp.inf)
    found = Found(worst.z, worst.gap, seen, blank, empty, (empty, empty), far, -far)
    begin = _Search(
        jnp.clip(start, *ends), worst, nowhere, below, above, slope, jnp.asarray(False), found
    )

    def going(now: _Search) -> Array:
        return ~now.done & (now.found.number < limit)

    def step(now: _Search) -> _Search:
        gap, costs, there = function(now.proposal)
        here = Point(now.proposal, gap)
        fine = jnp.isfinite(gap)
        nearer = fine & (jnp.abs(gap) < jnp.abs(now.best.gap))
        initial = now.found.number == 0
        best = where(nearer, here, now.best)
        below = where(fine & (gap <= 0), here, now.below)
        above = where(fine & (gap > 0), here, now.above)
        steep = _slope(now, here, slope)
        proposal = _proposal(now, here, below, above, steep, ends, fine)
        # Both ends of a bracket are one place where nothing that was looked at crosses zero.
        stuck = (proposal == now.proposal) | ~jnp.isfinite(proposal)
        stuck |= ~fine & ~jnp.isfinite(now.best.gap)
        spent = jax.tree.map(jnp.add, now.found.spent, costs)
        found = Found(
            best.z,
            best.gap,
            _choose(nearer | (initial & ~jnp.isfinite(best.gap)), there, now.found.seen),
            _choose(initial, there, now.found.first),
            now.found.number + 1,
            spent,
            jnp.fmin(now.found.lowest, gap),
            jnp.fmax(now.found.highest, gap),
        )
        done = (jnp.abs(best.gap) <= tolerance) | stuck
        before = where(fine, here, now.before)
        return _Search(proposal, best, before, below, above, steep, done, found)

    return jax.lax.while_loop(going, step, begin).found


def where(condition: Array, first: Point, second: Point) -> Point:
    """``first`` or ``second``, entry by entry."""
    return Point(*(jnp.where(condition, a, b) for a, b in zip(first, second, strict=True)))


def _choose(condition: Array, first: Any, second: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)


def _slope(now: _Search, here: Point, guess: Array) -> Array:
    """The secant's slope, within a factor of 8 of the guess, so that a flat stretch causes no
    leap."""
    rise = (here.gap - now.before.gap) / (here.z - now.before.z)
    fine = jnp.isfinite(rise) & (rise * guess > 0)
    size = jnp.clip(jnp.abs(rise), jnp.abs(guess) / 8.0, jnp.abs(guess) * 8.0)
    return jnp.where(fine, jnp.sign(guess) * size, now.slope)


def _proposal(
    now: _Search,
    here: Point,
    below: Point,
    above: Point,
    slope: Array,
    ends: tuple[Array, Array],
    fine: Array,
) -> Array:
    """The next place: a secant step from here, or the bracket's middle where that leaves it."""
    closed = jnp.isfinite(below.z) & jnp.isfinite(above.z)
    low, high = jnp.minimum(below.z, above.z), jnp.maximum(below.z, above.z)
    chord = (above.gap - below.gap) / (above.z - below.z)
    secant = here.z - here.gap / slope
    through = below.z - below.gap / chord
    # Inside the bracket: the latest secant, else the chord, else the middle.
    inner = jnp.where((secant > low) & (secant < high), secant, through)
    halved = jnp.abs(here.gap) < 0.5 * jnp.abs(now.before.gap)
    inner = jnp.where(halved | ~jnp.isfinite(now.before.gap), inner, 0.5 * (low + high))
    # From a place that gave no number, go half way back to the best.
    back = 0.5 * (now.proposal + now.best.z)
    proposal = jnp.where(fine, jnp.where(closed, inner, secant), back)
    return jnp.clip(proposal, *ends)
