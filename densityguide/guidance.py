"""Density guidance: what to ask of log p while sampling.

The guided ODE is the smallest change of the flow under which log p of the base flow moves at a
requested rate (Karczewski et al., ICML 2025)::

    dx/dt = u + c s / |s|^2,    d log p_t(x_t)/dt = -div u + c

``c`` is the **excess rate**, in nats per unit of the flow's clock; every guidance is a choice of
``c``. Everywhere a larger ``q`` means a larger log p.

Near a mode |s| tends to 0 and no finite correction can do more. The correction is therefore
limited to ``cap`` times the flow's own score term (``sigma^2 |s|^2 / 2`` nats per log-SNR), by a
limiter that is exact below half the cap and smooth above; what it cuts off is reported as
``unmet`` nats, never hidden. Where a guidance takes a trace anyway, the term is divided by the
mean curvature ``-sigma^2 laplacian / D`` (at most 1): at low noise, where data are smooth, the same
correction is no stiffer, and a target can still be corrected there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtri
from jax.typing import ArrayLike

from densityguide.errors import concrete, number, present, require, scalar
from densityguide.flows import Flow
from densityguide.knots import Knots

__all__ = ["Guidance", "Moment", "Profile", "budget", "calibrated", "limit", "pinned", "quantile"]
__all__ += ["rate", "schedule", "target"]


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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Guidance:
    """An excess rate as data: ``rate(params, moment) -> c``.

    Attributes:
        params: what the user asked for, traced.
        cap: limit of the correction relative to the flow's own score term, traced.
        rate: static rule.
        needs: static words among ``path``, ``trace``, ``calibration``.
        prepare: static ``(params, profile) -> params`` for rules that plan a whole solve ahead.
        name: for messages.
    """

    params: Any
    cap: Array
    rate: Callable[[Any, Moment], Array] = field(metadata={"static": True})
    needs: tuple[str, ...] = field(default=(), metadata={"static": True})
    prepare: Callable[[Any, Profile], Any] | None = field(default=None, metadata={"static": True})
    name: str = field(default="guidance", metadata={"static": True})


DEFAULT_CAP = 4.0


def _at(value: Array | Knots, t: Array) -> Array:
    return value(t) if isinstance(value, Knots) else value


def _cap(cap: ArrayLike) -> Array:
    known, cap = concrete(cap), scalar(cap, "cap")
    require(known is None or bool(known > 0), f"cap must be positive, got {known}")
    return cap


def _gain(gain: ArrayLike) -> Array:
    known, gain = concrete(gain), scalar(gain, "gain")
    require(known is None or bool(known >= 0), f"gain must not be negative, got {known}")
    return gain


def _normal_quantile(q: ArrayLike | Knots) -> Array | Knots:
    """Phi^-1(q), checked where known; traced values out of range end as a status."""
    values = q.values if isinstance(q, Knots) else q
    known = concrete(values)
    require(
        known is None or bool(((known > 0) & (known < 1)).all()),
        f"q must lie in (0, 1), got {known}: 0.5 is the plain flow, larger q larger log p",
    )
    z = ndtri(number(values, "q") if isinstance(q, Knots) else scalar(q, "q"))
    return Knots(q.times, z) if isinstance(q, Knots) else z


def limit(requested: Array, natural: Array, cap: Array) -> Array:
    """Requested rate limited to ``cap * natural``: exact up to half of that, then a tanh with
    two continuous derivatives, so a solver keeps its order."""
    tiny = jnp.finfo(natural.dtype).tiny ** 0.5
    ratio = requested / jnp.maximum(natural, tiny)
    half = jnp.minimum(0.5 * cap, 1e6)  # finite, so that no inf * 0 reaches a gradient
    beyond = jnp.maximum(jnp.abs(ratio) - half, 0.0)
    inside = jnp.clip(ratio, -half, half)
    limited = natural * (inside + jnp.sign(ratio) * half * jnp.tanh(beyond / half))
    # Below half the cap return the request itself: unmet is then exactly zero.
    return jnp.where(beyond > 0, limited, requested)


# --- the rules -------------------------------------------------------------------------------


def _half_root(moment: Moment) -> float:
    return 0.5 * (2.0 * moment.flow.size) ** 0.5


def _quantile_rate(z: Any, moment: Moment) -> Array:
    return _half_root(moment) * _at(z, moment.t)


def quantile(q: ArrayLike | Knots, *, cap: ArrayLike = DEFAULT_CAP) -> Guidance:
    """``c = sqrt(2 D) / 2 * Phi^-1(q)`` nats per log-SNR (Density Guidance, Eq. 23).

    Equals scaling the score by ``1 + sqrt(2 D) Phi^-1(q) / |sigma s|^2``. No trace is needed to
    sample. ``q`` in (0, 1), a number or `knots` over log-SNR; 0.5 is the plain flow.
    """
    return Guidance(_normal_quantile(q), _cap(cap), _quantile_rate, ("path",), name="quantile")


def _calibrated_rate(z: Any, moment: Moment) -> Array:
    calibration = present(moment.flow.calibration)
    spread = Knots(calibration.times, calibration.spread)(moment.t)
    return _half_root(moment) * spread * _at(z, moment.t)


def calibrated(q: ArrayLike | Knots, *, cap: ArrayLike = DEFAULT_CAP) -> Guidance:
    """The quantile rule with the measured spread: ``c = sqrt(2 D) / 2 * std_h(t) Phi^-1(q)``.

    The plain rule takes ``h`` as N(0, 1); ``Var h <= 1`` always, with equality only at high
    noise. Needs ``flow.calibration`` (see ``densityguide.calibrate``).
    """
    needs = ("path", "calibration")
    return Guidance(_normal_quantile(q), _cap(cap), _calibrated_rate, needs, name="calibrated")


def _pinned_rate(z: Any, moment: Moment) -> Array:
    flow, t = moment.flow, moment.t
    path = present(flow.path)
    # -div u + c = -drift D + |sigma s|^2 / 2 + sqrt(2 D) / 2 Phi^-1(q): the natural rate with h
    # replaced by -Phi^-1(q).
    power = 0.5 * path.sigma(t) ** 2 * moment.score_power
    closed = power - path.drift(t) * flow.size + _half_root(moment) * _at(z, t)
    return closed + present(moment.divergence)


def pinned(q: ArrayLike | Knots, *, cap: ArrayLike = DEFAULT_CAP) -> Guidance:
    """``c = sqrt(2 D) / 2 * (h + Phi^-1(q))``: h is pulled to the quantile instead of left to
    chance, ``h = sigma^2 (laplacian + |s|^2) / sqrt(2 D)``. One trace; at q = 0.5 this is not
    the plain flow."""
    return Guidance(_normal_quantile(q), _cap(cap), _pinned_rate, ("path", "trace"), name="pinned")


def _budget_rate(nats: Array, moment: Moment) -> Array:
    return nats / moment.span


def _bits_budget_rate(bits: Array, moment: Moment) -> Array:
    return bits * log(2.0) * moment.flow.size / moment.span


def budget(
    nats: ArrayLike | None = None,
    *,
    bits_per_dim: ArrayLike | None = None,
    cap: ArrayLike = DEFAULT_CAP,
) -> Guidance:
    """A constant excess that adds up to ``nats`` (or ``bits_per_dim * D ln 2``) over the solve:
    log p ends that much above ``-integral of div u`` along the guided curve. Portable between
    models and clock ranges, and it needs no path."""
    require(
        (nats is None) != (bits_per_dim is None),
        "budget takes nats or bits_per_dim=, exactly one of them",
    )
    if nats is not None:
        return Guidance(scalar(nats, "nats"), _cap(cap), _budget_rate, name="budget")
    bits = scalar(bits_per_dim, "bits_per_dim")
    return Guidance(bits, _cap(cap), _bits_budget_rate, name="budget")


@dataclass(frozen=True)
class _Rate:
    function: Callable[..., Array]
    with_params: bool

    def __call__(self, params: Any, moment: Moment) -> Array:
        args = (params, moment.x, moment.t) if self.with_params else (moment.x, moment.t)
        return self.function(*args) + present(moment.divergence)


def rate(
    function: Callable[..., Array], params: Any = None, *, cap: ArrayLike = DEFAULT_CAP
) -> Guidance:
    """Explicit rate ``d log p/dt = b``: ``c = b + div u`` (Density Guidance).

    ``function`` is ``(params, x, t) -> b`` (``(x, t)`` without params), nats per unit clock.
    Nothing is fed back, so log p is as exact as the quadrature of ``b``: where that jumps, let
    the grid have a knot and take a one-step solver, e.g. ``diffrax.Bosh3()``.
    """
    require(callable(function), f"rate needs a function (params, x, t), got {function!r}")
    rule = _Rate(function, params is not None)
    return Guidance(params, _cap(cap), rule, ("trace",), name="rate")


class _Following(NamedTuple):
    line: Knots
    gain: Array


def _follow(params: _Following, moment: Moment) -> Array:
    # The feedback acts along the direction of travel, which may be falling time.
    gain = params.gain * jnp.sign(moment.span)
    error = params.line(moment.t) - present(moment.log_density)
    slope = params.line.derivative(moment.t)
    return slope + gain * error + present(moment.divergence)


def schedule(line: Knots, *, gain: ArrayLike = 1.0, cap: ArrayLike = DEFAULT_CAP) -> Guidance:
    """Follow log p given as `knots` over the clock: ``c = L' + gain (L - l) + div u`` with ``l``
    the tracked log p, all of the state x (not x / alpha). The line must span the flow's interval
    and should begin at the latent's own log p; the feedback closes any gap as exp(-gain t)."""
    require(isinstance(line, Knots), "schedule needs densityguide.knots(times, log_p)")
    params = _Following(line, _gain(gain))
    return Guidance(params, _cap(cap), _follow, ("trace",), name="schedule")


def _aim(params: tuple[Array, Array], profile: Profile) -> _Following:
    target, gain = params
    natural = profile.log_density - profile.log_density[0] + profile.start
    excess = target - profile.end_offset - natural[-1]
    line = Knots(profile.times, natural + excess * profile.share)
    backward = line.times[0] > line.times[-1]
    line = jax.tree.map(lambda a: jnp.where(backward, a[::-1], a), line)
    return _Following(line, gain)


def target(
    log_density: ArrayLike, *, gain: ArrayLike = 1.0, cap: ArrayLike = DEFAULT_CAP
) -> Guidance:
    """Land on an absolute log p (nats, of the reported sample x / alpha).

    Follows a schedule shaped like a natural sample's log p (from the flow's calibration, or from
    one plain solve of the same latent) plus a constant excess that ends at the target.
    """
    known = concrete(log_density)
    require(
        known is None or bool(np.isfinite(known).all()),
        f"target must be a finite number of nats, got {log_density}",
    )
    params = (scalar(log_density, "target"), _gain(gain))
    return Guidance(params, _cap(cap), _follow, ("trace",), _aim, "target")


def check(guidance: Guidance, flow: Flow) -> None:
    """Raise unless the flow has what this guidance needs."""
    require(
        isinstance(guidance, Guidance),
        f"guidance must come from densityguide (quantile, target, ...), got {guidance!r}",
    )
    name = guidance.name
    require(flow.has_score, f"{name} guidance needs a score: pass score= to densityguide.cnf")
    require(
        flow.path is not None or "path" not in guidance.needs,
        f"{name} guidance needs a Gaussian path and this flow has none: "
        "use budget, rate, schedule or target",
    )
    require(
        flow.calibration is not None or "calibration" not in guidance.needs,
        f"{name} guidance needs a calibration: call flow = densityguide.calibrate(flow, key)",
    )
    if isinstance(guidance.params, _Following):
        fine, times = concrete(_spans(guidance.params.line, flow)), guidance.params.line.times
        require(
            fine is None or bool(fine),
            f"a schedule must span the flow's interval {flow.interval[0]} .. {flow.interval[1]}, "
            f"its knots run from {times[0]} to {times[-1]}",
        )


def _spans(line: Knots, flow: Flow) -> Array:
    first, last = jnp.minimum(*flow.interval), jnp.maximum(*flow.interval)
    slack = 1e-5 * (last - first)
    return (line.times[0] <= first + slack) & (line.times[-1] >= last - slack)


def valid(guidance: Guidance, flow: Flow) -> Array:
    """Whether the traced numbers of a guidance are in range: what `check` could not see."""
    fine = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(guidance.params)]
    fine.append(guidance.cap > 0)
    if isinstance(guidance.params, _Following):
        fine += [_spans(guidance.params.line, flow), guidance.params.gain >= 0]
    elif guidance.prepare is _aim:
        fine.append(guidance.params[1] >= 0)
    return jnp.all(jnp.stack(fine))
