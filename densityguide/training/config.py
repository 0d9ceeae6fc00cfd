"""Training configuration: frozen dataclasses read from TOML."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from dataclasses import dataclass, field
from typing import Any

from densityguide.disk import settings

__all__ = ["Config", "Loss", "Model", "Optimiser", "from_dict", "read", "to_dict"]

RULES = ("adamw", "muon")
KIND = "train"  # what `densityguide run` knows these configurations by
EDM = ("data", "variance_exploding")  # what its preconditioning is made for


@dataclass(frozen=True)
class Model:
    """`kind` (unet, dit, mlp) and the fields of that network; with `sigma_data` among them it is
    wrapped in EDM's preconditioning and predicts data on the variance-exploding path."""

    kind: str = "unet"
    # Left out of the hash, not of the comparison: dicts have none, and jit needs one.
    fields: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Loss:
    """What the network predicts and how log-SNR is drawn and weighted.

    The loss is int w(l) E error^2 dl over log-SNR l, and `weighting` names w and the error:

    - quality: w = weighting_share x logistic(centre, scale) + the rest x uniform, the middle levels
      first, where pictures take shape; `error` (data, noise, v or velocity; empty: the prediction
      itself) says in which quantity the squared error is taken, so that networks of different
      predictions can minimise the same loss.
    - likelihood: w uniform and the error that of the noise, which is the evidence lower bound (see
      `training.loss.denoising_loss`); `error` stays empty.

    Log-SNR is drawn from a proposal: proposal_share x logistic + the rest x uniform, of which a
    share `adapt` gives way to a histogram that learns where the loss is large
    (`training.importance`); 0 learns nothing. The proposal changes the noise of the loss only.
    A network with `classes` is told the class, except for a share `label_drop` of the samples, so
    that it also learns the flow without one.
    """

    prediction: str = "v"
    weighting: str = "quality"
    error: str = ""
    path: str = "variance_preserving"
    log_snr: tuple[float, float] = (-9.0, 8.0)
    centre: float = 0.0
    scale: float = 1.5
    proposal_share: float = 0.6
    weighting_share: float = 0.6
    adapt: float = 0.0
    label_drop: float = 0.1


@dataclass(frozen=True)
class Optimiser:
    """`kind` (adamw, muon) with warm-up, constant phase and cosine decay to zero over the last
    `decay` steps; muon steps kernels by Muon and all else by AdamW (see `training.optimiser`).

    Besides the average of decay `ema`, those of the decays `profiles` are kept, from which an
    export can choose. The learning rate depends on `steps` only through the decay phase, so a run
    can be ended early, and well annealed: stop it, set `steps` to (current step + n) and `decay` to
    n, resume.
    """

    kind: str = "adamw"
    steps: int = 10000
    batch: int = 32
    learning_rate: float = 6e-4
    warmup: int = 300
    decay: int = 4000
    weight_decay: float = 0.01
    b2: float = 0.99
    clip: float = 1.0
    ema: float = 0.999
    profiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class Config:
    """One training run.

    `data` is a name that `densityguide.data.load` knows, an npz file or a folder of pictures; those
    are cut to `shape` and kept in memory up to `memory` MiB. `preview` samples are drawn and
    written as a picture with each checkpoint. With `flips`, half of the pictures are mirrored left
    to right as they are seen. `start` is a file of this network's weights (safetensors) to begin
    from; empty for fresh ones.
    """

    name: str
    data: str
    seed: int = 0
    model: Model = Model()
    loss: Loss = Loss()
    optimiser: Optimiser = Optimiser()
    checkpoint_steps: int = 500
    log_steps: int = 50
    preview: int = 32
    shape: tuple[int, ...] = ()
    memory: float = 1024.0
    flips: bool = False
    start: str = ""


# The name of one folder, not hidden.
PART = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,99}")
LONGEST = 2**31 - 1  # steps
MOST = {  # more than any machine can hold is a mistake
    "optimiser.batch": 2**16,
    "optimiser.warmup": LONGEST,
    "optimiser.decay": LONGEST,
    "checkpoint_steps": LONGEST,
    "log_steps": LONGEST,
    "preview": 2**12,
    "memory": 2.0**40,
}


def _check_ends(config: Config) -> None:
    if not PART.fullmatch(config.name):
        raise ValueError(
            f"expected name as one part of a path of at most 100 letters, without / and a leading "
            f"dot, got {config.name!r:.120}: it names the folder in runs/"
        )
    for key, most in MOST.items():
        table, _, last = key.rpartition(".")
        value = getattr(config.optimiser if table else config, last)
        if not value <= most:
            raise ValueError(f"expected {key} up to {most}, got {value}")


def _check_loss(config: Config) -> None:
    if config.loss.weighting not in ("quality", "likelihood"):
        raise ValueError(
            f"expected loss.weighting quality or likelihood, got {config.loss.weighting!r}"
        )
    if config.loss.weighting == "likelihood" and config.loss.error not in ("", "noise"):
        raise ValueError(
            "expected loss.error empty with loss.weighting likelihood, which fixes it to noise, "
            f"got {config.loss.error!r}"
        )
    if "sigma_data" in config.model.fields and (config.loss.prediction, config.loss.path) != EDM:
        raise ValueError(
            f"expected loss.prediction {EDM[0]} and loss.path {EDM[1]} with sigma_data in "
            f"model.fields, got {config.loss.prediction} and {config.loss.path}"
        )
    low, high = config.loss.log_snr
    if not -math.inf < low < high < math.inf:
        raise ValueError(
            f"expected finite loss.log_snr = [low, high], low < high, got [{low}, {high}]"
        )
    outside = max(low - config.loss.centre, config.loss.centre - high)
    if not outside <= 10 * config.loss.scale:  # further off, float32 finds no mass in the range
        raise ValueError(
            f"expected loss.centre near loss.log_snr = [{low}, {high}], got {config.loss.centre}"
        )


def _check_values(config: Config) -> Config:
    _check_ends(config)
    for section in (config, config.optimiser):
        for key in ("steps", "batch", "checkpoint_steps", "log_steps", "learning_rate"):
            value = getattr(section, key, 1)
            if not value > 0:
                raise ValueError(f"expected {key} > 0, got {value}: set a positive number")
    shares: dict[str, Optimiser | Loss] = {"ema": config.optimiser, "b2": config.optimiser}
    shares |= {"proposal_share": config.loss, "weighting_share": config.loss}
    shares |= {"label_drop": config.loss, "adapt": config.loss}
    for key, table in shares.items():
        value = getattr(table, key)
        if not 0 <= value < 1:
            raise ValueError(f"expected {key} in [0, 1), got {value}: set a share")
    if config.optimiser.kind not in RULES:
        raise ValueError(
            f"expected optimiser.kind {' or '.join(RULES)}, got {config.optimiser.kind!r}"
        )
    for value in config.optimiser.profiles:
        if not 0 <= value < 1:
            raise ValueError(f"expected optimiser.profiles in [0, 1), got {value}: set shares")
    if not 0 <= config.seed < 2**32:
        raise ValueError(f"expected seed in 0 .. {2**32 - 1}, got {config.seed}")
    if config.optimiser.steps >= 2**31:
        raise ValueError(f"expected steps below {2**31}, got {config.optimiser.steps}")
    positive = {"learning_rate": config.optimiser, "clip": config.optimiser, "scale": config.loss}
    for key, part in positive.items():
        value = getattr(part, key)
        if not 0 < value < math.inf:
            raise ValueError(f"expected finite {key} > 0, got {value}: set a positive number")
    for key in ("warmup", "decay"):
        value = getattr(config.optimiser, key)
        if value < 0:
            raise ValueError(f"expected {key} >= 0, got {value}: set a number of steps")
    steps, decay = config.optimiser.steps, config.optimiser.decay
    if decay > steps:
        raise ValueError(
            f"expected optimiser.decay up to optimiser.steps, got {decay} and {steps}: the rate "
            f"would have fallen before the first step; set e.g. decay = {steps // 2}"
        )
    for key in ("preview", "memory"):
        value = getattr(config, key)
        if not value >= 0:
            raise ValueError(f"expected {key} >= 0, got {value}: set 0 for none")
    _check_loss(config)
    if not 0 <= config.optimiser.weight_decay < math.inf:
        raise ValueError(
            f"expected finite weight_decay >= 0, got {config.optimiser.weight_decay}: 0 is none"
        )
    return config


def from_dict(values: dict[str, Any]) -> Config:
    """Config from nested dicts; ValueError naming the nearest key for an unknown one."""
    if values.get("kind", KIND) != KIND:
        raise ValueError(
            f"expected kind = {KIND!r} or none in a training configuration, got "
            f"{values['kind']!r}: densityguide run takes other jobs"
        )
    tables = {key: value for key, value in values.items() if key != "kind"}
    return _check_values(settings.build(Config, tables))


def to_dict(config: Config) -> dict[str, Any]:
    """Nested plain dicts, the inverse of `from_dict`."""
    return dataclasses.asdict(config)


def read(path: str | os.PathLike[str]) -> Config:
    """Config from a TOML file; FileNotFoundError or ValueError, one line each."""
    return from_dict(settings.read(path))
