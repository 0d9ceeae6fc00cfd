"""From a shipped model or an exported run to a `Flow`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from densityguide.data.transforms import Dequantise
from densityguide.flow import clocks, paths, predictions
from densityguide.flow.build import diffusion
from densityguide.flow.flow import Flow
from densityguide.models import calibrations, pretrained
from densityguide.models.card import Card

__all__ = ["flow_of", "load"]


def load(name_or_folder: str | os.PathLike[str]) -> Flow:
    """The flow of a shipped model ("emoji32", "digits8") or of an exported training run.

    Its data transform and, where the folder has one, its calibration come attached. A network with
    classes starts without one: ``flow.given(3)`` tells it the class, and -1 means none again, which
    ``classifier_free`` takes as ``negative``. The calibration follows the class where the folder
    has one for each.

    Raises:
        ValueError, FileNotFoundError: unknown name or damaged files, in one line.
    """
    folder = pretrained.folder_of(name_or_folder)
    module, params, card = pretrained.load(folder)
    flow = flow_of(module, params, card)
    count = 0 if flow.classes is None else len(flow.classes)
    one, of_classes = calibrations.read(folder, card.log_snr, count)
    return dataclasses.replace(flow, calibration=one, calibrations=of_classes)


def flow_of(module: nn.Module, params: Any, card: Card) -> Flow:
    """The flow of a network that a card describes."""
    levels = card.transform["levels"]
    path = getattr(paths, card.path)()
    kind = predictions.kind_of(card.prediction, path)
    # A velocity is meant per unit of flow time, which `clock` says; the network's own time is
    # log-SNR, whatever it predicts.
    velocity = kind == predictions.VELOCITY
    count = card.network["fields"].get("classes")
    classes = range(-1, count) if count else None
    return diffusion(
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


@dataclass(frozen=True)
class _InFlowTime:
    module: Any

    def __call__(self, params: Any, x: Array, t: Array, *condition: Any) -> Array:
        log_snr = 2.0 * (jnp.log(t) - jnp.log1p(-t))
        return self.module.apply(params, x, log_snr, *condition)
