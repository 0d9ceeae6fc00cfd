"""The guided field: the flow, bent as little as possible, and its lift to log p."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import present
from densityguide.density.trace import Trace, apply
from densityguide.flow.flow import Flow
from densityguide.flow.local import Local, evaluate
from densityguide.steer.guidance import Guidance, Moment
from densityguide.steer.limiter import limit
from densityguide.steer.noise import Bend, Noise, project
from densityguide.steer.rules import DEFAULT_CAP

__all__ = ["CONTROLS", "KINDS", "Guided", "Probes", "State", "Traces"]


class Traces(NamedTuple):
    """Which trace reports log p, and which one steers: taken only where guidance or noise need it,
    so that the sample does not depend on what is reported."""

    report: Trace | None
    steer: Trace | None

    @property
    def replicates(self) -> int:
        """Streams that report."""
        return 0 if self.report is None else self.report.probes

    @property
    def shared(self) -> bool:
        """Whether one exact trace serves both."""
        return self.steer is not None and self.steer.is_exact and self.report == self.steer


class Probes(NamedTuple):
    """Probes of one evaluation, for each of the `Traces`."""

    report: Array | None
    steer: Array | None


class State(NamedTuple):
    x: Array
    log_density: Array  # [K] replicates; [0] without a trace
    steering: Array
    unmet: Array


KINDS = State._make(("state", "nats", "feedback", "nats"))
CONTROLS = State._make((True, False, True, False))  # what x depends on


class _Steer(NamedTuple):
    """Traces that steer: of the velocity's derivative, and of the score's."""

    divergence: Array
    laplacian: Array


class _Bent(NamedTuple):
    """One evaluation of the guided field."""

    rates: State
    unit: Array | None  # of the score
    phi: Array | float  # scale of the noise


class Guided(NamedTuple):
    """The guided field and its lift to log p."""

    flow: Flow
    guidance: Guidance | None
    noise: Noise | None
    traces: Traces
    ends: tuple[Array, Array]

    @property
    def tangents(self) -> int:
        """Tangents per evaluation."""
        report, steer = self.traces
        size, count = self.flow.size, 0 if self.noise is None else self.noise.form.tangents
        count += 0 if report is None else report.tangents(size)
        return count if steer is None or self.traces.shared else count + steer.tangents(size)

    def rates(self, t: Array, y: State, probes: Probes) -> State:
        """dy/dt of the guided ODE."""
        return self._bent(t, y, probes, None).rates

    def increment(self, t: Array, y: State, probes: Probes, dt: Array, dw: Array) -> State:
        """The increment of the guided SDE over a step."""
        bent = self._bent(t, y, probes, dw / jnp.sqrt(jnp.abs(dt)))
        step = jax.tree.map(lambda rate: rate * dt, bent.rates)
        return step._replace(
            x=step.x + bent.phi * project(self.flow.along(y.x, dw), present(bent.unit))
        )

    def _bent(self, t: Array, y: State, probes: Probes, xi: Array | None) -> _Bent:
        local = evaluate(self.flow, y.x, t, tangents=self.tangents > 0)
        report, steer = self._divergences(local, y, probes)
        none = jnp.zeros_like(y.unmet)
        if self.guidance is None and self.noise is None:
            return _Bent(State(local.velocity, -report, none, none), None, 0.0)
        score = present(local.score)
        power = jnp.sum(score**2)
        safe = jnp.where(power > 0, power, 1.0)
        unit, phi = score / jnp.sqrt(safe), self._noise_scale(t)
        requested = self._requested(t, y, power, steer)
        lift, taken = self._ito(t, local, unit, xi, phi, steer)
        applied = self._limited(requested - taken, t, local, power, steer)
        gain = applied + lift
        rates = State(
            x=local.velocity + (applied / safe) * score,
            log_density=gain - report,
            steering=none if steer is None else gain - steer.divergence,
            unmet=requested - taken - applied,
        )
        return _Bent(rates, unit, phi)

    def _divergences(self, local: Local, y: State, probes: Probes) -> tuple[Array, _Steer | None]:
        """div u as reported, replicates [K], and what steers (or None)."""
        report, steer = self.traces
        reported = (jnp.zeros((0,), y.unmet.dtype), None)
        if report is not None:
            reported = apply(local.tangent, report, y.x, probes.report)
        if steer is None:
            return reported[0], None
        known = reported
        if not self.traces.shared:
            known = apply(local.tangent, steer, y.x, probes.steer)
        return reported[0], _Steer(*jax.tree.map(jnp.mean, known))

    def _requested(self, t: Array, y: State, power: Array, steer: _Steer | None) -> Array:
        if self.guidance is None:
            return jnp.zeros_like(y.unmet)
        span = self.ends[1] - self.ends[0]
        divergence, tracked = (None, None) if steer is None else (steer.divergence, y.steering)
        moment = Moment(self.flow, t, y.x, power, divergence, tracked, span)
        return self.guidance.rate(self.guidance.params, moment)

    def _limited(
        self, requested: Array, t: Array, local: Local, power: Array, steer: _Steer | None
    ) -> Array:
        """The rate that the cap allows."""
        flow, form = self.flow, None if self.noise is None else self.noise.form
        if self.guidance is None and (form is None or not form.is_ito):
            return requested
        # The correction's natural size: the score's own part of the velocity.
        if flow.path is None:
            natural = jnp.linalg.norm(local.velocity) * jnp.sqrt(power)
        else:
            natural = 0.5 * flow.path.sigma(t) ** 2 * power
            if steer is not None:
                natural = natural / _curvature(flow, t, steer.divergence)
        cap = DEFAULT_CAP if self.guidance is None else self.guidance.cap
        return limit(requested, natural, jnp.asarray(cap, natural.dtype))

    def _noise_scale(self, t: Array) -> Array | float:
        if self.noise is None:
            return 0.0
        sigma = 1.0 if self.flow.path is None else self.flow.path.sigma(t)
        return self.noise(t) * sigma

    def _ito(
        self, t: Array, local: Local, unit: Array, xi: Any, phi: Any, steer: _Steer | None
    ) -> tuple[Array | float, Array | float]:
        """(rate at which projected noise lifts log p, what the drift takes back), nats per t.

        Noise adds ``phi^2 / 2 tr(P H P) |dt|``, H the Hessian of log p.
        """
        if self.noise is None:
            return 0.0, 0.0
        half = 0.5 * phi**2 * jnp.sign(self.ends[1] - self.ends[0])
        laplacian = None if steer is None else steer.laplacian
        bend = Bend(half, unit, xi, lambda v: local.tangent(v)[1], laplacian)
        return self.noise.form.rates(bend)


def _curvature(flow: Flow, t: Array, divergence: Array) -> Array:
    """Mean curvature of log p relative to the noise's own 1 / sigma^2: ``-sigma^2 laplacian / D``,
    at most 1, and small where the data's own scale is wider than the noise. There a stronger
    correction is as harmless to the solver as a weak one at high noise."""
    laplacian_term = 2.0 * (divergence / flow.dimensions - present(flow.path).drift(t))
    return jnp.clip(-laplacian_term, 1e-3, 1.0)
