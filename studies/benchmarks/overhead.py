"""What the library costs beside the network: run time and compile time."""

from __future__ import annotations

import time

import diffrax
import jax
import jax.numpy as jnp

import densityguide as dg
from densityguide.density.probes import rademacher
from studies.benchmarks import report

STEPS, REPEATS, BATCH = 32, 7, 4


def bare(flow, x, key):
    """Heun with two fresh probes by hand, as a researcher would write it."""
    knots = jnp.linspace(*flow.interval, STEPS + 1)

    def rates(x, t, index):
        probes = rademacher(key, index, 1, 2, flow.shape, x.dtype)
        u, linear = jax.linearize(lambda x: flow.velocity(x, t), x)
        return u, -jnp.sum(probes * jax.vmap(linear)(probes), axis=(1, 2, 3))

    def body(carry, n):
        x, log_p = carry
        h = knots[n + 1] - knots[n]
        u0, r0 = rates(x, knots[n], 2 * n)
        u1, r1 = rates(x + h * u0, knots[n + 1], 2 * n + 1)
        return (x + 0.5 * h * (u0 + u1), log_p + 0.5 * h * (r0 + r1)), None

    start = (x, jnp.broadcast_to(flow.prior.log_prob(x), (2,)))
    return jax.lax.scan(body, start, jnp.arange(STEPS))[0]


def ours(flow, x, key):
    trace = dg.hutchinson(2)
    return dg.sample(flow, x, divergence=trace, key=key, steps=STEPS, solver=diffrax.Heun())


def adams(flow, x, key):
    return dg.sample(flow, x, divergence=dg.orthogonal(2), key=key, steps=2 * STEPS - 1)


def evaluation(flow, x, key):
    return flow.velocity(x, jnp.float32(0.0))


def compiled(fn, flow, latents, keys):
    """The batched program and the seconds that tracing and compiling took."""
    start = time.perf_counter()
    program = jax.jit(jax.vmap(fn, (None, 0, 0))).lower(flow, latents, keys).compile()
    return program, time.perf_counter() - start


def main():
    rows = []
    for name in ("digits8", "emoji32"):
        flow = dg.models.load(name)
        keys = jax.random.split(jax.random.key(0), BATCH)
        latents = jax.vmap(lambda key, flow=flow: dg.latent(flow, key))(keys)
        programs = {fn: compiled(fn, flow, latents, keys) for fn in (evaluation, bare, ours, adams)}
        best = dict.fromkeys(programs, float("inf"))
        for _ in range(REPEATS):  # in turn, so that a slow spell of the machine hits all alike
            for fn, (program, _) in programs.items():
                start = time.perf_counter()
                jax.block_until_ready(program(flow, latents, keys))
                best[fn] = min(best[fn], time.perf_counter() - start)
        for label, fn in (("Heun", ours), ("Adams", adams)):
            row = (
                name,
                label,
                best[fn] / best[bare],
                programs[fn][1] / programs[evaluation][1],
                programs[bare][1] / programs[evaluation][1],
            )
            rows.append(row)
            print(*row, flush=True)
    heads = ["model", "solver, 64 evaluations", "run time / bare Heun scan"]
    heads += ["compile time / one evaluation's", "the bare scan's"]
    report.write("overhead", heads, rows)


if __name__ == "__main__":
    main()
