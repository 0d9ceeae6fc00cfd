"""Shipped models by name, exported training runs by folder."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from densityguide.models import card as cards
from densityguide.models import weights
from densityguide.models.build import build
from densityguide.models.card import Card

__all__ = ["FOLDER", "folder_of", "load", "names"]

FOLDER = Path(__file__).parent / "pretrained"


def names() -> list[str]:
    """Names of the shipped models."""
    return sorted(p.parent.name for p in FOLDER.glob("*/card.json"))


def folder_of(name_or_folder: str | os.PathLike[str]) -> Path:
    """Folder of a shipped model or an exported run; ValueError naming the nearest known name."""
    if not str(name_or_folder).strip():  # which Path takes for the current folder
        known = ", ".join(names())
        raise ValueError(f"expected the name or the folder of a model, got none: try {known}")
    # A bare name is a shipped model first; anything else is a path: ./digits8 is the user's own.
    if str(name_or_folder) in names():
        return FOLDER / str(name_or_folder)
    if (Path(name_or_folder) / "card.json").is_file():
        return Path(name_or_folder)
    if Path(name_or_folder).is_dir():
        raise ValueError(
            f"expected a folder with card.json and weights.safetensors, {name_or_folder} has no "
            "card.json: export the training run first"
        )
    if Path(name_or_folder).name != str(name_or_folder):
        raise FileNotFoundError(f"expected a model folder, {name_or_folder} does not exist")
    near = difflib.get_close_matches(str(name_or_folder), names(), 1) or names()
    hint = f"did you mean {near[0]!r}?" if near else "no model is shipped, pass a folder"
    raise ValueError(f"unknown model {str(name_or_folder)!r}: {hint}")


def load(name_or_folder: str | os.PathLike[str]) -> tuple[nn.Module, Any, Card]:
    """(module, params, card); `module.apply(params, x, log_snr)` acts on one sample.

    ValueError or FileNotFoundError, one line, for an unknown name or damaged files.
    """
    folder = folder_of(name_or_folder)
    card = cards.read(folder / "card.json")
    module = build(card.network["kind"], card.network["fields"])
    params = weights.read(folder / "weights.safetensors", card.sha256)
    try:
        wanted = jax.eval_shape(
            lambda: module.init(jax.random.key(0), jnp.zeros(card.shape), jnp.zeros(()))
        )
    except Exception as error:  # whatever a network of impossible fields raises
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"expected a network that fits shape {card.shape} in {folder / 'card.json'}, its "
            f"fields are damaged ({reason}): export the model again"
        ) from None

    def shapes(tree: Any) -> Any:
        return jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)]

    if shapes(wanted) != shapes(params):
        raise ValueError(
            f"expected the parameters of the card's {card.network['kind']}, "
            f"{folder / 'weights.safetensors'} holds others: export the model again"
        )
    return module, params, card
