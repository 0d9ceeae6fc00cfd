"""Plain samples for a look during training: second-order probability flow, no log-density."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from densityguide import data
from densityguide.data import pictures
from densityguide.flow import paths, predictions
from densityguide.models.build import build
from densityguide.training.config import Config
from densityguide.training.loss import clock_of, path_of

__all__ = ["draw", "picture", "preview"]


def preview(
    score: Callable[..., jax.Array],
    path: paths.Path,
    log_snr: tuple[float, float],
    shape: tuple[int, ...],
    key: jax.Array,
    count: int = 16,
    steps: int = 50,
    labels: jax.Array | None = None,
) -> jax.Array:
    """x0 estimates [count, *shape] by Heun's method on dx/dl = drift x + sigma^2 / 2 score.

    `score(x, log_snr)` acts on one sample, with its label as third argument if `labels` [count] are
    given; steps are uniform in log-SNR, and the last state is replaced by its denoised mean
    (x + sigma^2 score) / alpha.
    """
    low, high = (jnp.asarray(end, jnp.float32) for end in log_snr)
    size = (high - low) / steps
    told = () if labels is None else (labels,)

    def scores(x: jax.Array, t: jax.Array) -> jax.Array:
        return jax.vmap(lambda x, *label: score(x, t, *label))(x, *told)

    def velocity(x: jax.Array, t: jax.Array) -> jax.Array:
        return path.drift(t) * x + 0.5 * path.sigma(t) ** 2 * scores(x, t)

    def step(x: jax.Array, index: jax.Array) -> tuple[jax.Array, None]:
        t = low + size * index
        first = velocity(x, t)
        second = velocity(x + size * first, t + size)
        return x + 0.5 * size * (first + second), None

    start = path.sigma(low) * jax.random.normal(key, (count, *shape))
    x, _ = jax.lax.scan(step, start, jnp.arange(steps))
    return (x + path.sigma(high) ** 2 * scores(x, high)) / path.alpha(high)


def draw(
    config: Config,
    params: Any,
    shape: tuple[int, ...],
    key: jax.Array,
    count: int,
    steps: int = 50,
    labels: jax.Array | None = None,
) -> jax.Array:
    """Plain samples [count, *shape] of a trained network, for figures and a look; `labels` [count]
    are their classes."""
    path, module = path_of(config.loss.path), build(config.model.kind, config.model.fields)

    kind = predictions.check(config.loss.prediction, path)

    def score(x: jax.Array, log_snr: jax.Array, *label: jax.Array) -> jax.Array:
        out: Any = module.apply(params, x, log_snr, *label)
        return predictions.score_from(
            out, x, log_snr, path=path, prediction=kind, clock=clock_of(kind)
        )

    return preview(score, path, config.loss.log_snr, shape, key, count, steps, labels)


_draw = jax.jit(draw, static_argnames=("config", "shape", "count", "steps"))


def picture(
    file: str | os.PathLike[str], config: Config, params: Any, dataset: data.Dataset
) -> None:
    """Write samples as PNG: the same latents at each call, so that one sees them become clear; with
    classes, one class a column, the last column without. Nothing is written for data that cannot be
    shown, or with `config.preview` 0."""
    transform = dataset.transform
    shown = dataset.shape == (2,) if transform is None else dataset.shape[-1] in (1, 3)
    if not (config.preview and shown):
        return
    classes = config.model.fields.get("classes", 0)
    columns = classes + 1 if classes else 8
    count = columns * -(-config.preview // columns)
    if transform is None:
        count = 64 * config.preview
    labels = None
    if classes:
        turn = jnp.arange(count) % (classes + 1)
        labels = jnp.where(turn == classes, -1, turn)
    key = jax.random.fold_in(jax.random.key(config.seed), 3)
    drawn = _draw(config, params, dataset.shape, key, count, 25, labels)
    file = Path(file)
    file.parent.mkdir(exist_ok=True)
    if transform is None:
        pictures.save(file, pictures.points(drawn))
    else:
        whole = np.asarray(transform.inverse(drawn))
        factor = max(1, 64 // max(dataset.shape[:2]))
        tiled = pictures.grid(whole, columns, gap=1, fill=dataset.levels - 1)
        pictures.save(file, tiled, dataset.levels, factor)
