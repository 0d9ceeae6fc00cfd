"""The training loop: exact resume, one JSON line per log interval, graceful stop."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from densityguide import data, parallel
from densityguide.data.stream import ahead
from densityguide.disk import locks
from densityguide.disk.interrupts import Stop
from densityguide.models import weights
from densityguide.models.build import size
from densityguide.training import checkpoints
from densityguide.training.config import Config
from densityguide.training.loss import check
from densityguide.training.optimiser import learning_rate
from densityguide.training.preview import picture
from densityguide.training.progress import shown
from densityguide.training.step import TrainState, begun_from, indices, initial_state, update

__all__ = ["load_data", "train"]

Devices = Sequence[jax.Device]

_update = jax.jit(update, static_argnums=(0, 1), donate_argnums=2)
_take = jax.jit(lambda arrays, index: jax.tree.map(lambda a: a[index], arrays))


@lru_cache(maxsize=8)
def _stepper(config: Config, grey: int, devices: tuple[jax.Device, ...]) -> Callable[..., Any]:
    """``step(state, images, labels)`` on these devices; one program per configuration, also when
    `train` is called again."""
    if len(devices) == 1:
        return partial(_update, config, grey)
    return parallel.together(partial(update, config, grey, axis=parallel.AXIS), devices=devices)


def _checked(devices: Devices | None, batch: int) -> tuple[jax.Device, ...]:
    devices = tuple(jax.local_devices() if devices is None else devices)
    if not devices or batch % len(devices):
        raise ValueError(
            f"expected optimiser.batch divisible by the {len(devices)} devices, got {batch}: "
            "change it, or pass fewer devices"
        )
    return devices


def load_data(config: Config, font: str | os.PathLike[str] | None = None) -> data.Dataset:
    """The data set of a configuration."""
    return data.load(config.data, font, config.shape, config.memory)


def _batches(
    config: Config, dataset: data.Dataset, labels: np.ndarray | None, start: int, stop: int
) -> Iterator[tuple[jax.Array, jax.Array | None]]:
    """(images, labels) of each step: from memory, or files decoded ahead of their turn."""

    def chosen(step: int) -> np.ndarray:
        return indices(len(dataset.train), config.seed, step, config.optimiser.batch)

    if isinstance(dataset.train, np.ndarray):
        arrays = jax.tree.map(jnp.asarray, (dataset.train, labels))
        for step in range(start, stop):
            yield _take(arrays, chosen(step))
        return

    def read(step: int) -> tuple[np.ndarray, np.ndarray | None]:
        index = chosen(step)
        return dataset.train[index], None if labels is None else labels[index]

    for batch in ahead(read, start, stop):
        yield jax.tree.map(jnp.asarray, batch)


def train(
    config: Config,
    out: str | os.PathLike[str],
    *,
    resume: bool = True,
    stop_at: int | None = None,
    font: str | os.PathLike[str] | None = None,
    callback: Callable[[TrainState], None] | None = None,
    progress: bool = True,
    devices: Devices | None = None,
    stop: Stop | None = None,
) -> TrainState:
    """Train `config` in folder `out` until `config.optimiser.steps`, or `stop_at` if earlier.

    Writes config.json, log.jsonl, checkpoints/ and, at each checkpoint, samples/STEP.png. With
    `resume`, goes on from the newest checkpoint; `config` may then differ in `optimiser`, not in
    the model, the data, the loss or the seed: other `steps` and `decay` are how a run is shortened
    or extended and still ends annealed. SIGTERM and SIGINT save and return, and a `stop` that was
    passed says which of them came. `callback(state)` runs after each checkpoint. `progress` shows a
    bar with loss, images/s and time left on a terminal or in a notebook, and elsewhere prints the
    lines of the log.

    Each of `devices` (default: all local ones) takes an equal share of the batch. Batch and noise
    do not depend on their number, and a run may be resumed on another number.

    Raises:
        ValueError: `out` holds a run and `resume` is false, a run of another network, loss or data,
            or one that another process is at work on; the batch cannot be shared equally; or loss
            or weights are no longer finite.
        StorageError: a checkpoint cannot be written.
    """
    out, devices = Path(out), _checked(devices, config.optimiser.batch)
    check(config.loss)
    dataset = load_data(config, font)
    labels = _labels(config, dataset)
    if config.flips and len(dataset.shape) != 3:
        raise ValueError(
            f"expected pictures for flips, {config.data} has points: set flips = false"
        )
    state = initial_state(config, dataset.shape)
    with ExitStack() as stack:
        stack.enter_context(locks.held(out))
        state = _begun(config, out, resume, dataset, state)
        total = min(config.optimiser.steps, config.optimiser.steps if stop_at is None else stop_at)
        start = int(state.step)
        advance, state = _stepper(config, dataset.levels, devices), _place(state, devices)
        stop = stack.enter_context(Stop() if stop is None else stop)
        log = stack.enter_context(open(out / "log.jsonl", "a", encoding="utf-8"))
        tick = stack.enter_context(shown(config.name, size(state.params), start, total, progress))
        clock, since, losses = time.perf_counter(), start, []
        for step, batch in enumerate(_batches(config, dataset, labels, start, total), start):
            state, metrics = advance(state, *_place(batch, devices))
            losses.append(metrics["loss"])
            done, line = step + 1, None
            last = done == total or stop.signal is not None
            if done % config.log_steps == 0 or last:
                mean = float(jnp.mean(jnp.stack(losses)))
                now = time.perf_counter()
                speed = (done - since) / (now - clock)
                line = {
                    "step": done,
                    "loss": _finite(mean, 6),
                    "gradient": _finite(float(metrics["gradient"]), 4),
                    "learning_rate": float(learning_rate(config.optimiser)(step)),
                    "images_per_second": round(speed * config.optimiser.batch, 2),
                    "seconds_left": round((total - done) / speed),
                }
                log.write(json.dumps(line, allow_nan=False) + "\n")
                log.flush()
                clock, since, losses = now, done, []
                if line["loss"] is None:
                    raise ValueError(
                        f"expected a finite loss, got {mean} at step {done}: lower "
                        "optimiser.learning_rate and resume from the last checkpoint"
                    )
            tick(done, line)
            if done % config.checkpoint_steps == 0 or last:
                alone = jax.device_put(state, devices[0])
                if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(alone.ema)):
                    raise ValueError(
                        f"expected finite weights, step {done} has others and is not kept: lower "
                        "optimiser.learning_rate and resume from the last checkpoint"
                    )
                checkpoints.save(out, alone)
                picture(out / "samples" / f"{done:08d}.png", config, alone.ema, dataset)
                if callback is not None:
                    callback(alone)
            if last:  # a signal that came since is left to the next step, which saves
                break
    return jax.device_put(state, devices[0])


def _begun(
    config: Config, out: Path, resume: bool, dataset: data.Dataset, state: TrainState
) -> TrainState:
    """The state to go on from: `state` in a new folder, else that of the newest checkpoint."""
    saved = checkpoints.latest_step(out)
    if saved is not None and not resume:
        raise ValueError(f"expected an empty run folder, {out} has step {saved}: pass resume=True")
    if saved is not None:
        state = checkpoints.restore(out, state, config)
        checkpoints.require_same_data(checkpoints.read_run(out)[1], dataset)
    elif config.start:
        state = begun_from(state, weights.read(config.start))
    checkpoints.write_config(out, config, dataset)
    return state


def _finite(value: float, digits: int) -> float | None:
    """Rounded; None for what JSON has no number for."""
    return round(value, digits) if math.isfinite(value) else None


def _place(tree: Any, devices: tuple[jax.Device, ...]) -> Any:
    if len(devices) == 1:
        return jax.device_put(tree, devices[0])
    return parallel.replicate(tree, devices)


def _labels(config: Config, dataset: data.Dataset) -> np.ndarray | None:
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
    return dataset.labels
