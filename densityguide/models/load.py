"""From a shipped model or an exported run to a `Flow`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save

from densityguide.data.transforms import Dequantise
from densityguide.disk import atomic, files
from densityguide.flow import clocks, paths, predictions
from densityguide.flow.build import diffusion
from densityguide.flow.flow import Calibration, Flow
from densityguide.models import pretrained

__all__ = ["load", "save_calibration"]

LARGEST = 2**20  # bytes of a calibration
SLACK = 1e-3  # of log-SNR: ends are stored as float32


def load(name_or_folder: str | os.PathLike[str]) -> Flow:
    """The flow of a shipped model ("emoji32", "digits8") or of an exported training run.

    Its data transform and, where the folder has one, its calibration come attached. A network with
    classes starts without one: ``flow.given(3)`` tells it the class, and -1 means none again, which
    ``classifier_free`` takes as ``negative``.

    Raises:
        ValueError, FileNotFoundError: unknown name or damaged files, in one line.
    """
    folder = pretrained.folder_of(name_or_folder)
    module, params, card = pretrained.load(folder)
    levels = card.transform["levels"]
    path = getattr(paths, card.path)()
    kind = predictions.kind_of(card.prediction, path)
    # A velocity is meant per unit of flow time, which `clock` says; the network's own time is
    # log-SNR, whatever it predicts.
    velocity = kind == predictions.VELOCITY
    count = card.network["fields"].get("classes")
    classes = range(-1, count) if count else None
    flow = diffusion(
        _InFlowTime(module) if velocity else module,
        params=params,
        clock=clocks.flow_time if velocity else clocks.log_snr,
        path=path,
        prediction=kind.name,
        log_snr=card.log_snr,
        shape=card.shape,
        transform=Dequantise(levels) if levels else None,
        condition=None if classes is None else -1,
        classes=classes,
    )
    return flow.replace(
        calibration=_read_calibration(folder / "calibration.safetensors", card.log_snr)
    )


@dataclass(frozen=True)
class _InFlowTime:
    module: Any

    def __call__(self, params: Any, x: Array, t: Array, *condition: Any) -> Array:
        log_snr = 2.0 * (jnp.log(t) - jnp.log1p(-t))
        return self.module.apply(params, x, log_snr, *condition)


def save_calibration(folder: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write a calibration beside a model's weights, whole or not at all."""
    path = Path(folder) / "calibration.safetensors"
    atomic.write(
        path,
        save(
            {
                key: np.asarray(value)
                for key, value in calibration._asdict().items()
                if value is not None
            }
        ),
    )


def _read_calibration(file: Path, log_snr: tuple[float, float]) -> Calibration | None:
    """The folder's calibration, None where it has none; ValueError for arrays that do not fit this
    model."""
    if not (file.exists() or file.is_symlink()):
        return None
    content = files.read(file, "a calibration", LARGEST)
    try:
        with np.errstate(over="ignore"):  # infinity is refused below
            values = {name: np.asarray(value, np.float32) for name, value in parse(content).items()}
        _check_calibration(values, log_snr)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"expected a calibration in {file}, it is damaged ({reason:.200}): calibrate again"
        ) from None
    return Calibration(**{key: jnp.asarray(value) for key, value in values.items()})


def _check_calibration(values: dict[str, np.ndarray], log_snr: tuple[float, float]) -> None:
    if set(values) | {"dial"} != set(Calibration._fields):
        raise ValueError(f"it holds {', '.join(sorted(values)) or 'nothing'}")
    dial = values.get("dial", np.asarray([0.0, 1.0]))
    if dial.shape != (2,) or not 0.0 <= dial[0] < dial[1] <= 1.0:
        raise ValueError("a dial must be two quantiles, the lower first")
    shapes = {value.shape for name, value in values.items() if name != "dial"}
    if len(shapes) > 1 or len(min(shapes)) != 1 or min(shapes)[0] < 2:
        raise ValueError("its arrays must be of one length, two or more")
    if not all(np.isfinite(value).all() for value in values.values()):
        raise ValueError("it holds values that are not finite")
    times, (low, high) = values["times"], log_snr
    if not (np.diff(times) > 0).all() or times[0] < low - SLACK or times[-1] > high + SLACK:
        raise ValueError(f"times must rise within the log-SNR of the model, {low:g} .. {high:g}")
    if values["spread"].min() < 0:
        raise ValueError("a spread cannot be negative")
