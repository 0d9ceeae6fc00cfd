"""Log p that was asked for against log p that a sample has, before and after landing.

    python -m studies benchmark landing [MODEL ...]

Each request is a percentile of the log p of a model's own plain samples. ``target`` alone is what
guidance reaches by itself; ``landed`` is `dg.land` along it, and along the scale of the latent.
What counts is the flow's own log p of the finished sample, encoded with probes that no search saw.
Rows are kept in landing.json beside this file, so that models can be measured one at a time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import densityguide as dg
from studies.benchmarks import report
from studies.evidence import deviations
from studies.third_party import mnist_networks

KEPT = Path(__file__).with_name("landing.json")
PERCENTILES, SEED = (5, 50, 95), 5
NEAR = 0.002  # bits/dim
BAND = (-3.0, 3.0, 0.3)  # of the noise, where pictures get their structure


class Subject(NamedTuple):
    """A flow, how many samples a request gets, and the trace that measures."""

    flow: dg.Flow
    count: int
    trace: Any
    natural: int = 16


def shipped(name: str, count: int, probes: int = 0) -> Callable[[], Subject]:
    def load() -> Subject:
        flow = dg.models.load(name)
        return Subject(flow, count, dg.orthogonal(probes) if probes else dg.exact())

    return load


def foreign(name: str, count: int, probes: int) -> Callable[[], Subject]:
    def load() -> Subject:
        flow = dg.calibrate(
            mnist_networks.load(name), jax.random.key(SEED), count=32, divergence=dg.orthogonal(2)
        )
        return Subject(flow, count, dg.orthogonal(probes))

    return load


SUBJECTS = {
    "spiral2d": shipped("spiral2d", 16),
    "digits8": shipped("digits8", 8),
    "digits8-flow": shipped("digits8-flow", 8),
    "digits8-edm": shipped("digits8-edm", 8),
    "photos16": shipped("photos16", 4, 8),
    "fashion28": shipped("fashion28", 4, 4),
    "emoji32": shipped("emoji32", 2, 4),
    "tiles32": shipped("tiles32", 2, 4),
    "mnist_cnn": foreign("mnist_cnn", 6, 8),
    "mnist_unet": foreign("mnist_unet", 4, 8),
}


def of_each(one: Callable[..., Any], batch: int) -> Callable[..., Any]:
    """Compiled, ``batch`` samples at a time."""

    @jax.jit
    def run(flow: dg.Flow, *rows: Any) -> Any:
        return jax.lax.map(lambda row: one(flow, *row), rows, batch_size=batch)

    return run


def measured(name: str) -> list[dict[str, Any]]:
    """A row for each way of asking."""
    subject = SUBJECTS[name]()
    flow, trace = subject.flow, subject.trace
    each = partial(of_each, batch=16 if flow.is_small else 1)  # searches end with their batch's
    keys = jax.random.split(jax.random.key(SEED), subject.natural)
    plain = each(lambda flow, key: dg.sample(flow, dg.latent(flow, key), divergence=None))
    passes = int(plain(flow, keys[:1]).evaluations[0])
    natural = each(partial(_natural, trace=trace))(flow, keys)
    print(name, "own log p", np.percentile(natural, (0, 5, 50, 95, 100)).round(1), flush=True)
    ways: dict[str, Callable[..., Any]] = {
        "target": partial(_aimed, trace=trace, noise=None),
        "landed": partial(_landed, trace=trace, noise=None, along=dg.target),
        "target, noise": partial(_aimed, trace=trace, noise=dg.noise.band(*BAND)),
        "landed, noise": partial(_landed, trace=trace, noise=dg.noise.band(*BAND), along=dg.target),
    }
    if flow.is_small:
        ways["landed by scale"] = partial(_landed, trace=trace, noise=None, along=dg.along.scale())
    rows = []
    for way, one in ways.items():
        run, found = each(one), []
        for percentile in PERCENTILES:
            own = jax.random.split(jax.random.key(SEED + percentile), subject.count)
            goals = jnp.full(subject.count, np.percentile(natural, percentile), jnp.float32)
            found.append(jax.tree.map(np.asarray, run(flow, own, goals)))
            print(name, way, percentile, found[-1]["gap"].round(4), flush=True)
        rows.append({"model": name, "way": way} | summary(flow, found, passes))
    return rows


def summary(flow: dg.Flow, found: list[dict[str, np.ndarray]], passes: int) -> dict[str, Any]:
    """Deviations in bits/dim, over all percentiles and for each."""
    bits = flow.size * np.log(2.0)
    all_of = {key: np.concatenate([part[key] for part in found]) for key in found[0]}
    reached = (all_of["status"] & int(dg.Status.NO_ROOT)) == 0
    gap, noise = all_of["gap"] / bits, all_of["error"] / bits
    each = [deviations.interval(part["gap"] / bits, part["error"] / bits).words for part in found]
    near = np.abs(gap) <= NEAR + 2.0 * noise
    return {
        "n": len(gap),
        "reached": int(reached.sum()),
        "rms": each,
        "nats": float(np.sqrt(np.mean(np.square(all_of["gap"])))),
        "near": int((near & reached).sum()),
        "probes": float(np.median(noise)),
        "iterations": float(np.median(all_of["iterations"])),
        "cost": float(np.median(all_of["cost"])) / passes,
    }


def _natural(flow: dg.Flow, key: Any, *, trace: Any) -> Any:
    key, key_probe = jax.random.split(key)
    x = dg.sample(flow, dg.latent(flow, key), divergence=None).x
    return dg.log_density(flow, x, divergence=trace, key=key_probe).value


def _aimed(flow: dg.Flow, key: Any, goal: Any, *, trace: Any, noise: Any) -> dict[str, Any]:
    key, key_solve = jax.random.split(key)
    out = dg.sample(
        flow,
        dg.latent(flow, key),
        guidance=dg.target(goal),
        noise=noise,
        divergence=trace,
        key=key_solve,
    )
    return _facts(out, goal, jnp.zeros((), jnp.int32))


def _landed(
    flow: dg.Flow, key: Any, goal: Any, *, trace: Any, noise: Any, along: Any
) -> dict[str, Any]:
    key, key_solve = jax.random.split(key)
    out = dg.land(
        flow,
        dg.latent(flow, key),
        goal,
        along=along,
        noise=noise,
        divergence=trace,
        key=key_solve,
    )
    return _facts(out, goal, out.iterations)


def _facts(out: Any, goal: Any, iterations: Any) -> dict[str, Any]:
    return {
        "gap": out.log_density - goal,
        "error": out.standard_error,
        "iterations": iterations,
        "cost": out.evaluations + out.tangents,
        "status": out.status,
    }


HEADS = [
    "model",
    "way",
    "n",
    "RMS at the 5th percentile (bits/dim)",
    "50th",
    "95th",
    "RMS (nats)",
    "error of the probes (bits/dim)",
    "reached",
    f"of these within {NEAR:g} bits/dim",
    "iterations",
    "cost (plain samples)",
]


def cells(row: dict[str, Any]) -> list[Any]:
    """A row of the table."""
    return [
        *(row["model"], row["way"], row["n"], *row["rms"], row["nats"], f"{row['probes']:.5f}"),
        *(row["reached"], row["near"], row["iterations"], f"{row['cost']:.1f}"),
    ]


def main() -> None:
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    for name in sys.argv[1:] or SUBJECTS:
        if name not in SUBJECTS:
            raise ValueError(f"unknown model {name!r}: choose among {', '.join(SUBJECTS)}")
        kept[name] = measured(name)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    rows = [cells(row) for name in SUBJECTS for row in kept.get(name, [])]
    report.write("landing", HEADS, rows)


if __name__ == "__main__":
    main()
