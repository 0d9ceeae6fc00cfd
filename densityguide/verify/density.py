"""Velocity, score and prior: do they belong to one density?"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import present
from densityguide.density.trace import Trace, exact, orthogonal
from densityguide.flow import priors
from densityguide.steer.alignment import score_alignment
from densityguide.steer.rules import quantile
from densityguide.steer.sample import sample
from densityguide.verify.case import Case
from densityguide.verify.result import Check

__all__ = ["encoding", "score_of_flow", "tracked"]

NAME = "score belongs to the flow"
LOW, HIGH = 0.4, 0.6  # of the dial
FINE = 0.05  # bits/dim


def encoding(case: Case) -> Check:
    """A CNF must carry data to typical points of its prior."""
    flow, name = case.flow, "data reach the prior"
    if case.data is None:
        return Check(name, None, "left out: needs data=", "", "")
    back = dataclasses.replace(flow, interval=flow.interval[::-1], path=None)

    def encode(x: Array) -> Array:
        return flow.prior.log_prob(sample(back, x, divergence=None, steps=case.steps).x)

    seen = jax.vmap(encode)(case.data)
    typical = jax.vmap(lambda k: flow.prior.log_prob(flow.prior.sample(k)))(
        jax.random.split(case.keys[4], 256)
    )
    off = float((jnp.mean(seen) - jnp.mean(typical)) / (jnp.std(typical) + 1e-12))
    fine = bool(np.isfinite(off)) and abs(off) < 1.0
    hint = ""
    if not fine:
        hint = "data do not land on the prior: interval= must be (prior end, data end); swap it?"
    return Check(name, fine, f"{off:+.2f} std of log p", "|.| < 1", hint)


def score_of_flow(case: Case) -> Check:
    """Both forms of score alignment must agree if the score is the gradient of log p."""
    flow, expected = case.flow, "ratio 1 +- 0.15"
    if not flow.has_score:
        return Check(NAME, None, "left out: no score", "", "")
    if priors.is_flat(flow.prior):
        return Check(NAME, None, "left out: the prior's score is 0", "", "")
    trace = exact() if flow.is_small else orthogonal(4)

    @jax.jit
    @jax.vmap
    def both(key: Array) -> tuple[Array, Array]:
        key, key_latent = jax.random.split(key)
        x = flow.prior.sample(key_latent)
        v = priors.score(flow.prior, x)
        first = score_alignment(flow, x, direction=v, steps=case.steps)
        second = score_alignment(
            flow, x, direction=v, use_score=False, divergence=trace, key=key, steps=case.steps
        )
        return first.value, second.value

    first, second = both(jax.random.split(case.keys[3], 8))
    ratio = float(jnp.sum(first * second) / jnp.sum(second**2))
    fine = bool(np.isfinite(ratio)) and abs(ratio - 1.0) < 0.15
    hint = ""
    if not fine:
        what = "the wrong sign" if ratio < -0.5 else "another scale or belongs to another density"
        hint = f"the score has {what}: it must be grad log p_t of the flow's own density"
    return Check(NAME, fine, f"ratio {ratio:.3f}", expected, hint)


def tracked(case: Case) -> Check:
    """How far log p moves beside how far guidance believes that it does.

    On a Gaussian path the score is tied to the velocity, and the denoising judges both: what is
    left is how far the network is from the gradient of a density, which no wiring can mend. The
    same latents are guided to a low and a high log p, and encoded again.
    """
    flow, expected = case.flow, "ratio 1 +- 0.15"
    if not case.usable or not case.denoising.passed:
        return Check(NAME, None, "left out: denoising failed", "", "")
    measured, believed, doubt = _guided(case)
    off = np.sqrt(np.mean((measured - believed) ** 2))
    ratio = float(np.sum(measured[:, 1] - measured[:, 0]) / np.sum(believed[:, 1] - believed[:, 0]))
    seen = f"ratio {ratio:.2f}, {off:.2g} nats off"
    if not (np.isfinite(ratio) and np.isfinite(off)):
        return Check(NAME, False, seen, expected, "guided samples are not finite: narrow log_snr=")
    bits = off / flow.size / np.log(2.0)
    if off < doubt or (abs(ratio - 1.0) < 0.15 and bits < FINE):
        return Check(NAME, True, seen, expected, "")
    hint = (
        f"with guidance from quantile({LOW}) to ({HIGH}) tracked log p is about {off:.2g} nats "
        f"({bits:.2g} bits/dim) off the model's own, which moves {ratio:.2f} nats for each one "
        "that tracked moves: read log_density, which is measured, and use land for a target"
    )
    return Check(NAME, None, seen, expected, hint)


def _guided(case: Case) -> tuple[np.ndarray, np.ndarray, float]:
    """Measured and tracked log p, [latents, 2], and what the probes blur of it, nats."""
    flow, number = case.flow, 4 if case.flow.is_small else 2

    @jax.jit
    def run(latents: Array, keys: Array, q: Array) -> tuple[Array, ...]:
        def one(latent: Array, key: Array, q: Array) -> tuple[Array, ...]:
            out = sample(
                flow,
                latent,
                guidance=quantile(q),
                divergence=_trace(case),
                key=key,
                steps=2 * case.steps if flow.is_small else case.steps,
            )
            return tuple(map(present, (out.log_density, out.tracked, out.standard_error)))

        return jax.vmap(jax.vmap(one, in_axes=(None, None, 0)), in_axes=(0, 0, None))(
            latents, keys, q
        )

    keys = jax.random.split(case.keys[3], number)
    found = run(case.latents[:number], keys, jnp.asarray([LOW, HIGH]))
    measured, believed, error = (np.asarray(a, np.float64) for a in found)
    doubt = 2.0 * float(np.sqrt(np.mean(error**2)))
    return measured, believed, doubt if np.isfinite(doubt) else 0.0


def _trace(case: Case) -> Trace:
    if case.flow.size <= 16:
        return exact()
    return orthogonal(4 if case.flow.is_small else 2)
