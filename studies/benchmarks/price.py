"""What a sample with log p costs, in plain samples of as many steps, by the clock.

    python -m studies benchmark price [MODEL ...]

All ways run in turn in every round, so that a slow spell of the machine hits all alike; the median
ratio to the plain sample of the same round is kept. The correction is one of made-up numbers: what
it costs does not depend on them.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import jax
import numpy as np

import densityguide as dg
from densityguide.density.correction import fitted
from studies.benchmarks import report
from studies.benchmarks.overhead import compiled

MODELS = ("digits8", "emoji32")
STEPS, FEW, BATCH, ROUNDS = 64, 15, 4, 5
TRACE = dg.orthogonal(2)
HEADS = ["model", "what", "evaluations", "tangents", "time / plain sample", "quartiles"]


def ways(flow: dg.Flow) -> dict[str, Any]:
    """``name -> fn(flow, latent, key)``; the first is the plain sample."""
    rng = np.random.default_rng(0)
    correction = fitted(flow, FEW, 3, rng.normal(size=(20, 4)), rng.normal(size=20))
    traced: dict[str, Any] = {"divergence": TRACE, "steps": STEPS}
    few, rise = {"correction": correction}, {"guidance": dg.quantile(0.6)}
    aim, bare = {"guidance": dg.target(100.0)}, {"tracking": None}
    return {
        "sample": lambda f, z, k: dg.sample(f, z, divergence=None, steps=STEPS),
        "sample with log p": lambda f, z, k: dg.sample(f, z, key=k, **traced),
        "the same, corrected": lambda f, z, k: dg.sample(f, z, key=k, **traced, **few),
        "log_density": lambda f, z, k: dg.log_density(f, z, key=k, **traced),
        "log_density, corrected": lambda f, z, k: dg.log_density(
            f, z, key=k, divergence=TRACE, **few
        ),
        "quantile, measured": lambda f, z, k: dg.sample(f, z, key=k, **traced, **rise),
        "quantile, nothing tracked": lambda f, z, k: dg.sample(
            f, z, key=k, **traced, **rise, **bare
        ),
        "quantile, nothing tracked, corrected": lambda f, z, k: dg.sample(
            f, z, key=k, **traced, **rise, **bare, **few
        ),
        "target, measured": lambda f, z, k: dg.sample(f, z, key=k, **traced, **aim),
        "target, nothing tracked": lambda f, z, k: dg.sample(f, z, key=k, **traced, **aim, **bare),
        "target, nothing tracked, corrected": lambda f, z, k: dg.sample(
            f, z, key=k, **traced, **aim, **bare, **few
        ),
    }


def measured(name: str) -> list[list[Any]]:
    """A row for each way."""
    flow = dg.models.load(name)
    keys = jax.random.split(jax.random.key(0), BATCH)
    latents = jax.vmap(lambda key: dg.latent(flow, key))(keys)
    known = ways(flow)
    programs = {way: compiled(fn, flow, latents, keys)[0] for way, fn in known.items()}
    seconds: dict[str, list[float]] = {way: [] for way in known}
    counts = {way: jax.block_until_ready(run(flow, latents, keys)) for way, run in programs.items()}
    for _ in range(ROUNDS):
        for way, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(flow, latents, keys))
            seconds[way].append(time.perf_counter() - start)
    plain = np.asarray(seconds["sample"])
    rows = []
    for way, taken in seconds.items():
        low, middle, high = np.percentile(np.asarray(taken) / plain, (25, 50, 75))
        out = counts[way]
        evaluations, tangents = int(out.evaluations[0]), int(out.tangents[0])
        quartiles = f"{low:.2f} to {high:.2f}"
        rows.append([name, way, evaluations, tangents, f"{middle:.2f}", quartiles])
        print(*rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    dg.xla.prepare()
    report.write("price", HEADS, [row for name in sys.argv[1:] or MODELS for row in measured(name)])
