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
from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtri
from jax.typing import ArrayLike

from densityguide.checks import concrete, number, present, require, scalar, verb
from densityguide.flow.flow import Flow
from densityguide.steer.guidance import Condition, Guidance, Moment, Needs, Profile
from densityguide.steer.knots import Knots

__all__ = ["Condition", "Guidance", "Moment", "Needs", "Profile", "budget", "calibrated", "pinned"]
__all__ += ["quantile", "rate", "schedule", "target"]


DEFAULT_CAP = 4.0
SLACK = 1e-4  # of a normal quantile: ends of a range are kept in float32


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


# --- the rules -------------------------------------------------------------------------------


def _half_root(moment: Moment) -> float:
    return 0.5 * (2.0 * moment.flow.dimensions) ** 0.5


def _outside(z: Any, dial: Array) -> Array:
    values, (low, high) = (z.values if isinstance(z, Knots) else z), ndtri(dial)
    return jnp.any((values < low - SLACK) | (values > high + SLACK))


def _quantile_rate(z: Any, moment: Moment) -> Array:
    return _half_root(moment) * _at(z, moment.t)


@verb
def quantile(q: ArrayLike | Knots, *, cap: ArrayLike = DEFAULT_CAP) -> Guidance:
    """``c = sqrt(2 D) / 2 * Phi^-1(q)`` nats per log-SNR (Density Guidance, Eq. 23).

    Equals scaling the score by ``1 + sqrt(2 D) Phi^-1(q) / |sigma s|^2``. No trace is needed to
    sample. ``q`` in (0, 1), a number or `knots` over log-SNR; 0.5 is the plain flow. ValueError for
    a known q outside, or a cap that is not positive; traced ones end as a status, in every rule.
    """
    z, needs = _normal_quantile(q), Needs(path=True)
    return Guidance(z, _cap(cap), _quantile_rate, needs, beyond=_outside, name="quantile")


def _calibrated_rate(z: Any, moment: Moment) -> Array:
    calibration = present(moment.flow.calibration)
    spread = Knots(calibration.times, calibration.spread)(moment.t)
    return _half_root(moment) * spread * _at(z, moment.t)


@verb
def calibrated(q: ArrayLike | Knots, *, cap: ArrayLike = DEFAULT_CAP) -> Guidance:
    """The quantile rule with the measured spread: ``c = sqrt(2 D) / 2 * std_h(t) Phi^-1(q)``.

    The plain rule takes ``h`` as N(0, 1); ``Var h <= 1`` always, with equality only at high
    noise. Needs ``flow.calibration`` (see ``densityguide.calibrate``).
    """
    needs = Needs(path=True, calibration=True)
    return Guidance(_normal_quantile(q), _cap(cap), _calibrated_rate, needs, name="calibrated")


def _pinned_rate(z: Any, moment: Moment) -> Array:
    flow, t = moment.flow, moment.t
    path = present(flow.path)
    # -div u + c = -drift D + |sigma s|^2 / 2 + sqrt(2 D) / 2 Phi^-1(q): the natural rate with h
    # replaced by -Phi^-1(q).
    power = 0.5 * path.sigma(t) ** 2 * moment.score_power
    closed = power - path.drift(t) * flow.dimensions + _half_root(moment) * _at(z, t)
    return closed + present(moment.divergence)


@verb
def pinned(q: ArrayLike | Knots, *, cap: ArrayLike = DEFAULT_CAP) -> Guidance:
    """``c = sqrt(2 D) / 2 * (h + Phi^-1(q))``: h is pulled to the quantile instead of left to
    chance, ``h = sigma^2 (laplacian + |s|^2) / sqrt(2 D)``. One trace; at q = 0.5 this is not
    the plain flow."""
    needs = Needs(path=True, trace=True)
    return Guidance(_normal_quantile(q), _cap(cap), _pinned_rate, needs, name="pinned")


def _budget_rate(nats: Array, moment: Moment) -> Array:
    return nats / moment.span


def _bits_budget_rate(bits: Array, moment: Moment) -> Array:
    return bits * log(2.0) * moment.flow.dimensions / moment.span


@verb
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
        return self.asked(params, moment.x, moment.t) + present(moment.divergence)

    def asked(self, params: Any, x: Array, t: Array) -> Array:
        return self.function(params, x, t) if self.with_params else self.function(x, t)

    def conditions(self, params: Any, flow: Flow) -> list[Condition]:
        """What the function must return, seen once before tracing."""
        x = jax.ShapeDtypeStruct(flow.shape, jnp.result_type(float))
        t = jax.ShapeDtypeStruct((), jnp.result_type(float))
        shape = getattr(jax.eval_shape(self.asked, params, x, t), "shape", "several values")
        require(shape == (), f"rate must return one number a sample, got {shape}")
        return []


@verb
def rate(
    function: Callable[..., Array], params: Any = None, *, cap: ArrayLike = DEFAULT_CAP
) -> Guidance:
    """Explicit rate ``d log p/dt = b``: ``c = b + div u`` (Density Guidance).

    ``function`` is ``(params, x, t) -> b`` (``(x, t)`` without params), nats per unit clock.
    Nothing is fed back, so log p is as exact as the quadrature of ``b``: where ``b`` jumps, put a
    knot of the grid and take a one-step solver, e.g. ``diffrax.Bosh3()``.
    """
    require(callable(function), f"rate needs a function (params, x, t), got {function!r}")
    rule = _Rate(function, params is not None)
    return Guidance(
        params, _cap(cap), rule, Needs(trace=True), conditions=rule.conditions, name="rate"
    )


class _Following(NamedTuple):
    line: Knots
    gain: Array


def _gain_of(params: _Following) -> Array:
    return params.gain


def _follow(params: _Following, moment: Moment) -> Array:
    # The feedback acts along the direction of travel, which may be falling time.
    gain = params.gain * jnp.sign(moment.span)
    error = params.line(moment.t) - present(moment.log_density)
    slope = params.line.derivative(moment.t)
    return slope + gain * error + present(moment.divergence)


@verb
def schedule(line: Knots, *, gain: ArrayLike = 1.0, cap: ArrayLike = DEFAULT_CAP) -> Guidance:
    """Follow log p given as `knots` over the clock: ``c = L' + gain (L - l) + div u`` with ``l``
    the tracked log p; both are of the state x, not x / alpha. The line must span the flow's
    interval (else ValueError) and should begin at the latent's own log p; the feedback closes any
    gap as exp(-gain t)."""
    require(isinstance(line, Knots), "schedule needs densityguide.knots(times, log_p)")
    params = _Following(line, _gain(gain))
    return Guidance(
        params,
        _cap(cap),
        _follow,
        Needs(trace=True),
        conditions=_spanning,
        relaxation=_gain_of,
        name="schedule",
    )


def _spanning(params: _Following, flow: Flow) -> list[Condition]:
    times = params.line.times
    first, last = jnp.minimum(*flow.interval), jnp.maximum(*flow.interval)
    slack = 1e-5 * (last - first)
    return [
        (
            (times[0] <= first + slack) & (times[-1] >= last - slack),
            f"a schedule must span the flow's interval {flow.interval[0]} .. {flow.interval[1]}, "
            f"its knots run from {times[0]} to {times[-1]}",
        ),
        (params.gain >= 0, f"gain must not be negative, got {params.gain}"),
    ]


def _aim(params: tuple[Array, Array], profile: Profile) -> _Following:
    target, gain = params
    natural = profile.log_density - profile.log_density[0] + profile.start
    excess = target - profile.end_offset - natural[-1]
    line = Knots(profile.times, natural + excess * profile.share)
    backward = line.times[0] > line.times[-1]
    line = jax.tree.map(lambda a: jnp.where(backward, a[::-1], a), line)
    return _Following(line, gain)


@verb
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
    return Guidance(
        params,
        _cap(cap),
        _follow,
        Needs(trace=True),
        _aim,
        conditions=_aimed,
        relaxation=_gain_of,
        name="target",
    )


def _aimed(params: Any, flow: Flow) -> list[Condition]:
    return [(params[1] >= 0, f"gain must not be negative, got {params[1]}")]
