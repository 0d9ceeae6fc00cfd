"""The guided field: the flow, bent as little as possible, and its lift to log p."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide import tracking
from densityguide.divergence import Trace
from densityguide.errors import present
from densityguide.flows import Flow, Local, evaluate
from densityguide.guidance import Guidance, Moment, limit
from densityguide.noise import Noise
from densityguide.tracking import Probes

__all__ = ["KINDS", "Guided", "State"]


class State(NamedTuple):
    x: Array
    log_density: Array  # [K] replicates; [0] without a trace
    steering: Array
    unmet: Array


KINDS = State._make(("state", "nats", "nats", "nats"))


class Guided(NamedTuple):
    """The guided field and its lift to log p."""

    flow: Flow
    guidance: Guidance | None
    noise: Noise | None
    trace: Trace | None
    ends: tuple[Array, Array]

    def tangents(self, steered: bool) -> int:
        """Tangents per evaluation."""
        form = None if self.noise is None else self.noise.form
        extra = int(form in ("ito", "ito_probe", "ito_published"))
        if self.trace is None:
            return extra
        streams = 2 if steered and not self.trace.is_exact else 1
        return streams * self.trace.tangents(self.flow.size) + extra

    def rates(self, t: Array, y: State, probes: Probes) -> State:
        return self._drift(t, y, probes, None)[0]

    def increment(self, t: Array, y: State, probes: Probes, dt: Array, dw: Array) -> State:
        drift, unit, phi = self._drift(t, y, probes, dw / jnp.sqrt(jnp.abs(dt)))
        step = jax.tree.map(lambda rate: rate * dt, drift)
        return step._replace(x=step.x + phi * _project(dw, unit))

    def _drift(
        self, t: Array, y: State, probes: Probes, xi: Array | None
    ) -> tuple[State, Any, Array | float]:
        flow, trace = self.flow, self.trace
        form = None if self.noise is None else self.noise.form
        tangents = trace is not None or form in ("ito", "ito_probe", "ito_published")
        local = evaluate(flow, y.x, t, tangents=tangents)
        report = steer = None
        if trace is not None:
            report, steer = tracking.traces(local.tangent, trace, y.x, probes)
        divergences = jnp.zeros((0,), y.unmet.dtype) if report is None else report[0]
        if not flow.has_score:
            return State(local.velocity, -divergences, y.steering * 0.0, y.unmet * 0.0), None, 0.0
        score = present(local.score)
        power = jnp.sum(score**2)
        safe = jnp.where(power > 0, power, 1.0)
        unit = score / jnp.sqrt(safe)
        phi = self._noise_scale(t)
        requested = jnp.zeros_like(y.unmet)
        if self.guidance is not None:
            divergence = None if steer is None else steer[0]
            span = self.ends[1] - self.ends[0]
            moment = Moment(flow, t, y.x, power, divergence, y.steering, span)
            requested = self.guidance.rate(self.guidance.params, moment)
        bend, push = self._ito(form, local, unit, xi, phi, steer)
        if self.guidance is None and form in (None, "stratonovich"):
            applied, velocity = requested, local.velocity
        else:
            # The correction's natural size: the score's own part of the velocity.
            if flow.path is None:
                natural = jnp.linalg.norm(local.velocity) * jnp.sqrt(power)
            else:
                natural = 0.5 * flow.path.sigma(t) ** 2 * power
                if steer is not None:
                    natural = natural / _curvature(flow, t, steer[0])
            cap = 4.0 if self.guidance is None else self.guidance.cap
            applied = limit(requested - push, natural, jnp.asarray(cap, natural.dtype))
            velocity = local.velocity + (applied / safe) * score
        unmet = requested - push - applied
        gain = applied + bend
        steering = y.steering * 0.0 if steer is None else gain - steer[0]
        return State(velocity, gain - divergences, steering, unmet), unit, phi

    def _noise_scale(self, t: Array) -> Array | float:
        if self.noise is None:
            return 0.0
        sigma = 1.0 if self.flow.path is None else self.flow.path.sigma(t)
        return self.noise(t) * sigma

    def _ito(
        self,
        form: str | None,
        local: Local,
        unit: Array,
        xi: Array | None,
        phi: Array | float,
        steer: Any,
    ) -> tuple[Array | float, Array | float]:
        """(rate at which projected noise lifts log p, what the drift takes back), nats per t.

        Noise adds ``phi^2 / 2 tr(P H P) |dt|``, H the Hessian of log p. In the Stratonovich form
        the two cancel identically.
        """
        if form in (None, "stratonovich"):
            return 0.0, 0.0
        half = 0.5 * phi**2 * jnp.sign(self.ends[1] - self.ends[0])
        if form == "ito_probe":
            # The step's own noise as the probe cancels the leading error path by path.
            across = _project(present(xi), unit)
            own = half * jnp.sum(across * local.tangent(across)[1])
            return own, own
        along = jnp.sum(unit * local.tangent(unit)[1])
        laplacian = steer[1]
        bend = half * (laplacian - along)
        return bend, bend if form == "ito" else half * laplacian


def _curvature(flow: Flow, t: Array, divergence: Array) -> Array:
    """Mean curvature of log p relative to the noise's own 1 / sigma^2: ``-sigma^2 laplacian / D``,
    at most 1, and small where the data's own scale is wider than the noise. There a stronger
    correction is as harmless to the solver as a weak one at high noise."""
    laplacian_term = 2.0 * (divergence / flow.size - present(flow.path).drift(t))
    return jnp.clip(-laplacian_term, 1e-3, 1.0)


def _project(vector: Array, unit: Array) -> Array:
    """The part orthogonal to the score."""
    return vector - jnp.sum(vector * unit) * unit
