"""A finished job made of given arrays, so that looking at one computes nothing."""

from typing import Any

import numpy as np

from densityguide.app.jobs import config, manifest
from densityguide.app.jobs.config import Guidance, Output, Sampling
from densityguide.app.jobs.shards import Plan
from densityguide.disk import storage

SIZE = 4  # rows of a shard


def sampling(model="world:gaussian", count=9, values=(0.4, 0.6), **more) -> Sampling:
    asked = Guidance("quantile", values) if values else Guidance()
    return Sampling(model, count, guidance=asked, output=Output(SIZE, 2), **more)


def stored(rows: int, shape=(6,), seed=0) -> dict[str, np.ndarray]:
    """What a sampling job stores, made up."""
    draw = np.random.default_rng(seed)
    numbers = ("log_density", "standard_error", "solver_error", "total_error", "tracked", "unmet")
    found = {name: draw.exponential(3.0, rows).astype(np.float32) for name in numbers}
    found |= {name: draw.integers(1, 90, rows).astype(np.int32) for name in ("evaluations",)}
    found |= {"tangents": np.arange(rows, dtype=np.int32), "status": np.zeros(rows, np.int32)}
    return found | {"x": draw.normal(size=(rows, *shape)).astype(np.float32)}


def write(
    out: Any,
    job: config.Job,
    found: dict[str, np.ndarray],
    *,
    until: int | None = None,
    facts: dict[str, Any] | None = None,
) -> Any:
    """The folder of the job with these arrays; with ``until``, unfinished with that many shards."""
    path = storage.folder(out)
    begun = manifest.begin(path, config.record(job), facts or {"model": "0"})
    storage.write_json(path / manifest.NAME, begun)
    rows = len(next(iter(found.values())))
    plan = Plan(path / "shards", rows, job.output.shard, job.output.format)
    records = []
    for number in range(plan.shards if until is None else until):
        shard = plan.shard(number)
        part = {name: array[shard.start : shard.stop] for name, array in found.items()}
        records.append(plan.write(shard, part))
    if until is None:
        manifest.finish(path, begun, records, {"rows": []})
    return path
