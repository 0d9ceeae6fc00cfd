"""Score alignment at many latents."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from densityguide.app import source, summary
from densityguide.app.jobs.config import Alignment
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
from densityguide.steer.alignment import score_alignment
from densityguide.verify import alignment_report as reports

__all__ = ["prepare"]

KEPT = ("value", "cosine", "standard_error", "evaluations", "status")


def prepare(job: Alignment, known: Facts) -> Work:
    """``known`` are the facts on which the job was begun before, if it was.

    ValueError or FileNotFoundError, one line, for a model that is not there or cannot do it."""
    loaded = source.load(job.model, job.condition or None, option="condition")
    solving, trace, facts = options(job, loaded, known)
    assert trace is not None  # refused by config.check

    def one(shared: tuple[Flow, jax.Array], index: jax.Array) -> dict[str, Any]:
        flow, key = shared
        key_latent, key_trace = jax.random.split(sample_key(key, index))
        out = score_alignment(
            flow,
            flow.prior.sample(key_latent),
            use_score=job.use_score,
            divergence=trace,
            key=key_trace,
            **solving,
        )
        return {name: getattr(out, name) for name in KEPT}

    def summarise(found: Arrays) -> dict[str, Any]:
        count = len(found["value"])
        passed = int((found["value"] > 0).sum())
        low, high = reports.wilson_interval(passed, count)
        return {
            "samples": count,
            "pass_rate": passed / count,
            "interval_95": [float(low), float(high)],
            "median_value": _median(found["value"]),
            "median_cosine": _median(found["cosine"]),
            "status": summary.statuses(found["status"]),
        }

    shared = (loaded.flow, seed_key(job.seed))
    jax.eval_shape(one, shared, jax.ShapeDtypeStruct((), np.uint32))  # refuses before a run
    return Work(
        one,
        shared,
        job.count,
        lambda indices: (indices.astype(np.uint32),),
        lambda found: found,
        ("value", "cosine", "status"),
        summarise,
        {"model": arrays_digest(loaded.flow)} | facts,
    )


def _median(values: np.ndarray) -> float | None:
    fine = values[np.isfinite(values)]
    return float(np.median(fine)) if len(fine) else None
