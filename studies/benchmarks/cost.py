"""What `densityguide.cost` projects against what the run then takes."""

from __future__ import annotations

import time

import jax

import densityguide as dg
from studies.benchmarks import report

BATCH, CALLS = 8, 3
CASES = (
    ("digits8", "plain, exact trace", None, dg.exact(), 127),
    ("digits8", "target, exact trace", dg.target(45.0), dg.exact(), 63),
    ("emoji32", "no trace", None, None, 63),
    ("emoji32", "quantile, 2 probes", dg.quantile(0.6), dg.orthogonal(2), 63),
    ("emoji32", "quantile, 8 probes", dg.quantile(0.6), dg.orthogonal(8), 31),
)


def main():
    rows = []
    for name, what, guidance, trace, steps in CASES:
        flow = dg.models.load(name)
        options = {"guidance": guidance, "divergence": trace, "steps": steps}
        found = dg.cost(flow, batch=BATCH, **options)

        def one(flow, key, options=options):
            return dg.sample(flow, dg.latent(flow, key), key=key, **options).log_density

        def state(flow, key, options=options):
            return dg.sample(flow, dg.latent(flow, key), key=key, **options).x

        keys = jax.random.split(jax.random.key(0), BATCH)
        fn = state if trace is None else one
        program = jax.jit(jax.vmap(fn, (None, 0))).lower(flow, keys).compile()
        start = time.perf_counter()
        for _ in range(CALLS):
            jax.block_until_ready(program(flow, keys))
        taken = (time.perf_counter() - start) / CALLS
        row = (name, what, found.evaluations, found.tangents, found.seconds / taken)
        rows.append(row)
        print(*row, flush=True)
    heads = ["model", "what", "evaluations", "tangents", "projected / taken"]
    report.write("cost", heads, rows)


if __name__ == "__main__":
    main()
