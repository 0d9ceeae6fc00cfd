"""Where an edit turns round: a given sample encoded as far as asked, and log p there."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide.checks import concrete, present, require, scalar
from densityguide.density.error_bar import ErrorBar, combined
from densityguide.density.log_density import encode
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow
from densityguide.solve import Choices, Status
from densityguide.steer.decode import decode
from densityguide.steer.field import Traces
from densityguide.steer.profile import Spent

__all__ = ["Parts", "Turn", "parts", "turn"]

LEAST = 1e-3  # of the interval: a shorter part has no steps that float32 can tell apart


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Flat:
    """In place of a prior that is that of another time: encoding then gives the change alone."""

    def log_prob(self, x: Array) -> Array:
        return jnp.zeros((), x.dtype)


class Parts(NamedTuple):
    """The flow cut at a depth: ``upper`` from there to the data end, ``lower`` from the noise end
    to there (None where the whole flow is upper); ``whole``, whether lower is empty all the same,
    and ``fine``, whether the depth lay in the interval."""

    upper: Flow
    lower: Flow | None
    whole: Array
    fine: Array


def parts(flow: Flow, depth: ArrayLike | None) -> Parts:
    """The flow cut at ``depth``; ValueError for a depth known to lie outside its interval."""
    true = jnp.asarray(True)
    if depth is None:
        return Parts(flow, None, true, true)
    start, stop = flow.interval
    at = scalar(depth, "depth")
    share = (at - start) / (stop - start)
    fine = (share >= 0) & (share <= 1)
    known = concrete(fine)
    require(
        known is None or bool(known),
        f"depth must lie from {start} (noise end) to {stop} (data end), the flow's own clock, got "
        f"{depth}",
    )
    whole = ~(share >= LEAST)
    last = start + (1.0 - LEAST) * (stop - start)
    at = jnp.where(whole, start, jnp.where(share > 1.0 - LEAST, last, at))
    upper = dataclasses.replace(flow.between(at, stop), prior=_Flat())
    # An empty part cannot be solved: a short one is, and not used.
    low = jnp.where(whole, start + LEAST * (stop - start), at)
    return Parts(upper, flow.between(start, low), whole, fine)


class Turn(NamedTuple):
    """``state`` at the depth; ``start``, log p there, which the decoding goes on from (None without
    a trace), and ``before``, log p of the given sample (None without a trace that reports), each
    with its error bar."""

    state: Array
    start: Array | None
    start_bar: ErrorBar | None
    before: Array | None
    before_bar: ErrorBar | None
    spent: Spent
    status: Array


def turn(
    flow: Flow,
    cut: Parts,
    x: Array,
    traces: Traces,
    keys: tuple[Array | None, Array | None],
    choices: Choices,
) -> Turn:
    """Encode ``x`` by the upper part, and log p of what is found there by the lower one. The lower
    part takes the trace that steers where there is one: what is aimed at must not depend on the
    report."""
    out = _carried(cut.upper, x, traces.report, keys[0], choices)
    out = out._replace(status=out.status | jnp.where(cut.fine, 0, int(Status.INVALID)))
    if cut.lower is None:
        return out._replace(start=flow.prior.log_prob(out.state))
    trace = traces.report if traces.steer is None else traces.steer
    return out if trace is None else _with_lower(flow, cut, out, trace, keys[1], choices)


def _carried(
    upper: Flow, x: Array, report: Trace | None, key: Array | None, choices: Choices
) -> Turn:
    if report is None:
        return _untraced(upper, x, choices)
    found = encode(upper, x, report, key, choices)
    spent = Spent(found.evaluations, found.tangents)
    return Turn(found.latent, None, None, found.value, found.bar, spent, found.status)


def _untraced(upper: Flow, x: Array, choices: Choices) -> Turn:
    """Decoding from data to depth, without log p."""
    method, numbers = solving.plan(upper, guided=False, **choices._asdict())
    back = upper.between(*upper.interval[::-1])
    begin = upper.to_state(x)
    none, numbers = Traces(None, None), solving.backwards(numbers)
    out = decode(method, none, back, begin, None, None, None, numbers)
    spent = Spent(out.evaluations, out.tangents)
    state = back.to_state(out.x)
    return Turn(state, None, None, None, None, spent, out.status)


def _with_lower(
    flow: Flow, cut: Parts, out: Turn, trace: Trace, key: Array | None, choices: Choices
) -> Turn:
    """With log p at the depth, and so log p of the given sample in full."""
    lower = present(cut.lower)
    scaled = lower.to_data(out.state)
    found = encode(lower, scaled, trace, key, choices)
    # The prior's own log p needs no solve, and has no error.
    none = jax.tree.map(jnp.zeros_like, found.bar)
    none = none._replace(degrees_of_freedom=jnp.full_like(found.degrees_of_freedom, jnp.inf))
    reached = found.value - lower.log_volume()
    start = jnp.where(cut.whole, flow.prior.log_prob(out.state), reached)
    bar = jax.tree.map(lambda a, b: jnp.where(cut.whole, a, b), none, found.bar)
    if out.before is not None and out.before_bar is not None:
        out = out._replace(before=start + out.before, before_bar=combined(out.before_bar, bar))
    return out._replace(
        start=start,
        start_bar=bar,
        spent=Spent(out.spent.evaluations + found.evaluations, out.spent.tangents + found.tangents),
        status=out.status | jnp.where(cut.whole, 0, found.status),
    )
