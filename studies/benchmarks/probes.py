"""Spread of estimated log p over whole solves, cycled probes against independent ones."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

import densityguide as dg
from studies.benchmarks import report

KEYS = 16
CASES = {"digits8": (8, (24, 64, 192)), "emoji32": (4, (24, 64))}
TRACES = {"Rademacher": dg.hutchinson(2), "cycled": dg.orthogonal(2)}


@partial(jax.jit, static_argnames=("steps", "trace"))
def values(flow, latents, keys, steps, trace):
    """Log p and its error bar [samples, keys]."""

    def one(x, key):
        out = dg.sample(flow, x, divergence=trace, key=key, steps=steps)
        return out.log_density, out.standard_error

    return jax.lax.map(lambda a: jax.vmap(one, in_axes=(None, 0))(*a), (latents, keys))


def main():
    rows = []
    for name, (count, budgets) in CASES.items():
        flow = dg.models.load(name)
        latents = jax.vmap(lambda k, flow=flow: dg.latent(flow, k))(
            jax.random.split(jax.random.key(4), count)
        )
        keys = jax.random.split(jax.random.key(5), (count, KEYS))
        for budget in budgets:
            spread, bar = {}, {}
            for label, trace in TRACES.items():
                log_p, error = map(np.asarray, values(flow, latents, keys, budget - 1, trace))
                spread[label] = float(np.sqrt(np.mean(np.var(log_p, axis=1, ddof=1))))
                bar[label] = float(np.sqrt(np.mean(error**2)))
            ratio = spread["cycled"] / spread["Rademacher"]
            honest = bar["cycled"] / spread["cycled"]
            row = (name, budget, spread["Rademacher"], spread["cycled"], ratio, honest)
            rows.append(row)
            print(*row, flush=True)
    heads = ["model", "evaluations", "Rademacher (nats)", "cycled (nats)", "ratio"]
    report.write("probes", [*heads, "error bar / spread"], rows)


if __name__ == "__main__":
    main()
