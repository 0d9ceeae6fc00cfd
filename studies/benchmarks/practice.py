"""The whole error of log p, solver and probes together: today's practice against ours.

Today's practice, written out plainly: Euler steps uniform in log-SNR, one fresh Rademacher probe a
step. Ours: Adams with streams of cycled probes (on digits8 also with the exact trace). The truth is
a converged solve with exact traces (digits8) or sixteen streams (emoji32).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

import densityguide as dg
from densityguide.density.probes import rademacher
from studies.benchmarks import report
from studies.benchmarks.accuracy import COUNT, ours, rms

BASELINE = (64, 256, 1024)
OURS = ((24, 2), (24, 4), (24, 8), (64, 2), (64, 8), (128, 2))


@partial(jax.jit, static_argnames="steps")
def todays_practice(flow, x, key, steps):
    """Log p of x / alpha by Euler steps with one fresh probe each."""
    knots = jnp.linspace(*flow.interval, steps + 1)

    def body(carry, n):
        x, log_p = carry
        probe = rademacher(key, n, 1, 1, flow.shape, x.dtype)[0]
        u, pushed = jax.jvp(lambda x: flow.velocity(x, knots[n]), (x,), (probe,))
        h = knots[n + 1] - knots[n]
        return (x + h * u, log_p - h * jnp.sum(probe * pushed)), None

    start = (x, flow.prior.log_prob(x))
    x, log_p = jax.lax.scan(body, start, jnp.arange(steps))[0]
    return log_p + flow.size * jnp.log(flow.end_scale())


def model(name):
    """Rows (model, what, evaluations, tangents, error in nats, in bits/dim, relative)."""
    flow = dg.models.load(name)
    keys = jax.random.split(jax.random.key(1), COUNT[name])
    latents = jax.vmap(lambda key: dg.latent(flow, key))(keys)
    exact = flow.size <= 256
    run = jax.vmap(ours, in_axes=(None, 0, 0, None, None, None))
    best = (dg.Adams(), 511, dg.exact()) if exact else (dg.Adams(), 255, dg.orthogonal(16))
    truth = run(flow, latents, jax.random.split(jax.random.key(2), len(keys)), *best)[0]
    rows = []

    def add(label, evaluations, tangents, log_p):
        error = rms(log_p - truth)
        bits = error / flow.size / float(jnp.log(2.0))
        first = rows[0][4] if rows else error
        rows.append((name, label, evaluations, tangents, error, bits, first / error))
        print(*rows[-1], flush=True)

    for budget in BASELINE:
        log_p = jax.vmap(todays_practice, (None, 0, 0, None))(flow, latents, keys, budget)
        add("Euler, 1 fresh probe", budget, budget, log_p)
    for budget, probes in OURS:
        trace = dg.orthogonal(probes)
        log_p, _, used = run(flow, latents, keys, dg.Adams(), budget - 1, trace)
        label = f"Adams, {probes} cycled probes"
        add(label, int(used[0]), int(used[0]) * probes, log_p)
    if exact:
        log_p, _, used = run(flow, latents, keys, dg.Adams(), 23, dg.exact())
        add("Adams, exact trace", int(used[0]), int(used[0]) * flow.size, log_p)
    return rows


def main():
    rows = [row for name in COUNT for row in model(name)]
    heads = ["model", "what", "evaluations", "tangents", "nats", "bits/dim"]
    report.write("practice", [*heads, "times better than Euler at 64"], rows)


if __name__ == "__main__":
    main()
