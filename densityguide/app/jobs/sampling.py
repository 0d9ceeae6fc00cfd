"""Sampling at chosen log-densities: the same samples once at each value of the guidance."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from densityguide.app import source, summary
from densityguide.app.jobs.config import Guidance, Sampling
from densityguide.app.jobs.work import (
    Arrays,
    Facts,
    Work,
    arrays_digest,
    options,
    sample_key,
    seed_key,
)
from densityguide.flow.flow import Flow
from densityguide.steer import land as landing
from densityguide.steer import noise
from densityguide.steer import rules as guiding
from densityguide.steer import sample as sampling
from densityguide.steer.landing import Landing
from densityguide.steer.rescale import rescale
from densityguide.steer.sample import Sample

__all__ = ["prepare"]

PRIOR = "rescale"  # of the latent, before the solve
ERRORS = ("standard_error", "solver_error", "total_error")
KEPT = (
    "log_density",
    *ERRORS,
    "tracked",
    "parameter",
    "unmet",
    "evaluations",
    "tangents",
    "status",
)


def prepare(job: Sampling, known: Facts) -> Work:
    """``known`` are the facts on which the job was begun before, if it was.

    ValueError or FileNotFoundError, one line, for a model that is not there or cannot do it."""
    text = source.Text(job.prompt or None, job.negative, job.scale or None)
    loaded = source.load(job.model, job.condition or None, text=text, option="condition")
    pictures = loaded.pictures
    if job.images and pictures is None:
        raise ValueError(
            f"{job.model} makes no pictures: set images = false (a model of latents makes them "
            "with the folder of its autoencoder inside, as vae)"
        )
    solving, trace, facts = options(job, loaded, known)
    added = _noise(job)

    def one(shared: tuple[Flow, jax.Array], value: jax.Array, index: jax.Array) -> dict[str, Any]:
        flow, key = shared
        given = {"noise": added, "divergence": trace, **solving}
        out = _drawn(job.guidance, flow, sample_key(key, index), value, given)
        found = {name: getattr(out, name, None) for name in KEPT} | {"x": out.x}
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
    measured = "log_density" in shapes

    def summarise(found: Arrays) -> dict[str, Any]:
        rows = []
        for number, value in enumerate(values):
            mine = slice(number * job.count, (number + 1) * job.count)
            part = {name: array[mine] for name, array in found.items()}
            shown = {"value": round(float(value), 6) if job.guidance.kind else None}
            rows.append(shown | _row(loaded.flow, part, measured))
        return {"guidance": job.guidance.kind or None, "rows": rows}

    return Work(
        one,
        shared,
        job.count * len(values),
        inputs,
        finish,
        tuple(name for name in KEPT if name in shapes and name != "tangents"),
        summarise,
        {"model": arrays_digest(loaded.flow)} | facts,
    )


def _drawn(
    asked: Guidance, flow: Flow, key: jax.Array, value: jax.Array, given: dict[str, Any]
) -> Sample | Landing:
    """One sample; its latent, or what is scaled, is the same under every kind of guidance."""
    if asked.land:
        return landing.draw(flow, key, value, **given)
    if asked.kind == PRIOR:
        key_latent, key_solve = jax.random.split(key)
        latent = rescale(flow, sampling.latent(flow, key_latent), value)
        return sampling.sample(flow, latent, key=key_solve, **given)
    bent = getattr(guiding, asked.kind)(value) if asked.kind else None
    return sampling.draw(flow, key, guidance=bent, **given)


def _row(flow: Flow, found: Arrays, measured: bool) -> dict[str, Any]:
    """What was found at one value."""
    row: dict[str, Any] = {}
    if measured:
        row |= summary.means(flow, found["log_density"], found["total_error"])
        tracked = found.get("tracked", np.zeros(0))  # a landing tracks nothing
        some = np.isfinite(tracked)
        row["tracked_nats"] = float(tracked[some].mean()) if some.any() else np.nan
    unmet = found["unmet"][np.isfinite(found["unmet"])]
    row["unmet_nats"] = float(unmet.mean()) if unmet.size else np.nan
    return row | {"status": summary.statuses(found["status"])}


def _noise(job: Sampling) -> noise.Noise | None:
    if not job.noise.level:
        return None
    if not job.noise.band:
        return noise.constant(job.noise.level)
    low, high = job.noise.band
    return noise.band(low, high, job.noise.level)
