"""The network alone: finite, repeatable, precise, aware of time and smooth."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import present
from densityguide.flow.build import GaussianField
from densityguide.verify.case import Case
from densityguide.verify.result import Check
from densityguide.verify.wirings import outputs, score

__all__ = ["finite", "kinks", "precision", "repeatable", "uses_time"]

FEW = 8  # states


def finite(case: Case) -> Check:
    """Outputs and scores at nine times, at states of about the size they have there."""
    flow = case.flow
    times = jnp.linspace(*flow.interval, 9)
    x = case.latents[:FEW]

    def at(t: Array) -> Array:
        if flow.path is None:
            return outputs(flow, x, t)
        size = jnp.hypot(flow.path.alpha(t), flow.path.sigma(t))
        return score(flow, case.wiring, x * size / flow.path.sigma(flow.interval[0]), t)

    bad = [float(t) for t in times if not bool(jnp.all(jnp.isfinite(at(t))))]
    seen = f"inf or nan at t = {bad[0]:.3g}" if bad else "finite at 9 times"
    hint = "the interval leaves the range the model can take: narrow it" if bad else ""
    return Check("finite outputs", not bad, seen, "finite", hint)


def repeatable(case: Case) -> Check:
    """Run twice, and traced twice: randomness drawn while tracing is a constant of the program."""
    flow, x = case.flow, case.latents[:FEW]
    t = flow.interval[0]

    def program() -> tuple[str, list[Array]]:
        # A function of its own each time: jax keeps what it has traced.
        traced = jax.make_jaxpr(lambda x: flow.field(flow.params, x, t)[0])(x[0])
        return str(traced.jaxpr), traced.consts

    (one, first), (other, second) = program(), program()
    same = one == other and all(map(np.array_equal, first, second))
    clock = case.wiring.clock(t) if flow.path is not None else t
    once, again = outputs(flow, x, clock), outputs(flow, x, clock)
    same &= bool(jnp.array_equal(once, again, equal_nan=True))
    hint = "" if same else "the network is random: switch dropout and other noise off (eval mode)"
    return Check("repeatable", same, "same twice" if same else "differs", "same twice", hint)


def precision(case: Case) -> Check:
    flow, field = case.flow, case.flow.field
    apply = getattr(field, "apply", None) or getattr(field, "velocity", None)
    seen = "float32 or better"
    if apply is not None:
        x = jax.ShapeDtypeStruct(flow.shape, jnp.float32)
        out = jax.eval_shape(apply, flow.params, x, jax.ShapeDtypeStruct((), jnp.float32))
        fine = jnp.finfo(out.dtype).bits >= 32
        seen = str(out.dtype)
    else:
        fine = True
    hint = "" if fine else f"the network computes in {seen}: log p of many nats needs float32"
    return Check("precision", fine, seen, "float32 or better", hint)


def uses_time(case: Case) -> Check:
    """The same states at five times. A network that sees the noise level in the picture may do
    without a time: then its denoising passes."""
    flow, name, expected = case.flow, "time is used", "outputs that change with it"
    if not isinstance(flow.field, GaussianField):
        return Check(name, None, "left out: any velocity may be constant", "", "")
    times = [case.wiring.clock(t) for t in jnp.linspace(*flow.interval, 5)]
    x = case.latents[:FEW] / present(flow.path).sigma(flow.interval[0])
    found = jnp.stack([outputs(flow, x, t) for t in times])
    part = float(jnp.std(found, axis=0).max() / (jnp.sqrt(jnp.mean(found**2)) + 1e-20))
    seen = f"{part:.1%} of the output"
    if part > 1e-5:
        return Check(name, True, seen, expected, "")
    hint = "the network returns the same at all times"
    if case.denoising.passed:
        return Check(name, None, seen, expected, f"{hint}, and denoises every level all the same")
    hint += ": is t passed on, and were the weights of its time embedding loaded?"
    return Check(name, False, seen, expected, hint)


def kinks(case: Case) -> Check:
    """Second derivatives along a segment must add up to the change of the first.

    No mistake of wiring: a network with kinks is noted, for what it cannot be used for.
    """
    flow = case.flow
    t = 0.5 * (flow.interval[0] + flow.interval[1])
    size = 1.0 if flow.path is None else jnp.hypot(flow.path.alpha(t), flow.path.sigma(t))

    @jax.jit
    @jax.vmap
    def mismatch(key: Array) -> tuple[Array, Array, Array]:
        key_x, key_d = jax.random.split(key)
        x = size * jax.random.normal(key_x, flow.shape)
        d = 0.5 * size * jax.random.normal(key_d, flow.shape)

        def slope(tau: Array) -> Array:
            along = lambda tau: flow.field(flow.params, x + tau * d, t)[0]  # noqa: E731
            return jax.jvp(along, (tau,), (jnp.ones_like(tau),))[1]

        def both(tau: Array) -> tuple[Array, Array]:
            return jax.jvp(slope, (tau,), (jnp.ones_like(tau),))

        # One program for the ends, of which the slopes count, and the middles, of which the curves.
        n = 16
        slopes, curves = jax.lax.map(both, jnp.append(jnp.arange(n) + 0.5, jnp.asarray([0, n])) / n)
        first, change = slopes[n], slopes[n + 1] - slopes[n]
        off = jnp.mean(curves[:n], axis=0) - change
        return jnp.sum(off**2), jnp.sum(change**2), jnp.sum(first**2)

    off, change, first = (jnp.sum(parts) for parts in mismatch(jax.random.split(case.keys[2], 4)))
    # Of a linear field, as a Gaussian's, the curvature is rounding: less than 1% counts as none.
    part = float(jnp.sqrt(off / jnp.maximum(change, 1e-4 * first + 1e-20)))
    name, seen, expected = "smooth (no kinks)", f"{part:.1%} of curvature lost", "< 20%"
    if part < 0.2:
        return Check(name, True, seen, expected, "")
    hint = (
        "the network has kinks (ReLU or max-pooling): its log p is right, but alignment without "
        "the score, geodesics and other second-order results are not; use SiLU or GELU"
    )
    return Check(name, None, seen, expected, hint)
