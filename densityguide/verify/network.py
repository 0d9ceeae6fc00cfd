"""The network alone: finite, repeatable, precise and smooth."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.flows import Flow
from densityguide.verify.result import Check

__all__ = ["finite", "kinks", "precision", "repeatable"]


def finite(flow: Flow, key: Array, count: int) -> Check:
    @jax.jit
    def outputs_at(flow: Flow, key: Array) -> tuple[Array, Array]:
        times = jnp.linspace(*flow.interval, 9)

        def outputs(key: Array) -> Array:
            x = flow.prior.sample(key)
            out = jax.lax.map(lambda t: flow.field(flow.params, x * _scale(flow, t), t), times)
            fine = [jnp.all(jnp.isfinite(a), axis=range(1, a.ndim)) for a in jax.tree.leaves(out)]
            return jnp.all(jnp.stack(fine), axis=0)

        return times, jnp.all(jax.lax.map(outputs, jax.random.split(key, min(count, 8))), axis=0)

    times, fine = outputs_at(flow, key)
    bad = np.asarray(times)[~np.asarray(fine)]
    seen = f"inf or nan at t = {bad[0]:.3g}" if bad.size else "finite at 9 times"
    hint = "the interval leaves the range the model can take: narrow it" if bad.size else ""
    return Check("finite outputs", not bad.size, seen, "finite", hint)


def _scale(flow: Flow, t: Array) -> Array:
    """Typical size of the state relative to the prior's, for unit-variance data."""
    if flow.path is None:
        return jnp.ones(())
    size = jnp.hypot(flow.path.alpha(t), flow.path.sigma(t))
    return size / flow.path.sigma(flow.interval[0])


def repeatable(flow: Flow, key: Array) -> Check:
    @jax.jit
    def twice(flow: Flow, key: Array) -> tuple[Array, Array]:
        # Traced twice: randomness drawn while tracing shows as a difference.
        x = flow.prior.sample(key)
        first, second = (flow.field(flow.params, x, flow.interval[0])[0] for _ in range(2))
        return first, second

    first, second = twice(flow, key)
    same = bool(jnp.all((first == second) | ~jnp.isfinite(first)))
    hint = "" if same else "the network is random: switch dropout and other noise off (eval mode)"
    return Check("repeatable", same, "same twice" if same else "differs", "same twice", hint)


def precision(flow: Flow) -> Check:
    field = flow.field
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


def kinks(flow: Flow, key: Array) -> Check:
    """Second derivatives along a segment must add up to the change of the first."""
    t = 0.5 * (flow.interval[0] + flow.interval[1])
    keys = jax.random.split(key, 8)
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

        def curve(tau: Array) -> Array:
            return jax.jvp(slope, (tau,), (jnp.ones_like(tau),))[1]

        n = 32
        middles = (jnp.arange(n) + 0.5) / n
        total = jax.lax.map(curve, middles)
        first = slope(jnp.zeros(()))
        change = slope(jnp.ones(())) - first
        off = jnp.mean(total, axis=0) - change
        return jnp.sum(off**2), jnp.sum(change**2), jnp.sum(first**2)

    off, change, first = (jnp.sum(parts) for parts in mismatch(keys))
    # Of a linear field, as a Gaussian's, the curvature is rounding: less than 1% counts as none.
    part = float(jnp.sqrt(off / jnp.maximum(change, 1e-4 * first + 1e-20)))
    fine = part < 0.2
    hint = ""
    if not fine:
        hint = (
            "the network has kinks (ReLU or max-pooling): its traces are right, but alignment "
            "without the score and other second-order results are not; use SiLU or GELU"
        )
    return Check("smooth (no kinks)", fine, f"{part:.1%} of curvature lost", "< 20%", hint)
