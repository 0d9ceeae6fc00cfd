"""Model card: everything needed to use a network and to judge it, as JSON beside its weights."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from dataclasses import dataclass, field
from typing import Any, get_args

from densityguide.data.pictures import NUMBERS
from densityguide.disk import atomic, files, settings
from densityguide.flow import paths
from densityguide.flow.predictions import Prediction, check

__all__ = ["FORMAT", "Card", "read", "write"]

PATHS = ("variance_preserving", "variance_exploding", "linear")
FORMAT = 1  # 0: before cards had one, read as they are
STORAGE = ("float16", "float32")
FURTHEST = 100.0  # of log-SNR: beyond, float32 cannot tell signal or noise from nothing
LARGEST = 2**20  # bytes of the file


@dataclass(frozen=True)
class Card:
    """`network` = {"kind": ..., "fields": {...}}; `transform` = {"levels": L}, y = 2 (x+u) / L - 1;
    L = 0 is data without levels, taken as it is, or with {"latents": {"mean", "scale", "pixels"}}
    latents: ``y scale + mean`` is what the autoencoder beside the card makes pictures of, whose
    pixels lie in the range ``pixels``.

    `evaluation` holds held-out losses by noise level and nearest-neighbour figures; `measured` what
    ``densityguide calibrate`` found; `format` rises when the meaning of a field changes.
    """

    name: str
    description: str
    network: dict[str, Any]
    parameters: int
    shape: tuple[int, ...]
    path: str
    prediction: str
    log_snr: tuple[float, float]
    transform: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]
    storage: str
    sha256: str
    evaluation: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


class NewerError(ValueError):
    """A card of a later format."""


def _readable(path: str | os.PathLike[str], version: Any) -> None:
    if type(version) is int and version > FORMAT:
        raise NewerError(
            f"expected a model card of format {FORMAT} or earlier in {path}, it is of format "
            f"{version}: update densityguide"
        )


def write(path: str | os.PathLike[str], card: Card) -> None:
    """Write the card as JSON in the present format, whole or not at all."""
    card = dataclasses.replace(card, format=FORMAT)
    atomic.write(path, json.dumps(dataclasses.asdict(card), indent=1) + "\n")


def read(path: str | os.PathLike[str]) -> Card:
    """The card in a JSON file; FileNotFoundError without one, ValueError for a damaged one."""
    content = files.read(path, "a model card", LARGEST)
    try:
        values = json.loads(content)
        if not isinstance(values, dict):
            raise ValueError("it is no table")
        _readable(path, values.get("format", 0))
        return _checked(settings.build(Card, {"format": 0} | values))
    except NewerError:
        raise
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = " ".join(str(error).split())
    raise ValueError(
        f"expected a model card in {path}, it is damaged ({reason}): fetch or export the model "
        "again"
    )


def _checked(card: Card) -> Card:
    """The card; ValueError for values that no model has."""
    if not card.shape or min(card.shape) < 1 or math.prod(card.shape) > NUMBERS:
        raise ValueError(f"shape must hold 1 to {NUMBERS:,} numbers, got {list(card.shape)}")
    low, high = card.log_snr
    if not -FURTHEST <= low < high <= FURTHEST:
        raise ValueError(
            f"log_snr must rise within {-FURTHEST:g} .. {FURTHEST:g}, from noise to data, got "
            f"{[low, high]}"
        )
    levels = card.transform.get("levels")
    if type(levels) is not int or not (levels == 0 or 2 <= levels <= 256):
        raise ValueError(f"transform.levels must be 0 or 2 to 256, got {levels!r}")
    _among("path", card.path, PATHS)
    _among("prediction", card.prediction, get_args(Prediction))
    _among("storage", card.storage, STORAGE)
    check(card.prediction, getattr(paths, card.path)())
    if not re.fullmatch("[0-9a-f]{64}", card.sha256):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, got {card.sha256!r:.80}")
    kind, fields = card.network.get("kind"), card.network.get("fields")
    if not (isinstance(kind, str) and isinstance(fields, dict)):
        raise ValueError("network needs a kind and fields")
    return card


def _among(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r:.80}")
