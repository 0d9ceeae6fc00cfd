"""Log-density of a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from densityguide import data
from densityguide.app import source, summary
from densityguide.app.jobs.config import Density
from densityguide.app.jobs.work import (
    Arrays,
    Facts,
    Work,
    arrays_digest,
    options,
    sample_key,
    seed_key,
)
from densityguide.density.bits import bits_per_dim
from densityguide.density.log_density import log_density
from densityguide.flow.flow import Flow

__all__ = ["prepare"]


def prepare(job: Density, known: Facts) -> Work:
    """``known`` are the facts on which the job was begun before, if it was.

    ValueError or FileNotFoundError, one line, for a model or data that are not there or do not
    fit each other."""
    loaded = source.load(job.model, job.condition or None, option="condition")
    dataset = data.load(job.data, shape=job.shape)
    samples = getattr(dataset, job.part)
    _check(job, loaded, dataset)
    if job.count > len(samples):
        raise ValueError(
            f"expected count up to {len(samples)}, the {job.part} part of {job.data}, got "
            f"{job.count}: 0 takes all"
        )
    solving, trace, facts = options(job, loaded, known)
    assert trace is not None  # refused by config.check

    measure = _measure(job, bool(dataset.levels), {"divergence": trace, **solving})

    def one(shared: tuple[Flow, jax.Array], x: jax.Array, index: jax.Array) -> dict[str, Any]:
        flow, key = shared
        return measure(flow, x, sample_key(key, index))

    def inputs(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(samples[indices]), indices.astype(np.uint32)

    def summarise(found: Arrays) -> dict[str, Any]:
        means = summary.means(loaded.flow, found["log_density"], found["total_error"])
        return means | {"status": summary.statuses(found["status"])}

    return Work(
        one,
        (loaded.flow, seed_key(job.seed)),
        job.count or len(samples),
        inputs,
        lambda found: found,
        ("log_density", "standard_error", "total_error", "status"),
        summarise,
        {
            "model": arrays_digest(loaded.flow),
            "data": dataset.checksum,
            "split of the data": [len(dataset.train), len(dataset.heldout)],
            **facts,
        },
    )


def _measure(
    job: Density, pictures: bool, options: dict[str, Any]
) -> Callable[..., dict[str, Any]]:
    """``measure(flow, x, key)`` of one sample."""

    def point(flow: Flow, x: jax.Array, key: jax.Array) -> dict[str, Any]:
        out = log_density(flow, x, key=key, **options)
        return {
            "log_density": out.value,
            "standard_error": out.standard_error,
            "total_error": out.total_error,
            "status": out.status,
            "evaluations": out.evaluations,
            "tangents": out.tangents,
        }

    def image(flow: Flow, x: jax.Array, key: jax.Array) -> dict[str, Any]:
        out = bits_per_dim(flow, x[None], key, draws=job.draws, **options)
        nats = flow.size * np.log(2.0)
        scale = float(flow.transform.log_jacobian(flow.size))
        return {
            "log_density": -out.value[0] * nats - scale,
            "bits_per_dim": out.value[0],
            "standard_error": out.standard_error[0] * nats,
            "total_error": out.total_error[0] * nats,
            "status": out.status[0],
            "evaluations": out.evaluations[0],
            "tangents": out.tangents[0],
        }

    return image if pictures else point


def _check(job: Density, loaded: source.Source, dataset: data.Dataset) -> None:
    if dataset.shape != loaded.flow.shape:
        raise ValueError(
            f"{job.model} takes {list(loaded.flow.shape)}, {job.data} holds {list(dataset.shape)}: "
            "choose a model of these data"
        )
    levels = getattr(loaded.flow.transform, "levels", 0)
    if dataset.levels != levels:
        raise ValueError(
            f"{job.model} was made for {levels} grey levels, {job.data} has {dataset.levels}: "
            "choose a model of these data"
        )
