"""One-parameter families of samples, along which `land` looks for a log p.

A family is data: how its parameter makes a latent and a guidance of a sample, the range of the
parameter, and a chart ``z -> parameter`` on which log p rises about evenly. A constructor of
guidance that takes one number is a family too: ``along=densityguide.target``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtr
from jax.typing import ArrayLike

from densityguide.checks import concrete, count, number, require, scalar, state, verb
from densityguide.flow.flow import Flow
from densityguide.steer import rules
from densityguide.steer.doubling import doubled_from
from densityguide.steer.guidance import Guidance

__all__ = ["Along", "Begin", "direction", "guided", "high_density", "of", "scale"]

EDGE = 4.0  # standard deviations: quantiles from 3e-5 to 1 - 3e-5


class Begin(NamedTuple):
    """Where a search begins on the chart, and how many nats a unit of z is thought to bring."""

    z: Array
    slope: Array


def _same(z: Array) -> Array:
    return z


def _unmoved(params: Any, latent: Array, parameter: Array) -> Array:
    return latent


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Along:
    """A family of samples.

    Attributes:
        params: what the family itself is made of (a direction), traced.
        low, high: ends of the chart, traced.
        guide: static ``parameter -> Guidance``, or None where the flow stays plain.
        move: static ``(params, latent, parameter) -> latent``.
        chart: static ``z -> parameter``.
        begin: static ``(flow, target) -> Begin``.
        scan: static number of places to look at first, where log p may rise and fall; 0 where it
            rises with z.
    """

    params: Any
    low: Array
    high: Array
    guide: Callable[[Array], Guidance] | None = field(default=None, metadata={"static": True})
    move: Callable[[Any, Array, Array], Array] = field(default=_unmoved, metadata={"static": True})
    chart: Callable[[Array], Array] = field(default=_same, metadata={"static": True})
    begin: Callable[[Flow, Array], Begin] | None = field(default=None, metadata={"static": True})
    scan: int = field(default=0, metadata={"static": True})

    def start(self, flow: Flow, target: Array) -> Array:
        """Where a search begins on the chart: at 0 for families without ``begin``."""
        return jnp.zeros_like(target) if self.begin is None else self.begin(flow, target).z


def _ends(low: ArrayLike, high: ArrayLike, name: str) -> tuple[Array, Array]:
    first, last = concrete(low), concrete(high)
    if first is not None and last is not None:
        require(bool(first < last), f"{name} must rise, got {low} and {high}")
    return scalar(low, name), scalar(high, name)


def _scaled(params: Any, latent: Array, factor: Array) -> Array:
    return factor.astype(latent.dtype) * latent


@verb
def scale(low: ArrayLike = 0.5, high: ArrayLike = 2.0, *, scan: int = 17) -> Along:
    """Prior guidance: the latent times a factor. Log p need not be monotone along it, so ``scan``
    factors from ``low`` to ``high``, in geometric steps, look for brackets first. Needs no score.

    Raises:
        ValueError: ends that do not rise from above 0, fewer than 3 places to look at.
    """
    known = concrete(low)
    require(known is None or bool(known > 0), f"scale needs low > 0, got {low}")
    first, last = _ends(low, high, "the ends of scale")
    ends = jnp.log(first), jnp.log(last)
    return Along((), *ends, move=_scaled, chart=jnp.exp, scan=count(scan, 3, "scan"))


def _pushed(vector: Array, latent: Array, amount: Array) -> Array:
    return latent + amount.astype(latent.dtype) * vector.astype(latent.dtype)


@verb
def direction(
    vector: Array, low: ArrayLike = -1.0, high: ArrayLike = 1.0, *, scan: int = 17
) -> Along:
    """The latent plus ``amount`` times a vector of its shape: a mask, a band of frequencies, a
    gradient. Needs no score; scanned as `scale` is.

    Raises:
        ValueError: ends that do not rise, fewer than 3 places to look at.
    """
    vector = state(vector, jnp.shape(vector), "direction")
    ends = _ends(low, high, "the ends of direction")
    return Along(vector, *ends, move=_pushed, scan=count(scan, 3, "scan"))


def _nats(flow: Flow, target: Array) -> Begin:
    return Begin(target, jnp.ones_like(target))


def _none(flow: Flow, target: Array) -> Begin:
    return Begin(jnp.zeros_like(target), jnp.ones_like(target))


def _median(flow: Flow, target: Array) -> Begin:
    # The quantile rule's whole budget, for one standard deviation.
    span = jnp.abs(flow.interval[1] - flow.interval[0])
    slope = 0.5 * (2.0 * flow.dimensions) ** 0.5 * span
    return Begin(jnp.zeros_like(target), jnp.broadcast_to(slope, target.shape).astype(target.dtype))


def _halfway(flow: Flow, target: Array) -> Begin:
    # sigma^2 |s|^2 is about D wherever there is noise.
    begin, slope = -0.5 * (flow.interval[0] + flow.interval[1]), 0.5 * flow.dimensions
    return Begin(*(jnp.broadcast_to(a, target.shape).astype(target.dtype) for a in (begin, slope)))


@verb
def high_density(low: ArrayLike = -12.0, high: ArrayLike = 12.0) -> Along:
    """High-density sampling: the log-SNR from which the score counts twice, as in
    `densityguide.high_density`, but coming to do so within about one unit of log-SNR, so that one
    grid serves every switch. Log p rises as the switch falls, from that of the plain sample on.
    Needs a Gaussian path.

    Raises:
        ValueError: ends that do not rise.
    """
    first, last = _ends(low, high, "the ends of high_density")
    return Along((), -last, -first, guide=doubled_from, chart=jnp.negative, begin=_halfway)


@dataclass(frozen=True)
class _Anywhere:
    """Compared by value, so that making a family twice does not compile twice."""

    begin: float
    slope: float

    def __call__(self, flow: Flow, target: Array) -> Begin:
        return Begin(jnp.full_like(target, self.begin), jnp.full_like(target, self.slope))


@verb
def guided(
    guide: Callable[[Array], Guidance],
    *,
    low: ArrayLike = -inf,
    high: ArrayLike = inf,
    begin: float = 0.0,
    slope: float = 1.0,
) -> Along:
    """A family of one's own: ``guide(parameter) -> Guidance``, with log p rising by about ``slope``
    nats a unit of the parameter from ``begin`` on, in [low, high].

    Example:
        ``along.guided(lambda bits: densityguide.budget(bits_per_dim=bits), slope=45.0)``;
        a function made anew for each call compiles anew.

    Raises:
        ValueError: not a function, ends that do not rise.
    """
    require(callable(guide), f"guided needs a function number -> guidance, got {guide!r}")
    first, last = number(low, "low"), number(high, "high")
    known = concrete(first < last)
    require(known is None or bool(known), f"the ends of guided must rise, got {low} and {high}")
    return Along((), first, last, guide=guide, begin=_Anywhere(float(begin), float(slope)))


def of(family: Any) -> Along:
    """The family that a caller of `land` named: an `Along`, or a constructor of guidance."""
    if isinstance(family, Along):
        return family
    known: dict[Any, tuple[float, Callable[[Array], Array], Callable[[Flow, Array], Begin]]] = {
        rules.target: (inf, _same, _nats),
        rules.budget: (inf, _same, _none),
        rules.quantile: (EDGE, ndtr, _median),
        rules.calibrated: (EDGE, ndtr, _median),
        rules.pinned: (EDGE, ndtr, _median),
    }
    require(
        callable(family) and family in known,
        "along must be densityguide.target, budget, quantile, calibrated or pinned, or come from "
        f"densityguide.along (scale, direction, guided), got {family!r:.60}",
    )
    edge, chart, begin = known[family]
    ends = number(-edge, "low"), number(edge, "high")
    return Along((), *ends, guide=family, chart=chart, begin=begin)
