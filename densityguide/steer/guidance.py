"""A guidance: an excess rate of log p as data, and what it needs of a flow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import concrete, require
from densityguide.flow.flow import Flow

__all__ = ["Condition", "Guidance", "Moment", "Needs", "Profile", "beyond", "check", "valid"]


class Moment(NamedTuple):
    """What a guidance may look at: one point of one trajectory.

    ``divergence`` and ``log_density`` (tracked log p, nats) are those of the steering trace and
    None if no trace is taken; ``span`` is the signed length of the solve.
    """

    flow: Flow
    t: Array
    x: Array
    score_power: Array  # |s|^2
    divergence: Array | None
    log_density: Array | None
    span: Array


class Profile(NamedTuple):
    """How log p of natural samples runs along a solve, and where this one starts."""

    times: Array
    log_density: Array
    share: Array  # rising from 0 to 1: how much of an excess is to be spent by each time
    start: Array
    end_offset: Array  # D log(alpha) at the data end, part of every reported log p


class Needs(NamedTuple):
    """What a guidance takes from the flow and the solve."""

    path: bool = False
    trace: bool = False
    calibration: bool = False


# (whether it holds, what to say where it is known not to)
Condition = tuple[Array, str]


def _no_conditions(params: Any, flow: Flow) -> list[Condition]:
    return []


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Guidance:
    """An excess rate as data: ``rate(params, moment) -> c``.

    Attributes:
        params: what the user asked for, traced.
        cap: limit of the correction relative to the flow's own score term, traced.
        rate: static rule.
        needs: static, what it takes.
        prepare: static ``(params, profile) -> params`` for rules that plan a whole solve ahead.
        conditions: static ``(params, flow) -> [(holds, message)]``: an error of use where known
            before tracing, a status where traced.
        relaxation: static ``params -> gain`` of a rule that feeds tracked log p back: the rate, per
            unit of the clock, at which it closes a gap. A solver integrates that part exactly.
        beyond: static ``(params, dial) -> bool``: whether a quantile lies outside the range [2] in
            which measured log p was seen to rise with it.
        name: for messages.
    """

    params: Any
    cap: Array
    rate: Callable[[Any, Moment], Array] = field(metadata={"static": True})
    needs: Needs = field(default=Needs(), metadata={"static": True})
    prepare: Callable[[Any, Profile], Any] | None = field(default=None, metadata={"static": True})
    conditions: Callable[[Any, Flow], list[Condition]] = field(
        default=_no_conditions, metadata={"static": True}
    )
    relaxation: Callable[[Any], Array] | None = field(default=None, metadata={"static": True})
    beyond: Callable[[Any, Array], Array] | None = field(default=None, metadata={"static": True})
    name: str = field(default="guidance", metadata={"static": True})

    def prepared(self, profile: Profile) -> Guidance:
        """With its plan made for this solve."""
        if self.prepare is None:
            return self
        return dataclasses.replace(self, params=self.prepare(self.params, profile), prepare=None)


def check(guidance: Guidance, flow: Flow) -> None:
    """Raise unless the flow has what this guidance needs."""
    require(
        isinstance(guidance, Guidance),
        f"guidance must come from densityguide (quantile, target, ...), got {guidance!r}",
    )
    name, needs = guidance.name, guidance.needs
    require(flow.has_score, f"{name} guidance needs a score: pass score= to densityguide.cnf")
    require(
        flow.path is not None or not needs.path,
        f"{name} guidance needs a Gaussian path and this flow has none: "
        "use budget, rate, schedule or target",
    )
    require(
        flow.calibration is not None or not needs.calibration,
        f"{name} guidance needs a calibration: call flow = densityguide.calibrate(flow, key)",
    )
    for holds, message in guidance.conditions(guidance.params, flow):
        known = concrete(holds)
        require(known is None or bool(known), message)


def valid(guidance: Guidance, flow: Flow) -> Array:
    """Whether the traced numbers of a guidance are in range: what `check` could not see."""
    fine = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(guidance.params)]
    fine += [holds for holds, _ in guidance.conditions(guidance.params, flow)]
    return jnp.all(jnp.stack([*fine, guidance.cap > 0]))


def beyond(guidance: Guidance | None, flow: Flow) -> Array | None:
    """Whether more is asked for than the flow's calibration saw log p follow; None if unknown."""
    dial = None if flow.calibration is None else flow.calibration.dial
    if guidance is None or guidance.beyond is None or dial is None:
        return None
    return guidance.beyond(guidance.params, dial)
