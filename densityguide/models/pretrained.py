"""Shipped models by name, exported training runs by folder."""

from __future__ import annotations

import difflib
import errno
import math
import os
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from densityguide.disk import files
from densityguide.models import card as cards
from densityguide.models import weights
from densityguide.models.build import build
from densityguide.models.card import Card

__all__ = ["FOLDER", "folder_of", "load", "names"]

FOLDER = Path(__file__).parent / "pretrained"
DTYPES = ("float16", "bfloat16", "float32", "float64")


def names() -> list[str]:
    """Names of the shipped models."""
    return sorted(p.parent.name for p in FOLDER.glob("*/card.json"))


def folder_of(name_or_folder: str | os.PathLike[str]) -> Path:
    """Folder of a shipped model or an exported run; ValueError naming the nearest known name."""
    if not isinstance(name_or_folder, str | os.PathLike):
        raise ValueError(
            f"expected the name or the folder of a model, got {name_or_folder!r:.80}: try "
            f"{', '.join(names())}"
        )
    name = os.fspath(name_or_folder)
    if not isinstance(name, str):
        raise ValueError(f"expected the name or the folder of a model as a text, got {name!r:.80}")
    if not name.strip():  # which Path takes for the current folder
        known = ", ".join(names())
        raise ValueError(f"expected the name or the folder of a model, got none: try {known}")
    # A bare name is a shipped model first; anything else is a path: ./digits8 is the user's own.
    if name in names():
        return FOLDER / name
    try:
        return _own(name)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ValueError(f"expected a model, got {name!r:.80} ({error.strerror})") from None


def _own(name: str) -> Path:
    folder = files.expanded(name)
    if (folder / "card.json").is_file():
        return folder
    if folder.is_file():
        raise ValueError(
            f"expected a model folder, {name} is a file: give the folder with card.json and "
            "weights.safetensors"
        )
    if (folder / "card.json").is_symlink() or (folder / "card.json").exists():
        files.ordinary(folder / "card.json", "a model card")
    if folder.is_dir():
        raise ValueError(
            f"expected a folder with card.json and weights.safetensors, {name} has no "
            "card.json: export the training run first"
        )
    if folder.name != name:
        raise FileNotFoundError(f"expected a model folder, {name} does not exist")
    near = difflib.get_close_matches(name, names(), 1)
    if near:
        raise ValueError(f"unknown model {name!r}: did you mean {near[0]!r}?")
    raise ValueError(
        f"unknown model {name!r}: shipped are {', '.join(names())}; models of your own are folders "
        "that densityguide export wrote"
    )


def load(name_or_folder: str | os.PathLike[str]) -> tuple[nn.Module, Any, Card]:
    """(module, params, card); `module.apply(params, x, log_snr)` acts on one sample.

    ValueError or FileNotFoundError, one line, for an unknown name or damaged files.
    """
    folder = folder_of(name_or_folder)
    card = cards.read(folder / "card.json")
    path = folder / "weights.safetensors"
    held = weights.tensors(path)  # the head alone: values are read once they are known to fit
    module = _network(folder / "card.json", card, len(held))
    wanted = _shapes(folder / "card.json", card, module)
    if {name: tensor.shape for name, tensor in held.items()} != wanted:
        raise ValueError(
            f"expected the parameters of the card's {card.network['kind']}, {path} holds others: "
            "export the model again"
        )
    other = {tensor.storage for tensor in held.values()} - {card.storage}
    if other:
        raise ValueError(
            f"expected {card.storage} as the card says, {path} holds {other.pop()}: export the "
            "model again"
        )
    return module, weights.read(path, card.sha256), card


def _damaged(file: Path, reason: str) -> ValueError:
    return ValueError(
        f"expected a network in {file}, its fields are damaged ({reason:.200}): export the model "
        "again"
    )


def _network(file: Path, card: Card, arrays: int) -> nn.Module:
    """The module; ValueError, naming the file, for fields that make none, and for many more layers
    than there are ``arrays`` of weights, which would take hours to find out."""
    fields = card.network["fields"]
    for name, value in fields.items():
        many = value if isinstance(value, list) else [value]
        layers = [one for one in many if name in ("blocks", "depth") and isinstance(one, int)]
        if max(len(many), sum(layers)) > arrays:
            raise _damaged(file, f"{name} asks for more layers than there are weights")
    if fields.get("dtype", "float32") not in DTYPES:
        raise _damaged(file, f"dtype must be one of {', '.join(DTYPES)}, got {fields['dtype']!r}")
    scale = fields.get("sigma_data", 1.0)
    if type(scale) not in (int, float) or not 0.0 < scale < math.inf:
        raise _damaged(file, f"sigma_data must be a finite number above 0, got {scale!r}")
    try:
        return build(card.network["kind"], fields)
    except (ValueError, TypeError) as error:
        raise _damaged(file, " ".join(str(error).split())) from None


def _shapes(file: Path, card: Card, module: nn.Module) -> dict[str, tuple[int, ...]]:
    try:
        wanted = jax.eval_shape(
            lambda: module.init(jax.random.key(0), jnp.zeros(card.shape), jnp.zeros(()))
        )
    except Exception as error:  # whatever a network of impossible fields raises
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"expected a network that fits shape {card.shape} in {file}, its "
            f"fields are damaged ({reason}): export the model again"
        ) from None
    return {name: leaf.shape for name, leaf in weights.names_of(wanted).items()}
