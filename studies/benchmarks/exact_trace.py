"""Exact traces: time and memory against forward passes."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp

import densityguide as dg
from studies.benchmarks import report

REPEATS = 5


def seconds(program, *arguments):
    """Best of `REPEATS`, which is the steadiest figure of a noisy machine."""
    jax.block_until_ready(program(*arguments))
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        best = min(best, time.perf_counter() - start)
    return best


def memory(program):
    return program.memory_analysis().temp_size_in_bytes


def main():
    rows = []
    shapes = {"digits8": [(8, 8, 1)], "emoji32": [(8, 8, 3), (16, 16, 3), (32, 32, 3)]}
    for name, sizes in shapes.items():
        flow = dg.models.load(name)
        for shape in sizes:
            # The network is convolutional: smaller images give smaller D at the same layers.
            x = jax.random.normal(jax.random.key(0), shape)
            batch = jax.random.normal(jax.random.key(1), (64, *shape))

            def velocity(params, x, flow=flow):
                return flow.field(params, x, jnp.float32(1.0))[0]

            single = jax.jit(velocity).lower(flow.params, x).compile()
            many = jax.jit(jax.vmap(velocity, (None, 0))).lower(flow.params, batch).compile()
            for chunk in (16, None):

                def trace(params, x, chunk=chunk, velocity=velocity):
                    return dg.divergence(lambda x: velocity(params, x), x, dg.exact(chunk))[1]

                program = jax.jit(trace).lower(flow.params, x).compile()
                time_each = seconds(program, flow.params, x) / x.size
                row = (
                    name,
                    x.size,
                    "automatic" if chunk is None else chunk,
                    time_each / seconds(single, flow.params, x),
                    time_each / (seconds(many, flow.params, batch) / 64),
                    memory(program) / memory(single),
                )
                rows.append(row)
                print(*row, flush=True)
    heads = ["model", "D", "chunk", "time / (D single forwards)", "time / (D batched forwards)"]
    report.write("exact_trace", [*heads, "memory / one forward's"], rows)


if __name__ == "__main__":
    main()
