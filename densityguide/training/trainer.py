"""The training loop: exact resume, one JSON line per log interval, graceful stop.

Batch, noise and dequantisation of a step are functions of (seed, step) only, so a run that is
killed and resumed ends with the same bits as one that is not.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from densityguide import data
from densityguide.models.build import build, initialise, size
from densityguide.training import checkpoints
from densityguide.training.config import Config
from densityguide.training.loss import denoising_loss
from densityguide.training.optimiser import learning_rate, moving_average, optimiser

__all__ = ["TrainState", "batch_of", "initial_state", "train", "update"]


class TrainState(NamedTuple):
    """Everything a step changes."""

    step: jax.Array
    params: Any
    ema: Any
    moments: Any


@partial(jax.jit, static_argnums=(0, 1))
def initial_state(config: Config, shape: tuple[int, ...]) -> TrainState:
    """Step 0, from the seed."""
    module = build(config.model.kind, config.model.fields)
    params = initialise(module, jax.random.fold_in(jax.random.key(config.seed), 0), shape)
    copy = jax.tree.map(jnp.copy, params)
    moments = optimiser(config.optimiser).init(params)
    return TrainState(jnp.zeros((), jnp.int32), params, copy, moments)


def batch_of(images: Any, seed: int, step: jax.Array, batch: int) -> Any:
    """Images [batch, ...] of one step (or a pytree of arrays with one leading axis): every epoch is
    a fresh permutation of (seed, epoch)."""
    count = jax.tree.leaves(images)[0].shape[0]
    per_epoch = max(count // batch, 1)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), step // per_epoch)
    order = jax.random.permutation(key, count)
    index = (step % per_epoch) * batch + jnp.arange(batch)
    return jax.tree.map(lambda a: a[order[index % count]], images)


def update(
    config: Config,
    levels: int,
    state: TrainState,
    images: jax.Array,
    labels: jax.Array | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One optimiser step; pure. The labels of all images, for a network with classes."""
    module = build(config.model.kind, config.model.fields)
    step, settings = state.step, config.optimiser
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), 2), step)
    key_data, key_loss = jax.random.split(key)
    batch, told = batch_of((images, labels), config.seed, step, settings.batch)
    x0 = data.Dequantise(levels)(batch, key_data)

    def objective(params):
        return denoising_loss(module.apply, params, x0, key_loss, config.loss, told)

    loss, gradient = jax.value_and_grad(objective)(state.params)
    change, moments = optimiser(settings).update(gradient, state.moments, state.params)
    params = optax.apply_updates(state.params, change)
    ema = moving_average(state.ema, params, step, settings.ema)
    metrics = {"loss": loss, "gradient": optax.tree.norm(gradient)}
    return TrainState(step + 1, params, ema, moments), metrics


# One compiled program per configuration, also when `train` is called again.
_update = jax.jit(update, static_argnums=(0, 1), donate_argnums=2)


class _Stop:
    """Notes SIGTERM and SIGINT, so that the loop can save before it ends."""

    def __init__(self):
        self.asked = False
        self.before: dict[int, Any] = {}

    def _note(self, *_):
        self.asked = True

    def __enter__(self):
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self.before[number] = signal.signal(number, self._note)
        except ValueError:
            pass  # only the main thread may set handlers
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)


def train(
    config: Config,
    out: str | os.PathLike,
    *,
    resume: bool = True,
    stop_at: int | None = None,
    font: str | os.PathLike | None = None,
    callback: Callable[[TrainState], None] | None = None,
    progress: bool = True,
) -> TrainState:
    """Train `config` in folder `out` until `config.optimiser.steps`, or `stop_at` if earlier.

    Writes config.json, log.jsonl and checkpoints/. With `resume`, goes on from the newest
    checkpoint; `config` may then differ in `optimiser.steps` and `decay`, which is how a run is
    shortened or extended and still ends annealed. SIGTERM and SIGINT save and return.
    `callback(state)` runs after each checkpoint. ValueError when `out` holds a run and `resume` is
    false, or a run of another network.
    """
    out = Path(out)
    dataset = data.load(config.data, font)
    images, labels = jnp.asarray(dataset.train), _labels(config, dataset)
    state = initial_state(config, dataset.shape)
    saved = checkpoints.latest_step(out)
    if saved is not None and not resume:
        raise ValueError(f"expected an empty run folder, {out} has step {saved}: pass resume=True")
    out.mkdir(parents=True, exist_ok=True)
    if saved is not None:
        state = checkpoints.restore(out, state, config)
    checkpoints.write_config(out, config, dataset)
    total = min(config.optimiser.steps, stop_at or config.optimiser.steps)
    start = int(state.step)
    _print(progress, f"{config.name}: {size(state.params)} parameters, steps {start} to {total}")
    with _Stop() as stop, open(out / "log.jsonl", "a", encoding="utf-8") as log:
        clock, since, losses = time.perf_counter(), start, []
        for step in range(start, total):
            state, metrics = _update(config, dataset.levels, state, images, labels)
            losses.append(metrics["loss"])
            done = step + 1
            if done % config.log_steps == 0 or done == total or stop.asked:
                mean = float(jnp.mean(jnp.stack(losses)))
                now = time.perf_counter()
                speed = (done - since) / (now - clock)
                line = {
                    "step": done,
                    "loss": round(mean, 6),
                    "gradient": round(float(metrics["gradient"]), 4),
                    "learning_rate": float(learning_rate(config.optimiser)(step)),
                    "images_per_second": round(speed * config.optimiser.batch, 2),
                    "seconds_left": round((total - done) / speed),
                }
                log.write(json.dumps(line) + "\n")
                log.flush()
                _print(progress, json.dumps(line))
                clock, since, losses = now, done, []
                if mean != mean:
                    raise ValueError(
                        f"expected a finite loss, got {mean} at step {done}: lower "
                        "optimiser.learning_rate and resume from the last checkpoint"
                    )
            if done % config.checkpoint_steps == 0 or done == total or stop.asked:
                checkpoints.save(out, state)
                if callback is not None:
                    callback(state)
            if stop.asked:
                _print(progress, f"stopped at step {done}; run the same command to resume")
                break
    return state


def _labels(config: Config, dataset: data.Dataset) -> jax.Array | None:
    """What a network with classes is told; None for one without."""
    classes = config.model.fields.get("classes", 0)
    if not classes:
        return None
    found = 0 if dataset.labels is None else int(dataset.labels.max()) + 1
    if found != classes:
        raise ValueError(
            f"expected data with {classes} classes for model.fields.classes, {config.data} has "
            f"{found}: set classes = {found}"
        )
    return jnp.asarray(dataset.labels)


def _print(progress: bool, text: str) -> None:
    if progress:
        print(text, flush=True)
