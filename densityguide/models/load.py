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
from safetensors.numpy import load_file, save

from densityguide import clocks, paths, predictions
from densityguide.data.transforms import Dequantise
from densityguide.flows import Calibration, Flow, diffusion
from densityguide.models import pretrained

__all__ = ["load", "save_calibration"]


def load(name_or_folder: str | os.PathLike[str]) -> Flow:
    """The flow of a shipped model ("emoji32", "digits8") or of an exported training run.

    Its data transform and, where the folder has one, its calibration come attached. A network with
    classes starts without one, ``flow.given(3)`` tells it the class, and -1 means none again: what
    ``classifier_free`` takes as ``negative``.

    Raises:
        ValueError, FileNotFoundError: unknown name or damaged files, in one line.
    """
    folder = pretrained.folder_of(name_or_folder)
    module, params, card = pretrained.load(folder)
    # A velocity is meant per unit of flow time, which `clock` says; the network's own time is
    # log-SNR, whatever it predicts.
    velocity = card.prediction == "velocity"
    levels = card.transform["levels"]
    path = getattr(paths, card.path)()
    flow = diffusion(
        _InFlowTime(module) if velocity else module,
        params=params,
        clock=clocks.flow_time if velocity else clocks.log_snr,
        path=path,
        prediction=predictions.check(card.prediction, path),
        log_snr=card.log_snr,
        shape=card.shape,
        transform=Dequantise(levels) if levels else None,
        condition=-1 if card.network["fields"].get("classes") else None,
    )
    return flow.replace(calibration=_read_calibration(folder))


@dataclass(frozen=True)
class _InFlowTime:
    module: Any

    def __call__(self, params: Any, x: Array, t: Array, *condition: Any) -> Array:
        log_snr = 2.0 * (jnp.log(t) - jnp.log1p(-t))
        return self.module.apply(params, x, log_snr, *condition)


def save_calibration(folder: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write a calibration beside a model's weights, whole or not at all."""
    path = Path(folder) / "calibration.safetensors"
    part = path.with_suffix(".part")
    part.write_bytes(save({key: np.asarray(value) for key, value in calibration._asdict().items()}))
    part.replace(path)


def _read_calibration(folder: Path) -> Calibration | None:
    path = folder / "calibration.safetensors"
    if not path.is_file():
        return None
    try:
        values = load_file(path)
        lengths = {value.shape for value in values.values()}
        if len(lengths) > 1 or not all(np.isfinite(value).all() for value in values.values()):
            raise ValueError("arrays of different length, or not finite")
        if not (np.diff(values["times"]) > 0).all():
            raise ValueError("times that do not rise")
        return Calibration(**{key: jnp.asarray(value) for key, value in values.items()})
    except (SafetensorError, TypeError, KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"expected a calibration in {path}, it is damaged ({error}): calibrate again"
        ) from None
