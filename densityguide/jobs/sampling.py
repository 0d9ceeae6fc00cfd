"""Sampling at chosen log-densities: the same samples once at each value of the guidance."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from densityguide import guidance as guiding
from densityguide import noise, sampling
from densityguide.commands import source, summary
from densityguide.flows import Flow
from densityguide.jobs.config import Sampling
from densityguide.jobs.work import Arrays, Work, arrays_digest, options, sample_key, seed_key

__all__ = ["prepare"]

KEPT = ("log_density", "standard_error", "unmet", "evaluations", "tangents", "status")


def prepare(job: Sampling) -> Work:
    """ValueError or FileNotFoundError, one line, for a model that is not there or cannot do it."""
    loaded = source.load(job.model, job.condition or None, option="condition")
    pictures = loaded.pictures
    if job.images and pictures is None:
        raise ValueError(f"{job.model} makes no pictures: set images = false")
    solving, trace = options(job, loaded, noisy=job.noise.level > 0)
    make = getattr(guiding, job.guidance.kind) if job.guidance.kind else None
    added = _noise(job)

    def one(shared: tuple[Flow, jax.Array], value: jax.Array, index: jax.Array) -> dict[str, Any]:
        flow, key = shared
        out = sampling.draw(
            flow,
            sample_key(key, index),
            guidance=None if make is None else make(value),
            noise=added,
            divergence=trace,
            **solving,
        )
        found = {name: getattr(out, name) for name in KEPT} | {"x": out.x}
        return {name: array for name, array in found.items() if array is not None}

    values = np.asarray(job.guidance.values or (np.nan,), np.float32)

    def inputs(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        row, sample = np.divmod(indices, job.count)
        return values[row], sample.astype(np.uint32)

    def finish(found: Arrays) -> Arrays:
        images = {}
        if job.images and pictures is not None:
            images["images"] = np.asarray(pictures(found["x"]))
        kept = {name: array for name, array in found.items() if name != "x" or job.states}
        return kept | images

    shared = (loaded.flow, seed_key(job.seed))
    given = (jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((), np.uint32))
    shapes = jax.eval_shape(one, shared, *given)  # refuses what cannot be sampled, before a run
    tracked = "log_density" in shapes

    def summarise(found: Arrays) -> dict[str, Any]:
        rows = []
        for number, value in enumerate(values):
            part = slice(number * job.count, (number + 1) * job.count)
            row: dict[str, Any] = {"value": round(float(value), 6) if make else None}
            if tracked:
                row |= summary.means(
                    loaded.flow, found["log_density"][part], found["standard_error"][part]
                )
                unmet = found["unmet"][part]
                fine = np.isfinite(unmet)
                row["unmet_nats"] = float(unmet[fine].mean()) if fine.any() else np.nan
            row["status"] = summary.statuses(found["status"][part])
            rows.append(row)
        return {"guidance": job.guidance.kind or None, "rows": rows}

    return Work(
        one,
        shared,
        job.count * len(values),
        inputs,
        finish,
        tuple(name for name in KEPT if name in shapes and name != "tangents"),
        summarise,
        {"model": arrays_digest(loaded.flow)},
    )


def _noise(job: Sampling) -> noise.Noise | None:
    if not job.noise.level:
        return None
    if not job.noise.band:
        return noise.constant(job.noise.level)
    low, high = job.noise.band
    return noise.band(low, high, job.noise.level)
