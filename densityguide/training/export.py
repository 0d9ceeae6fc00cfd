"""From a run folder to a model folder: EMA weights and a model card with held-out figures."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from densityguide import data
from densityguide.checks import present
from densityguide.density.trace import exact, orthogonal
from densityguide.disk import atomic
from densityguide.models import calibrations, weights
from densityguide.models import card as cards
from densityguide.models.build import build, size
from densityguide.models.load import load
from densityguide.steer.calibrate import calibrate
from densityguide.training import checkpoints, evaluate
from densityguide.training.config import Config
from densityguide.training.loss import path_of
from densityguide.training.preview import draw
from densityguide.training.step import TrainState, initial_state
from densityguide.training.trainer import load_data

__all__ = ["averaged", "export", "figures"]


def averaged(run: str | os.PathLike[str]) -> tuple[Config, dict[str, Any], TrainState]:
    """(configuration, record, newest state) of a run folder; the weights to use are `state.ema`."""
    config, record = checkpoints.read_run(run)
    like = initial_state(config, tuple(record["data"]["shape"]))
    return config, record, checkpoints.restore(run, like, config)


def _average(config: Config, state: TrainState, decay: float) -> Any:
    """The moving average of this decay; ValueError where the run kept none."""
    kept = dict(zip(config.optimiser.profiles, state.profiles, strict=True))
    kept[config.optimiser.ema] = state.ema
    if decay not in kept:
        known = ", ".join(str(name) for name in sorted(kept))
        raise ValueError(f"expected ema among the decays of the run, {known}, got {decay}")
    return kept[decay]


MOST = 2048
TRANSFORM = "uniform dequantisation, then 2 (x + u) / levels - 1"


def _spread(samples: Any) -> np.ndarray:
    """At most `MOST` of them, evenly spaced."""
    return samples[np.linspace(0, len(samples) - 1, min(len(samples), MOST)).astype(int)]


def figures(
    config: Config, params: Any, dataset: data.Dataset, key: jax.Array, samples: int = 64
) -> dict[str, Any]:
    """Held-out denoising errors by noise level and, of images, nearest-training-image distances.

    At most `MOST` held-out samples are measured, and as many training files looked at.
    """
    module = build(config.model.kind, config.model.fields)
    key_train, key_heldout, key_noise, key_draw = jax.random.split(key, 4)

    def as_seen(samples: Any, key: jax.Array) -> jax.Array:
        samples = jnp.asarray(samples)
        return samples if dataset.transform is None else dataset.transform(samples, key)

    known = dataset.train if isinstance(dataset.train, np.ndarray) else _spread(dataset.train)
    train = as_seen(known, key_train)
    heldout = as_seen(_spread(dataset.heldout), key_heldout)
    low, high = config.loss.log_snr
    rows = evaluate.denoising_report_of(
        module.apply,
        params,
        path_of(config.loss.path),
        config.loss.prediction,
        train,
        heldout,
        key_noise,
        levels=[level for level in evaluate.LEVELS if low <= level <= high],
    )
    out: dict[str, Any] = {"heldout_error_of_x0": rows}
    if samples and dataset.levels:
        one = jax.jit(partial(draw, config, shape=dataset.shape, count=min(samples, 32)))
        batches = range(-(-samples // min(samples, 32)))
        drawn = [np.asarray(one(params, key=jax.random.fold_in(key_draw, i))) for i in batches]
        near = evaluate.nearest_report(
            np.clip(np.concatenate(drawn)[:samples], -1, 1), np.asarray(heldout), np.asarray(train)
        )
        out["nearest_training_image_rms"] = near
    return out


def _described(
    config: Config, written: dict[str, Any], steps: int, command: str, ema: float
) -> dict[str, Any]:
    """What the card takes from the configuration."""
    return {
        "name": config.name,
        "network": {"kind": config.model.kind, "fields": written["model"]["fields"]},
        "path": config.loss.path,
        "prediction": config.loss.prediction,
        "log_snr": config.loss.log_snr,
        "training": {
            **({"command": command} if command else {}),
            "steps": steps,
            "batch": config.optimiser.batch,
            "ema": ema,
            "annealed": steps >= config.optimiser.steps,
            "config": written,
        },
    }


def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    storage: str = "float16",
    description: str = "",
    command: str = "",
    samples: int = 64,
    calibration: int = 64,
    font: str | os.PathLike[str] | None = None,
    ema: float | None = None,
) -> cards.Card:
    """Write weights.safetensors, card.json and calibration.safetensors from the newest
    checkpoint of `run` (no calibration if its count of samples is 0). The card holds the whole
    configuration, and the `command` of the training if it is given. `ema` is the decay of the
    average to export, `optimiser.ema` or one of `optimiser.profiles`; by default the former.

    The figures are those of the stored (rounded) weights. ValueError when the data set on this
    machine is not the one the run was trained on, or the run kept no such average.
    """
    config, record, state = averaged(run)
    chosen = config.optimiser.ema if ema is None else ema
    average = _average(config, state, chosen)
    dataset = load_data(config, font)
    checkpoints.require_same_data(record, dataset)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    # An export takes minutes: an interrupted one must not leave half a model.
    weights_file = "weights.safetensors"
    # The card vouches for the other files, so it is written last.
    with atomic.place(out, weights_file, calibrations.FILE, "card.json") as place:
        digest = weights.write(place / weights_file, average, storage)
        params = weights.read(place / weights_file, digest)
        told = "with classes" if config.model.fields.get("classes") else "unconditional"
        card = cards.Card(
            **_described(config, record["config"], int(state.step), command, chosen),
            description=description or f"Denoising network, {told}, trained on {dataset.name}.",
            shape=dataset.shape,
            transform={"kind": TRANSFORM if dataset.levels else "none", "levels": dataset.levels},
            data=record["data"],
            parameters=size(params),
            storage=storage,
            sha256=digest,
            evaluation=figures(config, params, dataset, jax.random.key(config.seed), samples),
        )
        cards.write(place / "card.json", card)
        if calibration:
            key = jax.random.key(config.seed + 1)
            flow = load(place)
            trace = exact() if flow.is_small else orthogonal(2)
            flow = calibrate(flow, key, count=calibration, divergence=trace, steps=48)
            calibrations.write(place, [present(flow.calibration)])
        (out / calibrations.FILE).unlink(missing_ok=True)  # an old one is of other weights
    return card
