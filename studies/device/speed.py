"""Samples a second, and which share of the device's own products that is."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import densityguide as dg
from densityguide.checks import present
from densityguide.flow.local import evaluate
from studies.device import subjects

__all__ = ["operations", "peak", "precisions", "rows", "seconds"]

# name -> what `jax.default_matmul_precision` calls it.
PRECISIONS = {
    "float32": "float32",
    "TF32, or three bfloat16": "tensorfloat32",
    "bfloat16": "bfloat16",
}
REPEATS = 3


def precisions() -> dict[str, str]:
    """Those that the device tells apart: a CPU's products are of float32 whatever is asked."""
    on_cpu = jax.devices()[0].platform == "cpu"
    return {"float32": PRECISIONS["float32"]} if on_cpu else PRECISIONS


def seconds(run: Callable[..., Any], *arguments: Any) -> float:
    """Median of a few runs after the first, which compiles."""
    jax.block_until_ready(run(*arguments))
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def peak(precision: str, size: int) -> float:
    """Operations a second of a product of two float32 matrices [size, size]."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    with jax.default_matmul_precision(precision):
        return 2.0 * size**3 / seconds(jax.jit(jnp.matmul), a, a)


def operations(flow: dg.Flow) -> tuple[float, float]:
    """Operations of one network evaluation of one sample, and of one tangent beside it."""
    x, t = jnp.zeros(flow.shape), flow.interval[0]

    def plain(flow: dg.Flow, x: jax.Array) -> jax.Array:
        return evaluate(flow, x, t).velocity

    def tangent(flow: dg.Flow, x: jax.Array) -> Any:
        return jax.jvp(partial(plain, flow), (x,), (x,))

    counted = [
        float(present(jax.jit(fn).lower(flow, x).cost_analysis())["flops"])
        for fn in (plain, tangent)
    ]
    return counted[0], counted[1] - counted[0]


def requests(steps: int) -> dict[str, Callable[..., Any]]:
    """What people ask for, ``(flow, key) -> Sample``."""

    def plain(flow: dg.Flow, key: jax.Array) -> Any:
        return dg.sample(flow, dg.latent(flow, key), divergence=None, steps=steps)

    def measured(flow: dg.Flow, key: jax.Array) -> Any:
        trace = dg.orthogonal(2)
        return dg.sample(flow, dg.latent(flow, key), divergence=trace, key=key, steps=steps)

    def target(flow: dg.Flow, key: jax.Array) -> Any:
        out = {"divergence": dg.orthogonal(2), "key": key, "steps": steps}
        return dg.sample(flow, dg.latent(flow, key), guidance=dg.target(0.0), **out)

    return {"plain": plain, "with log p": measured, "target, measured": target}


def rows(subject: subjects.Subject, steps: int, size: int) -> list[dict[str, Any]]:
    """A row for each request and precision."""
    flow = subjects.load(subject.name)
    evaluation, tangent = operations(flow)
    keys = jax.random.split(jax.random.key(1), subject.batch)
    found = []
    for name, precision in precisions().items():
        most = peak(precision, size)
        for request, one in requests(steps).items():
            with jax.default_matmul_precision(precision):
                run = jax.jit(jax.vmap(one, in_axes=(None, 0)))
                took = seconds(run, flow, keys)
                out = run(flow, keys)
            paid = int(out.evaluations[0]) * evaluation + int(out.tangents[0]) * tangent
            found.append(
                {
                    "network": subject.name,
                    "request": request,
                    "precision": name,
                    "batch": subject.batch,
                    "evaluations": int(out.evaluations[0]),
                    "tangents": int(out.tangents[0]),
                    "samples a second": subject.batch / took,
                    "operations a second": paid * subject.batch / took,
                    "share of the peak": paid * subject.batch / took / most,
                }
            )
    return found
